"""What the way back needs: values recorded before they are overwritten, or computed again.

A value is recorded (pushed on a stack) only if an adjoint line reads it and it is overwritten
after. Which lines read what is taken from the lines themselves. Cheap scalars that are private to
a round of a loop are computed again on the way back instead.
"""

from __future__ import annotations

from fastvi.derivatives import functions, ir
from fastvi.derivatives.adjoint import Adjoint, Adjoints
from fastvi.derivatives.calls import INLINE
from fastvi.derivatives.flow import read_by, target_name, written

__all__ = ["Recording"]

COSTLY = (frozenset(functions.SMOOTH) - INLINE) | {"digamma"}
Place = tuple[ir.Statement, int]  # a block of a statement


def is_cheap(e: ir.Expression) -> bool:
    """Whether an expression costs little to compute again."""
    if not isinstance(e, ir.Operation):
        return True
    return e.name not in COSTLY and all(map(is_cheap, e.args))


class Recording:
    """Adjoints of all statements, what to push before each, and what to compute again where.

    Attributes
    ----------
    adjoints : dict
        Of each assignment and array function.
    pushes : dict
        Names to record before each statement.
    """

    def __init__(
        self,
        program: ir.Program,
        adjoints: Adjoints,
        fused: dict[ir.For, dict[str, float]],
        again: bool,
    ) -> None:
        self.program = program
        self.fused = fused
        self.known = adjoints.known
        self.indices = {s.index for s in ir.walk(program.statements) if isinstance(s, ir.For)}
        self.adjoints: dict[ir.Statement, Adjoint] = {}
        self._write_adjoints(program.statements, adjoints, {})
        self.again: dict[str, ir.Assign] = {}
        self._again_in: dict[Place, list[ir.Assign]] = {}
        if again:
            self._find_again(program)
        self.pushes: dict[ir.Statement, list[str]] = {}
        self._analyse(program.statements, set())

    def _write_adjoints(
        self, statements: list[ir.Statement], adjoints: Adjoints, seeds: dict[str, float]
    ) -> None:
        for s in statements:
            if isinstance(s, ir.Assign):
                self.adjoints[s] = adjoints.of(s, seeds.get(target_name(s)))
            elif isinstance(s, ir.Apply):
                self.adjoints[s] = adjoints.of_apply(s)
            inner = self.fused.get(s, {}) if isinstance(s, ir.For) else {}
            for block in ir.inner_blocks(s):
                self._write_adjoints(block, adjoints, {**seeds, **inner})

    # What is computed again.
    def _find_again(self, program: ir.Program) -> None:
        self._definitions: dict[str, list[ir.Assign]] = {}
        self._readers: dict[str, list[ir.Statement]] = {}
        for s in ir.walk(program.statements):
            if isinstance(s, ir.Assign) and isinstance(s.target, ir.Variable):
                self._definitions.setdefault(s.target.name, []).append(s)
            for name in read_by(s):
                self._readers.setdefault(name, []).append(s)
        self._in_result = ir.reads(program.result)
        self._again_within(program.statements, None, set())

    def _again_within(
        self, statements: list[ir.Statement], loop: ir.For | ir.While | None, ready: set[str]
    ) -> None:
        for s in statements:
            for k, block in enumerate(ir.inner_blocks(s)):
                around = s if isinstance(s, ir.For | ir.While) else loop
                if isinstance(s, ir.For) and s in self.fused:
                    around = None
                here = ready if isinstance(s, ir.If) else set()
                if around is not None:
                    here = here | ({s.index} if isinstance(s, ir.For) else set())
                    here = here | self._choose(block, around, (s, k), here)
                self._again_within(block, around, here)

    def _choose(
        self, block: list[ir.Statement], loop: ir.For | ir.While, place: Place, ready: set[str]
    ) -> set[str]:
        """The scalars to compute again in a block of a loop."""
        scalars, arrays = written([loop])
        inside = set(ir.walk(block))
        chosen: list[ir.Assign] = []
        found = set(ready)
        for s in block:
            if not isinstance(s, ir.Assign) or not isinstance(s.target, ir.Variable) or s.sign:
                continue
            name, needs = s.target.name, ir.reads(s.value)
            single = len(self._definitions[name]) == 1 and name not in needs | self._in_result
            if not single or not is_cheap(s.value):
                continue
            if any(r not in inside for r in self._readers.get(name, ())):
                continue
            if all(n in found or n not in scalars | arrays for n in needs):
                found.add(name)
                chosen.append(s)
                self.again[name] = s
        self._again_in[place] = chosen
        return found

    def expand(self, names: set[str]) -> tuple[set[str], set[str]]:
        """Names with those computed again replaced by what these read; and those."""
        kept, again, rest = set(), set(), list(names)
        while rest:
            name = rest.pop()
            if name not in self.again:
                kept.add(name)
            elif name not in again:
                again.add(name)
                rest += ir.reads(self.again[name].value)
        return (kept & self.known) - self.indices, again

    def again_lines(self, s: ir.Statement, k: int) -> list[ir.Assign]:
        """Assignments to repeat at the start of a block's way back."""
        block = ir.inner_blocks(s)[k]
        needed: set[str] = set()
        for x in ir.walk(block):
            if x in self.adjoints:
                needed |= self.adjoints[x].late | self.adjoints[x].early
            elif isinstance(x, ir.If):
                needed |= ir.reads(x.test)
            elif isinstance(x, ir.For):
                needed |= ir.reads(x.start) | ir.reads(x.stop)
        _, again = self.expand(needed)
        return [a for a in self._again_in.get((s, k), []) if target_name(a) in again]

    # What is recorded.
    def _analyse(self, statements: list[ir.Statement], needed: set[str]) -> set[str]:
        """Decide what to push; needed: names whose values now are read on the way back.

        Returns those after the statements.
        """
        for s in statements:
            if isinstance(s, ir.Assign | ir.Apply):
                needed = self._assignment(s, needed)
            elif isinstance(s, ir.If):
                needed = needed | self.expand(set(ir.reads(s.test)))[0]
                needed = self._analyse(s.body, needed) | self._analyse(s.orelse, needed)
            elif isinstance(s, ir.For) and s in self.fused:
                own = written(s.body)[0] - self.indices
                self.pushes[s] = sorted(own & needed)
                needed = needed - own
                self._analyse(s.body, set())
            elif isinstance(s, ir.For | ir.While):
                needed = self._loop(s, needed)
        return needed

    def _assignment(self, s: ir.Assign | ir.Apply, needed: set[str]) -> set[str]:
        adjoint = self.adjoints[s]
        early = self.expand(adjoint.early)[0]
        name = target_name(s) if isinstance(s, ir.Assign) else s.out
        is_scalar = isinstance(s, ir.Assign) and isinstance(s.target, ir.Variable)
        record = name in needed | early and self.again.get(name) is not s
        self.pushes[s] = [name] if record else []
        if record and isinstance(s, ir.Assign) and isinstance(s.target, ir.Element):
            adjoint.late |= set().union(*map(ir.reads, s.target.index))  # where to put it back
        late = self.expand(adjoint.late)[0]
        if is_scalar:
            needed, early = needed - {name}, early - {name}
        return needed | early | late

    def _loop(self, s: ir.For | ir.While, needed: set[str]) -> set[str]:
        self.pushes[s] = [s.rounds] if s.rounds and s.rounds in needed else []
        heads = {s.rounds} if s.rounds else set()
        if isinstance(s, ir.For):
            heads |= ir.reads(s.start) | (set() if s.rounds else ir.reads(s.stop))
        needed = needed | self.expand(heads)[0]
        while True:
            more = needed | self._analyse(s.body, needed)
            if more == needed:
                return needed
            needed = more
