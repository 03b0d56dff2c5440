"""The intermediate representation: a function as straight statements on numbers and arrays.

The front end makes it from Python source, and the reverser reads it. A program has one exit, no
helper functions, no array expressions and no negative slices: all of these have become statements
on single numbers. There are eight statements (`Assign`, `Allocate`, `Apply`, `If`, `For`, `While`,
`Check` and nothing else) and five expressions (`Number`, `Variable`, `Element`, `Size`,
`Operation`), which never have side effects.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

__all__ = [
    "Allocate",
    "Apply",
    "Assign",
    "Check",
    "Element",
    "Expression",
    "For",
    "If",
    "Number",
    "Operation",
    "Program",
    "Size",
    "Statement",
    "Variable",
    "While",
    "inner_blocks",
    "reads",
    "text",
    "walk",
]

INFIX = ("+", "-", "*", "/", "**", "//", "%", "<", "<=", ">", ">=", "==", "!=", "and", "or")
BITWISE = ("&", "|", "^", "<<", ">>")


@dataclass(frozen=True, eq=False)
class Number:
    """A literal: bool, int or float; 1 and 1.0 are different ones."""

    value: bool | int | float

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Number) and repr(self.value) == repr(other.value)

    def __hash__(self) -> int:
        return hash(repr(self.value))


@dataclass(frozen=True)
class Variable:
    """A scalar: a local one, or a number of the data under its source text, such as data.n."""

    name: str


@dataclass(frozen=True)
class Element:
    """An element of an array, with one index for each axis."""

    array: str
    index: tuple[Expression, ...]


@dataclass(frozen=True)
class Size:
    """Length of an axis of an argument's array, which never changes."""

    array: str
    axis: int


@dataclass(frozen=True)
class Operation:
    """An operator or a known function (see `functions.py`) of expressions.

    The operators are those of Python, "not", "neg", and "if" with the arguments test, value and
    alternative.
    """

    name: str
    args: tuple[Expression, ...]


Expression: TypeAlias = Number | Variable | Element | Size | Operation


@dataclass(eq=False)
class Assign:
    """``target = value``, or with sign 1 or -1 ``target += value`` or ``target -= value``."""

    target: Variable | Element
    value: Expression
    sign: int
    line: int


@dataclass(eq=False)
class Allocate:
    """A new local array, of zeros or with arbitrary contents."""

    name: str
    shape: tuple[Expression, ...]
    zeros: bool
    dtype: str
    line: int


@dataclass(eq=False)
class Apply:
    """A known function of whole arrays that fills the array `out`; see `functions.ARRAY`."""

    function: str
    out: str
    arrays: tuple[str, ...]
    line: int


@dataclass(eq=False)
class If:
    """A branch on a scalar that is assigned once before it and not within."""

    test: Expression
    body: list[Statement]
    orelse: list[Statement]
    line: int


@dataclass(eq=False)
class For:
    """A loop over ``range(start, stop, step)``, left after a round in which `leave` is set.

    Start and stop keep their values during the loop. The index is assigned by nothing else.
    `rounds` names the variable that counts the rounds of a loop that may be left.
    """

    index: str
    start: Expression
    stop: Expression
    step: int
    body: list[Statement]
    line: int
    leave: str = ""
    rounds: str = ""


@dataclass(eq=False)
class While:
    """A loop as long as `leave` is not set after a round; `rounds` counts the rounds."""

    body: list[Statement]
    line: int
    leave: str
    rounds: str


@dataclass(eq=False)
class Check:
    """Raises `error`, source text, where the test is true."""

    test: Expression
    error: str
    line: int


Statement: TypeAlias = Assign | Allocate | Apply | If | For | While | Check


@dataclass
class Program:
    """A function: its value is `result` and the sum of all elements of the `outputs`.

    Attributes
    ----------
    name : str
        Of the function.
    arguments : tuple of str
        In their order.
    statements : list of Statement
    result : Expression
    outputs : tuple of str
        Arguments that the function writes its terms or values to.
    kinds : dict
        "b", "i" or "f" (bool, integer, float) for each scalar.
    local : dict
        Number of axes and dtype of each local array.
    """

    name: str
    arguments: tuple[str, ...]
    statements: list[Statement]
    result: Expression
    outputs: tuple[str, ...] = ()
    kinds: dict[str, str] = field(default_factory=dict)
    local: dict[str, tuple[int, str]] = field(default_factory=dict)


def reads(e: Expression) -> frozenset[str]:
    """Names of the variables and arrays whose values an expression reads."""
    if isinstance(e, Variable):
        return frozenset((e.name,))
    if isinstance(e, Element):
        return frozenset((e.array,)).union(*map(reads, e.index))
    if isinstance(e, Operation):
        return _reads(e)
    return frozenset()


@functools.lru_cache(4096)
def _reads(e: Operation) -> frozenset[str]:
    return frozenset().union(*map(reads, e.args))


def text(e: Expression) -> str:
    """Python source of an expression."""
    if isinstance(e, Number):
        return _literal(e.value)
    if isinstance(e, Variable):
        return e.name
    if isinstance(e, Element):
        return f"{e.array}[{', '.join(map(text, e.index))}]"
    if isinstance(e, Size):
        return f"{e.array}.shape[{e.axis}]"
    return _operation(e)


@functools.lru_cache(4096)
def _operation(e: Operation) -> str:
    parts = [operand(a) for a in e.args]
    if e.name in INFIX or e.name in BITWISE:
        return f"{parts[0]} {e.name} {parts[1]}"
    if e.name == "if":
        return f"{parts[1]} if {parts[0]} else {parts[2]}"
    if e.name == "neg":
        return f"-{parts[0]}"
    if e.name == "not":
        return f"not {parts[0]}"
    return f"{e.name}({', '.join(map(text, e.args))})"


def operand(e: Expression) -> str:
    """As `text`, in parentheses where an operator beside it could bind more tightly."""
    loose = e.name in (*INFIX, *BITWISE, "if", "neg", "not") if isinstance(e, Operation) else False
    return f"({text(e)})" if loose else text(e)


def _literal(value: bool | int | float) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if value != value else "inf" if value > 0 else "(-inf)"
    shown = repr(value)
    return f"({shown})" if shown.startswith("-") else shown


def inner_blocks(s: Statement) -> list[list[Statement]]:
    """The blocks of statements within a statement."""
    if isinstance(s, If):
        return [s.body, s.orelse]
    return [s.body] if isinstance(s, For | While) else []


def walk(statements: list[Statement]) -> Iterator[Statement]:
    """All statements, those within others as well, in the order of the source."""
    for s in statements:
        yield s
        for block in inner_blocks(s):
            yield from walk(block)
