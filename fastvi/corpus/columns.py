"""Numbered columns; memory depends on the columns that occur, not on the largest number."""

import numpy as np
from numpy.typing import NDArray

from fastvi.corpus.documents import Columns
from fastvi.corpus.numbers import MAX_WORDS

# Columns below this keep their numbers as ids; those above get ids as they appear.
NEAR = 1 << 20


class ColumnNumbers:
    """Provisional ids of the columns of a bag-of-words corpus.

    Attributes
    ----------
    lowest, highest : int
        The smallest and the largest column so far; `MAX_WORDS` and -1 before the first.
    """

    def __init__(self) -> None:
        self.lowest, self.highest = MAX_WORDS, -1
        self._far = np.zeros(0, np.int64)  # in the order of their ids

    @property
    def n_ids(self) -> int:
        """One more than the largest id so far."""
        return NEAR + len(self._far) if len(self._far) else self.highest + 1

    def ids(self, columns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the ids of some columns."""
        if not len(columns):
            return columns
        self.lowest = min(self.lowest, int(columns.min()))
        self.highest = max(self.highest, highest := int(columns.max()))
        if highest < NEAR:
            return columns
        is_far = columns >= NEAR
        self._far = np.append(self._far, np.setdiff1d(columns[is_far], self._far))
        order = np.argsort(self._far)
        ids = columns.copy()
        ids[is_far] = NEAR + order[np.searchsorted(self._far, columns[is_far], sorter=order)]
        return ids

    def columns(self, first: int, n_columns: int, words: list[str] | None) -> Columns:
        """Return the columns `first` to `first + n_columns - 1` in their order."""
        near = np.arange(first, min(NEAR, first + n_columns))
        order = np.argsort(self._far)
        far = self._far[order]
        if words is None:
            places = np.concatenate([near, far]) - first
            return Columns(np.concatenate([near, NEAR + order]), None, places, n_columns)
        ids = np.full(n_columns, self.n_ids)  # an id that occurs in no document
        ids[: len(near)] = near
        ids[far - first] = NEAR + order
        return Columns(ids, words)
