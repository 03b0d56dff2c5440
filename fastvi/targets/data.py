"""Data of a target: checked arrays, and the table that passes their addresses to compiled code."""

from __future__ import annotations

import keyword
from collections import namedtuple
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base import checks
from fastvi.base.typing import AnyArray, ArrayLike, DataLike
from fastvi.core import Batch

__all__ = ["Data", "Field", "Table", "checked_batch", "make_table", "prepare", "prepare_like"]

KINDS = frozenset(
    ["bool", "float32", "float64"]
    + [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
)


class Field(NamedTuple):
    """An array, or a number if ndim is 0."""

    name: str
    dtype: str
    ndim: int


class Data(NamedTuple):
    """Arrays in C order and native byte order; `named` unless they were given as a plain tuple."""

    fields: tuple[Field, ...]
    arrays: tuple[AnyArray, ...]
    named: bool

    @property
    def by_name(self) -> dict[str, AnyArray]:
        """Return the arrays by the names of their fields."""
        return {field.name: array for field, array in zip(self.fields, self.arrays)}

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return sum(array.size for array in self.arrays)

    @property
    def as_given(self) -> Any:
        """What a density sees: a NamedTuple or tuple of the arrays and numbers."""
        values = [array if array.ndim else array.item() for array in self.arrays]
        names = [field.name for field in self.fields]
        return namedtuple("Data", names)(*values) if self.named else tuple(values)


class Table(NamedTuple):
    """Words for compiled code, and the arrays whose addresses they contain."""

    words: NDArray[np.int64]
    owners: tuple[object, ...]


def prepare(data: DataLike) -> Data:
    """Check data: a mapping, NamedTuple or tuple of arrays and numbers.

    Arrays already in C order are not copied, and are never written to.

    Raises
    ------
    ValueError
        If it is anything else, a name is not an identifier, or a value has a dtype other than bool,
        integer, float32 or float64.
    """
    named = True
    if isinstance(data, Mapping):
        names, values = list(data), list(data.values())
    elif isinstance(data, tuple) and hasattr(data, "_fields"):
        names, values = list(data._fields), list(data)
    elif isinstance(data, tuple | list):
        names, values, named = [f"data{i}" for i in range(len(data))], list(data), False
    else:
        raise ValueError(
            f"data is a {type(data).__name__}; wanted a mapping, NamedTuple or tuple of arrays "
            "and numbers, such as {'X': X, 'y': y}"
        )
    for name in names:
        if not _is_name(name):
            raise ValueError(
                f"data has the name {name!r}; wanted a Python identifier without leading underscore"
            )
    arrays = tuple(_plain(name, value) for name, value in zip(names, values))
    fields = (Field(name, str(array.dtype), array.ndim) for name, array in zip(names, arrays))
    return Data(tuple(fields), arrays, named)


def prepare_like(data: DataLike, fields: Sequence[Field]) -> Data:
    """Check data against fields that code was compiled for.

    Raises
    ------
    ValueError
        As in `prepare`, or if names or numbers of axes differ, or a dtype cannot be cast safely.
    """
    fresh = prepare(data)
    given, wanted = [f.name for f in fresh.fields], [f.name for f in fields]
    if fresh.named and set(given) == set(wanted):
        arrays = [fresh.by_name[name] for name in wanted]
    elif given == wanted:
        arrays = list(fresh.arrays)
    else:
        raise ValueError(f"data holds {', '.join(given)}; wanted {', '.join(wanted)}")
    for i, (field, array) in enumerate(zip(fields, arrays)):
        safe = np.can_cast(array.dtype, field.dtype, "safe")
        if array.ndim != field.ndim or not safe:
            raise ValueError(
                f"data's {field.name} is {array.dtype} with {array.ndim} axes; "
                f"wanted {field.dtype} with {field.ndim}, as it was compiled for"
            )
        arrays[i] = np.ascontiguousarray(array, field.dtype).reshape(array.shape)
    return Data(tuple(fields), tuple(arrays), fresh.named)


def make_table(
    data: Data | None, header: Mapping[int, int], owners: tuple[object, ...], batch: Batch | None
) -> Table:
    """Make the table of `fastvi.kernels.targets`: header, batch, addresses and shapes of arrays."""
    from fastvi.kernels import targets

    arrays = data.arrays if data is not None else ()
    length = targets.HEADER + sum(1 + array.ndim for array in arrays)
    words = np.zeros(length, np.int64)
    for word, value in header.items():
        words[word] = value
    at = targets.HEADER
    for array in arrays:
        words[at] = array.ctypes.data
        words[at + 1 : at + 1 + array.ndim] = array.shape
        at += 1 + array.ndim
    if batch is not None:
        words[targets.ROWS], words[targets.N_ROWS] = batch.rows.ctypes.data, len(batch.rows)
        words[targets.WEIGHTS] = batch.weights.ctypes.data
    return Table(words, (*owners, arrays, batch))


def checked_batch(batch: Batch, n_rows: int) -> Batch:
    """Check a batch of rows out of n_rows, and return it in the form that compiled code reads.

    Raises
    ------
    ValueError
        If a row is out of range, or a weight is not finite.
    """
    rows, weights = np.asarray(batch.rows), np.asarray(batch.weights)
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or rows.shape != weights.shape:
        raise ValueError(
            f"batch has rows {rows.dtype} {rows.shape} and weights {weights.shape}; wanted "
            "integers and numbers of one shape (n_rows,)"
        )
    if rows.size and not (rows.min() >= 0 and rows.max() < n_rows):
        raise ValueError(
            f"batch has rows from {rows.min()} to {rows.max()}; wanted 0 to {n_rows - 1}"
        )
    if weights.dtype.kind not in "biuf" or not np.isfinite(weights).all():
        raise ValueError(f"batch has weights {weights}; wanted finite numbers")
    return Batch(np.ascontiguousarray(rows, np.int64), np.ascontiguousarray(weights, float))


def _is_name(name: object) -> bool:
    if not isinstance(name, str) or name.startswith("_"):
        return False
    return name.isidentifier() and not keyword.iskeyword(name)


def _plain(name: str, value: ArrayLike) -> AnyArray:
    checks.nothing_masked(value, f"data's {name}")
    array = np.asarray(value)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if str(array.dtype) not in KINDS:
        raise ValueError(
            f"data's {name} has dtype {array.dtype}; wanted booleans, integers, float32 or float64"
        )
    # `require` alone would turn a number into an array with one element.
    return np.require(array, None, ["C_CONTIGUOUS", "ALIGNED"]).reshape(array.shape)
