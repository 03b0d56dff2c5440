"""Changes of a program before it is reversed: no array is made within a loop that is recorded."""

from __future__ import annotations

from fastvi.derivatives import ir
from fastvi.derivatives.errors import NotDifferentiable
from fastvi.derivatives.flow import written

__all__ = ["hoist_arrays"]


def hoist_arrays(program: ir.Program, fused: dict[ir.For, dict[str, float]]) -> None:
    """Move the making of arrays out of recorded loops, which then only fill them."""
    program.statements = _hoisted(program, program.statements, fused)


def _hoisted(
    program: ir.Program, statements: list[ir.Statement], fused: dict[ir.For, dict[str, float]]
) -> list[ir.Statement]:
    result: list[ir.Statement] = []
    for s in statements:
        if isinstance(s, ir.If):
            s.body = _hoisted(program, s.body, fused)
            s.orelse = _hoisted(program, s.orelse, fused)
        elif isinstance(s, ir.For) and s in fused:
            s.body = _hoisted(program, s.body, fused)
        elif isinstance(s, ir.For | ir.While):
            result += _out_of(program, s)
        result.append(s)
    return result


def _out_of(program: ir.Program, loop: ir.For | ir.While) -> list[ir.Statement]:
    """Statements that make the arrays of a loop before it."""
    changing = written([loop])[0]
    made: list[ir.Statement] = []
    sizes = _lengths(loop)
    for s in list(ir.walk(loop.body)):
        if not isinstance(s, ir.Allocate):
            continue
        shape = tuple(sizes.get(n.name, n) if isinstance(n, ir.Variable) else n for n in s.shape)
        if changing & set().union(*map(ir.reads, shape)):
            raise NotDifferentiable(
                f"{program.name}, line {s.line}: an array whose length differs between the rounds "
                "of a loop; make it before the loop, as long as is ever needed"
            )
        made.append(ir.Allocate(s.name, shape, False, s.dtype, s.line))
        _replace(loop.body, s, _zeroed(program, s, shape) if s.zeros else [])
    return made


def _lengths(loop: ir.For | ir.While) -> dict[str, ir.Expression]:
    """What lengths computed within a loop are, where that does not change in it."""
    changing = written([loop])[0]
    found: dict[str, list[ir.Assign]] = {}
    for s in ir.walk(loop.body):
        if isinstance(s, ir.Assign) and isinstance(s.target, ir.Variable):
            found.setdefault(s.target.name, []).append(s)
    return {
        name: assigned[0].value
        for name, assigned in found.items()
        if len(assigned) == 1
        and not assigned[0].sign
        and not ir.reads(assigned[0].value) & changing
    }


def _replace(block: list[ir.Statement], old: ir.Statement, new: list[ir.Statement]) -> None:
    for k, s in enumerate(block):
        if s is old:
            block[k : k + 1] = new
            return
        for inner in ir.inner_blocks(s):
            _replace(inner, old, new)


def _zeroed(program: ir.Program, s: ir.Allocate, shape: tuple) -> list[ir.Statement]:  # type: ignore[type-arg]
    """Loops that put zeros into an array."""
    names = [f"zero__{s.name}_{k}" for k in range(len(shape))]
    index = tuple(ir.Variable(n) for n in names)
    inner: ir.Statement = ir.Assign(ir.Element(s.name, index), ir.Number(0.0), 0, s.line)
    for name, n in reversed(list(zip(names, shape))):
        program.kinds[name] = "i"
        inner = ir.For(name, ir.Number(0), n, 1, [inner], s.line)
    return [inner]
