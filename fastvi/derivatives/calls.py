"""Calls of known functions: elementwise ones, and those that make or reduce arrays."""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastvi.derivatives import functions
from fastvi.derivatives.arrays import WANTED, Arrays
from fastvi.derivatives.builder import ONE, ZERO, widest
from fastvi.derivatives.ir import Apply, Assign, Expression, If, Number, Operation, Variable
from fastvi.derivatives.values import Array, Index, Known, Value

__all__ = ["Calls"]

Arguments = list[Value]
FIFTY = Number(50)  # what np.linspace gives by default
# Need no name of their own: their derivatives do not read their results.
INLINE = frozenset(("abs", "max", "min", "maximum", "minimum", "float")) | functions.FLAT
METHODS = frozenset(
    [
        "sum",
        "mean",
        "var",
        "std",
        "dot",
        "copy",
        "max",
        "min",
        "cumsum",
        "ravel",
        "flatten",
        "reshape",
        "transpose",
        "prod",
        "any",
        "all",
        "astype",
    ]
)  # fmt: skip
RENAMED = {"max": "amax", "min": "amin", "flatten": "copy_flat"}


class Calls(Arrays):
    """What each known function becomes."""

    def known_call(
        self, name: str, node: ast.Call, args: Arguments, keys: dict[str, Value]
    ) -> Value:
        """Lower the call of the function of that canonical name."""
        method: Callable[..., Value] | None = getattr(self, f"call_{name}", None)
        if method is not None:
            try:
                inspect.signature(method).bind(node, *args, **keys)
            except TypeError:
                self.refuse(
                    f"{ast.unparse(node)} has arguments that are not differentiated", WANTED
                )
            return method(node, *args, **keys)
        if name not in functions.ELEMENTWISE or keys:
            self.refuse(f"{ast.unparse(node)} is not differentiated", WANTED)
        n_args = len(functions.SMOOTH[name]) if name in functions.SMOOTH else 1
        if len(args) != n_args:
            self.refuse(f"{ast.unparse(node)} has {len(args)} arguments", f"give {n_args}")
        return self.elementwise(name, node, *args)

    def elementwise(self, name: str, node: ast.AST, *args: Value) -> Expression | Array:
        """A function of single numbers, of numbers or of arrays element by element."""
        parts = [a if isinstance(a, Array) else self.number(a, node) for a in args]
        if not any(isinstance(a, Array) for a in parts):
            return self.applied(name, *parts)  # type: ignore[arg-type]
        kinds = [a.kind if isinstance(a, Array) else self.kind(a) for a in parts]
        kind = functions.RESULT_KINDS.get(name, "f")
        if name in functions.SAME_KIND:
            kind = widest(*kinds)
        return self.lift(lambda *e: self.applied(name, *e), kind, *parts)

    def applied(self, name: str, *args: Expression) -> Expression:
        """A function of numbers, under a name where its derivative reads its result."""
        if name == "pow":
            return self.power(*args)
        if all(isinstance(a, Number) for a in args) and hasattr(math, name):
            try:
                return Number(getattr(math, name)(*(a.value for a in args)))  # type: ignore[union-attr]
            except (ValueError, ArithmeticError):
                pass
        if name in INLINE:
            if self.kind(Operation(name, args)) == "f":
                args = tuple(self.simple(a) for a in args)
            return self.operation(name, *args)
        return self.temporary(Operation(name, args))

    def power(self, base: Expression, exponent: Expression) -> Expression:
        """Base ** exponent."""
        p = exponent.value if isinstance(exponent, Number) else None
        if isinstance(p, float) and p.is_integer() and abs(p) <= 8 and self.kind(base) == "f":
            p = int(p)
        if p == 0.5:
            return self.applied("sqrt", base)
        if isinstance(p, int) and not isinstance(p, bool) and abs(p) <= 8:
            if p == 2:
                base = self.simple(base)
                return self.operation("*", base, base)
            if p == 1:
                return base
            return self.operation("**", base, Number(p))
        if "f" not in (self.kind(base), self.kind(exponent)):
            return self.operation("**", base, exponent)
        return self.temporary(Operation("pow", (self.simple(base), self.simple(exponent))))

    def chosen(self, test: Expression, lower: Callable[[], Expression],
               lower_else: Callable[[], Expression]) -> Expression:  # fmt: skip
        """A conditional expression, of which only the chosen part is evaluated."""
        if isinstance(test, Number):
            return lower() if test.value else lower_else()
        (body, value), (orelse, other) = self.aside(lower), self.aside(lower_else)
        plain = all(isinstance(e, Number | Variable) for e in (value, other))
        if plain and not body and not orelse:
            return Operation("if", (test, value, other))
        name = self.fresh("t")
        kind = widest(self.kind(value), self.kind(other))
        self.kinds[name] = kind
        body.append(Assign(Variable(name), value, 0, self.line))
        orelse.append(Assign(Variable(name), other, 0, self.line))
        self.emit(If(self.condition(test), body, orelse, self.line))
        return Variable(name)

    def condition(self, test: Expression) -> Expression:
        """A test under a name, so that it can be told again later."""
        name = self.fresh("c")
        self.assign(name, test, kind="b")
        self.once.add(name)
        return Variable(name)

    def _array(self, value: Value, node: ast.AST) -> Array:
        if isinstance(value, list):
            return self._listed(value, node)
        if not isinstance(value, Array):
            self.refuse(f"{ast.unparse(node)}: a number where an array is wanted", "give an array")
        return value

    def _listed(self, values: list[Value], node: ast.AST) -> Array:
        """A new array of the numbers of a tuple or list."""
        parts = [self.number(v, node) for v in values]
        kind = widest(*(self.kind(p) for p in parts)) if parts else "f"
        made = self.allocate(
            (Number(len(parts)),), False, "a", "int64" if kind == "i" else "float64"
        )
        for k, part in enumerate(parts):
            self.put(made, (Number(k),), part)
        return made

    def axis(self, axis: Value | None, a: Array, node: ast.AST) -> int | None:
        """A literal axis from 0."""
        if axis is None or (isinstance(axis, Known) and axis.value is None):
            return None
        if not isinstance(axis, Number) or not -a.ndim <= axis.value < a.ndim:
            self.refuse(f"{ast.unparse(node)}: the axis is not a literal of the array's", WANTED)
        return int(axis.value) % a.ndim

    # Reductions.
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

    # Products.
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

    # Elementwise, by other means.
    def call_where(self, node: ast.Call, test: Value, a: Value, b: Value) -> Value:
        def choose(c: Expression, x: Callable[..., Any], y: Callable[..., Any]) -> Expression:
            return self.chosen(c, x, y)

        parts = [
            v if isinstance(v, Array) else self.settled(self.number(v, node)) for v in (test, a, b)
        ]
        arrays = [p for p in parts if isinstance(p, Array)]
        if not arrays:
            c, x, y = parts
            return choose(c, lambda: x, lambda: y)  # type: ignore[arg-type]
        shape = self.broadcast([p.shape for p in arrays])
        c, x, y = (self._stretched(p, shape) if isinstance(p, Array) else p for p in parts)

        def at(p: Expression | Array, i: Index) -> Expression:
            return p.element(i) if isinstance(p, Array) else p

        def element(i: Index) -> Expression:
            return choose(at(c, i), lambda: at(x, i), lambda: at(y, i))

        kinds = [p.kind if isinstance(p, Array) else self.kind(p) for p in (x, y)]
        return Array(
            shape, element, widest(*kinds), None, frozenset().union(*(p.uses for p in arrays))
        )

    def call_square(self, node: ast.Call, a: Value) -> Value:
        return self.powers(node, a, Number(2))

    def call_pow(self, node: ast.Call, a: Value, b: Value) -> Value:
        return self.powers(node, a, b)

    def powers(self, node: ast.AST, a: Value, b: Value) -> Value:
        """A ** b of numbers or arrays."""
        if isinstance(a, Array) or isinstance(b, Array):
            parts = [v if isinstance(v, Array) else self.number(v, node) for v in (a, b)]
            if isinstance(parts[1], Number):  # which decides how it is computed
                exponent = parts[1]
                kinds = self.kind(exponent), parts[0].kind  # type: ignore[union-attr]
                return self.lift(lambda x: self.power(x, exponent), widest(*kinds), parts[0])
            return self.lift(self.power, "f", *parts)
        return self.power(self.number(a, node), self.number(b, node))

    def call_clip(self, node: ast.Call, a: Value, low: Value, high: Value) -> Value:
        return self.elementwise("minimum", node, self.elementwise("maximum", node, a, low), high)

    def call_reciprocal(self, node: ast.Call, a: Value) -> Value:
        return self.arithmetic(node, "/", Number(1.0), a)

    def call_negative(self, node: ast.Call, a: Value) -> Value:
        return self.arithmetic(node, "neg", a)

    def call_negation(self, node: ast.Call, a: Value) -> Value:
        return self.arithmetic(node, "not", a)

    def call_astype(self, node: ast.Call, a: Value, dtype: Value) -> Value:
        kind = self._dtype(dtype, node)[0]
        return self.elementwise({"f": "float", "b": "bool"}.get(kind, "int"), node, a)

    def call_add(self, node: ast.Call, a: Value, b: Value) -> Value:
        return self.arithmetic(node, "+", a, b)

    def call_subtract(self, node: ast.Call, a: Value, b: Value) -> Value:
        return self.arithmetic(node, "-", a, b)

    def call_multiply(self, node: ast.Call, a: Value, b: Value) -> Value:
        return self.arithmetic(node, "*", a, b)

    def call_divide(self, node: ast.Call, a: Value, b: Value) -> Value:
        return self.arithmetic(node, "/", a, b)

    def arithmetic(self, node: ast.AST, name: str, *args: Value) -> Expression | Array:
        """An operator of numbers or arrays."""
        parts = [a if isinstance(a, Array) else self.number(a, node) for a in args]
        if not any(isinstance(a, Array) for a in parts):
            return self.operation(name, *parts)  # type: ignore[arg-type]
        kinds = [a.kind if isinstance(a, Array) else self.kind(a) for a in parts]
        truth = name in ("<", "<=", ">", ">=", "==", "!=", "not")
        kind = "b" if truth else "f" if name == "/" else widest(*kinds, "i")
        return self.lift(lambda *e: self.operation(name, *e), kind, *parts)

    # New arrays.
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

    # Other views.
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

    # Shapes and truth.
    def call_len(self, node: ast.Call, a: Value) -> Value:
        return Number(len(a)) if isinstance(a, list) else self._array(a, node).shape[0]

    def call_size(self, node: ast.Call, a: Value) -> Value:
        return self.size(self._array(a, node))

    def call_shape(self, node: ast.Call, a: Value) -> Value:
        return list(self._array(a, node).shape)

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
