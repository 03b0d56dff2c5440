"""Documents sorted by slices of time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base.bags import Bags
from fastvi.base.typing import AnyArray, Array
from fastvi.kernels import sparse

__all__ = ["Single", "SlicedCorpus", "sorted_by"]

Single = NDArray[np.float32]


class SlicedCorpus(NamedTuple):
    """Documents sorted by slice, and their transpose.

    Attributes
    ----------
    indptr : (D + 1,) int64 array
    words, counts : (N,) int32, (N,) float32 arrays
    slices : (D,) int64 array
        Ascending.
    pair_starts : (V + 1,) int64 array
        First pair of each word; a pair is a word and a slice that has it.
    pair_slices : (P,) int64 array
    bounds : (P + 1,) int64 array
        First of each pair's `entries`.
    entries : (N,) int64 array
        Indices of entries by word.
    n_slices : int
    """

    indptr: NDArray[np.int64]
    words: NDArray[np.int32]
    counts: Single
    slices: NDArray[np.int64]
    pair_starts: NDArray[np.int64]
    pair_slices: NDArray[np.int64]
    bounds: NDArray[np.int64]
    entries: NDArray[np.int64]
    n_slices: int

    @property
    def n_words(self) -> int:
        """Size of the vocabulary."""
        return len(self.pair_starts) - 1

    @classmethod
    def of(cls, bags: Bags, slices: NDArray[np.int64], n_slices: int) -> SlicedCorpus:
        """Sort documents, given the slice of each (D,)."""
        order, indptr, words, counts = sorted_by(slices, bags)
        columns = np.empty(bags.n_words + 1, np.int64)
        documents = np.empty(len(words), np.int32)
        entries = np.empty(len(words), np.int64)
        sparse.transpose(indptr, words, columns, documents, entries)
        slices = slices[order]
        when, owner = slices[documents], np.repeat(np.arange(bags.n_words), np.diff(columns))
        new = np.ones(len(when), bool)
        new[1:] = (when[1:] != when[:-1]) | (owner[1:] != owner[:-1])
        first = np.flatnonzero(new)
        pair_starts = np.searchsorted(first, columns).astype(np.int64)
        bounds = np.append(first, len(words)).astype(np.int64)
        return cls(
            indptr, words, counts, slices, pair_starts, when[first], bounds, entries, n_slices
        )

    def by_slice(self, rows: AnyArray) -> Array:
        """Sums of rows (D, n) over the documents of each slice, (T, n), in float64."""
        bounds = np.searchsorted(self.slices, np.arange(self.n_slices + 1))
        sums = np.zeros((self.n_slices, rows.shape[1]))
        for t in range(self.n_slices):
            sums[t] = rows[bounds[t] : bounds[t + 1]].sum(axis=0, dtype=np.float64)
        return sums


def sorted_by(slices: NDArray[np.int64], bags: Bags) -> tuple[NDArray[np.int64], Any, Any, Any]:
    """Return an order of documents by slice, and their CSR arrays in this order, in float32."""
    order = np.argsort(slices, kind="stable")
    lengths = np.diff(bags.indptr)[order]
    indptr = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    words = np.empty(len(bags.indices), np.int32)
    counts = np.empty(len(words), np.float32)
    given = np.asarray(bags.counts, np.float32)
    sparse.take_rows(bags.indptr, bags.indices, given, order, indptr, words, counts)
    return order, indptr, words, counts
