"""Parts of sequences as mini-batches (Foti et al. 2014)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.models.sequences.model import Growth, Rows
from fastvi.models.sequences.stream import Stream

__all__ = ["Subchains"]


class Subchains:
    """All sequences cut into sub-chains, whose sums add up to those of all rows.

    A sub-chain also has the transition into its first row. It is computed with the rows around it,
    its buffers, which do not count in sums; where it lacks the beginning of its sequence, the first
    state is drawn from the stationary distribution.

    Parameters
    ----------
    rows : Rows
    length : int
        Rows of a sub-chain; the last ones of sequences may have fewer.
    buffer : int
        Rows before it and after it, at first.
    tol : float, optional
        Buffers grow until posteriors at the borders change by less than this; by default they stay.

    Attributes
    ----------
    n_rows : int
        Number of sub-chains: the "rows" of batches.
    """

    norms = None

    def __init__(self, rows: Rows, length: int, buffer: int, tol: float | None = None) -> None:
        stream = rows.stream
        ends = np.append(stream.first[1:], stream.n_rows)
        counts = -(-(ends - stream.first) // length)
        sequence = np.repeat(np.arange(len(counts)), counts)
        steps = np.arange(len(sequence)) - np.repeat(np.cumsum(counts) - counts, counts)
        self._first, self._last = stream.first[sequence], ends[sequence]
        self._begin = self._first + steps * length
        self._end = np.minimum(self._begin + length, self._last)
        self._buffer, self._tol = buffer, tol
        self._rows, self.n_rows = rows, len(self._begin)

    def all(self) -> Rows:
        """Every row, in order."""
        return self._rows

    def take(self, rows: Any) -> Rows:
        """Sub-chains with these numbers, and their buffers."""
        return self._taken(np.asarray(rows), self._buffer)

    def _taken(self, chosen: NDArray[np.int64], buffer: int) -> Rows:
        """Sub-chains with buffers of this size, which may grow."""
        first, last = self._first[chosen], self._last[chosen]
        begin, end = self._begin[chosen], self._end[chosen]
        low, high = np.maximum(begin - buffer, first), np.minimum(end + buffer, last)
        lengths = high - low
        offsets = np.cumsum(lengths) - lengths
        steps = np.arange(lengths.sum()) - np.repeat(offsets, lengths)
        places = np.repeat(low, lengths) + steps
        inside = (places >= np.repeat(begin, lengths)) & (places < np.repeat(end, lengths))
        whole = self._rows.stream
        stream = Stream(lengths, whole.is_missing[places], whole.n_threads, inside, low > first)
        found = self._rows.part(stream, places)
        if self._tol is not None and np.any((low > first) | (high < last)):
            wider = max(2 * buffer, 1)
            found.growth = Growth(self._tol, lambda: self._taken(chosen, wider))
        return found
