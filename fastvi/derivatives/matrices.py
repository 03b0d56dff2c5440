"""Calls of linear algebra."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from fastvi.derivatives.builder import ONE, ZERO
from fastvi.derivatives.ir import Apply, Expression, Number
from fastvi.derivatives.making import Making
from fastvi.derivatives.values import Array, Index, Known, Value

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
        K = self._matrix(a, node)
        return self._apply("cholesky", K.shape, "L", K)

    def call_inv(self, node: ast.Call, a: Value) -> Value:
        A = self._matrix(a, node)
        return self._apply("inv", A.shape, "inverse", A)

    def call_slogdet(self, node: ast.Call, a: Value) -> Value:
        return list(self._slogdet(a, node))

    def _slogdet(self, a: Value, node: ast.Call) -> tuple[Expression, Expression]:
        both = self._apply("slogdet", (Number(2),), "slogdet", self._matrix(a, node))
        sign, logarithm = (self.temporary(both.element((Number(k),))) for k in range(2))
        return sign, logarithm

    def call_det(self, node: ast.Call, a: Value) -> Value:
        sign, logarithm = self._slogdet(a, node)
        return self.operation("*", sign, self.applied("exp", logarithm))

    def call_normal_of_matrix(self, node: ast.Call, a: Value, b: Value) -> Value:
        K, given = self._matrix(a, node), self._array(b, node)
        self.same_length(given.shape[0], K.shape[0])
        y = self.allocate(K.shape[:1], False, "y")
        self.fill(y, given)
        n = K.shape[0]
        after = self.settled(self.operation("+", n, ONE))
        rows = self.settled(self.operation("+", n, Number(2)))
        columns = self.settled(self.operation("max", n, ONE))  # the value has a place without rows
        found = self._apply("normal", (rows, columns), "normal", K, y)
        return self.temporary(found.element((after, ZERO)))

    def call_solve(self, node: ast.Call, a: Value, b: Value) -> Value:
        return self._solved("solve", node, a, b)

    def call_solve_triangular(
        self,
        node: ast.Call,
        a: Value,
        b: Value,
        trans: Value = Number(0),  # noqa: B008
        lower: Value = Number(False),  # noqa: B008
        unit_diagonal: Value = Number(False),  # noqa: B008
    ) -> Value:
        given = lower, trans, unit_diagonal
        flags: list[Any] = [f.value if isinstance(f, Known | Number) else None for f in given]
        flags[1] = {"N": 0, "T": 1}.get(flags[1], flags[1])
        if any(f not in (0, 1) for f in flags):
            self.refuse(
                f"{ast.unparse(node)}: lower, trans and unit_diagonal are not literals",
                "write True or False",
            )
        name = "triangular" + "".join(str(int(f)) for f in flags)
        return self._solved(name, node, a, b)

    def _matrix(self, a: Value, node: ast.Call) -> Array:
        """A square matrix in memory, copied."""
        given = self._array(a, node)
        if given.ndim != 2:
            self.refuse(f"{ast.unparse(node)} of {given.ndim} axes", "give a matrix")
        self.same_length(given.shape[1], given.shape[0])
        made = self.allocate((given.shape[0], given.shape[0]), False, "A")
        self.fill(made, given)
        return made

    def _solved(self, name: str, node: ast.Call, a: Value, b: Value) -> Array:
        """The solution of a linear system, for a vector or the columns of a matrix."""
        A, given = self._matrix(a, node), self._array(b, node)
        self.same_length(given.shape[0], A.shape[0])
        column = given if given.ndim == 2 else Array(
            (*given.shape, ONE), lambda i: given.element(i[:1]), given.kind, None, given.uses
        )  # fmt: skip
        right = self.allocate((A.shape[0], *column.shape[1:]), False, "B")
        self.fill(right, column)
        x = self._apply(name, right.shape, "x", A, right)
        if given.ndim == 2:
            return x
        return Array(x.shape[:1], lambda i: x.element((*i, ZERO)), "f", x.base, x.uses)

    def _apply(self, name: str, shape: Sequence[Expression], stem: str, *arrays: Array) -> Array:
        """Emit a function of whole arrays."""
        made = self.allocate(shape, False, stem)
        self.emit(Apply(name, str(made.base), tuple(str(a.base) for a in arrays), self.line))
        return made
