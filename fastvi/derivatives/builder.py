"""The state of lowering: statements made so far, names, kinds of numbers, refusals."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

from fastvi.derivatives import functions, ir
from fastvi.derivatives.errors import NotDifferentiable
from fastvi.derivatives.values import Array, Frame, Index, Value, in_memory

__all__ = ["Builder"]

T = TypeVar("T")
ORDER = {"b": 0, "i": 1, "f": 2}
TRUTH = frozenset(("<", "<=", ">", ">=", "==", "!=", "and", "or", "not"))
FOLDED: dict[str, Callable[..., Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
    "//": operator.floordiv, "%": operator.mod, "**": operator.pow, "<": operator.lt,
    "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq,
    "!=": operator.ne, "min": min, "max": max,
}  # fmt: skip
ZERO, ONE = ir.Number(0), ir.Number(1)


def widest(*kinds: str) -> str:
    """The kind that holds all of these."""
    return max(kinds, key=ORDER.__getitem__)


class Builder:
    """Collects statements; the classes above it know how to lower what."""

    def __init__(
        self,
        fixed: dict[str, tuple[int, str]],
        outputs: tuple[str, ...] = (),
        expected: dict[str, str] | None = None,
    ) -> None:
        """fixed: axes and kind of each argument's arrays and numbers; outputs: those written.

        expected: kinds of scalars, from an earlier round. A scalar's kind may turn out to be wider
        after it has been read, in a loop; `widened` says that it did.
        """
        self.fixed = fixed
        self.kinds: dict[str, str] = dict(expected or {})
        self.kinds |= {n: kind for n, (ndim, kind) in fixed.items() if not ndim}
        self.widened = False
        self.local: dict[str, tuple[int, str]] = {}
        self.outputs = outputs
        self.once: set[str] = set(fixed) - set(
            outputs
        )  # names that never change once they have a value
        self.block: list[ir.Statement] = []
        self.level = 0
        self.line = 0
        self.frame: Frame
        self.stack: list[Frame] = []
        self.indices: list[str] = []
        self.ended_indices: set[str] = set()
        self._used: set[str] = set(functions.scope()) | {"result", "stack", "top", "data"}
        self._used |= {n for n in fixed if n.isidentifier()}
        self._counts: dict[str, int] = {}

    # What the classes above define.
    def expression(self, node: ast.expr) -> Value:
        """Lower an expression."""
        raise NotImplementedError

    def refuse(self, what: str, instead: str) -> NoReturn:
        """Say that something is not differentiated, where, and what to write instead."""
        raise NotDifferentiable(f"{self.frame.label}, line {self.line}: {what}; {instead}")

    def unique(self, stem: str) -> str:
        """A new name, without double underscores, which the reverser keeps for itself."""
        stem = stem.replace("__", "_0")
        name = stem
        while name in self._used:
            self._counts[stem] = self._counts.get(stem, 0) + 1
            name = f"{stem}_{self._counts[stem]}"
        self._used.add(name)
        return name

    def fresh(self, stem: str) -> str:
        """A new name that no user has chosen."""
        self._used.add(stem)
        return self.unique(stem)

    def emit(self, statement: ir.Statement) -> None:
        """Add a statement."""
        self.block.append(statement)

    def aside(self, lower: Callable[[], T]) -> tuple[list[ir.Statement], T]:
        """What lowering something gives, and its statements, which are not added."""
        outer, self.block = self.block, []
        try:
            value = lower()
            return self.block, value
        finally:
            self.block = outer

    def assign(self, name: str, value: ir.Expression, sign: int = 0, kind: str = "") -> None:
        """Emit an assignment to a scalar."""
        kind = kind or self.kind(value)
        known = self.kinds.get(name, kind)
        self.kinds[name] = widest(kind, known)
        self.widened |= self.kinds[name] != known
        self.emit(ir.Assign(ir.Variable(name), value, sign, self.line))

    def temporary(self, value: ir.Expression, stem: str = "t") -> ir.Variable:
        """A new scalar of that value."""
        name = self.fresh(stem)
        self.assign(name, value)
        self.once.add(name)
        return ir.Variable(name)

    def is_settled(self, e: ir.Expression) -> bool:
        """Whether an expression reads only what does not change, at least during this round."""
        return not isinstance(e, ir.Operation) and ir.reads(e) <= self.once.union(self.indices)

    def settled(self, e: ir.Expression, stem: str = "n") -> ir.Expression:
        """An expression of the same value that may be read again later."""
        return e if self.is_settled(e) else self.temporary(e, stem)

    def simple(self, e: ir.Expression, stem: str = "t") -> ir.Expression:
        """An expression of the same value that costs nothing to read twice now."""
        return e if isinstance(e, ir.Variable | ir.Number) else self.temporary(e, stem)

    def kind(self, e: ir.Expression) -> str:
        """Kind of an expression's value."""
        if isinstance(e, ir.Number):
            return "b" if isinstance(e.value, bool) else "i" if isinstance(e.value, int) else "f"
        if isinstance(e, ir.Variable):
            return self.kinds.get(e.name, "f")
        if isinstance(e, ir.Element):
            return (self.local.get(e.array) or self.fixed[e.array])[1]
        if isinstance(e, ir.Size):
            return "i"
        return self._operation_kind(e)

    def _operation_kind(self, e: ir.Operation) -> str:
        if e.name in TRUTH:
            return "b"
        if e.name in functions.RESULT_KINDS:
            return functions.RESULT_KINDS[e.name]
        if e.name == "/" or (e.name in functions.ELEMENTWISE - functions.SAME_KIND):
            return "f"
        args = e.args[1:] if e.name == "if" else e.args
        kinds = [self.kind(a) for a in args]
        return widest(*kinds) if e.name in ir.BITWISE else widest(*kinds, "i")

    def operation(self, name: str, *args: ir.Expression) -> ir.Expression:
        """An operation, computed now if its arguments are numbers."""
        values = [a.value for a in args if isinstance(a, ir.Number)]
        if len(values) == len(args):
            folded = self._fold(name, values)
            if folded is not None:
                return folded
        if name == "neg" and isinstance(args[0], ir.Operation) and args[0].name == "neg":
            return args[0].args[0]
        if name in ("+", "-") and args[1] == ZERO:
            return args[0]
        if name == "+" and args[0] == ZERO:
            return args[1]
        return ir.Operation(name, args)

    def _fold(self, name: str, values: list[Any]) -> ir.Number | None:
        try:
            if name == "neg":
                return ir.Number(-values[0])
            if name == "not":
                return ir.Number(not values[0])
            if name == "edge":
                i, n = values
                return ir.Number(min(max(i if i >= 0 else i + n, 0), n))
            if name in FOLDED:
                value = FOLDED[name](*values)
                return ir.Number(value) if isinstance(value, bool | int | float) else None
        except ArithmeticError:
            pass
        return None

    def check(self, test: ir.Expression, message: str) -> None:
        """Emit a check, unless it is known to pass."""
        if isinstance(test, ir.Number) and not test.value:
            return
        where = f"{self.frame.label}, line {self.line}: {message}"
        self.emit(ir.Check(test, f"ValueError({where!r})", self.line))

    def loop(
        self, stop: ir.Expression, body: Callable[[ir.Expression], None], stem: str = "i"
    ) -> None:
        """Emit a loop from 0 to stop and what body(index) emits within."""
        index = self.fresh(stem)
        self.kinds[index] = "i"
        loop = ir.For(index, ZERO, self.settled(stop), 1, [], self.line)
        self.indices.append(index)
        loop.body, _ = self.aside(lambda: body(ir.Variable(index)))
        self.indices.pop()
        self.emit(loop)

    def nest(self, shape: Sequence[ir.Expression], body: Callable[[Index], None]) -> None:
        """Emit loops over all indices of a shape, and what body(indices) emits within."""

        def within(index: Index) -> None:
            if len(index) == len(shape):
                body(index)
            else:
                self.loop(shape[len(index)], lambda i: within((*index, i)))

        within(())

    def allocate(
        self, shape: Sequence[ir.Expression], zeros: bool, stem: str, dtype: str = "float64"
    ) -> Array:
        """Emit a new local array."""
        name = self.fresh(stem)
        sizes = tuple(self.settled(n) for n in shape)
        kind = {"f": "f", "b": "b"}.get(dtype[0], "i")
        self.local[name] = len(sizes), kind
        self.emit(ir.Allocate(name, sizes, zeros, dtype, self.line))
        return in_memory(name, sizes, kind)
