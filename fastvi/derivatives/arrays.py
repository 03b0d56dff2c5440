"""Array expressions, lowered to loops over single elements."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

from fastvi.derivatives import ir
from fastvi.derivatives.builder import ONE, ZERO, Builder
from fastvi.derivatives.values import Array, Index, Value

__all__ = ["Arrays"]

WANTED = "write it with loops over single elements"


class Arrays(Builder):
    """Indexing, broadcasting, copies, sums and products of arrays."""

    def argument(self, name: str) -> Array:
        """An argument's array."""
        ndim, kind = self.fixed[name]
        shape = tuple(ir.Size(name, axis) for axis in range(ndim))
        uses = frozenset((name,))
        return Array(shape, lambda index: ir.Element(name, index), kind, name, uses)

    def scalar(self, node: ast.expr) -> ir.Expression:
        """Lower an expression that must be a number."""
        return self.number(self.expression(node), node)

    def number(self, value: Value, node: ast.AST) -> ir.Expression:
        """A value that must be a number."""
        if isinstance(value, Array) and not value.ndim:
            return value.element(())
        if not isinstance(value, ir.Expression):
            self.refuse(
                f"{ast.unparse(node)} is not a number", "use a number here, such as an element"
            )
        return value

    def materialised(self, a: Array, stem: str) -> Array:
        """A new local array with the elements of another."""
        made = self.allocate(
            a.shape, False, stem, {"i": "int64", "b": "bool_"}.get(a.kind, "float64")
        )
        self.nest(made.shape, lambda index: self.put(made, index, a.element(index)))
        return made

    def put(self, target: Array, index: Index, value: ir.Expression, sign: int = 0) -> None:
        """Emit an assignment to an element of a view."""
        element = target.element(index)
        assert isinstance(element, ir.Element)
        self.emit(ir.Assign(element, value, sign, self.line))

    def readable(self, a: Array, stem: str = "a") -> Array:
        """An array whose elements can be read often at no cost."""
        return a if a.base else self.materialised(a, stem)

    # Broadcasting.
    def lift(
        self, f: Callable[..., ir.Expression], kind: str, *args: ir.Expression | Array
    ) -> Array:
        """The array of f of the elements of arrays and numbers, broadcast as NumPy does."""
        arrays = [a for a in args if isinstance(a, Array)]
        shape = self.broadcast([a.shape for a in arrays])
        parts = [self._stretched(a, shape) if isinstance(a, Array) else self.settled(a, "s")
                 for a in args]  # fmt: skip

        def element(index: Index) -> ir.Expression:
            return f(*(p.element(index) if isinstance(p, Array) else p for p in parts))

        return Array(shape, element, kind, None, frozenset().union(*(a.uses for a in arrays)))

    def broadcast(self, shapes: Sequence[tuple[ir.Expression, ...]]) -> tuple[ir.Expression, ...]:
        """The shape of several arrays together; emits checks where they might not fit."""
        ndim = max(map(len, shapes))
        result = []
        for axis in range(-ndim, 0):
            sizes = [s[axis] for s in shapes if len(s) >= -axis]
            long = [n for n in sizes if n != ONE]
            for n in long[1:]:
                self.same_length(n, long[0])
            result.append(long[0] if long else ONE)
        return tuple(result)

    def same_length(self, n: ir.Expression, wanted: ir.Expression) -> None:
        """Emit a check that two lengths are the same, if that is not sure."""
        if n != wanted:
            self.check(
                self.operation("!=", n, wanted),
                "shapes differ (an axis of length 1 is repeated only if it is written as such, "
                "by None)",
            )

    def _stretched(self, a: Array, shape: tuple[ir.Expression, ...]) -> Array:
        """An array of that shape that repeats another."""
        missing = len(shape) - a.ndim
        repeated = [i for i in range(a.ndim) if a.shape[i] == ONE and shape[missing + i] != ONE]
        if not missing and not repeated:
            return a
        source = self.readable(a, "b")

        def element(index: Index) -> ir.Expression:
            own = [ZERO if i in repeated else index[missing + i] for i in range(a.ndim)]
            return source.element(tuple(own))

        return Array(shape, element, a.kind, None, source.uses)

    # Indexing.
    def indexed(self, a: Array, node: ast.expr) -> ir.Expression | Array:
        """Lower a[node]: an element, or a view."""
        parts = self._whole_index(a, node)
        shape: list[ir.Expression] = []
        places: list[Callable[[Index], ir.Expression]] = []  # the array's index of the view's
        uses, is_view, n_arrays = a.uses, a.base is not None, 0
        axis = 0
        for part in parts:
            if isinstance(part, ast.Constant) and part.value is None:
                shape.append(ONE)
                continue
            at = len(shape)
            if isinstance(part, ast.Slice):
                start, step, length = self._slice(part, a.shape[axis])
                shape.append(length)
                places.append(self._along(at, start, step))
            else:
                index = self.expression(part)
                if isinstance(index, Array):
                    index = self._index_array(index, a.shape[axis], part)
                    n_arrays, is_view, uses = n_arrays + 1, False, uses | index.uses
                    shape.append(index.shape[0])
                    places.append(self._chosen_by(at, index))
                else:
                    place = self._integer(self.number(index, part), part)
                    places.append(self._fixed_at(place))
            axis += 1
        if n_arrays > 1:
            self.refuse(f"{ast.unparse(node)} holds several index arrays", "use a loop")
        if not shape:
            return a.element(tuple(place(()) for place in places))
        if n_arrays and a.base is None:
            a = self.materialised(a, "a")

        def element(index: Index) -> ir.Expression:
            return a.element(tuple(place(index) for place in places))

        return Array(tuple(shape), element, a.kind, a.base if is_view else None, uses)

    def _whole_index(self, a: Array, node: ast.expr) -> list[ast.expr]:
        """An index for every axis, with None for new ones."""
        parts = list(node.elts) if isinstance(node, ast.Tuple) else [node]
        parts = [self._newaxis(p) for p in parts]
        n_new = sum(isinstance(p, ast.Constant) and p.value is None for p in parts)
        dots = [k for k, p in enumerate(parts) if isinstance(p, ast.Constant) and p.value is ...]
        missing = a.ndim - (len(parts) - n_new - len(dots))
        if missing < 0 or len(dots) > 1:
            self.refuse(
                f"{ast.unparse(node)} has too many indices for {a.ndim} axes", "leave some out"
            )
        whole: list[ast.expr] = [ast.Slice() for _ in range(missing)]
        at = dots[0] if dots else len(parts)
        return parts[:at] + whole + parts[at + len(dots) :]

    def _newaxis(self, part: ast.expr) -> ast.expr:
        is_name = isinstance(part, ast.Attribute) and part.attr == "newaxis"
        return ast.Constant(None) if is_name else part

    def _chosen_by(self, at: int, index: Array) -> Callable[[Index], ir.Expression]:
        return lambda i: index.element((i[at],))

    def _fixed_at(self, place: ir.Expression) -> Callable[[Index], ir.Expression]:
        return lambda _: place

    def _along(self, at: int, start: ir.Expression, step: int) -> Callable[[Index], ir.Expression]:
        def place(index: Index) -> ir.Expression:
            moved = (
                self.operation("*", ir.Number(abs(step)), index[at])
                if step not in (1, -1)
                else index[at]
            )
            return self.operation("+" if step > 0 else "-", start, moved)

        return place

    def _slice(self, node: ast.Slice, n: ir.Expression) -> tuple[ir.Expression, int, ir.Expression]:
        """Start, step and length of a slice of an axis of length n."""
        step = 1
        if node.step is not None:
            literal = self.scalar(node.step)
            if (
                not isinstance(literal, ir.Number)
                or not isinstance(literal.value, int)
                or not literal.value
            ):
                self.refuse("the step of a slice is not a literal integer", "use a loop")
            step = literal.value
        if step < 0:
            if node.lower is not None or node.upper is not None:
                self.refuse("a slice with ends and a negative step", "use a loop, or [::-1]")
            start = self.settled(self.operation("-", n, ONE), "last")
            return start, step, self._n_steps(ZERO, n, -step)
        start = ZERO if node.lower is None else self._edge(node.lower, n)
        stop = n if node.upper is None else self._edge(node.upper, n)
        return start, step, self._n_steps(start, stop, step)

    def _n_steps(self, start: ir.Expression, stop: ir.Expression, step: int) -> ir.Expression:
        span = self.operation("-", stop, start)
        if step != 1:
            span = self.operation(
                "//", self.operation("+", span, ir.Number(step - 1)), ir.Number(step)
            )
        if start != ZERO:
            span = self.operation("max", span, ZERO)
        return self.settled(span)

    def _edge(self, node: ast.expr, n: ir.Expression) -> ir.Expression:
        end = self.scalar(node)
        if self.kind(end) == "f":
            self.refuse(f"{ast.unparse(node)}, the end of a slice, is not an integer", "use int()")
        return self.settled(self.operation("edge", end, n), "end")

    def _integer(self, index: ir.Expression, node: ast.expr) -> ir.Expression:
        if self.kind(index) == "f":
            self.refuse(f"the index {ast.unparse(node)} is not an integer", "use int()")
        return index if self.is_settled(index) else self._kept(index)

    def _kept(self, index: ir.Expression) -> ir.Expression:
        """An index, as it is if that is plain arithmetic of what does not change."""
        plain = isinstance(index, ir.Operation) and index.name in ("+", "-", "*")
        if plain and ir.reads(index) <= self.once.union(self.indices):
            return index
        return self.temporary(index, "k")

    def _index_array(self, index: Array, n: ir.Expression, node: ast.expr) -> Array:
        if index.ndim != 1 or index.kind == "f":
            self.refuse(f"the index {ast.unparse(node)} is not a vector of integers", "use a loop")
        if index.kind == "b":
            self.refuse(f"{ast.unparse(node)} chooses by truth values", "use a loop with if")
        return index if index.base else self.materialised(index, "index")

    # Sums, products.
    def sum_over(self, a: Array, axis: int | None) -> ir.Expression | Array:
        """Sum of an array, or along an axis."""
        if axis is None:
            total = self.fresh("sum")
            self.assign(total, ir.Number(0 if a.kind in "bi" else 0.0))
            self.nest(a.shape, lambda i: self.assign(total, a.element(i), 1))
            return ir.Variable(total)
        source = a
        shape = a.shape[:axis] + a.shape[axis + 1 :]
        if not shape:
            return self.sum_over(a, None)

        def element(index: Index) -> ir.Expression:
            total = self.fresh("sum")
            self.assign(total, ir.Number(0 if a.kind in "bi" else 0.0))
            self.loop(
                source.shape[axis],
                lambda k: self.assign(total, source.element((*index[:axis], k, *index[axis:])), 1),
            )
            return ir.Variable(total)

        return Array(shape, element, "i" if a.kind == "b" else a.kind, None, a.uses)

    def largest(self, a: Array, axis: int | None, name: str) -> ir.Expression | Array:
        """Maximum or minimum (name) of an array, or along an axis."""
        source = self.readable(a)
        shape = () if axis is None else a.shape[:axis] + a.shape[axis + 1 :]

        def element(index: Index) -> ir.Expression:
            best = self.fresh("best")
            rest = source.shape if axis is None else (source.shape[axis],)

            def at(inner: Index) -> ir.Expression:
                if axis is None:
                    return source.element(inner)
                return source.element((*index[:axis], *inner, *index[axis:]))

            for n in rest:
                self.check(self.operation("<", n, ONE), f"{name} of an array without elements")
            self.assign(best, at((ZERO,) * len(rest)))
            self.nest(rest, lambda i: self._replace(best, at(i), name))
            return ir.Variable(best)

        return Array(shape, element, a.kind, None, source.uses) if shape else element(())

    def _replace(self, best: str, value: ir.Expression, name: str) -> None:
        """Emit that `best` becomes the value if that is larger (or NaN, as in NumPy)."""
        value = self.temporary(value)
        better = self.operation(">" if name == "max" else "<", value, ir.Variable(best))
        test = self.operation("or", better, self.operation("!=", value, value))
        test = self.temporary(test, "c")
        branch = ir.If(test, [], [], self.line)
        branch.body, _ = self.aside(lambda: self.assign(best, value))
        self.emit(branch)

    def product(self, a: Array, b: Array) -> ir.Expression | Array:
        """A @ b, for one or two axes each."""
        if not (1 <= a.ndim <= 2 and 1 <= b.ndim <= 2):
            self.refuse(f"a product of {a.ndim} and {b.ndim} axes", WANTED)
        a, b = self.readable(a, "m"), self.readable(b, "m")
        self.same_length(a.shape[-1], b.shape[0])

        def element(index: Index) -> ir.Expression:
            row, column = index[: a.ndim - 1], index[a.ndim - 1 :]
            total = self.fresh("dot")
            self.assign(total, ir.Number(0.0))

            def add(k: ir.Expression) -> None:
                pair = self.operation("*", a.element((*row, k)), b.element((k, *column)))
                self.assign(total, pair, 1)

            self.loop(a.shape[-1], add)
            return ir.Variable(total)

        shape = a.shape[:-1] + b.shape[1:]
        return Array(shape, element, "f", None, a.uses | b.uses) if shape else element(())

    def fill(self, target: Array, value: ir.Expression | Array, sign: int = 0) -> None:
        """Emit the assignment of a number or an array to all elements of a view."""
        if isinstance(value, Array):
            if target.base in value.uses:
                value = self.materialised(value, "copy")
            if value.ndim > target.ndim:
                self.refuse(f"{value.ndim} axes are put into {target.ndim}", "index some away")
            missing = target.ndim - value.ndim
            for n, wanted in zip(value.shape, target.shape[missing:]):
                if n != ONE:
                    self.same_length(n, wanted)
            value = self._stretched(value, target.shape)
        else:
            value = self.settled(value, "s")

        def put(index: Index) -> None:
            part = value.element(index) if isinstance(value, Array) else value
            self.put(target, index, part, sign)

        self.nest(target.shape, put)
