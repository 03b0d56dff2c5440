"""Calls of densities that are summed over arrays or rows."""

from __future__ import annotations

import ast
import inspect
import types

from fastvi.derivatives.ir import Expression, Number, Variable
from fastvi.derivatives.matrices import Matrices
from fastvi.derivatives.values import Array, ByRows, Closure, Summed, Value, row

__all__ = ["Sums"]


class Sums(Matrices):
    """Lowers the sums of densities, see `fastvi.densities`."""

    def called(self, function: types.FunctionType | Closure, node: ast.Call,
               args: list[Value], keys: dict[str, Value]) -> Value:  # fmt: skip
        """Lower the call of a Python function."""
        raise NotImplementedError

    def summed(
        self, density: Summed, node: ast.Call, args: list[Value], keys: dict[str, Value]
    ) -> Value:
        """The sum of a density of numbers over arrays."""
        function = density.of_numbers
        values = self._arguments(function, node, args, keys)
        parts = [v if isinstance(v, Array) else self.number(v, node) for v in values]
        if not any(isinstance(p, Array) for p in parts):
            return self.called(function, node, values, {})

        def at(*numbers: Expression) -> Expression:
            return self.number(self.called(function, node, list(numbers), {}), node)

        return self.sum_over(self.lift(at, "f", *parts), None)

    def _arguments(
        self,
        function: types.FunctionType,
        node: ast.Call,
        args: list[Value],
        keys: dict[str, Value],
    ) -> list[Value]:
        """The arguments of a density in their order."""
        names = list(inspect.signature(function).parameters)
        given = dict(zip(names, args)) | keys
        if set(given) != set(names) or len(args) + len(keys) != len(names):
            self.refuse(f"{ast.unparse(node)} does not fit", f"give {', '.join(names)}")
        return [given[n] for n in names]

    def by_rows(
        self, density: ByRows, node: ast.Call, args: list[Value], keys: dict[str, Value]
    ) -> Value:
        """The sum over rows of a density whose last argument is a vector, or one for each row."""
        function = density.of_row
        *values, last = self._arguments(function, node, args, keys)
        vector = self.readable(self._array(last, node))
        numbers = [v if isinstance(v, Array) else self.number(v, node) for v in values]
        axes = [v.ndim if isinstance(v, Array) else 0 for v in numbers]
        if max(axes) > 1 or vector.ndim > 2:
            self.refuse(
                f"{ast.unparse(node)} is given matrices of numbers",
                "give numbers or vectors, and last a vector, or a matrix with a row for each",
            )
        matrices = [vector] if vector.ndim == 2 else []
        long = [v.shape[0] for v in [*numbers, *matrices] if isinstance(v, Array)]
        if not long:
            return self.called(function, node, [*numbers, vector], {})
        for n in long[1:]:
            self.same_length(n, long[0])
        total = self.fresh("sum")
        self.assign(total, Number(0.0))

        def add(i: Expression) -> None:
            parts = [v.element((i,)) if isinstance(v, Array) else v for v in numbers]
            own = row(vector, i) if vector.ndim == 2 else vector
            at = self.called(function, node, [*parts, own], {})
            self.assign(total, self.number(at, node), 1)

        self.loop(long[0], add)
        return Variable(total)
