"""What an expression of the user's function may stand for while it is lowered."""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from fastvi.derivatives.errors import NotDifferentiable
from fastvi.derivatives.ir import Element, Expression

__all__ = [
    "Array",
    "ByRows",
    "Closure",
    "DataFields",
    "Ended",
    "Frame",
    "Index",
    "Known",
    "Summed",
    "Value",
    "parse",
    "row",
]

Index: TypeAlias = tuple[Expression, ...]


@dataclass(eq=False)
class Array:
    """An array that need not exist: its shape, and its elements as expressions of indices.

    Attributes
    ----------
    shape : tuple of Expression
    element : callable
        An expression for an index; may emit statements, each time it is called.
    kind : str
        "b", "i" or "f".
    base : str or None
        The array in memory of which this is a view, if it is one.
    uses : frozenset of str
        Arrays in memory whose contents the elements depend on.
    """

    shape: tuple[Expression, ...]
    element: Callable[[Index], Expression]
    kind: str
    base: str | None
    uses: frozenset[str]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)


def in_memory(name: str, shape: tuple[Expression, ...], kind: str) -> Array:
    """An array that exists under a name."""
    return Array(shape, lambda index: Element(name, index), kind, name, frozenset((name,)))


def row(a: Array, i: Expression) -> Array:
    """A view of row i of a matrix."""
    return Array(a.shape[1:], lambda index: a.element((i, *index)), a.kind, a.base, a.uses)


@dataclass(frozen=True)
class Known:
    """A Python object from the function's globals, such as another function or a module."""

    value: Any


@dataclass(frozen=True, eq=False)
class Closure:
    """A function or lambda defined within a function."""

    node: ast.FunctionDef | ast.Lambda
    frame: Frame


@dataclass(frozen=True)
class Summed:
    """A density of numbers that is summed over arrays, see `fastvi.densities`."""

    of_numbers: types.FunctionType


@dataclass(frozen=True)
class ByRows:
    """A density of numbers and a vector that is summed over rows, see `fastvi.densities`."""

    of_row: types.FunctionType


class DataFields:
    """The argument `data`."""


@dataclass(frozen=True)
class Ended:
    """What was bound within a branch or loop that has ended."""


Value: TypeAlias = Expression | Array | list["Value"] | Known | Closure | DataFields | Ended


@dataclass(eq=False)
class Frame:
    """A function while its statements are lowered.

    Attributes
    ----------
    function : function
        From whose globals names come.
    label : str
        Its name, for messages.
    names : dict
        What its local names stand for.
    levels : dict
        In which block each name of an array was bound.
    local : set of str
        Names that it assigns somewhere.
    outer : Frame or None
        For a function within a function.
    """

    function: types.FunctionType
    label: str
    suffix: str
    names: dict[str, Value]
    local: set[str]
    outer: Frame | None = None
    levels: dict[str, int] = field(default_factory=dict)
    skips: list[tuple[int, str]] = field(default_factory=list)
    leaves: list[str] = field(default_factory=list)
    done: str = ""
    returned: str = ""
    n_returned: int = -1

    def global_value(self, name: str) -> Any:
        """Return the value of a name that is not local; raises KeyError."""
        function = self.function
        free = function.__code__.co_freevars
        if name in free and function.__closure__:
            return function.__closure__[free.index(name)].cell_contents
        if name in function.__globals__:
            return function.__globals__[name]
        builtins = function.__globals__["__builtins__"]
        known = builtins if isinstance(builtins, dict) else vars(builtins)
        return known[name]


def parse(function: types.FunctionType) -> ast.FunctionDef:
    """A function's definition, with the line numbers of its file."""
    try:
        lines, first = inspect.getsourcelines(function)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError):
        raise NotDifferentiable(
            f"the source of {function.__name__} cannot be read, so that its gradient cannot be "
            "derived; define it with def in a file, or write its gradient"
        ) from None
    node = tree.body[0]
    if not isinstance(node, ast.FunctionDef):
        raise NotDifferentiable(
            f"{function.__name__} is not defined by def, so that its gradient cannot be derived; "
            "write it as a function of its own"
        )
    ast.increment_lineno(tree, first - 1)
    return node


def assigned(body: list[ast.stmt]) -> set[str]:
    """Names that statements assign, without those of functions within."""
    return {
        node.id
        for statement in body
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
