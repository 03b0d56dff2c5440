"""Where rows come from, and what a sequence of batches offers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fastvi.base import tree
from fastvi.base.typing import AnyArray, Indices, Info
from fastvi.core import Batch

__all__ = ["Batches", "InMemory", "NumberedRows", "Part", "Source"]


class Source(Protocol):
    """Data in memory that returns rows.

    `norms` (n_rows,) are roughly proportional to the norms of the rows' statistics, or bound them;
    importance sampling uses them. They are None if unknown.
    """

    n_rows: int

    @property
    def norms(self) -> NDArray[np.float64] | None:
        """Norms of the rows, or None."""
        ...

    def all(self) -> Any:
        """Every row, in order."""
        ...

    def take(self, rows: Any) -> Any:
        """The rows with these numbers."""
        ...


class Part(NamedTuple):
    """Consecutive rows of a source, as a source of their own.

    `columns` (U,) are the columns that occur in them, ascending, if their entries are numbered by
    these; None if the rows keep all columns.
    """

    source: Any
    columns: AnyArray | None = None


class InMemory:
    """Arrays by row: one array, or a NamedTuple of arrays of the same length.

    `is_few` says that they stand for many rows, and are not worth to be cut into shards.
    """

    is_few = False

    def __init__(self, rows: Any) -> None:
        self.rows, self.n_rows = rows, len(tree.leaves(rows)[0])

    @property
    def norms(self) -> NDArray[np.float64] | None:
        """None: the norms are unknown."""
        return None

    def all(self) -> Any:
        """Every row, in order."""
        return self.rows

    def take(self, rows: Indices) -> Any:
        """The rows with these numbers."""
        return tree.map_leaves(lambda array: array[rows], self.rows)

    def part(self, start: int, stop: int) -> Part:
        """Rows `start` to ``stop - 1``, as a source of their own."""
        return Part(InMemory(tree.map_leaves(lambda array: array[start:stop], self.rows)))


class NumberedRows:
    """Rows that batches name by their numbers, because kernels gather them."""

    def __init__(self, n_rows: int) -> None:
        self.n_rows = n_rows

    @property
    def norms(self) -> NDArray[np.float64] | None:
        """None: the norms are unknown."""
        return None

    def all(self) -> NDArray[np.int64]:
        """Every row, in order."""
        return np.arange(self.n_rows)

    def take(self, rows: Indices) -> Any:
        """The rows with these numbers."""
        return np.ascontiguousarray(rows, np.int64)


class Batches(Protocol):
    """A sequence of batches that can be entered at any point, so that a fit can be resumed.

    `wants_noise` asks the gradient for the noise and the norms of rows, `wants_squared_norm` for
    its own squared norm; `observe` learns from them.
    """

    wants_noise: bool = False
    wants_squared_norm: bool = False

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Yield the batches of epoch `number` after the first `skip`; the same at each call."""
        ...

    def observe(self, batch: Batch, info: Info) -> None:
        """Learn from what the step on a batch reported; does nothing by default."""
        return

    def save(self) -> dict[str, AnyArray]:
        """Return what was learned from steps, as arrays."""
        return {}

    def restore(self, arrays: dict[str, AnyArray]) -> None:
        """Restore what `save` returned."""
        return
