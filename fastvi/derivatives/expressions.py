"""Expressions of Python, lowered to those of the intermediate representation."""

from __future__ import annotations

import ast
import functools
import types
from typing import Any

import numpy as np

from fastvi.derivatives import functions, ir
from fastvi.derivatives.arrays import WANTED
from fastvi.derivatives.calls import METHODS, RENAMED
from fastvi.derivatives.errors import NotDifferentiable
from fastvi.derivatives.sums import Sums
from fastvi.derivatives.values import (
    Array,
    ByRows,
    Closure,
    DataFields,
    Ended,
    Frame,
    Known,
    Summed,
    Value,
)

__all__ = ["Expressions"]

OPERATORS: dict[type, str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%",
    ast.Pow: "**", ast.MatMult: "@", ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^",
    ast.LShift: "<<", ast.RShift: ">>", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
    ast.Eq: "==", ast.NotEq: "!=", ast.USub: "neg", ast.Not: "not",
}  # fmt: skip
SCALARS = (bool, int, float, np.floating, np.integer, np.bool_)


class Expressions(Sums):
    """Lowers each kind of expression, in the methods ``on_...``."""

    data: dict[str, str]  # source text of each field of the data, by name

    def expression(self, node: ast.expr) -> Value:
        """Lower an expression."""
        method = getattr(self, f"on_{type(node).__name__}", None)
        if method is None:
            self.refuse(f"{ast.unparse(node)} is not differentiated", WANTED)
        value: Value = method(node)
        return value

    def values(self, nodes: list[ast.expr]) -> list[Value]:
        """Lower expressions in their order."""
        found: list[Value] = []
        for node in nodes:
            start = len(self.block)
            value = self.expression(node)
            self._unwritten(self.block[start:], found, node)
            found.append(value)
        return found

    def _unwritten(
        self, statements: list[ir.Statement], before: list[Value], node: ast.expr
    ) -> None:
        """Refuse that one part of an expression writes to an array that an earlier part reads."""
        if not statements or not before:
            return
        written = {s.target.array for s in ir.walk(statements)
                   if isinstance(s, ir.Assign) and isinstance(s.target, ir.Element)}  # fmt: skip
        for value in before:
            uses = value.uses if isinstance(value, Array) else (
                ir.reads(value) if isinstance(value, ir.Expression) else frozenset()
            )  # fmt: skip
            if uses & written:
                self.refuse(
                    f"{ast.unparse(node)} writes to an array that the same expression reads",
                    "call it in a statement of its own",
                )

    def on_Constant(self, node: ast.Constant) -> Value:
        return self.as_value(node.value, ast.unparse(node))

    def as_value(self, value: Any, shown: str) -> Value:
        """Return the value of a Python object."""
        if isinstance(value, SCALARS):
            return ir.Number(value.item() if isinstance(value, np.generic) else value)
        if isinstance(value, np.ndarray):
            self.refuse(
                f"{shown} is a global array, whose contents would be frozen", "pass it in data"
            )
        if isinstance(value, tuple):
            return [self.as_value(v, shown) for v in value]
        return Known(value)

    def on_Name(self, node: ast.Name) -> Value:
        frame: Frame | None = self.frame
        while frame is not None:
            value = frame.names.get(node.id)
            if isinstance(value, Ended):
                self.refuse(
                    f"{node.id} is an array made in a branch or loop and read after it",
                    "make it before, by np.zeros or np.empty, and fill it there",
                )
            if isinstance(value, ir.Variable) and value.name in self.ended_indices:
                self.refuse(
                    f"{node.id}, the index of a loop, is read after it",
                    "assign it to another name in the loop",
                )
            if value is not None:
                return value
            if node.id in frame.local:
                self.refuse(f"{node.id} has no value yet", "assign it before")
            frame = frame.outer
        try:
            return self.as_value(self.frame.global_value(node.id), node.id)
        except (KeyError, ValueError) as error:
            if isinstance(error, NotDifferentiable):
                raise
            self.refuse(f"{node.id} is unknown", "define it")

    def on_Attribute(self, node: ast.Attribute) -> Value:
        owner = self.expression(node.value)
        if isinstance(owner, DataFields):
            return self.data_field(node.attr)
        if isinstance(owner, Array):
            if node.attr == "T":
                return self.transposed(owner)
            if node.attr == "shape":
                return list(owner.shape)
            if node.attr == "size":
                return self.size(owner)
            if node.attr == "ndim":
                return ir.Number(owner.ndim)
        if isinstance(owner, Known) and hasattr(owner.value, node.attr):
            return self.as_value(getattr(owner.value, node.attr), ast.unparse(node))
        self.refuse(f"{ast.unparse(node)} is not differentiated", "use only what the manual lists")

    def data_field(self, name: str) -> Value:
        """An array or number of the data."""
        if name not in self.data:
            self.refuse(f"data has no {name}", f"it has {', '.join(self.data)}")
        source = self.data[name]
        return self.argument(source) if self.fixed[source][0] else ir.Variable(source)

    def on_Tuple(self, node: ast.Tuple) -> Value:
        if any(isinstance(e, ast.Starred) for e in node.elts):
            self.refuse(f"{ast.unparse(node)}: * in a tuple", "write the parts")
        return self.values(node.elts)

    def on_List(self, node: ast.List) -> Value:
        return self.values(node.elts)

    def on_Subscript(self, node: ast.Subscript) -> Value:
        owner = self.expression(node.value)
        if isinstance(owner, Array):
            return self.indexed(owner, node.slice)
        if isinstance(owner, list | DataFields):
            at = self.expression(node.slice)
            if not isinstance(at, ir.Number) or not isinstance(at.value, int):
                self.refuse(
                    f"{ast.unparse(node)}: the index of a tuple is not a literal", "write a number"
                )
            n = len(self.data) if isinstance(owner, DataFields) else len(owner)
            if not -n <= at.value < n:
                self.refuse(f"{ast.unparse(node)}: the tuple has {n} parts", "use one of them")
            if isinstance(owner, DataFields):
                return self.data_field(list(self.data)[at.value])
            return owner[at.value]
        self.refuse(f"{ast.unparse(node)} is an index of what is not an array", "use an array")

    def on_UnaryOp(self, node: ast.UnaryOp) -> Value:
        value = self.expression(node.operand)
        if isinstance(node.op, ast.UAdd):
            return value
        if isinstance(node.op, ast.Invert):
            self.refuse(f"{ast.unparse(node)}: ~", "use not, or a loop")
        return self.arithmetic(node, OPERATORS[type(node.op)], value)

    def on_BinOp(self, node: ast.BinOp) -> Value:
        left, right = self.values([node.left, node.right])
        return self.binary(node, node.op, left, right)

    def binary(self, node: ast.AST, op: ast.operator, left: Value, right: Value) -> Value:
        """An operator of two values."""
        name = OPERATORS[type(op)]
        if name == "@":
            return self.product(self._array(left, node), self._array(right, node))
        if name == "**":
            return self.powers(node, left, right)
        if isinstance(left, list) and isinstance(right, list) and name == "+":
            return left + right
        return self.arithmetic(node, name, left, right)

    def on_Compare(self, node: ast.Compare) -> Value:
        if any(isinstance(op, ast.Is | ast.IsNot) for op in node.ops):
            return self._identity(node)
        if any(type(op) not in OPERATORS for op in node.ops):
            self.refuse(f"{ast.unparse(node)} is not differentiated", "compare numbers by <, >, ==")
        values = self.values([node.left, *node.comparators])
        if len(values) > 2:
            values = [
                v if isinstance(v, Array) else self.simple(self.number(v, node)) for v in values
            ]
        result: Value | None = None
        for op, a, b in zip(node.ops, values, values[1:]):
            part = self.arithmetic(node, OPERATORS[type(op)], a, b)
            result = part if result is None else self.arithmetic(node, "and", result, part)
        assert result is not None
        return result

    def _identity(self, node: ast.Compare) -> Value:
        """``x is None``, which is known now."""
        left, right = self.values([node.left, node.comparators[0]])
        nothing = [isinstance(v, Known) and v.value is None for v in (left, right)]
        if len(node.ops) > 1 or not any(nothing):
            self.refuse(
                f"{ast.unparse(node)} is not differentiated", "compare only with None by is"
            )
        return ir.Number(all(nothing) == isinstance(node.ops[0], ast.Is))

    def on_BoolOp(self, node: ast.BoolOp) -> Value:
        name = "and" if isinstance(node.op, ast.And) else "or"
        first = self.truth(node.values[0])
        for k, part in enumerate(node.values[1:], 1):
            statements, second = self.aside(functools.partial(self.truth, part))
            if not statements:
                first = self.operation(name, first, second)
                continue
            rest = node.values[k:]
            remaining: ast.expr = ast.BoolOp(node.op, rest) if len(rest) > 1 else rest[0]
            return self._lazily(name, first, remaining)
        return first

    def _lazily(self, name: str, first: ir.Expression, rest: ast.expr) -> ir.Expression:
        """First and rest, where the rest takes statements that must not run without need."""
        result = self.fresh("c")
        self.assign(result, first, kind="b")
        test = self.condition(
            ir.Variable(result) if name == "and" else self.operation("not", ir.Variable(result))
        )
        body, _ = self.aside(lambda: self.assign(result, self.truth(rest), kind="b"))
        self.emit(ir.If(test, body, [], self.line))
        return ir.Variable(result)

    def truth(self, node: ast.expr) -> ir.Expression:
        """Lower an expression that is used as a truth value."""
        value = self.expression(node)
        if isinstance(value, list | Known | DataFields | Closure):
            self.refuse(f"{ast.unparse(node)} is not a truth value", "compare numbers")
        if isinstance(value, Array):
            self.refuse(f"{ast.unparse(node)} is an array of truth values", "use np.any or np.all")
        number = self.number(value, node)
        return number if self.kind(number) == "b" else self.operation("!=", number, ir.Number(0))

    def on_IfExp(self, node: ast.IfExp) -> Value:
        test = self.truth(node.test)
        if isinstance(test, ir.Number):
            return self.expression(node.body if test.value else node.orelse)
        return self.chosen(test, lambda: self.scalar(node.body), lambda: self.scalar(node.orelse))

    def on_Lambda(self, node: ast.Lambda) -> Value:
        return Closure(node, self.frame)

    def on_Call(self, node: ast.Call) -> Value:
        if any(isinstance(a, ast.Starred) for a in node.args) or any(
            k.arg is None for k in node.keywords
        ):
            self.refuse(f"{ast.unparse(node)}: * in a call", "write the arguments")
        callee, own = self._callee(node)
        values = self.values([*node.args, *(k.value for k in node.keywords)])
        args = own + values[: len(node.args)]
        keys = {str(k.arg): v for k, v in zip(node.keywords, values[len(node.args) :])}
        if isinstance(callee, str):
            return self.known_call(callee, node, args, keys)
        if isinstance(callee, Summed):
            return self.summed(callee, node, args, keys)
        if isinstance(callee, ByRows):
            return self.by_rows(callee, node, args, keys)
        return self.called(callee, node, args, keys)

    def _callee(
        self, node: ast.Call
    ) -> tuple[str | types.FunctionType | Closure | Summed | ByRows, list[Value]]:
        """What is called: a known function's name, or a Python function; the method's owner."""
        f = node.func
        if isinstance(f, ast.Attribute):
            owner = self.expression(f.value)
            if isinstance(owner, Array) and f.attr in METHODS:
                return RENAMED.get(f.attr, f.attr), [owner]
        value = self.expression(f)
        if isinstance(value, Closure):
            return value, []
        if isinstance(value, Known):
            name = functions.known(value.value)
            if name is not None:
                return name, []
            of_numbers = getattr(value.value, "of_numbers", None)
            if of_numbers is not None:
                return Summed(of_numbers.py_func), []
            of_row = getattr(value.value, "of_row", None)
            if of_row is not None:
                return ByRows(of_row.py_func), []
            plain = getattr(value.value, "py_func", value.value)
            package = (getattr(plain, "__module__", None) or "").split(".")[0]
            if isinstance(plain, types.FunctionType) and package not in ("numpy", "scipy", "numba"):
                return plain, []
        self.refuse(
            f"{ast.unparse(f)} is not differentiated",
            "write it in plain Python, as a function of its own",
        )
