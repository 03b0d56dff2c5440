"""A loop that fills an array, joined with the only loop that reads it.

`eta = X @ z` and a sum over `eta` become one loop over rows, so that the array is never made. For
several draws at once that saves more time than loops of their own are worth.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fastvi.derivatives import ir
from fastvi.derivatives.flow import exposed, expressions_of, read_by, target_name, written

__all__ = ["join_loops"]


class Pair(NamedTuple):
    """The making of an array, the loop that fills it and the loop that reads it."""

    made: ir.Allocate
    filling: ir.For
    reading: ir.For


def join_loops(program: ir.Program) -> bool:
    """Join loops of a program; whether there were any to join."""
    changed = False
    while (pair := _found(program)) is not None:
        _join(program, pair)
        changed = True
    return changed


def _found(program: ir.Program) -> Pair | None:
    every = list(ir.walk(program.statements))
    loops = [s for s in program.statements if isinstance(s, ir.For) and _is_plain(s)]
    for made in program.statements:
        if not isinstance(made, ir.Allocate) or len(made.shape) > 1 or made.dtype != "float64":
            continue
        filling = [s for s in loops if made.name in written([s])[1]]
        reading = [s for s in loops if any(made.name in read_by(x) for x in ir.walk([s]))]
        if len(filling) != 1 or len(reading) != 1 or filling == reading:
            continue
        pair = Pair(made, filling[0], reading[0])
        if _is_own(pair, program, every) and _may_move(pair, program, every):
            return pair
    return None


def _is_plain(loop: ir.For) -> bool:
    return loop.start == ir.Number(0) and loop.step == 1 and not loop.leave


def _is_own(pair: Pair, program: ir.Program, every: list[ir.Statement]) -> bool:
    """Whether each round fills one element, and each round reads only its own."""
    name = pair.made.name
    inside = {*ir.walk(pair.filling.body), *ir.walk(pair.reading.body)}
    for s in every:
        touched = name in read_by(s) or (isinstance(s, ir.Assign) and target_name(s) == name)
        if isinstance(s, ir.Apply) and name in (s.out, *s.arrays):
            return False
        if touched and s not in inside:
            return False
    if name in ir.reads(program.result):
        return False
    fills = [
        s for s in ir.walk(pair.filling.body) if isinstance(s, ir.Assign) and target_name(s) == name
    ]
    at = ir.Element(name, (ir.Variable(pair.filling.index),))
    if len(fills) > 1 or fills[0] not in pair.filling.body or fills[0].sign:
        return False
    if fills[0].target != at or name in written(pair.reading.body)[1]:
        return False
    if any(name in read_by(s) for s in ir.walk(pair.filling.body)):
        return False
    own = ir.Element(name, (ir.Variable(pair.reading.index),))
    expressions = [e for s in ir.walk(pair.reading.body) for e in expressions_of(s)]
    return all(e == own for whole in expressions for e in _elements(whole, name))


def _elements(e: ir.Expression, name: str) -> list[ir.Element]:
    parts = e.index if isinstance(e, ir.Element) else e.args if isinstance(e, ir.Operation) else ()
    inner = [x for part in parts for x in _elements(part, name)]
    return [*inner, e] if isinstance(e, ir.Element) and e.array == name else inner


def _may_move(pair: Pair, program: ir.Program, every: list[ir.Statement]) -> bool:
    """Whether the first loop's rounds can run within the second's."""
    statements = program.statements
    start, end = statements.index(pair.filling), statements.index(pair.reading)
    if end < start or not _same_length(pair, statements[:end]):
        return False
    scalars, arrays = written([pair.filling])
    if arrays != {pair.made.name} or exposed(pair.filling.body)[0] & (
        scalars - {pair.filling.index}
    ):
        return False
    inside = set(ir.walk([pair.filling]))
    outside = [s for s in every if s not in inside]
    changed = {target_name(s) for s in outside if isinstance(s, ir.Assign)}
    if scalars & changed.union(ir.reads(program.result), *map(read_by, outside)):
        return False
    after = set().union(*written(statements[start + 1 : end + 1]))
    return not after & set().union(*map(read_by, inside))


def _same_length(pair: Pair, before: list[ir.Statement]) -> bool:
    """Whether both loops have as many rounds, by checks that come before."""
    same: dict[ir.Expression, ir.Expression] = {}
    counts: dict[str, int] = {}
    for s in ir.walk(before):
        if isinstance(s, ir.Assign) and isinstance(s.target, ir.Variable):
            counts[s.target.name] = counts.get(s.target.name, 0) + 1

    def root(e: ir.Expression) -> ir.Expression:
        while e in same:
            e = same[e]
        return e

    for s in before:
        ends: tuple[ir.Expression, ir.Expression] | None = None
        if isinstance(s, ir.Check) and isinstance(s.test, ir.Operation) and s.test.name == "!=":
            ends = (s.test.args[0], s.test.args[1])
        elif isinstance(s, ir.Assign) and isinstance(s.target, ir.Variable) and not s.sign:
            settled = isinstance(s.value, ir.Size | ir.Number) or (
                isinstance(s.value, ir.Variable) and counts.get(s.value.name, 0) < 2
            )
            ends = (s.target, s.value) if settled and counts[s.target.name] == 1 else None
        if ends is not None and root(ends[0]) != root(ends[1]):
            same[root(ends[0])] = root(ends[1])
    return root(pair.filling.stop) == root(pair.reading.stop)


def _join(program: ir.Program, pair: Pair) -> None:
    """Put the first loop's rounds into the second's."""
    name = f"{pair.made.name}_each"
    while name in program.kinds or name in program.local:
        name += "_"
    program.kinds[name] = "f"
    del program.local[pair.made.name]

    def moved(e: ir.Expression) -> ir.Expression:
        if e == ir.Variable(pair.filling.index):
            return ir.Variable(pair.reading.index)
        if isinstance(e, ir.Element) and e.array == pair.made.name:
            return ir.Variable(name)
        return e

    body = pair.filling.body + pair.reading.body
    _rewrite(body, moved)
    pair.reading.body[:] = body
    program.statements = [s for s in program.statements if s not in (pair.made, pair.filling)]


def _rewrite(
    statements: list[ir.Statement], change: Callable[[ir.Expression], ir.Expression]
) -> None:
    """Change all expressions of statements, the outermost parts first."""

    def new(e: ir.Expression) -> ir.Expression:
        changed = change(e)
        if changed != e:
            return changed
        if isinstance(e, ir.Element):
            return ir.Element(e.array, tuple(map(new, e.index)))
        return ir.Operation(e.name, tuple(map(new, e.args))) if isinstance(e, ir.Operation) else e

    for s in ir.walk(statements):
        if isinstance(s, ir.Assign):
            target = new(s.target)
            assert isinstance(target, ir.Variable | ir.Element)
            s.target, s.value = target, new(s.value)
        elif isinstance(s, ir.If | ir.Check):
            s.test = new(s.test)
        elif isinstance(s, ir.For):
            s.start, s.stop = new(s.start), new(s.stop)
        elif isinstance(s, ir.Allocate):
            s.shape = tuple(map(new, s.shape))
