"""Changes of a program before it is reversed: no array is made within a loop that is recorded."""

from __future__ import annotations

from fastvi.derivatives.errors import NotDifferentiable
from fastvi.derivatives.flow import written
from fastvi.derivatives.ir import (
    Allocate,
    Assign,
    Element,
    Expression,
    For,
    If,
    Number,
    Program,
    Statement,
    Variable,
    While,
    inner_blocks,
    reads,
    walk,
)

__all__ = ["hoist_arrays"]


def hoist_arrays(program: Program, fused: dict[For, dict[str, float]]) -> None:
    """Move the making of arrays out of recorded loops, which then only fill them."""
    program.statements = _hoisted(program, program.statements, fused)


def _hoisted(
    program: Program, statements: list[Statement], fused: dict[For, dict[str, float]]
) -> list[Statement]:
    result: list[Statement] = []
    for s in statements:
        if isinstance(s, If):
            s.body = _hoisted(program, s.body, fused)
            s.orelse = _hoisted(program, s.orelse, fused)
        elif isinstance(s, For) and s in fused:
            s.body = _hoisted(program, s.body, fused)
        elif isinstance(s, For | While):
            result += _out_of(program, s)
        result.append(s)
    return result


def _out_of(program: Program, loop: For | While) -> list[Statement]:
    """Statements that make the arrays of a loop before it."""
    changing = written([loop])[0]
    made: list[Statement] = []
    sizes = _lengths(loop)
    for s in list(walk(loop.body)):
        if not isinstance(s, Allocate):
            continue
        shape = tuple(sizes.get(n.name, n) if isinstance(n, Variable) else n for n in s.shape)
        if changing & set().union(*map(reads, shape)):
            raise NotDifferentiable(
                f"{program.name}, line {s.line}: an array whose length differs between the rounds "
                "of a loop; make it before the loop, as long as is ever needed"
            )
        made.append(Allocate(s.name, shape, False, s.dtype, s.line))
        _replace(loop.body, s, _zeroed(program, s, shape) if s.zeros else [])
    return made


def _lengths(loop: For | While) -> dict[str, Expression]:
    """What lengths computed within a loop are, where that does not change in it."""
    changing = written([loop])[0]
    found: dict[str, list[Assign]] = {}
    for s in walk(loop.body):
        if isinstance(s, Assign) and isinstance(s.target, Variable):
            found.setdefault(s.target.name, []).append(s)
    return {
        name: assigned[0].value
        for name, assigned in found.items()
        if len(assigned) == 1 and not assigned[0].sign and not reads(assigned[0].value) & changing
    }


def _replace(block: list[Statement], old: Statement, new: list[Statement]) -> None:
    for k, s in enumerate(block):
        if s is old:
            block[k : k + 1] = new
            return
        for inner in inner_blocks(s):
            _replace(inner, old, new)


def _zeroed(program: Program, s: Allocate, shape: tuple) -> list[Statement]:  # type: ignore[type-arg]
    """Loops that put zeros into an array."""
    names = [f"zero__{s.name}_{k}" for k in range(len(shape))]
    index = tuple(Variable(n) for n in names)
    inner: Statement = Assign(Element(s.name, index), Number(0.0), 0, s.line)
    for name, n in reversed(list(zip(names, shape))):
        program.kinds[name] = "i"
        inner = For(name, Number(0), n, 1, [inner], s.line)
    return [inner]
