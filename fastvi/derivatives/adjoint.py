"""The adjoint of one statement, as lines of source.

Names that begin or end with two underscores belong to the reverser: ``x__b`` is the adjoint of x,
``q__1`` a number within the adjoint of one statement.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from fastvi.derivatives import functions, ir
from fastvi.derivatives.errors import NotDifferentiable
from fastvi.derivatives.flow import smooth, target_name

__all__ = ["Adjoint", "Adjoints"]

NAME = re.compile(r"[A-Za-z_]\w*")


@dataclass
class Adjoint:
    """Lines before a statement's target gets its old value back, and lines after.

    `late` and `early` are the names that they read: as they are after the statement, and before.
    """

    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    late: set[str] = field(default_factory=set)
    early: set[str] = field(default_factory=set)


class Adjoints:
    """Writes the adjoints of a program's statements."""

    def __init__(self, active: set[str], slopes: dict[str, str], known: set[str]) -> None:
        """slopes: names of the adjoints of arguments; known: variables and local arrays."""
        self.active = active
        self.slopes = slopes
        self.known = known
        self._count = 0

    def bar(self, name: str) -> str:
        """The adjoint of a variable or array."""
        return self.slopes.get(name, f"{name}__b")

    def is_active(self, e: ir.Expression) -> bool:
        """Whether an expression depends on the arguments with a derivative."""
        return bool(smooth(e) & self.active)

    def of_result(self, e: ir.Expression) -> list[str]:
        """Lines that seed the adjoints of what the result is computed from."""
        lines: list[str] = []
        self.back(e, "1.0", lines)
        return lines

    def of(self, s: ir.Assign, seed: float | None) -> Adjoint:
        """The adjoint of an assignment; seed is its target's adjoint where that is one number."""
        found = Adjoint()
        name = target_name(s)
        if name not in self.active or (s.sign and not self.is_active(s.value)):
            return found
        try:
            if s.sign:
                self._of_sum(s, seed, found)
            else:
                self._of_assignment(s, found)
        except NotDifferentiable as error:
            raise NotDifferentiable(f"line {s.line}: {error}") from None
        if isinstance(s.target, ir.Element):
            found.late |= set().union(*map(ir.reads, s.target.index))
        found.late |= self.read(found.before)
        found.early |= self.read(found.after)
        return found

    def read(self, lines: list[str]) -> set[str]:
        """Variables and arrays of the program that lines read."""
        return {word for line in lines for word in NAME.findall(line) if word in self.known}

    def _target_bar(self, s: ir.Assign) -> str:
        if isinstance(s.target, ir.Variable):
            return self.bar(s.target.name)
        return f"{self.bar(s.target.array)}[{', '.join(map(ir.text, s.target.index))}]"

    def _of_sum(self, s: ir.Assign, seed: float | None, found: Adjoint) -> None:
        start = self._target_bar(s)
        if seed is not None:
            start = repr(seed)
        elif isinstance(s.target, ir.Element):
            start = self.temporary(start, found.after)
        self.back(s.value, start if s.sign > 0 else negative(start), found.after)

    def _of_assignment(self, s: ir.Assign, found: Adjoint) -> None:
        bar = self._target_bar(s)
        if not self.is_active(s.value):
            found.after.append(f"{bar} = 0.0")
            return
        seed = self.temporary(bar, found.before)
        found.before.append(f"{bar} = 0.0")
        call = s.value
        of_result = isinstance(call, ir.Operation) and any(
            "{v}" in part for part in functions.SMOOTH.get(call.name, ())
        )
        if of_result and isinstance(s.target, ir.Variable):
            assert isinstance(call, ir.Operation)
            self._function(call, seed, found.before, s.target.name)
        else:
            self.back(s.value, seed, found.after)

    def temporary(self, value: str, lines: list[str]) -> str:
        """A new name for a number."""
        self._count += 1
        lines.append(f"q__{self._count} = {value}")
        return f"q__{self._count}"

    def give(self, e: ir.Expression, value: str, lines: list[str]) -> None:
        """Add a value to the adjoint of an expression."""
        if not self.is_active(e):
            return
        if isinstance(e, ir.Variable):
            lines.append(f"{self.bar(e.name)} += {value}")
        elif isinstance(e, ir.Element):
            index = ", ".join(map(ir.text, e.index))
            lines.append(f"{self.bar(e.array)}[{index}] += {value}")
        else:
            self.back(e, self.temporary(value, lines), lines)

    def back(self, e: ir.Expression, seed: str, lines: list[str]) -> None:
        """Lines that give the seed, a name or a number, to what an expression depends on."""
        if not self.is_active(e):
            return
        if not isinstance(e, ir.Operation):
            self.give(e, seed, lines)
        elif e.name == "neg":
            self.back(e.args[0], negative(seed), lines)
        elif e.name in ("+", "-"):
            self.back(e.args[0], seed, lines)
            self.back(e.args[1], seed if e.name == "+" else negative(seed), lines)
        elif e.name == "if":
            test, first, second = e.args
            self.give(first, f"{seed} if {ir.text(test)} else 0.0", lines)
            self.give(second, f"0.0 if {ir.text(test)} else {seed}", lines)
        elif e.name in functions.ELEMENTWISE:
            self._function(e, seed, lines, "")
        else:
            self._operator(e, seed, lines)

    def _operator(self, e: ir.Operation, seed: str, lines: list[str]) -> None:
        left, right = e.args
        if e.name == "*":
            if left == right:
                self.give(left, product(seed, f"2.0 * {ir.operand(left)}"), lines)
                return
            self.give(left, product(seed, ir.operand(right)), lines)
            self.give(right, product(seed, ir.operand(left)), lines)
        elif e.name == "/":
            part = self.temporary(f"{seed} / {ir.operand(right)}", lines)
            self.give(left, part, lines)
            self.give(right, f"-{part} * ({ir.text(left)}) / {ir.operand(right)}", lines)
        elif e.name == "**" and isinstance(right, ir.Number):
            lower = ir.operand(ir.Operation("**", (left, ir.Number(right.value - 1))))
            if right.value == 2:
                lower = ir.operand(left)
            self.give(left, product(seed, f"{float(right.value)!r} * {lower}"), lines)
        elif e.name == "%" and not self.is_active(right):
            self.give(left, seed, lines)
        else:
            raise NotDifferentiable(
                f"{ir.text(e)} has no derivative here; write it with +, -, *, / and powers"
            )

    def _function(self, e: ir.Operation, seed: str, lines: list[str], result: str) -> None:
        args = [ir.operand(a) for a in e.args]
        if e.name not in functions.SMOOTH:
            raise NotDifferentiable(f"{e.name} has no derivative here; leave it out of the density")
        for a, part in zip(e.args, functions.SMOOTH[e.name]):
            self.give(a, part.format(*args, s=seed, v=result), lines)

    def of_apply(self, s: ir.Apply) -> Adjoint:
        """The adjoint of a function of whole arrays."""
        if s.out not in self.active:
            return Adjoint()
        bars = {f"b{k}": self.bar(a) for k, a in enumerate(s.arrays)}
        rule = functions.ARRAY[s.function]
        lines = [rule.first] * bool(rule.first)
        lines += [line for a, line in zip(s.arrays, rule.each) if a in self.active]
        found = Adjoint([line.format(*s.arrays, v=s.out, v_bar=self.bar(s.out), **bars)
                         for line in lines])  # fmt: skip
        found.before.append(f"{self.bar(s.out)}.fill(0.0)")
        found.late |= self.read(found.before)
        return found


def negative(seed: str) -> str:
    """Minus a name or a number."""
    return seed[1:] if seed.startswith("-") else f"-{seed}"


def product(seed: str, factor: str) -> str:
    """A seed times a factor."""
    if seed == "1.0":
        return factor
    return f"-({factor})" if seed == "-1.0" else f"{seed} * {factor}"
