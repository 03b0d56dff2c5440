"""Move computations that are the same in each round out of loops."""

from __future__ import annotations

import collections

from fastvi.derivatives import ir
from fastvi.derivatives.flow import read_by, target_name, written

__all__ = ["hoist_invariants"]

FAILING = ("//", "%", "int")  # which may not be evaluated in a loop without rounds


def hoist_invariants(program: ir.Program) -> None:
    """Move assignments out of loops whose rounds all do the same."""
    counts = collections.Counter(
        target_name(s) for s in ir.walk(program.statements) if isinstance(s, ir.Assign)
    )
    program.statements = _hoisted(program.statements, counts)


def _hoisted(
    statements: list[ir.Statement], counts: collections.Counter[str]
) -> list[ir.Statement]:
    result: list[ir.Statement] = []
    for s in statements:
        for block in ir.inner_blocks(s):
            block[:] = _hoisted(block, counts)
        if isinstance(s, ir.For):
            result += _out_of(s, counts)
        result.append(s)
    return result


def _out_of(loop: ir.For, counts: collections.Counter[str]) -> list[ir.Statement]:
    """Take from a loop what does not change in it."""
    moved: list[ir.Statement] = []
    scalars, arrays = written([loop])
    changing = scalars | arrays
    for s in list(loop.body):
        own = _own(s, counts)
        if own and loop.leave not in own and not (_all_read(s) - own) & changing:
            loop.body.remove(s)
            moved.append(s)
            changing -= own
    return moved


def _own(s: ir.Statement, counts: collections.Counter[str]) -> set[str]:
    """Scalars that a statement alone assigns, if that is all it does."""
    inner = list(ir.walk([s]))
    assigned: collections.Counter[str] = collections.Counter()
    for x in inner:
        if isinstance(x, ir.Assign) and isinstance(x.target, ir.Variable) and not x.sign:
            assigned[x.target.name] += 1
            if _may_fail(x.value):
                return set()
        elif not isinstance(x, ir.If):
            return set()
    alone = all(counts[name] == n for name, n in assigned.items())
    return set(assigned) if alone else set()


def _all_read(s: ir.Statement) -> set[str]:
    return set().union(*(read_by(x) for x in ir.walk([s])))


def _may_fail(e: ir.Expression) -> bool:
    return isinstance(e, ir.Operation) and (e.name in FAILING or any(map(_may_fail, e.args)))
