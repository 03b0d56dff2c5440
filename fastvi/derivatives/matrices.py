"""Calls of linear algebra."""

from __future__ import annotations

import ast

from fastvi.derivatives.ir import (
    Apply,
    Expression,
)
from fastvi.derivatives.making import Making
from fastvi.derivatives.values import Array, Index, Value

__all__ = ["Matrices"]


class Matrices(Making):
    """What each function of linear algebra becomes."""

    def call_dot(self, node: ast.Call, a: Value, b: Value) -> Value:
        if not isinstance(a, Array) and not isinstance(b, Array):
            return self.operation("*", self.number(a, node), self.number(b, node))
        return self.product(self._array(a, node), self._array(b, node))

    call_vdot = call_dot

    def call_outer(self, node: ast.Call, a: Value, b: Value) -> Value:
        x, y = (self.readable(self._array(v, node)) for v in (a, b))
        if x.ndim != 1 or y.ndim != 1:
            self.refuse(f"{ast.unparse(node)} of {x.ndim} and {y.ndim} axes", "give vectors")

        def element(i: Index) -> Expression:
            return self.operation("*", x.element(i[:1]), y.element(i[1:]))

        return Array(x.shape + y.shape, element, "f", None, x.uses | y.uses)

    def call_cholesky(self, node: ast.Call, a: Value) -> Value:
        a = self.materialised(self._array(a, node), "K")
        if a.ndim != 2 or a.base is None:
            self.refuse(f"{ast.unparse(node)} of {a.ndim} axes", "give a matrix")
        made = self.allocate(a.shape, False, "L")
        assert made.base is not None
        self.emit(Apply("cholesky", made.base, (a.base,), self.line))
        return made
