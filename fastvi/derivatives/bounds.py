"""Whether a density's indices are within bounds, found by computing only what they depend on.

Compiled code does not check indices. `index_checks` keeps of a program the tests of its indices and
the statements they depend on, and moves tests out of loops: for an index that is linear in a loop's
index, or an element of an array at it, only the ends are tested; others are tested for all rounds
at once, by NumPy. What depends on the rounds before is run by Python, round by round.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from fastvi.derivatives import functions, ir
from fastvi.derivatives.flow import expressions_of, read_by
from fastvi.derivatives.guards import SCOPE, Code, Guard, Item, Range, is_vectorised, shown
from fastvi.derivatives.substitution import chosen_by, exchanged, linear, replaced

__all__ = ["index_checks"]

LONGEST = 40  # parts of a definition that is put in place of its name


def index_checks(program: ir.Program, loose: bool) -> Callable[..., None] | None:
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
    return {name: getattr(f, "py_func", f) for name, f in functions.scope().items()} | SCOPE


class _Bounds:
    """Collects guards and what they need, until nothing more is needed."""

    def __init__(self, program: ir.Program, loose: bool) -> None:
        self.program, self.loose = program, loose
        self.needed: set[str] = set()
        self.around: list[str] = []
        self.indices = {s.index for s in ir.walk(program.statements) if isinstance(s, ir.For)}
        every = list(ir.walk(program.statements))
        self.shapes = {s.name: s.shape for s in every if isinstance(s, ir.Allocate)}
        self.escaping = escaping(every)
        self.known = self._definitions(every)

    def lines(self) -> list[str]:
        """Lines of the function; none if nothing is to be tested."""
        while True:
            before = len(self.needed)
            items = self.block(self.program.statements)
            items += self.guards(self.program.result, 0)
            if len(self.needed) == before:
                return [line for item in items for line in shown(item)]

    def _definitions(self, every: list[ir.Statement]) -> dict[str, ir.Expression]:
        """Numbers that are assigned once, from what never changes or the indices of loops."""
        program = self.program
        assigned: dict[str, list[ir.Assign]] = {}
        for s in every:
            if isinstance(s, ir.Assign) and isinstance(s.target, ir.Variable):
                assigned.setdefault(s.target.name, []).append(s)
        changing = set(assigned) | set(program.local) | set(program.outputs)
        found: dict[str, ir.Expression] = {}
        for name, several in assigned.items():
            s = several[0]
            if len(several) > 1 or s.sign or name in self.escaping:
                continue
            value = replaced(s.value, found)
            if not ir.reads(value) & (changing - self.indices) and length(value) <= LONGEST:
                found[name] = value
        return found

    # Guards.
    def guards(
        self, e: ir.Expression, line: int, tests: tuple[ir.Expression, ...] = ()
    ) -> list[Item]:
        """Those of the elements of an expression, of whose parts not all may be evaluated."""
        if isinstance(e, ir.Element):
            found = [g for part in e.index for g in self.guards(part, line, tests)]
            shape = self.shapes.get(e.array)
            for axis, index in enumerate(e.index):
                size = shape[axis] if shape else ir.Size(e.array, axis)
                where = f"{self.program.name}, line {line}: {e.array}, axis {axis}"
                found += self._of(Guard(tests, index, size, where))
            return found
        if not isinstance(e, ir.Operation):
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
        guard = guard._replace(tests=tuple(map(self._resolved, guard.tests)))
        index, size = self._resolved(guard.place), self._resolved(guard.size)
        known = isinstance(index, ir.Number) and isinstance(size, ir.Number)
        if known and -size.value <= index.value < size.value:  # type: ignore[union-attr]
            return []
        if index == ir.Operation("-", (size, ir.Number(1))) and positive(size) in guard.tests:
            return []
        if index == ir.Number(0) and positive(size) in guard.tests:
            return []
        guard = guard._replace(place=index, size=size)
        self.needed |= guard.reads
        return [guard]

    def _resolved(self, e: ir.Expression) -> ir.Expression:
        found = replaced(e, self.known)
        return e if ir.reads(found) & (self.indices - set(self.around)) else found

    # Statements.
    def block(self, statements: list[ir.Statement]) -> list[Item]:
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

    def of(self, s: ir.Statement) -> list[Item]:
        """Guards and kept lines of one statement."""
        if isinstance(s, ir.If):
            return self._branch(s)
        if isinstance(s, ir.For):
            return self._loop(s)
        if isinstance(s, ir.While):
            return self._while(s)
        found = [g for e in expressions_of(s) for g in self.guards(e, s.line)]
        return found + self._kept(s)

    def _kept(self, s: ir.Assign | ir.Allocate | ir.Apply | ir.Check) -> list[Item]:
        """A statement's line, if something depends on it."""
        if isinstance(s, ir.Check):
            return [
                self._code([f"if {ir.text(s.test)}:", f"    raise {s.error}"], ir.reads(s.test))
            ]
        if isinstance(s, ir.Assign):
            name = s.target.name if isinstance(s.target, ir.Variable) else s.target.array
            line = f"{ir.text(s.target)} {({0: '', 1: '+', -1: '-'})[s.sign]}= {ir.text(s.value)}"
            reading = ir.reads(s.value) | ir.reads(s.target)
        elif isinstance(s, ir.Allocate):
            name, reading = s.name, frozenset().union(*map(ir.reads, s.shape))
            line = f"{name} = np.zeros(({', '.join(map(ir.text, s.shape))},), np.{s.dtype})"
        else:
            name, reading = s.out, frozenset(s.arrays)
            line = functions.ARRAY[s.function].value.format(*s.arrays, v=s.out)
        return [self._code([line], reading, name)] if name in self.needed else []

    def _code(self, lines: list[str], reading: frozenset[str], *written: str) -> Code:
        self.needed |= reading
        return Code(lines, frozenset(written))

    def _branch(self, s: ir.If) -> list[Item]:
        found: list[Item] = self.guards(s.test, s.line)
        condition = self._resolved(s.test)
        kept: list[list[str]] = []
        written: frozenset[str] = frozenset()
        for body, test in ((s.body, condition), (s.orelse, negation(condition))):
            items = self.block(body)
            changed = written_by(items)
            lines = []
            for item in items:
                if isinstance(item, Guard) and not item.reads & changed:
                    found.append(item if self.loose else item._replace(tests=(test, *item.tests)))
                else:
                    lines += shown(item)
            kept.append(lines)
            written |= changed
        if any(kept):
            lines = [f"if {ir.text(condition)}:", *indented(kept[0])]
            if kept[1]:
                lines += ["else:", *indented(kept[1])]
            found.append(Code(lines, written))
        if any(kept):
            self.needed |= ir.reads(condition)
        for item in found:
            self.needed |= item.reads if isinstance(item, Guard) else frozenset()
        return found

    def _loop(self, s: ir.For) -> list[Item]:
        found = self.guards(s.start, s.line) + self.guards(s.stop, s.line)
        rounds = Range(s.index, self._resolved(s.start), self._resolved(s.stop), s.step)
        self.around.append(s.index)
        items = self.block(s.body)
        self.around.pop()
        changed = written_by(items)
        every_round = self.loose or not s.leave
        lines: list[str] = []
        for item in items:
            outer = None
            if isinstance(item, Guard) and every_round and not item.reads & changed:
                outer = self._at_ends(item, rounds) or over(item, rounds)
            if outer is None:
                lines += shown(item)
            else:
                found += [g for guard in outer for g in self._of(guard)]
        if not lines:
            return found
        self.needed |= ir.reads(rounds.start) | ir.reads(rounds.stop)
        head = f"for {s.index} in range({ir.text(rounds.start)}, {ir.text(rounds.stop)}, {s.step}):"
        if s.leave:
            self.needed.add(s.leave)
            lines = [*lines, f"if {s.leave}:", "    break"]
        start = [f"{s.leave} = False"] * bool(s.leave)
        return [*found, Code([*start, head, *indented(lines)], changed | {s.index, s.leave})]

    def _at_ends(self, g: Guard, r: Range) -> list[Guard] | None:
        """Guards before a loop that stand for one within it, if there are such."""
        tests = frozenset().union(*map(ir.reads, g.tests))
        if r.counter in tests | ir.reads(g.size) or (g.over and r.counter in g.reads):
            return None
        nonempty = ir.Operation("<", (r.start, r.stop) if r.step > 0 else (r.stop, r.start))
        run = ir.Operation("-", (ir.Operation("-", nonempty.args[::-1]), ir.Number(1)))
        steps = ir.Operation(
            "*", (ir.Operation("//", (run, ir.Number(abs(r.step)))), ir.Number(r.step))
        )
        last: ir.Expression = ir.Operation("+", (r.start, steps))
        if r.step == 1:
            last = ir.Operation("-", (r.stop, ir.Number(1)))
        chosen = chosen_by(g.place, r.counter)
        guard = g if _is_sure(nonempty) else g._replace(tests=(nonempty, *g.tests))
        if chosen is None:
            if not linear(g.place, ir.Variable(r.counter)):
                return None
            return [
                guard._replace(place=replaced(g.place, {r.counter: e})) for e in (r.start, last)
            ]
        rest = ir.reads(exchanged(g.place, chosen, ir.Number(0)))
        is_linear = linear(g.place, chosen) and r.counter not in rest
        if not is_linear or not (self.loose or abs(r.step) == 1):
            return None
        at = [replaced(chosen.index[0], {r.counter: e}) for e in (r.start, last)]
        ends = (ir.Operation(name, (ir.Variable(chosen.array), *at)) for name in ("least", "most"))
        return [guard._replace(place=exchanged(g.place, chosen, end)) for end in ends]

    def _while(self, s: ir.While) -> list[Item]:
        items = self.block(s.body)
        changed = written_by(items)
        found: list[Item] = []
        lines: list[str] = []
        for item in items:
            if self.loose and isinstance(item, Guard) and not item.reads & changed:
                found.append(item)
            else:
                lines += shown(item)
        if not lines:
            return found
        self.needed.add(s.leave)
        lines = [*lines, f"if {s.leave}:", "    break"]
        code = [f"{s.leave} = False", "while True:", *indented(lines)]
        return [*found, Code(code, changed | {s.leave})]


