"""Calls of known functions: elementwise ones, and those that make or reduce arrays."""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable
from typing import Any

from fastvi.derivatives import functions
from fastvi.derivatives.arrays import WANTED, Arrays
from fastvi.derivatives.builder import widest
from fastvi.derivatives.ir import Assign, Expression, If, Number, Operation, Variable
from fastvi.derivatives.values import Array, Index, Known, Value

__all__ = ["Calls"]

Arguments = list[Value]
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
