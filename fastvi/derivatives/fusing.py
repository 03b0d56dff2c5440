"""Which loops are reversed on the spot, round by round, so that nothing is recorded for them.

A loop that only adds to totals can run each round forwards and backwards at once, if what it adds
to enters the result with a factor that is a number known now. It must not be left early; each
variable that it writes is private to a round, or a total that it does not read; it writes to no
array from outside (but may add to outputs); and no active input of it is assigned again later,
since that would take the input's adjoint away.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastvi.derivatives import ir
from fastvi.derivatives.flow import exposed, read_by, smooth, target_name, written

__all__ = ["fused_loops"]

Factors = dict[str, float | None]  # None: not a known number; absent: 0


@dataclass
class After:
    """What happens after a point: factors in the result, names read, names assigned."""

    factors: Factors
    read: set[str]
    assigned: set[str]

    def copy(self) -> After:
        """Another, that can change by itself."""
        return After(dict(self.factors), set(self.read), set(self.assigned))


def fused_loops(program: ir.Program, active: set[str]) -> dict[ir.For, dict[str, float]]:
    """The loops to fuse, with the factors of the totals that they add to."""
    finder = _Finder(program, active)
    factors = finder.linear(program.result)
    factors |= dict.fromkeys(program.outputs, 1.0)
    finder.block(program.statements, After(factors, set(ir.reads(program.result)), set()))
    return finder.found


class _Finder:
    """Walks backwards through statements, keeping what comes after."""

    def __init__(self, program: ir.Program, active: set[str]) -> None:
        self.outputs = set(program.outputs)
        self.active = active
        self.found: dict[ir.For, dict[str, float]] = {}
        # Outputs that are read may enter the result in other ways.
        for s in ir.walk(program.statements):
            value = s.value if isinstance(s, ir.Assign) else ir.Number(0)
            self.outputs -= ir.reads(value)

    def block(self, statements: list[ir.Statement], after: After) -> None:
        """Decide the loops among statements; `after` becomes what follows their start."""
        for s in reversed(statements):
            if isinstance(s, ir.If):
                other = after.copy()
                self.block(s.body, after)
                self.block(s.orelse, other)
                self._merge(after, other)
            elif isinstance(s, ir.For):
                self._decide(s, after)
            self._passed(s, after)

    def _merge(self, after: After, other: After) -> None:
        for name in after.factors.keys() | other.factors.keys():
            if after.factors.get(name, 0.0) != other.factors.get(name, 0.0):
                after.factors[name] = None
        after.read |= other.read
        after.assigned |= other.assigned

    def _passed(self, s: ir.Statement, after: After) -> None:
        """Move the point from after a statement to before it."""
        if isinstance(s, ir.Assign):
            self._assignment(s, after)
        elif isinstance(s, ir.For | ir.While):
            self._whole_loop(s, after)
        if isinstance(s, ir.If):
            after.read |= read_by(s)
            return  # its blocks have been passed
        early, sure = exposed([s])
        after.read = (after.read - sure) | early
        scalars, arrays = written([s])
        after.assigned |= scalars | arrays

    def _assignment(self, s: ir.Assign, after: After) -> None:
        name, factors = target_name(s), after.factors
        if name not in self.active:
            return
        sign = -1.0 if s.sign < 0 else 1.0
        if isinstance(s.target, ir.Variable):
            factor = factors.get(name, 0.0)
            if not s.sign:
                factors.pop(name, None)
        else:
            factor = self._of_output(s.target, not s.sign, factors)
        if factor == 0.0:
            return
        for n, c in self.linear(s.value).items():
            old = factors.get(n, 0.0)
            known = factor is not None and c is not None and old is not None
            factors[n] = old + sign * factor * c if known else None  # type: ignore[operator]

    def _of_output(self, target: ir.Element, replaces: bool, factors: Factors) -> float | None:
        """Factor of an element assigned to: 1 of an output that is not assigned again later."""
        name, index = target.array, target.index
        if name not in self.outputs:
            return None
        literal = all(isinstance(i, ir.Number) for i in index)
        here = f"{name}{index}"
        marks = {key for key in factors if key.startswith(f"{name}(")}
        factor = factors.get(name, 1.0)
        if here in marks or (marks and not literal):
            factor = None
        if replaces:
            factors[here if literal else name] = None
        return factor

    def _whole_loop(self, s: ir.For | ir.While, after: After) -> None:
        for x in ir.walk(s.body):
            if not isinstance(x, ir.Assign) or target_name(x) not in self.active:
                continue
            names = set(smooth(x.value)) & self.active
            if isinstance(x.target, ir.Element) or not x.sign:
                names.add(target_name(x))
            if isinstance(x.target, ir.Element) and x.sign and x.target.array in self.outputs:
                names.discard(x.target.array)
            after.factors.update(dict.fromkeys(names))

    def linear(self, e: ir.Expression) -> Factors:
        """Factors of the active names of an expression that is linear in them."""
        names = smooth(e) & self.active
        if not names:
            return {}
        if isinstance(e, ir.Variable):
            return {e.name: 1.0}
        if isinstance(e, ir.Operation) and e.name in ("+", "-", "neg"):
            signs = {"+": (1.0, 1.0), "-": (1.0, -1.0), "neg": (-1.0,)}[e.name]
            total: Factors = {}
            for a, sign in zip(e.args, signs):
                for n, c in self.linear(a).items():
                    old = total.get(n, 0.0)
                    total[n] = None if c is None or old is None else old + sign * c
            return total
        if isinstance(e, ir.Operation) and e.name in ("*", "/"):
            left, right = e.args
            if isinstance(right, ir.Number) and (e.name == "*" or right.value):
                scale = float(right.value) if e.name == "*" else 1.0 / float(right.value)
                return {n: None if c is None else c * scale for n, c in self.linear(left).items()}
            if isinstance(left, ir.Number) and e.name == "*":
                scale = float(left.value)
                return {n: None if c is None else c * scale for n, c in self.linear(right).items()}
        return dict.fromkeys(names)

    def _decide(self, loop: ir.For, after: After) -> None:
        seeds = self._seeds(loop, after)
        if seeds is None:
            return
        self.found[loop] = seeds
        outputs = {o: 1.0 for o in self.outputs if after.factors.get(o, 1.0) is not None}
        inner: Factors = {**seeds, **outputs}
        self.block(loop.body, After(inner, set(seeds), set()))

    def _seeds(self, loop: ir.For, after: After) -> dict[str, float] | None:
        """Factors of a loop's totals, or None if it cannot be fused."""
        if loop.leave:
            return None
        body = list(ir.walk(loop.body))
        assignments = [s for s in body if isinstance(s, ir.Assign)]
        if not any(target_name(s) in self.active for s in assignments):
            return None
        scalars, arrays = written(loop.body)
        early, _ = exposed(loop.body)
        own = {s.name for s in body if isinstance(s, ir.Allocate)}
        seeds: dict[str, float] = {}
        for name in scalars & (early | after.read):
            factor = after.factors.get(name, 0.0)
            if factor is None or not self._is_total(name, body):
                return None
            seeds[name] = factor
        for name in arrays - own:
            if name not in self.outputs or not self._is_output_total(name, assignments, after):
                return None
        inputs = set().union(*(smooth(s.value) for s in assignments)) & self.active
        if own & after.read or (inputs - scalars - own) & after.assigned:
            return None
        return seeds

    def _is_total(self, name: str, body: list[ir.Statement]) -> bool:
        """Whether a scalar is only added to, and read nowhere."""
        for s in body:
            if isinstance(s, ir.Assign) and target_name(s) == name:
                if not s.sign or name in ir.reads(s.value):
                    return False
            elif name in read_by(s):
                return False
            if isinstance(s, ir.For | ir.While) and name in written([s])[0] - written(s.body)[0]:
                return False
        return True

    def _is_output_total(self, name: str, assignments: list[ir.Assign], after: After) -> bool:
        marks = any(key.startswith(f"{name}(") for key in after.factors)
        return (
            all(s.sign for s in assignments if target_name(s) == name)
            and not marks
            and after.factors.get(name, 1.0) == 1.0
        )