def negation(e: ir.Expression) -> ir.Expression:
    """Not e."""
    return ir.Operation("not", (e,))


def positive(e: ir.Expression) -> ir.Expression:
    """0 < e."""
    return ir.Operation("<", (ir.Number(0), e))


def indented(lines: list[str]) -> list[str]:
    """Lines of a block."""
    return [f"    {line}" for line in lines] or ["    pass"]


def written_by(items: list[Item]) -> frozenset[str]:
    """Names that kept lines write."""
    return frozenset().union(*(item.written for item in items if isinstance(item, Code)))


def over(g: Guard, r: Range) -> list[Guard] | None:
    """The guard for all rounds of a loop at once, if NumPy can evaluate it."""
    found = g._replace(over=(r, *g.over))
    return [found] if is_vectorised(found) else None


def _is_sure(test: ir.Operation) -> bool:
    """Whether a literal is below another."""
    left, right = test.args
    return isinstance(left, ir.Number) and isinstance(right, ir.Number) and left.value < right.value


def length(e: ir.Expression) -> int:
    """How many parts an expression has."""
    parts = e.index if isinstance(e, ir.Element) else e.args if isinstance(e, ir.Operation) else ()
    return 1 + sum(map(length, parts))


def escaping(every: list[ir.Statement]) -> set[str]:
    """Names that are assigned in a branch and read elsewhere, perhaps as they were before."""
    found: set[str] = set()
    for s in every:
        for block in ir.inner_blocks(s) if isinstance(s, ir.If) else ():
            inside = set(ir.walk(block))
            names = {x.target.name for x in inside
                     if isinstance(x, ir.Assign) and isinstance(x.target, ir.Variable)}  # fmt: skip
            found |= names & set().union(*(read_by(x) for x in every if x not in inside))
    return found
