"""Documents as arrays: batches of a bag-of-words corpus, prepared for the kernels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.kernels import sparse

__all__ = ["DocumentSource", "Documents", "prepare"]


class Documents(NamedTuple):
    """A batch of D documents over its own U distinct words, with its transpose.

    Attributes
    ----------
    indptr : (D + 1,) int64 array
    words : (N,) int32 array
        Places in `rows`.
    counts : (N,) array
    rows : (U,) int32 array
        The distinct words, ascending, as rows of the topic-word table.
    columns, documents, entries : (U + 1,) int64, (N,) int32, (N,) int64 arrays
        The transpose: for each word the documents it stands in and the places of these entries.
    """

    indptr: NDArray[np.int64]
    words: NDArray[np.int32]
    counts: NDArray[Any]
    rows: NDArray[np.int32]
    columns: NDArray[np.int64]
    documents: NDArray[np.int32]
    entries: NDArray[np.int64]

    @property
    def n_documents(self) -> int:
        """Number of documents in the batch."""
        return len(self.indptr) - 1


def prepare(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    counts: NDArray[Any],
    marker: NDArray[np.int32],
) -> Documents:
    """Renumber the words of a CSR batch and transpose it.

    `marker` (V,) int32 is scratch, -1 everywhere before and after; the cost does not grow with V.
    """
    found = np.empty(len(indices), np.int32)
    rows = found[: sparse.distinct(indices, marker, found)].copy()
    words = np.empty(len(indices), np.int32)
    sparse.renumber(indices, marker, rows, words)
    columns = np.empty(len(rows) + 1, np.int64)
    documents = np.empty(len(indices), np.int32)
    entries = np.empty(len(indices), np.int64)
    sparse.transpose(indptr, words, columns, documents, entries)
    return Documents(indptr, words, counts, rows, columns, documents, entries)


class DocumentSource:
    """A corpus in memory, a source of batches.

    Parameters
    ----------
    indptr : (D + 1,) int64 array
    indices : (N,) int32 array
    counts : (N,) array
        CSR parts, checked before; not copied and not written to.
    n_words : int
        Size of the vocabulary, V.
    marker : (V,) int32 array, optional
        Scratch of an earlier source, so that a small batch costs no array of V.
    """

    def __init__(
        self,
        indptr: NDArray[np.int64],
        indices: NDArray[np.int32],
        counts: NDArray[Any],
        n_words: int,
        marker: NDArray[np.int32] | None = None,
    ) -> None:
        self.indptr, self.indices, self.counts = indptr, indices, counts
        self.n_words = n_words
        self.n_rows = len(indptr) - 1
        self.marker = np.full(n_words, -1, np.int32) if marker is None else marker

    @property
    def norms(self) -> NDArray[np.float64]:
        """Norm of each document's counts, (n_rows,): no norm of its expected counts is above it."""
        squares = np.concatenate(([0.0], np.cumsum(np.square(self.counts, dtype=np.float64))))
        return np.asarray(np.sqrt(np.diff(squares[self.indptr])))

    def all(self) -> Documents:
        """Every document, in order."""
        return prepare(self.indptr, self.indices, self.counts, self.marker)

    def take(self, rows: NDArray[np.int64]) -> Documents:
        """The documents `rows` (n,), in that order."""
        indptr = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(self.indptr[rows + 1] - self.indptr[rows], out=indptr[1:])
        indices = np.empty(indptr[-1], np.int32)
        counts = np.empty(indptr[-1], self.counts.dtype)
        sparse.take_rows(self.indptr, self.indices, self.counts, rows, indptr, indices, counts)
        return prepare(indptr, indices, counts, self.marker)
