"""Whether a density's indices are within bounds, found by computing only what they depend on.

Compiled code does not check indices. `index_checks` keeps of a program the tests of its indices and
the statements they depend on, and moves tests out of loops: for an index that is linear in a loop's
index, or an element of an array at it, only the ends are tested. What remains is run by Python.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from fastvi.derivatives import functions
from fastvi.derivatives.flow import expressions_of
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
    While,
    operand,
    reads,
    text,
    walk,
)
from fastvi.derivatives.substitution import chosen_by, exchanged, linear, replaced

__all__ = ["index_checks"]


class Guard(NamedTuple):
    """That an index is within bounds if the tests are true."""

    tests: tuple[Expression, ...]
    place: Expression
    size: Expression
    where: str  # array, axis and line

    @property
    def reads(self) -> frozenset[str]:
        """Names that it depends on."""
        return frozenset().union(*map(reads, (*self.tests, self.place, self.size)))


class Code(NamedTuple):
    """Lines that are kept, and the names they write."""

    lines: list[str]
    written: frozenset[str]


Item: TypeAlias = Guard | Code


def index_checks(program: Program, loose: bool) -> Callable[..., None] | None:
    """A function of a program's arguments that raises IndexError where an index is out of bounds.

    None if no index can be. If `loose`, it also tests what branches and breaks keep from being
    read, which is faster and says nothing only if it finds nothing.
    """
    lines = _Bounds(program, loose).lines()
    if not lines:
        return None
    head = f"def checks({', '.join(program.arguments)}):"
    scope = dict(_scope())
    exec("\n    ".join([head, *lines]), scope)
    found: Callable[..., None] = scope["checks"]
    return found


@functools.cache
def _scope() -> dict[str, Any]:
    plain = {name: getattr(f, "py_func", f) for name, f in functions.scope().items()}
    return plain | {"least": _least, "most": _most, "outside": _outside}


def _least(a: Any, first: int, last: int) -> int:
    return int(np.min(a[min(first, last) : max(first, last) + 1]))


def _most(a: Any, first: int, last: int) -> int:
    return int(np.max(a[min(first, last) : max(first, last) + 1]))


def _outside(index: int, size: int, where: str) -> None:
    raise IndexError(f"{where}: index {index} is out of bounds for size {size}")


class _Bounds:
    """Collects guards and what they need, until nothing more is needed."""

    def __init__(self, program: Program, loose: bool) -> None:
        self.program, self.loose = program, loose
        self.needed: set[str] = set()
        self.around: list[str] = []
        self.indices = {s.index for s in walk(program.statements) if isinstance(s, For)}
        every = list(walk(program.statements))
        self.shapes = {s.name: s.shape for s in every if isinstance(s, Allocate)}
        self.known = self._definitions(every)

    def lines(self) -> list[str]:
        """Lines of the function; none if nothing is to be tested."""
        while True:
            before = len(self.needed)
            items = self.block(self.program.statements)
            items += self.guards(self.program.result, 0)
            if len(self.needed) == before:
                return [line for item in items for line in self._shown(item)]

    def _definitions(self, every: list[Statement]) -> dict[str, Expression]:
        """Integers that are assigned once, from what never changes or the indices of loops."""
        program = self.program
        assigned: dict[str, list[Assign]] = {}
        for s in every:
            if isinstance(s, Assign) and isinstance(s.target, Variable):
                assigned.setdefault(s.target.name, []).append(s)
        changing = set(assigned) | set(program.local) | set(program.outputs)
        found: dict[str, Expression] = {}
        for name, several in assigned.items():
            s = several[0]
            if len(several) > 1 or s.sign or program.kinds.get(name, "f") != "i":
                continue
            value = replaced(s.value, found)
            if not reads(value) & (changing - self.indices):
                found[name] = value
        return found

    # Guards.
    def guards(self, e: Expression, line: int, tests: tuple[Expression, ...] = ()) -> list[Item]:
        """Those of the elements of an expression, of whose parts not all may be evaluated."""
        if isinstance(e, Element):
            found = [g for part in e.index for g in self.guards(part, line, tests)]
            shape = self.shapes.get(e.array)
            for axis, index in enumerate(e.index):
                size = shape[axis] if shape else Size(e.array, axis)
                where = f"{self.program.name}, line {line}: {e.array}, axis {axis}"
                found += self._of(Guard(tests, index, size, where))
            return found
        if not isinstance(e, Operation):
            return []
        first, *rest = e.args
        found = self.guards(first, line, tests)
        inner = [tests] * len(rest)
        if not self.loose and e.name == "if":
            inner = [(*tests, first), (*tests, negation(first))]
        elif not self.loose and e.name in ("and", "or"):
            inner = [(*tests, first if e.name == "and" else negation(first))]
        return found + [g for part, t in zip(rest, inner) for g in self.guards(part, line, t)]

    def _of(self, guard: Guard) -> list[Item]:
        """A guard by what its index is defined as, or none if it surely holds."""
        index, size = self._resolved(guard.place), self._resolved(guard.size)
        known = isinstance(index, Number) and isinstance(size, Number)
        if known and -size.value <= index.value < size.value:  # type: ignore[union-attr]
            return []
        if index == Operation("-", (size, Number(1))) and positive(size) in guard.tests:
            return []
        if index == Number(0) and positive(size) in guard.tests:
            return []
        guard = guard._replace(place=index, size=size)
        self.needed |= guard.reads
        return [guard]

    def _resolved(self, e: Expression) -> Expression:
        found = replaced(e, self.known)
        return e if reads(found) & (self.indices - set(self.around)) else found

    def _shown(self, item: Item) -> list[str]:
        if isinstance(item, Code):
            return item.lines
        tests = "".join(f"{operand(t)} and " for t in item.tests)
        index, size = operand(item.place), operand(item.size)
        return [
            f"if {tests}not -{size} <= {index} < {size}:",
            f"    outside({text(item.place)}, {text(item.size)}, {item.where!r})",
        ]

    # Statements.
    def block(self, statements: list[Statement]) -> list[Item]:
        """Guards and kept lines of statements."""
        found: list[Item] = []
        seen: set[Guard] = set()
        for s in statements:
            for item in self.of(s):
                if isinstance(item, Code):
                    seen = {g for g in seen if not g.reads & item.written}
                elif item in seen:
                    continue
                else:
                    seen.add(item)
                found.append(item)
        return found

    def of(self, s: Statement) -> list[Item]:
        """Guards and kept lines of one statement."""
        if isinstance(s, If):
            return self._branch(s)
        if isinstance(s, For):
            return self._loop(s)
        if isinstance(s, While):
            return self._while(s)
        found = [g for e in expressions_of(s) for g in self.guards(e, s.line)]
        return found + self._kept(s)

    def _kept(self, s: Assign | Allocate | Apply | Check) -> list[Item]:
        """A statement's line, if something depends on it."""
        if isinstance(s, Check):
            return [self._code([f"if {text(s.test)}:", f"    raise {s.error}"], reads(s.test))]
        if isinstance(s, Assign):
            name = s.target.name if isinstance(s.target, Variable) else s.target.array
            line = f"{text(s.target)} {({0: '', 1: '+', -1: '-'})[s.sign]}= {text(s.value)}"
            reading = reads(s.value) | reads(s.target)
        elif isinstance(s, Allocate):
            name, reading = s.name, frozenset().union(*map(reads, s.shape))
            line = f"{name} = np.zeros(({', '.join(map(text, s.shape))},), np.{s.dtype})"
        else:
            name, reading = s.out, frozenset(s.arrays)
            line = functions.ARRAY[s.function].value.format(*s.arrays, v=s.out)
        return [self._code([line], reading, name)] if name in self.needed else []

    def _code(self, lines: list[str], reading: frozenset[str], *written: str) -> Code:
        self.needed |= reading
        return Code(lines, frozenset(written))

    def _branch(self, s: If) -> list[Item]:
        found: list[Item] = self.guards(s.test, s.line)
        kept: list[list[str]] = []
        written: frozenset[str] = frozenset()
        for body, test in ((s.body, s.test), (s.orelse, negation(s.test))):
            items = self.block(body)
            changed = written_by(items)
            lines = []
            for item in items:
                if isinstance(item, Guard) and not item.reads & changed:
                    found.append(item if self.loose else item._replace(tests=(test, *item.tests)))
                else:
                    lines += self._shown(item)
            kept.append(lines)
            written |= changed
        if any(kept):
            lines = [f"if {text(s.test)}:", *indented(kept[0])]
            if kept[1]:
                lines += ["else:", *indented(kept[1])]
            found.append(Code(lines, written))
        if any(kept):
            self.needed |= reads(s.test)
        for item in found:
            self.needed |= item.reads if isinstance(item, Guard) else frozenset()
        return found

    def _loop(self, s: For) -> list[Item]:
        found = self.guards(s.start, s.line) + self.guards(s.stop, s.line)
        self.around.append(s.index)
        items = self.block(s.body)
        self.around.pop()
        changed = written_by(items)
        lines: list[str] = []
        for item in items:
            ends = self._at_ends(item, s, changed) if isinstance(item, Guard) else None
            if ends is None:
                lines += self._shown(item)
            else:
                found += [g for end in ends for g in self._of(end)]
        if not lines:
            return found
        self.needed |= reads(s.start) | reads(s.stop)
        head = f"for {s.index} in range({text(s.start)}, {text(s.stop)}, {s.step}):"
        if s.leave:
            self.needed.add(s.leave)
            lines = [*lines, f"if {s.leave}:", "    break"]
        start = [f"{s.leave} = False"] * bool(s.leave)
        return [*found, Code([*start, head, *indented(lines)], changed | {s.index, s.leave})]

    def _at_ends(self, g: Guard, s: For, changed: frozenset[str]) -> list[Guard] | None:
        """Guards before a loop that stand for one within it, if there are such."""
        tests = frozenset().union(*map(reads, g.tests))
        if g.reads & changed or s.index in tests | reads(g.size) or (s.leave and not self.loose):
            return None
        nonempty = Operation("<", (s.start, s.stop) if s.step > 0 else (s.stop, s.start))
        run = Operation("-", (Operation("-", nonempty.args[::-1]), Number(1)))
        steps = Operation("*", (Operation("//", (run, Number(abs(s.step)))), Number(s.step)))
        last: Expression = Operation("+", (s.start, steps))
        if s.step == 1:
            last = Operation("-", (s.stop, Number(1)))
        chosen = chosen_by(g.place, s.index)
        guard = g._replace(tests=(nonempty, *g.tests))
        if chosen is None:
            if not linear(g.place, Variable(s.index)):
                return None
            return [guard._replace(place=replaced(g.place, {s.index: e})) for e in (s.start, last)]
        rest = reads(exchanged(g.place, chosen, Number(0)))
        is_linear = linear(g.place, chosen) and s.index not in rest
        if not is_linear or not (self.loose or abs(s.step) == 1):
            return None
        at = [replaced(chosen.index[0], {s.index: e}) for e in (s.start, last)]
        ends = (Operation(name, (Variable(chosen.array), *at)) for name in ("least", "most"))
        return [guard._replace(place=exchanged(g.place, chosen, end)) for end in ends]

    def _while(self, s: While) -> list[Item]:
        items = self.block(s.body)
        changed = written_by(items)
        found: list[Item] = []
        lines: list[str] = []
        for item in items:
            if self.loose and isinstance(item, Guard) and not item.reads & changed:
                found.append(item)
            else:
                lines += self._shown(item)
        if not lines:
            return found
        self.needed.add(s.leave)
        lines = [*lines, f"if {s.leave}:", "    break"]
        code = [f"{s.leave} = False", "while True:", *indented(lines)]
        return [*found, Code(code, changed | {s.leave})]


def negation(e: Expression) -> Expression:
    """Not e."""
    return Operation("not", (e,))


def positive(e: Expression) -> Expression:
    """0 < e."""
    return Operation("<", (Number(0), e))


def indented(lines: list[str]) -> list[str]:
    """Lines of a block."""
    return [f"    {line}" for line in lines] or ["    pass"]


def written_by(items: list[Item]) -> frozenset[str]:
    """Names that kept lines write."""
    return frozenset().union(*(item.written for item in items if isinstance(item, Code)))
