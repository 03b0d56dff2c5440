"""Calls that reduce arrays: sums, means, extremes, products of elements, truth of all or any."""

from __future__ import annotations

import ast

from fastvi.derivatives.builder import ONE
from fastvi.derivatives.calls import Calls
from fastvi.derivatives.ir import (
    Expression,
    Number,
    Variable,
)
from fastvi.derivatives.values import Array, Index, Value

__all__ = ["Reductions"]


class Reductions(Calls):
    """What each function that reduces an array becomes."""

    def call_sum(self, node: ast.Call, a: Value, axis: Value | None = None) -> Value:
        if isinstance(a, Expression):
            return a
        a = self._array(a, node)
        return self.sum_over(a, self.axis(axis, a, node))

    call_total = call_sum

    def call_mean(self, node: ast.Call, a: Value, axis: Value | None = None) -> Value:
        a = self._array(a, node)
        along = self.axis(axis, a, node)
        return self._over_count(self.sum_over(a, along), a, along)

    def _over_count(
        self, total: Expression | Array, a: Array, axis: int | None
    ) -> Expression | Array:
        n = a.shape[axis] if axis is not None else self.size(a)
        if isinstance(total, Array):
            return self.lift(lambda x, y: self.operation("/", x, y), "f", total, n)
        return self.operation("/", total, n)

    def size(self, a: Array) -> Expression:
        """Number of elements."""
        n: Expression = ONE
        for k, length in enumerate(a.shape):
            n = length if k == 0 else self.operation("*", n, length)
        return n

    def call_var(self, node: ast.Call, a: Value, axis: Value | None = None) -> Value:
        a = self.readable(self._array(a, node))
        along = self.axis(axis, a, node)
        mean = self._over_count(self.sum_over(a, along), a, along)
        if isinstance(mean, Array):
            shape = (*mean.shape[:along], ONE, *mean.shape[along:])
            kept = self.materialised(mean, "mean")

            def spread(index: Index) -> Expression:
                return kept.element((*index[:along], *index[along + 1 :]))  # type: ignore[operator]

            mean = Array(shape, spread, "f", kept.base, kept.uses)

        def squared(x: Expression, m: Expression) -> Expression:
            return self.power(self.operation("-", x, m), Number(2))

        squares = self.lift(squared, "f", a, mean)
        return self._over_count(self.sum_over(squares, along), a, along)

    def call_std(self, node: ast.Call, a: Value, axis: Value | None = None) -> Value:
        return self.elementwise("sqrt", node, self.call_var(node, a, axis))

    def call_amax(self, node: ast.Call, a: Value, axis: Value | None = None) -> Value:
        a = self._array(a, node)
        return self.largest(a, self.axis(axis, a, node), "max")

    def call_amin(self, node: ast.Call, a: Value, axis: Value | None = None) -> Value:
        a = self._array(a, node)
        return self.largest(a, self.axis(axis, a, node), "min")

    def _extreme(self, name: str, node: ast.Call, args: tuple[Value, ...]) -> Value:
        if len(args) == 1:
            return self.largest(self._array(args[0], node), None, name)
        best = self.number(args[0], node)
        for a in args[1:]:
            best = self.applied(name, best, self.number(a, node))
        return best

    def call_max(self, node: ast.Call, *args: Value) -> Value:
        return self._extreme("max", node, args)

    def call_min(self, node: ast.Call, *args: Value) -> Value:
        return self._extreme("min", node, args)

    def call_cumsum(self, node: ast.Call, a: Value) -> Value:
        a = self._array(a, node)
        if a.ndim != 1:
            self.refuse(f"{ast.unparse(node)} of {a.ndim} axes", "use a loop")
        made = self.allocate(a.shape, False, "cum", "float64" if a.kind == "f" else "int64")
        total = self.fresh("sum")
        self.assign(total, Number(0.0 if a.kind == "f" else 0))

        def add(i: Expression) -> None:
            self.assign(total, a.element((i,)), 1)
            self.put(made, (i,), Variable(total))

        self.loop(a.shape[0], add)
        return made

    def call_prod(self, node: ast.Call, a: Value) -> Value:
        a = self._array(a, node)
        total = self.fresh("prod")
        self.assign(total, Number(1.0))
        one = Variable(total)
        self.nest(a.shape, lambda i: self.assign(total, self.operation("*", one, a.element(i))))
        return one

    def _truth(self, node: ast.Call, a: Value, name: str) -> Value:
        a = self._array(a, node)
        found = self.fresh("truth")
        self.assign(found, Number(name == "and"))
        one = Variable(found)
        self.nest(
            a.shape, lambda i: self.assign(found, self.operation(name, one, a.element(i)), 0, "b")
        )
        return one

    def call_any(self, node: ast.Call, a: Value) -> Value:
        return self._truth(node, a, "or")

    def call_all(self, node: ast.Call, a: Value) -> Value:
        return self._truth(node, a, "and")
