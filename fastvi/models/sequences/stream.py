"""A stream of sequences, laid out for kernels that run over 16 parts of it side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.base import parallel
from fastvi.base.typing import AnyArray, Array
from fastvi.kernels import chain_streams as kernels
from fastvi.kernels._chain_steps import LANES
from fastvi.kernels.chains import STRIP

__all__ = ["Stream"]

ROWS_OF_GROUP = 32768  # rows of a group of blocks, about; a task of a thread
FEWEST_STEPS = 256  # of a block, in which most chains forget how it began


class Stream:
    """Where the rows of all sequences lie: G groups of Q strips of W = 16 x 17 rows.

    Sequences follow each other and are cut into 16 G equal blocks, the last of which are padded or
    empty; a group is 16 blocks, whose rows alternate. Nothing here depends on the number of
    threads.

    Parameters
    ----------
    lengths : (n_sequences,) array of int
    missing : (n,) array of bool
        Rows that say nothing of their states.
    n_threads : int
    inside : (n,) array of bool, optional
        Rows that count in sums, by default all; the others are buffers of sub-chains.
    middle : (n_sequences,) array of bool, optional
        Which sequences are parts of longer ones whose beginning they lack.

    Attributes
    ----------
    n_rows, n_groups, n_strips : int
    first : (n_sequences,) int64 array
        First rows of sequences.
    opening, joining : int64 arrays
        First rows of whole sequences that count, and of parts of longer ones.
    is_missing : (n,) array of bool
    reset, real, seen, counted : (G, Q, W) arrays
        Above 0 for first rows of sequences (and padding), rows inside, rows that are not missing,
        and rows that are both.
    follows : (G, Q, W) or (G, 0, W) array
        Above 0 for rows whose next one is inside; empty if all rows are.
    chain : Chain or None
        Memory of passes over these rows; see `fastvi.models.sequences.chains.chain_of`.
    """

    def __init__(
        self,
        lengths: NDArray[np.int64],
        missing: NDArray[np.bool_],
        n_threads: int = 1,
        inside: NDArray[np.bool_] | None = None,
        middle: NDArray[np.bool_] | None = None,
    ) -> None:
        n = int(lengths.sum())
        self.n_rows, self.n_threads = n, n_threads
        self.n_groups = max(1, round(n / ROWS_OF_GROUP))
        steps = max(-(-n // (self.n_groups * LANES)), min(n, FEWEST_STEPS))
        self.n_strips = -(-steps // STRIP)
        self.first = np.cumsum(lengths) - lengths
        self.is_missing = missing
        self.chain: Any = None
        padding = np.arange(n, self.n_groups * LANES * self.n_steps)
        self.real = self._marked(np.ones(self.shape), padding, 0.0)
        self.reset = self._marked(1.0 - self.real, self.first, 1.0)
        self.seen = self.real
        if missing.any():
            self.seen = self._marked(self.real.copy(), np.flatnonzero(missing), 0.0)
        self.counted = self.seen
        self.inside = np.ones(n, bool) if inside is None else inside
        self.opening, self.joining = self.first, self.first[:0]
        if middle is not None:
            self.opening, self.joining = self.first[~middle], self.first[middle]
            self.opening = self.opening[self.inside[self.opening]]
        self.follows = np.zeros((self.n_groups, 0, LANES * STRIP))
        if inside is not None:
            self.follows = self.real.copy()
            self._marked(self.follows, np.flatnonzero(~np.append(inside[1:], False)), 0.0)
            self.real = self._marked(self.real.copy(), np.flatnonzero(~inside), 0.0)
            self.counted = self.seen * self.real

    @property
    def borders(self) -> NDArray[np.int64]:
        """First and last rows of the parts of sequences that count."""
        begins = np.zeros(self.n_rows + 1, bool)
        begins[self.first] = begins[-1] = True
        before, after = np.append(False, self.inside[:-1]), np.append(self.inside[1:], False)
        edge = ~before | ~after | begins[:-1] | begins[1:]
        return np.flatnonzero(self.inside & edge)

    def _marked(self, table: Array, rows: NDArray[np.int64], value: float) -> Array:
        """Set a table (G, Q, W) at some rows of the data."""
        table[tuple(self.places(rows))] = value
        return table

    @property
    def shape(self) -> tuple[int, int, int]:
        """Groups, strips, rows of a strip."""
        return self.n_groups, self.n_strips, LANES * STRIP

    @property
    def n_steps(self) -> int:
        """Steps of a block."""
        return int(self.n_strips * STRIP)

    def arranged(self, values: AnyArray) -> AnyArray:
        """Rows of the data in this order, (G, Q W, ...); padding repeats the first row."""
        rest = values.shape[1:]
        found = np.empty((self.n_groups, self.n_steps * LANES, *rest), values.dtype)
        flat = np.ascontiguousarray(values.reshape(self.n_rows, -1))
        kernels.arrange(flat, found.reshape(*found.shape[:2], -1))
        return found

    def at(self, table: Array, rows: NDArray[np.int64] | None = None) -> Array:
        """Values of rows of the data, by default of all, (n, K), from a table (G, Q, K, W)."""
        if rows is None:
            found = np.empty((self.n_rows, table.shape[2]))
            kernels.gather(table, found)
            return found
        group, strip, column = self.places(rows)
        return np.asarray(table[group, strip, :, column])

    def places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Group, strip and column of rows of the data, (3, n)."""
        block, step = np.divmod(rows, self.n_steps)
        group, lane = np.divmod(block, LANES)
        strip, step = np.divmod(step, STRIP)
        return np.array([group, strip, step * LANES + lane])

    def run(self, function: Callable[[int], object]) -> None:
        """Call the function for each group, on threads."""
        parallel.run(function, self.n_groups, self.n_threads)
