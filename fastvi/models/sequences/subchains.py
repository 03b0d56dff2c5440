"""Parts of sequences as mini-batches (Foti et al. 2014)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.models.sequences.model import Rows
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
        Rows before it and after it.

    Attributes
    ----------
    n_rows : int
        Number of sub-chains: the "rows" of batches.
    """

    norms = None

    def __init__(self, rows: Rows, length: int, buffer: int) -> None:
        stream = rows.stream
        ends = np.append(stream.first[1:], stream.n_rows)
        counts = -(-(ends - stream.first) // length)
        sequence = np.repeat(np.arange(len(counts)), counts)
        steps = np.arange(len(sequence)) - np.repeat(np.cumsum(counts) - counts, counts)
        first, last = stream.first[sequence], ends[sequence]
        self._begin = first + steps * length
        self._end = np.minimum(self._begin + length, last)
        self._low = np.maximum(self._begin - buffer, first)
        self._high = np.minimum(self._end + buffer, last)
        self._is_middle = self._low > first
        self._rows, self.n_rows = rows, len(self._begin)

    def all(self) -> Rows:
        """Every row, in order."""
        return self._rows

    def take(self, rows: Any) -> Rows:
        """Sub-chains with these numbers, and their buffers."""
        chosen: NDArray[np.int64] = np.asarray(rows)
        low, begin = self._low[chosen], self._begin[chosen]
        lengths = self._high[chosen] - low
        offsets = np.cumsum(lengths) - lengths
        steps = np.arange(lengths.sum()) - np.repeat(offsets, lengths)
        places = np.repeat(low, lengths) + steps
        inside = (places >= np.repeat(begin, lengths)) & (
            places < np.repeat(self._end[chosen], lengths)
        )
        whole = self._rows.stream
        stream = Stream(
            lengths, whole.is_missing[places], whole.n_threads, inside, self._is_middle[chosen]
        )
        return self._rows.part(stream, places)
