"""Tests of indices, as lines of Python that NumPy evaluates for all rounds of loops at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from fastvi.derivatives import ir
from fastvi.derivatives.ir import reads

__all__ = ["SCOPE", "Code", "Guard", "Item", "Range", "is_vectorised", "shown"]

BLOCK = 1 << 14  # rounds of the outermost loop whose indices are tested at once
# NumPy's forms of operations whose plain form takes only numbers.
VECTORISED = {
    "and": "both", "or": "either", "not": "opposite", "if": "chosen", "int": "whole",
    "float": "real", "bool": "truth", "max": "larger", "min": "smaller", "abs": "size_of",
    "edge": "end", "least": "least", "most": "most",
}  # fmt: skip


class Range(NamedTuple):
    """The rounds of a loop."""

    counter: str
    start: ir.Expression
    stop: ir.Expression
    step: int


class Guard(NamedTuple):
    """That an index is within bounds if the tests are true, in all rounds of loops `over`."""

    tests: tuple[ir.Expression, ...]
    place: ir.Expression
    size: ir.Expression
    where: str  # array, axis and line
    over: tuple[Range, ...] = ()

    @property
    def reads(self) -> frozenset[str]:
        """Names that it depends on."""
        ends = (e for r in self.over for e in (r.start, r.stop))
        found = frozenset().union(*map(reads, (*self.tests, self.place, self.size, *ends)))
        return found - {r.counter for r in self.over}


class Code(NamedTuple):
    """Lines that are kept, and the names they write."""

    lines: list[str]
    written: frozenset[str]


Item: TypeAlias = Guard | Code


def shown(item: Item) -> list[str]:
    """Lines of an item."""
    if isinstance(item, Code):
        return item.lines
    if item.over:
        return [_all_rounds(item)]
    tests = "".join(f"{ir.operand(t)} and " for t in item.tests)
    index, size = ir.operand(item.place), ir.operand(item.size)
    return [
        f"if {tests}not -{size} <= {index} < {size}:",
        f"    outside({ir.text(item.place)}, {ir.text(item.size)}, {item.where!r})",
    ]


def _all_rounds(guard: Guard) -> str:
    """A call of `within`, whose arguments are functions of the loops' indices."""
    names: list[str] = []
    ranges = []
    for r in guard.over:
        head = _head(names)
        ranges.append(f"({head}({_vector(r.start)}, {_vector(r.stop)}), {r.step})")
        names.append(r.counter)
    head = _head(names)
    tests = "".join(f"{head}{_vector(t)}, " for t in guard.tests)
    index = f"{head}({_vector(guard.place)}, {_vector(guard.size)})"
    return f"within(({', '.join(ranges)},), ({tests}), {index}, {guard.where!r})"


def _head(names: list[str]) -> str:
    return f"lambda {', '.join(names)}: " if names else "lambda: "


def is_vectorised(guard: Guard) -> bool:
    """Whether NumPy can evaluate all of a guard's expressions."""

    def known(e: ir.Expression) -> bool:
        if isinstance(e, ir.Element):
            return all(map(known, e.index))
        if not isinstance(e, ir.Operation):
            return True
        name = e.name in VECTORISED or e.name in ir.INFIX or e.name in ir.BITWISE or e.name == "neg"
        return name and all(map(known, e.args))

    ends = (e for r in guard.over for e in (r.start, r.stop))
    return all(map(known, (*guard.tests, guard.place, guard.size, *ends)))


def _vector(e: ir.Expression) -> str:
    """Source of an expression of arrays of indices."""
    if isinstance(e, ir.Number | ir.Variable | ir.Size):
        return ir.text(e)
    if isinstance(e, ir.Element):
        return f"taken({', '.join([e.array, *map(_vector, e.index)])})"
    parts = [_vector(a) for a in e.args]
    if e.name in VECTORISED:
        return f"{VECTORISED[e.name]}({', '.join(parts)})"
    if e.name == "neg":
        return f"-({parts[0]})"
    return f"(({parts[0]}) {e.name} ({parts[1]}))"


# What these lines call.
def _outside(index: int, size: int, where: str) -> None:
    raise IndexError(f"{where}: index {index} is out of bounds for size {size}")


Ranges: TypeAlias = tuple[tuple[Callable[..., tuple[Any, Any]], int], ...]


def _within(
    ranges: Ranges,
    tests: tuple[Callable[..., Any], ...],
    index: Callable[..., tuple[Any, Any]],
    where: str,
) -> None:
    """Raise IndexError at the first round whose tests are true and whose index is out of bounds."""
    for columns in _rounds(ranges):
        for test in tests:
            chosen = np.broadcast_to(test(*columns), columns[0].shape)
            if not chosen.all():
                columns = [column[chosen] for column in columns]
        place, size = (np.broadcast_to(x, columns[0].shape) for x in index(*columns))
        wrong = (place < -size) | (place >= size)
        if wrong.any():
            k = int(np.argmax(wrong))
            _outside(int(place[k]), int(size[k]), where)


def _rounds(ranges: Ranges) -> Iterator[list[Any]]:
    """Indices of nested loops, an array for each loop, some rounds of the first at a time."""
    (ends, step), *inner = ranges
    start, stop = ends()
    count = len(range(start, stop, step))
    for first in range(0, count, BLOCK):
        columns = [start + step * np.arange(first, min(first + BLOCK, count))]
        for ends, step in inner:
            low, high = (np.broadcast_to(x, columns[0].shape) for x in ends(*columns))
            counts = np.maximum((high - low + step - np.sign(step)) // step, 0)
            columns = [np.repeat(column, counts) for column in columns]
            before = np.repeat(np.cumsum(counts) - counts, counts)
            at = np.arange(len(before)) - before
            columns.append(np.repeat(low, counts) + step * at)
        yield columns


def _taken(a: Any, *index: Any) -> Any:
    """Elements of an array; any at all where an index is out of bounds, which its guard tests."""
    if not a.size:
        return np.zeros(np.broadcast(*index).shape, a.dtype)
    return a[tuple(np.clip(i, -n, n - 1) for i, n in zip(index, a.shape))]


def _extreme(ufunc: np.ufunc, a: Any, first: Any, last: Any) -> Any:
    """The least or largest element between two places, which may come in any order."""
    low, high = np.minimum(first, last), np.maximum(first, last)
    if low.ndim == high.ndim == 0:
        return int(ufunc.reduce(a[low : high + 1]))
    low, high = np.broadcast_arrays(low, high)
    if not low.size:
        return low
    low, high = (np.clip(x, 0, len(a) - 1) for x in (low, high))
    ends = np.stack([low, high + 1], axis=-1).ravel() - low.min()
    part = a[low.min() : high.max() + 1]
    return ufunc.reduceat(np.append(part, part[-1:]), ends)[::2]


def _whole(x: Any) -> Any:
    return np.asarray(x).astype(np.int64)


def _end(i: Any, n: Any) -> Any:
    return np.clip(np.where(i >= 0, i, i + n), 0, n)


SCOPE: dict[str, Any] = {
    "outside": _outside, "within": _within, "taken": _taken, "whole": _whole, "end": _end,
    "least": lambda *a: _extreme(np.minimum, *a), "most": lambda *a: _extreme(np.maximum, *a),
    "both": np.logical_and, "either": np.logical_or, "opposite": np.logical_not,
    "chosen": np.where, "real": np.float64, "truth": np.bool_, "larger": np.maximum,
    "smaller": np.minimum, "size_of": np.abs,
}  # fmt: skip
