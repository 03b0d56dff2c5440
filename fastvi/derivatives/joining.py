"""A loop that fills an array, joined with the only loop that reads it.

`eta = X @ z` and a sum over `eta` become one loop over rows, so that the array is never made. For
several draws at once that saves more time than loops of their own are worth.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fastvi.derivatives.flow import exposed, expressions_of, read_by, target_name, written
from fastvi.derivatives.ir import (
    Allocate,
    Apply,
    Assign,
    Check,
    Element,
    Expression,
    For,
    If,
    Number,
    Operation,
    Program,
    Size,
    Statement,
    Variable,
    reads,
    walk,
)

__all__ = ["join_loops"]


class Pair(NamedTuple):
    """The making of an array, the loop that fills it and the loop that reads it."""

    made: Allocate
    filling: For
    reading: For


def join_loops(program: Program) -> bool:
    """Join loops of a program; whether there were any to join."""
    changed = False
    while (pair := _found(program)) is not None:
        _join(program, pair)
        changed = True
    return changed


def _found(program: Program) -> Pair | None:
    every = list(walk(program.statements))
    loops = [s for s in program.statements if isinstance(s, For) and _is_plain(s)]
    for made in program.statements:
        if not isinstance(made, Allocate) or len(made.shape) > 1 or made.dtype != "float64":
            continue
        filling = [s for s in loops if made.name in written([s])[1]]
        reading = [s for s in loops if any(made.name in read_by(x) for x in walk([s]))]
        if len(filling) != 1 or len(reading) != 1 or filling == reading:
            continue
        pair = Pair(made, filling[0], reading[0])
        if _is_own(pair, program, every) and _may_move(pair, program, every):
            return pair
    return None


def _is_plain(loop: For) -> bool:
    return loop.start == Number(0) and loop.step == 1 and not loop.leave


def _is_own(pair: Pair, program: Program, every: list[Statement]) -> bool:
    """Whether each round fills one element, and each round reads only its own."""
    name = pair.made.name
    inside = {*walk(pair.filling.body), *walk(pair.reading.body)}
    for s in every:
        touched = name in read_by(s) or (isinstance(s, Assign) and target_name(s) == name)
        if isinstance(s, Apply) and name in (s.out, *s.arrays):
            return False
        if touched and s not in inside:
            return False
    if name in reads(program.result):
        return False
    fills = [s for s in walk(pair.filling.body) if isinstance(s, Assign) and target_name(s) == name]
    at = Element(name, (Variable(pair.filling.index),))
    if len(fills) > 1 or fills[0] not in pair.filling.body or fills[0].sign:
        return False
    if fills[0].target != at or name in written(pair.reading.body)[1]:
        return False
    if any(name in read_by(s) for s in walk(pair.filling.body)):
        return False
    own = Element(name, (Variable(pair.reading.index),))
    expressions = [e for s in walk(pair.reading.body) for e in expressions_of(s)]
    return all(e == own for whole in expressions for e in _elements(whole, name))


def _elements(e: Expression, name: str) -> list[Element]:
    parts = e.index if isinstance(e, Element) else e.args if isinstance(e, Operation) else ()
    inner = [x for part in parts for x in _elements(part, name)]
    return [*inner, e] if isinstance(e, Element) and e.array == name else inner


def _may_move(pair: Pair, program: Program, every: list[Statement]) -> bool:
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
    inside = set(walk([pair.filling]))
    outside = [s for s in every if s not in inside]
    changed = {target_name(s) for s in outside if isinstance(s, Assign)}
    if scalars & changed.union(reads(program.result), *map(read_by, outside)):
        return False
    after = set().union(*written(statements[start + 1 : end + 1]))
    return not after & set().union(*map(read_by, inside))


def _same_length(pair: Pair, before: list[Statement]) -> bool:
    """Whether both loops have as many rounds, by checks that come before."""
    same: dict[Expression, Expression] = {}
    counts: dict[str, int] = {}
    for s in walk(before):
        if isinstance(s, Assign) and isinstance(s.target, Variable):
            counts[s.target.name] = counts.get(s.target.name, 0) + 1

    def root(e: Expression) -> Expression:
        while e in same:
            e = same[e]
        return e

    for s in before:
        ends: tuple[Expression, Expression] | None = None
        if isinstance(s, Check) and isinstance(s.test, Operation) and s.test.name == "!=":
            ends = (s.test.args[0], s.test.args[1])
        elif isinstance(s, Assign) and isinstance(s.target, Variable) and not s.sign:
            settled = isinstance(s.value, Size | Number) or (
                isinstance(s.value, Variable) and counts.get(s.value.name, 0) < 2
            )
            ends = (s.target, s.value) if settled and counts[s.target.name] == 1 else None
        if ends is not None and root(ends[0]) != root(ends[1]):
            same[root(ends[0])] = root(ends[1])
    return root(pair.filling.stop) == root(pair.reading.stop)


def _join(program: Program, pair: Pair) -> None:
    """Put the first loop's rounds into the second's."""
    name = f"{pair.made.name}_each"
    while name in program.kinds or name in program.local:
        name += "_"
    program.kinds[name] = "f"
    del program.local[pair.made.name]

    def moved(e: Expression) -> Expression:
        if e == Variable(pair.filling.index):
            return Variable(pair.reading.index)
        if isinstance(e, Element) and e.array == pair.made.name:
            return Variable(name)
        return e

    body = pair.filling.body + pair.reading.body
    _rewrite(body, moved)
    pair.reading.body[:] = body
    program.statements = [s for s in program.statements if s not in (pair.made, pair.filling)]


def _rewrite(statements: list[Statement], change: Callable[[Expression], Expression]) -> None:
    """Change all expressions of statements, the outermost parts first."""

    def new(e: Expression) -> Expression:
        changed = change(e)
        if changed != e:
            return changed
        if isinstance(e, Element):
            return Element(e.array, tuple(map(new, e.index)))
        return Operation(e.name, tuple(map(new, e.args))) if isinstance(e, Operation) else e

    for s in walk(statements):
        if isinstance(s, Assign):
            target = new(s.target)
            assert isinstance(target, Variable | Element)
            s.target, s.value = target, new(s.value)
        elif isinstance(s, If | Check):
            s.test = new(s.test)
        elif isinstance(s, For):
            s.start, s.stop = new(s.start), new(s.stop)
        elif isinstance(s, Allocate):
            s.shape = tuple(map(new, s.shape))
