"""Tables of natural parameters for steps that touch few rows."""

from __future__ import annotations

from copy import copy
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import AnyArray, DTypeLike, Indices

__all__ = ["Excerpt", "LazyTable", "RowGradient", "RowStatistics", "empty_rows"]

CACHE_LINE = 64  # bytes


def empty_rows(shape: tuple[int, ...], dtype: DTypeLike) -> AnyArray:
    """Allocate an array aligned to cache lines.

    NumPy's large arrays begin 16 bytes after one: each 64-byte load of a row then touches two
    lines, which costs the kernels a third of their speed.
    """
    n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.empty(n_bytes + CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % CACHE_LINE
    return np.asarray(memory[start : start + n_bytes].view(dtype).reshape(shape))


class RowStatistics(NamedTuple):
    """Expected sufficient statistics that are zero except in `rows` (n,): `values` (n, K)."""

    rows: Indices
    values: AnyArray


class RowGradient(NamedTuple):
    """``factor * (coefficient * (anchor - table) + scatter(rows, values))``.

    The natural gradient of a table if a batch touches few rows, each listed once in `rows`.
    `anchor` broadcasts to the table's shape (V, K): the prior for SVI.
    """

    rows: Indices
    values: AnyArray
    anchor: AnyArray
    coefficient: float = 1.0
    factor: float = 1.0

    def scaled(self, factor: float) -> RowGradient:
        """Return the direction multiplied by `factor`."""
        return self._replace(factor=self.factor * factor)

    def dense(self, table: LazyTable) -> AnyArray:
        """Return the dense gradient, (V, K)."""
        gradient = table.dense()
        np.subtract(self.anchor, gradient, out=gradient)
        gradient *= gradient.dtype.type(self.coefficient)
        gradient[self.rows] += self.values
        gradient *= gradient.dtype.type(self.factor)
        return gradient


class Excerpt(NamedTuple):
    """Some rows of a table (n, K), numbered from 0, and the sums over all of its rows (K,)."""

    values: AnyArray
    column_sums: NDArray[np.float64]

    def read(self, rows: Indices) -> AnyArray:
        """Return a copy of rows."""
        out = empty_rows((len(rows), self.values.shape[1]), self.values.dtype)
        return np.take(self.values, rows, axis=0, out=out)


class _Kept:
    """Copies of rows of a table from before they were first written to."""

    def __init__(self, n_rows: int) -> None:
        self.is_kept = np.zeros(n_rows, bool)
        self.parts: list[tuple[AnyArray, AnyArray, NDArray[np.float64]]] = []

    def add(self, rows: Indices, values: AnyArray, clock: NDArray[np.float64]) -> None:
        """Copy the rows that have no copy yet."""
        rows = rows[~self.is_kept[rows]]
        self.parts.append((rows, values[rows], clock[rows]))
        self.is_kept[rows] = True

    def put_back(self, values: AnyArray, clock: NDArray[np.float64]) -> None:
        """Restore the kept rows."""
        for rows, old_values, old_clock in self.parts:
            values[rows], clock[rows] = old_values, old_clock


class LazyTable:
    """A (V, K) table of natural parameters with lazy updates of rows.

    Adding a `RowGradient` of n rows costs n * K for any V: all other rows only decay towards the
    anchor, which `fastvi.kernels.lazy` applies when they are next used. Reading never writes, so
    that reading a table during a fit does not change later bits.

    Parameters
    ----------
    values : (V, K) array
        Starting values, which the table then owns.
    anchor : array
        Values towards which rows decay; broadcasts to (V, K).

    Attributes
    ----------
    column_sums : (K,) float64 array
        Sums over all rows, kept up to date.
    """

    GONE = -800.0  # log of a decay to zero in float64; represents log(0)

    def __init__(self, values: AnyArray, anchor: AnyArray) -> None:
        self.values = values
        self.clock = np.zeros(len(values))
        self.decay = 0.0
        self.column_sums = values.sum(axis=0, dtype=np.float64)
        self._kept: _Kept | None = None
        self._anchor_to(anchor)

    def borrowed(self) -> LazyTable:
        """Return a table that shares the rows, and keeps copies of those it writes to for
        `give_back`.

        Steps then cost only the rows they touch, whereas a copy would cost all rows.
        """
        table = copy(self)
        table.column_sums, table._kept = self.column_sums.copy(), _Kept(len(self.values))
        return table

    def give_back(self) -> None:
        """Restore the rows that a borrowed table has written to."""
        assert self._kept is not None
        self._kept.put_back(self.values, self.clock)

    def keep(self) -> None:
        """Take ownership of the borrowed rows; the lender must no longer be used."""
        self._kept = None

    def _anchor_to(self, anchor: AnyArray) -> None:
        """Broadcast without a copy, so that a scalar prior does not need a table."""
        self.anchor = anchor
        self._anchor = np.broadcast_to(anchor, self.values.shape)
        one_row = np.ndim(anchor) < 2 or len(anchor) == 1
        part = self._anchor[:1] if one_row else self._anchor
        sums = part.sum(axis=0, dtype=np.float64)
        self._anchor_sums = sums * len(self.values) if one_row else sums

    def save(self) -> dict[str, AnyArray]:
        """Return what `restore` needs to continue with the same bits."""
        return {
            "values": self.values,
            "clock": self.clock,
            "decay": np.asarray(self.decay),
            "column_sums": self.column_sums,
            "anchor": self.anchor,
        }

    @classmethod
    def restore(cls, arrays: dict[str, AnyArray]) -> LazyTable:
        """Make the table that `save` described, which owns the arrays."""
        table = cls(arrays["values"], arrays["anchor"])
        table.clock, table.column_sums = arrays["clock"], arrays["column_sums"]
        table.decay = float(arrays["decay"])
        return table

    def read(self, rows: Indices) -> AnyArray:
        """Return the current values of rows, (n, K)."""
        return self._read(rows, empty_rows((len(rows), self.values.shape[1]), self.values.dtype))

    def excerpt(self, rows: Indices) -> Excerpt:
        """Return rows as a small table of their own, to be read from."""
        return Excerpt(self.read(rows), self.column_sums)

    def dense(self) -> AnyArray:
        """Return a copy of the whole table, (V, K), with current values."""
        return self.read(np.arange(len(self.values), dtype=np.int32))

    def settled(self) -> AnyArray:
        """Bring all rows up to date in place, and return the table's own array, (V, K)."""
        self._catch_up()
        return self.values

    def _read(self, rows: Indices, out: AnyArray) -> AnyArray:
        from fastvi.kernels.lazy import read_rows

        read_rows(self.values, self.clock, self.decay, self._anchor, rows, 0, len(rows), out)
        return out

    def _catch_up(self) -> None:
        rows = np.arange(len(self.values), dtype=np.int32)
        if self._kept is not None:
            self._kept.add(rows, self.values, self.clock)
        self._read(rows, self.values)
        self.clock.fill(self.decay)

    def move_anchor(self, anchor: AnyArray) -> None:
        """Change the anchor; all rows are brought up to date first, in place.

        An equal anchor changes nothing, so that a restored fit keeps its bits.
        """
        if not np.array_equal(anchor, self.anchor):
            self._catch_up()
        self._anchor_to(anchor)

    def add(self, step: RowGradient | AnyArray) -> None:
        """Add a step in place: a (V, K) array, or rows with ``factor * coefficient`` in [0, 1].

        Raises
        ------
        ValueError
            If that product is not in [0, 1].
        """
        from fastvi.kernels.lazy import add_rows

        if not isinstance(step, RowGradient):
            self._catch_up()
            self.values += step
            self.column_sums += step.sum(axis=0, dtype=np.float64)
            return
        if step.anchor is not self.anchor:
            self.move_anchor(step.anchor)
        rate = step.factor * step.coefficient
        if not 0.0 <= rate <= 1.0:
            raise ValueError(f"the step has rate {rate}; a lazy table takes rates from 0 to 1")
        if self._kept is not None:
            self._kept.add(step.rows, self.values, self.clock)
        self.decay += np.log1p(-rate) if rate < 1.0 else self.GONE
        add_rows(
            self.values, self.clock, self.decay, self._anchor,
            step.rows, step.values, step.factor, 0, len(step.rows),
        )  # fmt: skip
        added = step.values.sum(axis=0, dtype=np.float64)
        self.column_sums += rate * (self._anchor_sums - self.column_sums) + step.factor * added
