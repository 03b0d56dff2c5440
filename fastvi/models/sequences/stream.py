"""A stream of sequences, laid out for kernels that run over 16 parts of it side by side."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fastvi.base import parallel
from fastvi.base.typing import AnyArray, Array
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
    rows : (G Q W,) int64 array
        Which row of the data lies here; 0 for padding.
    reset, real, seen, counted : (G, Q, W) arrays
        Above 0 for first rows of sequences (and padding), rows inside, rows that are not missing,
        and rows that are both.
    follows : (G, Q, W) or (G, 0, W) array
        Above 0 for rows whose next one is inside; empty if all rows are.
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
        block = self.n_strips * STRIP
        shape = self.n_groups, LANES, self.n_strips, STRIP
        places = np.arange(self.n_groups * LANES * block).reshape(shape)
        self._places = places.transpose(0, 2, 3, 1).reshape(-1)  # group, strip, step, lane
        is_real = self._places < n
        self.rows = np.where(is_real, self._places, 0)
        begins = np.zeros(n, bool)
        begins[self.first] = True
        self.reset = self._laid_out(~is_real | begins.take(self.rows))
        self.real = self._laid_out(is_real)
        has_gaps = missing.any()
        self.seen = self._laid_out(is_real & ~missing.take(self.rows)) if has_gaps else self.real
        self.counted = self.seen
        self.inside = np.ones(n, bool) if inside is None else inside
        self.opening, self.joining = self.first, self.first[:0]
        if middle is not None:
            self.opening, self.joining = self.first[~middle], self.first[middle]
            self.opening = self.opening[self.inside[self.opening]]
        self.follows = np.zeros((self.n_groups, 0, LANES * STRIP))
        if inside is not None:
            self.real = self._laid_out(is_real & inside.take(self.rows))
            self.counted = self.seen * self.real
            after = np.append(inside[1:], False)
            self.follows = self._laid_out(is_real & after.take(self.rows))

    @cached_property
    def _place(self) -> NDArray[np.int64]:
        """Where each row of the data lies, (n,)."""
        found = np.empty(self.n_rows, np.int64)
        is_real = self._places < self.n_rows
        found[self._places[is_real]] = np.flatnonzero(is_real)
        return found

    @property
    def borders(self) -> NDArray[np.int64]:
        """First and last rows of the parts of sequences that count."""
        begins = np.zeros(self.n_rows + 1, bool)
        begins[self.first] = begins[-1] = True
        before, after = np.append(False, self.inside[:-1]), np.append(self.inside[1:], False)
        edge = ~before | ~after | begins[:-1] | begins[1:]
        return np.flatnonzero(self.inside & edge)

    def _laid_out(self, values: NDArray[np.bool_]) -> Array:
        return values.reshape(self.n_groups, self.n_strips, -1).astype(np.float64)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Groups, strips, rows of a strip."""
        return self.n_groups, self.n_strips, LANES * STRIP

    @property
    def n_steps(self) -> int:
        """Steps of a block."""
        return int(self.n_strips * STRIP)

    def arranged(self, values: AnyArray) -> AnyArray:
        """Rows of the data in this order, (G, Q W, ...)."""
        found = values.take(self.rows, axis=0)
        return found.reshape(self.n_groups, -1, *values.shape[1:])

    def at(self, table: Array, rows: NDArray[np.int64] | slice = slice(None)) -> Array:
        """Values of rows of the data, (n, K), from a table (G, Q, K, W)."""
        place, width = self._place[rows], table.shape[-1]
        found = table.reshape(-1, *table.shape[-2:])
        return np.asarray(found[place // width, :, place % width])

    def places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Group, strip and column of rows of the data, (3, n)."""
        width = LANES * STRIP
        strip, column = np.divmod(self._place[rows], width)
        return np.array([*np.divmod(strip, self.n_strips), column])

    def run(self, function: Callable[[int], object]) -> None:
        """Call the function for each group, on threads."""
        parallel.run(function, self.n_groups, self.n_threads)
