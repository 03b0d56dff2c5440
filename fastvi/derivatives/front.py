"""From a Python function to a program of the intermediate representation."""

from __future__ import annotations

import ast
import inspect
import types
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from fastvi.derivatives.builder import widest
from fastvi.derivatives.errors import NotDifferentiable
from fastvi.derivatives.ir import Assign, Expression, Number, Program, Variable, walk
from fastvi.derivatives.statements import Statements, leaves
from fastvi.derivatives.values import (
    Array,
    Closure,
    DataFields,
    Frame,
    Known,
    Value,
    assigned,
    parse,
)

__all__ = ["lower"]

DEEPEST = 30
ROUNDS = 8  # of lowering, until each number's kind is what its last assignment makes it
# Axes and kinds of the arguments of a density; data comes beside.
ARGUMENTS = {
    "z": (1, "f"), "Z": (2, "f"), "rows": (1, "i"), "weights": (1, "f"), "terms": (1, "f"),
    "values": (2, "f"), "grad": (1, "f"), "grads": (2, "f"),
}  # fmt: skip
OUTPUTS = ("terms", "values", "grad", "grads")


class FieldLike(Protocol):
    """Name, dtype and number of axes of an array of the data."""

    @property
    def name(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def ndim(self) -> int: ...


def lower(function: Callable[..., Any], fields: Sequence[FieldLike], named: bool = True) -> Program:
    """The program of a log density.

    Parameters
    ----------
    function : callable
        With the arguments of `fastvi.target`, except grad and grads.
    fields : sequence
        Names, dtypes and numbers of axes of the data's arrays and numbers.
    named : bool
        Whether the data is a NamedTuple; otherwise a plain tuple.

    Raises
    ------
    NotDifferentiable
        If it uses what is not differentiated.
    """
    given: Any = function
    plain: types.FunctionType = getattr(given, "py_func", given)
    arguments = tuple(inspect.signature(plain).parameters)
    kinds: dict[str, str] = {}
    for _ in range(ROUNDS):
        front = _Front(plain, arguments, fields, named, kinds)
        if not front.widened and not front.widen():
            return front.program
        kinds = front.kinds
    raise NotDifferentiable(
        f"{plain.__name__}: names that stand for integers and for floats; use float literals such "
        "as 1.0, and two names"
    )


class _Front(Statements):
    """Lowers one function."""

    def __init__(
        self,
        function: types.FunctionType,
        arguments: tuple[str, ...],
        fields: Sequence[FieldLike],
        named: bool,
        expected: dict[str, str],
    ) -> None:
        self.data = {
            f.name: f"data.{f.name}" if named else f"data[{k}]" for k, f in enumerate(fields)
        }
        kinds = {"f": "f", "b": "b", "i": "i", "u": "i"}
        fixed = {self.data[f.name]: (f.ndim, kinds[f.dtype[0]]) for f in fields}
        fixed |= {a: ARGUMENTS[a] for a in arguments if a in ARGUMENTS}
        outputs = tuple(a for a in OUTPUTS if a in arguments)
        super().__init__(fixed, outputs, expected)
        node = parse(function)
        names: dict[str, Value] = {
            a: DataFields() if a == "data" else self.argument(a)
            for a in arguments if a == "data" or a in ARGUMENTS
        }  # fmt: skip
        frame = Frame(function, function.__name__, "", names, assigned(node.body))
        self.line = node.lineno
        result = self.body(frame, node.body)
        self.frame = frame
        if {"terms", "values"} & set(outputs):
            result = Number(0.0)
        if isinstance(result, Array) and not result.ndim:
            result = result.element(())
        if not isinstance(result, Expression):
            self.refuse("what is returned is not a number", "return the log density")
        self.program = Program(
            function.__name__, arguments, self.block, result, outputs, self.kinds, self.local
        )

    def widen(self) -> bool:
        """Let numbers be of the kinds that are assigned to them; whether any was not."""
        changed = False
        for s in walk(self.block):
            if isinstance(s, Assign) and isinstance(s.target, Variable):
                name = s.target.name
                wider = widest(self.kind(s.value), self.kinds.get(name, "b"))
                changed |= wider != self.kinds.get(name)
                self.kinds[name] = wider
        return changed

    def body(self, frame: Frame, body: list[ast.stmt]) -> Value:
        """Lower a function's statements; what it returns."""
        if len(self.stack) >= DEEPEST:
            self.refuse(f"calls are nested more than {DEEPEST} deep", "write a loop")
        outer, line = getattr(self, "frame", frame), self.line
        self.frame = frame
        self.stack.append(frame)
        last = body[-1]
        result: Value = Known(None)
        if isinstance(last, ast.Return) and not leaves(body[:-1], (ast.Return,)):
            self.statements(body[:-1])
            self.line = last.lineno
            if last.value is not None:
                result = self.expression(last.value)
        else:
            frame.returned = self.fresh("returned")
            self.statements(body)
            result = self._returned(frame)
        self.stack.pop()
        self.frame, self.line = outer, line
        return result

    def _returned(self, frame: Frame) -> Value:
        """What one of several returns gave."""
        if frame.n_returned < 0:
            return Known(None)
        if frame.n_returned == 0:
            return Variable(frame.returned)
        return [Variable(f"{frame.returned}_part{k}") for k in range(frame.n_returned)]

    def called(
        self,
        function: types.FunctionType | Closure,
        node: ast.Call,
        args: list[Value],
        keys: dict[str, Value],
    ) -> Value:
        """Lower the statements of a function in place of its call."""
        if isinstance(function, Closure):
            return self._closure(function, node, args, keys)
        definition = parse(function)
        signature = inspect.signature(function)
        names = [p.name for p in signature.parameters.values() if p.kind == p.POSITIONAL_OR_KEYWORD]
        if len(names) != len(signature.parameters):
            self.refuse(f"{function.__name__} has * among its arguments", "name them")
        defaults = {
            p.name: self.as_value(p.default, p.name)
            for p in signature.parameters.values()
            if p.default is not p.empty
        }
        bound = self._bound(function.__name__, names, defaults, node, args, keys)
        return self._inlined(function, function.__name__, definition, bound, None)

    def _closure(
        self, closure: Closure, node: ast.Call, args: list[Value], keys: dict[str, Value]
    ) -> Value:
        definition, frame = closure.node, closure.frame
        label = definition.name if isinstance(definition, ast.FunctionDef) else "lambda"
        a = definition.args
        if a.vararg or a.kwarg or a.kwonlyargs or a.posonlyargs or a.defaults:
            self.refuse(f"{label} has *, / or defaults among its arguments", "leave them out")
        bound = self._bound(label, [x.arg for x in a.args], {}, node, args, keys)
        return self._inlined(frame.function, label, definition, bound, frame)

    def _bound(
        self,
        label: str,
        names: list[str],
        defaults: dict[str, Value],
        node: ast.Call,
        args: list[Value],
        keys: dict[str, Value],
    ) -> dict[str, Value]:
        """Arguments by name."""
        given = dict(zip(names, args))
        values = defaults | given | keys
        if len(args) > len(names) or set(values) != set(names) or set(given) & set(keys):
            self.refuse(
                f"{ast.unparse(node)} does not fit the arguments of {label}",
                f"give {', '.join(names)}",
            )
        return values

    def _inlined(
        self,
        function: types.FunctionType,
        label: str,
        definition: ast.FunctionDef | ast.Lambda,
        values: dict[str, Value],
        outer: Frame | None,
    ) -> Value:
        is_lambda = isinstance(definition, ast.Lambda)
        body: list[ast.stmt] = (
            [ast.copy_location(ast.Return(definition.body), definition.body)]
            if isinstance(definition, ast.Lambda)
            else definition.body
        )
        suffix = f"_{self.fresh('f' if is_lambda else label)}"
        local = assigned(body)
        frame = Frame(function, label, suffix, {}, local, outer)
        for name, value in values.items():
            frame.names[name] = self._passed(name, value, name in local, suffix)
            frame.levels[name] = self.level
        return self.body(frame, body)

    def _passed(self, name: str, value: Value, changes: bool, suffix: str) -> Value:
        """The value of an argument within the function, which is not a variable of the caller."""
        if isinstance(value, Array) and value.base is None:
            return self.materialised(value, name)
        if isinstance(value, list):
            return [self._passed(name, v, False, suffix) for v in value]
        if isinstance(value, Number) and not changes:
            return value
        if isinstance(value, Expression):
            if not changes and self.is_settled(value):
                return value
            copy = self.unique(f"{name}{suffix}")
            self.assign(copy, value)
            if not changes:
                self.once.add(copy)
            return Variable(copy)
        return value
