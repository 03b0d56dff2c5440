"""Calls that make arrays, or views of arrays."""

from __future__ import annotations

import ast

import numpy as np

from fastvi.derivatives.builder import ONE, ZERO, widest
from fastvi.derivatives.ir import (
    Expression,
    Number,
    Operation,
)
from fastvi.derivatives.reductions import Reductions
from fastvi.derivatives.values import Array, Index, Known, Value

__all__ = ["Making"]

FIFTY = Number(50)  # what np.linspace gives by default


class Making(Reductions):
    """What each function that makes an array, or a view of one, becomes."""

    def _shape(self, value: Value, node: ast.AST) -> tuple[Expression, ...]:
        sizes = value if isinstance(value, list) else [value]
        return tuple(self.number(n, node) for n in sizes)

    def _dtype(self, dtype: Value | None, node: ast.AST, default: str = "float64") -> str:
        if dtype is None:
            return default
        try:
            given = np.dtype(dtype.value) if isinstance(dtype, Known) else None
        except TypeError:
            given = None
        if given is None or given.kind not in "fiub":
            self.refuse(f"{ast.unparse(node)}: this dtype", "use np.float64, np.int64 or np.bool_")
        return "bool_" if given.kind == "b" else str(given.name)

    def call_zeros(self, node: ast.Call, shape: Value, dtype: Value | None = None) -> Value:
        return self.allocate(self._shape(shape, node), True, "a", self._dtype(dtype, node))

    def call_empty(self, node: ast.Call, shape: Value, dtype: Value | None = None) -> Value:
        return self.allocate(self._shape(shape, node), False, "a", self._dtype(dtype, node))

    def call_ones(self, node: ast.Call, shape: Value, dtype: Value | None = None) -> Value:
        kind = self._dtype(dtype, node)
        return self._full(
            node, self._shape(shape, node), Number(1.0 if kind[0] == "f" else 1), kind
        )

    def call_full(
        self, node: ast.Call, shape: Value, fill_value: Value, dtype: Value | None = None
    ) -> Value:
        value = self.number(fill_value, node)
        usual = {"i": "int64", "b": "bool_"}.get(self.kind(value), "float64")
        return self._full(node, self._shape(shape, node), value, self._dtype(dtype, node, usual))

    def _full(
        self, node: ast.Call, shape: tuple[Expression, ...], value: Expression, dtype: str
    ) -> Array:
        made = self.allocate(shape, False, "a", dtype)
        self.fill(made, value)
        return made

    def call_zeros_like(self, node: ast.Call, a: Value) -> Value:
        return self._like(self._array(a, node), Number(0.0))

    def call_empty_like(self, node: ast.Call, a: Value) -> Value:
        return self._like(self._array(a, node), None)

    def call_ones_like(self, node: ast.Call, a: Value) -> Value:
        return self._like(self._array(a, node), Number(1.0))

    def call_full_like(self, node: ast.Call, a: Value, value: Value) -> Value:
        return self._like(self._array(a, node), self.number(value, node))

    def _like(self, a: Array, value: Number | Expression | None) -> Array:
        dtype = {"i": "int64", "b": "bool_"}.get(a.kind, "float64")
        made = self.allocate(a.shape, value == Number(0.0), "a", dtype)
        if value is not None and value != Number(0.0):
            self.fill(made, value)
        return made

    def call_arange(self, node: ast.Call, *ends: Value) -> Value:
        parts = [self.settled(self.number(e, node)) for e in ends]
        start, stop = (ZERO, parts[0]) if len(parts) == 1 else parts[:2]
        step = parts[2] if len(parts) == 3 else ONE
        if (
            any(self.kind(p) == "f" for p in parts)
            or not isinstance(step, Number)
            or step.value < 1
        ):
            self.refuse(f"{ast.unparse(node)} of floats or of a variable step", "use np.linspace")
        n = self._n_steps(start, stop, int(step.value))

        def element(i: Index) -> Expression:
            return self.operation("+", start, self.operation("*", step, i[0]))

        return Array((n,), element, "i", None, frozenset())

    def call_linspace(self, node: ast.Call, start: Value, stop: Value, num: Value = FIFTY) -> Value:
        first, last, n = (self.settled(self.number(v, node)) for v in (start, stop, num))
        gaps = self.operation("max", self.operation("-", n, ONE), ONE)
        step = self.temporary(self.operation("/", self.operation("-", last, first), gaps))

        def element(i: Index) -> Expression:
            return self.operation("+", first, self.operation("*", step, i[0]))

        return Array((n,), element, "f", None, frozenset())

    def call_eye(self, node: ast.Call, n: Value) -> Value:
        size = self.settled(self.number(n, node))

        def element(i: Index) -> Expression:
            return Operation("if", (Operation("==", i), Number(1.0), Number(0.0)))

        return Array((size, size), element, "f", None, frozenset())

    call_identity = call_eye

    def call_copy(self, node: ast.Call, a: Value) -> Value:
        return self.materialised(self._array(a, node), "copy")

    def call_array(self, node: ast.Call, a: Value) -> Value:
        if not isinstance(a, list) or not any(isinstance(v, list | Array) for v in a):
            return self.call_copy(node, a) if isinstance(a, Array) else self._array(a, node)
        rows = [self._array(v, node) for v in a]
        if any(row.ndim != 1 for row in rows):
            self.refuse(f"{ast.unparse(node)} of more than two axes", "fill an array by loops")
        kind = {"i": "int64", "b": "bool_"}.get(widest(*(row.kind for row in rows)), "float64")
        made = self.allocate((Number(len(rows)), rows[0].shape[0]), False, "a", kind)
        for k, row in enumerate(rows):
            place = Number(k)
            self.same_length(row.shape[0], made.shape[1])
            self.loop(made.shape[1], lambda j, row=row, place=place: self.put(  # type: ignore[misc]
                made, (place, j), row.element((j,))
            ))  # fmt: skip
        return made

    def call_asarray(self, node: ast.Call, a: Value) -> Value:
        return self._array(a, node)

    call_ascontiguousarray = call_asarray

    def call_astype(self, node: ast.Call, a: Value, dtype: Value) -> Value:
        kind = self._dtype(dtype, node)[0]
        return self.elementwise({"f": "float", "b": "bool"}.get(kind, "int"), node, a)

    def call_transpose(self, node: ast.Call, a: Value) -> Value:
        return self.transposed(self._array(a, node))

    def transposed(self, a: Array) -> Array:
        """A view with the axes in the other order."""
        return Array(a.shape[::-1], lambda i: a.element(i[::-1]), a.kind, a.base, a.uses)

    def call_reshape(self, node: ast.Call, a: Value, *shape: Value) -> Value:
        a = self.readable(self._array(a, node))
        sizes = self._shape(shape[0] if len(shape) == 1 else list(shape), node)
        known = [n for n in sizes if n != Number(-1)]
        total = self.size(a)
        count: Expression = ONE
        for n in known:
            count = self.operation("*", count, n) if count != ONE else n
        if len(known) < len(sizes):
            rest = self.settled(self.operation("//", total, count))
            sizes = tuple(rest if n == Number(-1) else self.settled(n) for n in sizes)
            count = self.operation("*", count, rest)
        sizes = tuple(self.settled(n) for n in sizes)
        self.check(self.operation("!=", count, total), "reshape to another number of elements")
        return Array(sizes, lambda i: a.element(self._unravel(self._ravel(i, sizes), a.shape)),
                     a.kind, a.base, a.uses)  # fmt: skip

    def call_ravel(self, node: ast.Call, a: Value) -> Value:
        a = self._array(a, node)
        return a if a.ndim == 1 else self.call_reshape(node, a, Number(-1))

    def call_copy_flat(self, node: ast.Call, a: Value) -> Value:
        return self.call_copy(node, self.call_ravel(node, a))

    def _ravel(self, index: Index, shape: tuple[Expression, ...]) -> Expression:
        k = index[0]
        for i, n in zip(index[1:], shape[1:]):
            k = self.operation("+", self.operation("*", k, n), i)
        return k

    def _unravel(self, k: Expression, shape: tuple[Expression, ...]) -> Index:
        if len(shape) == 1:
            return (k,)
        k = self.settled(k, "k")
        return (self.operation("//", k, shape[1]), self.operation("%", k, shape[1]))

    def call_diag(self, node: ast.Call, a: Value) -> Value:
        a = self.readable(self._array(a, node))
        if a.ndim == 2:
            n = self.settled(self.operation("min", *a.shape))
            return Array((n,), lambda i: a.element((i[0], i[0])), a.kind, a.base, a.uses)
        made = self.allocate((a.shape[0], a.shape[0]), True, "D")
        self.loop(a.shape[0], lambda i: self.put(made, (i, i), a.element((i,))))
        return made

    def call_trace(self, node: ast.Call, a: Value) -> Value:
        diagonal = self.call_diag(node, a)
        return self.call_sum(node, diagonal)

    def call_diff(self, node: ast.Call, a: Value) -> Value:
        a = self.readable(self._array(a, node))
        if a.ndim != 1:
            self.refuse(f"{ast.unparse(node)} of {a.ndim} axes", "use a loop")
        n = self.settled(self.operation("max", self.operation("-", a.shape[0], ONE), ZERO))

        def element(i: Index) -> Expression:
            return self.operation("-", a.element((self.operation("+", i[0], ONE),)), a.element(i))

        return Array((n,), element, a.kind, None, a.uses)

    def call_len(self, node: ast.Call, a: Value) -> Value:
        return Number(len(a)) if isinstance(a, list) else self._array(a, node).shape[0]

    def call_size(self, node: ast.Call, a: Value) -> Value:
        return self.size(self._array(a, node))

    def call_shape(self, node: ast.Call, a: Value) -> Value:
        return list(self._array(a, node).shape)
