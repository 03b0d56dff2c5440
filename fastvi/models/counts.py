"""Documents as arrays: batches of a bag-of-words corpus, prepared for the kernels."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fastvi.base import parallel
from fastvi.base.bags import bags_of_words
from fastvi.base.typing import AnyArray, Array, DTypeLike, JsonObject, Tree
from fastvi.batches import Batches, Part, ShuffledEpochs
from fastvi.checkpoints import digest
from fastvi.core import Batch, LazyTable, RowGradient
from fastvi.corpus.shards import ShardedCorpus
from fastvi.kernels import sparse

__all__ = [
    "CountSource",
    "DocumentSource",
    "Documents",
    "Parts",
    "ShardedEpochs",
    "ShardedSource",
    "chunks_of",
    "confined",
    "padded",
    "prepare",
]

Parts = tuple[NDArray[np.int64], NDArray[np.int32], AnyArray]  # indptr, indices, counts
CHUNK_WORK = 500_000  # entries x topics per chunk, about 1 ms of local steps


def padded(n_topics: int) -> int:
    """Return the number of topics with padding, as kernels process eight at a time."""
    return (n_topics + 7) // 8 * 8


def chunks_of(indptr: NDArray[np.int64], n_topics: int, passes: int = 1) -> NDArray[np.int64]:
    """Return boundaries of chunks of about 1 ms; entries are `passes` times cheaper than usual.

    They depend only on the documents, so that results do not depend on the number of threads.
    """
    work = indptr + 4 * np.arange(len(indptr))  # even an empty document costs time
    return parallel.split(work, passes * CHUNK_WORK / padded(n_topics))


class Documents(NamedTuple):
    """A batch of D documents over its U distinct words, with its transpose.

    Attributes
    ----------
    indptr : (D + 1,) int64 array
    words : (N,) int32 array
        Indices into `rows`.
    counts : (N,) array
    rows : (U,) int32 array
        The distinct words, ascending, as rows of the topic-word table.
    columns, documents, entries : (U + 1,) int64, (N,) int32, (N,) int64 arrays
        The transpose: for each word, the documents that contain it and the indices of these
        entries.
    """

    indptr: NDArray[np.int64]
    words: NDArray[np.int32]
    counts: AnyArray
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
    counts: AnyArray,
    marker: NDArray[np.int32],
) -> Documents:
    """Renumber the words of a CSR batch and transpose it.

    `marker` (V,) int32 is scratch memory, -1 everywhere before and after; the cost does not depend
    on V.
    """
    found = np.empty(len(indices), np.int32)
    rows = np.sort(found[: sparse.distinct(indices, marker, found)])
    words = np.empty(len(indices), np.int32)
    sparse.renumber(indices, marker, rows, words)
    columns = np.empty(len(rows) + 1, np.int64)
    documents = np.empty(len(indices), np.int32)
    entries = np.empty(len(indices), np.int64)
    sparse.transpose(indptr, words, columns, documents, entries)
    return Documents(indptr, words, counts, rows, columns, documents, entries)


class CountSource(Protocol):
    """Training documents, in memory or on disk.

    `n_entries` is the number of entries in memory, or None for documents on disk. The latter come
    only in the batches of `epochs`; a corpus in memory is also a `fastvi.batches.Source`.
    """

    n_rows: int
    n_words: int

    @property
    def n_entries(self) -> int | None:
        """Number of entries in memory, or None."""
        ...

    def epochs(self, batch_size: int, seed: int) -> Batches:
        """Uniform mini-batches without replacement."""
        ...

    def identity(self) -> JsonObject:
        """Return what identifies this corpus, as JSON."""
        ...


class DocumentSource:
    """A corpus in memory, as a source of batches.

    Parameters
    ----------
    indptr : (D + 1,) int64 array
    indices : (N,) int32 array
    counts : (N,) array
        CSR arrays that have been checked; they are neither copied nor written to.
    n_words : int
        Size of the vocabulary, V.
    marker : (V,) int32 array, optional
        Scratch memory of an earlier source, so that a small batch needs no array of length V.
    """

    def __init__(
        self,
        indptr: NDArray[np.int64],
        indices: NDArray[np.int32],
        counts: AnyArray,
        n_words: int,
        marker: NDArray[np.int32] | None = None,
    ) -> None:
        self.indptr, self.indices, self.counts = indptr, indices, counts
        self.n_words = n_words
        self.n_rows, self.n_entries = len(indptr) - 1, len(indices)
        self.marker = np.full(n_words, -1, np.int32) if marker is None else marker

    def epochs(self, batch_size: int, seed: int) -> Batches:
        """Uniform mini-batches without replacement."""
        return ShuffledEpochs(self, batch_size, seed)

    def identity(self) -> JsonObject:
        """Return the sizes and a digest of all counts."""
        size = [self.n_rows, self.n_words, float(self.counts.sum(dtype=np.float64))]
        return {"corpus": size, "corpus digest": digest(self.indptr, self.indices, self.counts)}

    @property
    def norms(self) -> Array:
        """Norm of each document's counts, (n_rows,), which bounds that of its expected counts."""
        squares = np.concatenate(([0.0], np.cumsum(np.square(self.counts, dtype=np.float64))))
        return np.asarray(np.sqrt(np.diff(squares[self.indptr])))

    def all(self) -> Documents:
        """Every document, in order."""
        return prepare(self.indptr, self.indices, self.counts, self.marker)

    def take(self, rows: NDArray[np.int64]) -> Documents:
        """Return the documents `rows` (n,), in that order."""
        indptr = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(self.indptr[rows + 1] - self.indptr[rows], out=indptr[1:])
        indices = np.empty(indptr[-1], np.int32)
        counts = np.empty(indptr[-1], self.counts.dtype)
        sparse.take_rows(self.indptr, self.indices, self.counts, rows, indptr, indices, counts)
        return prepare(indptr, indices, counts, self.marker)

    def part(self, start: int, stop: int) -> Part:
        """Documents `start` to ``stop - 1``, with the words that occur in them."""
        begin, end = self.indptr[start], self.indptr[stop]
        words, indices = np.unique(self.indices[begin:end], return_inverse=True)
        source = DocumentSource(
            self.indptr[start : stop + 1] - begin, indices.astype(np.int32),
            self.counts[begin:end], len(words),
        )  # fmt: skip
        return Part(source, words)

    def likewise(self) -> Callable[[Any], Part]:
        """Return what makes a shard of a matrix of counts of the same words."""
        return partial(_part_of_counts, n_words=self.n_words, dtype=self.counts.dtype)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"marker": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, marker=np.full(state["n_words"], -1, np.int32))


def _part_of_counts(X: Any, n_words: int, dtype: DTypeLike) -> Part:
    """A shard of counts (n, V)."""
    bags = bags_of_words(X, dtype=dtype)
    if bags.n_words != n_words:
        raise ValueError(f"{bags.n_words} columns; wanted {n_words}")
    return DocumentSource(*bags).part(0, len(bags.indptr) - 1)


class ShardedSource:
    """A corpus on disk.

    Parameters
    ----------
    corpus : ShardedCorpus
    """

    n_entries = None

    def __init__(self, corpus: ShardedCorpus) -> None:
        self.corpus, self.n_rows, self.n_words = corpus, corpus.n_documents, corpus.n_words
        self.marker = np.full(corpus.n_words, -1, np.int32)

    def epochs(self, batch_size: int, seed: int) -> Batches:
        """Uniform mini-batches of documents from one shard at a time."""
        return ShardedEpochs(self.corpus, batch_size, seed, self.marker)

    def identity(self) -> JsonObject:
        """Return the sizes and a checksum of the words."""
        size = [self.n_rows, self.n_words, self.corpus.n_tokens]
        words = "\n".join(self.corpus.vocabulary or ()).encode()
        return {"corpus": size, "corpus digest": f"{zlib.crc32(words):08x}"}


class ShardedEpochs(Batches):
    """Mini-batches of a corpus on disk: shards in a new order each epoch, shuffled within."""

    def __init__(
        self, corpus: ShardedCorpus, batch_size: int, seed: int, marker: NDArray[np.int32]
    ) -> None:
        self.corpus, self.batch_size, self.seed, self.marker = corpus, batch_size, seed, marker

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Yield the mini-batches of an epoch after the first `skip`."""
        return itertools.islice(self._epoch(number), skip, None)

    def _epoch(self, number: int) -> Iterator[Batch]:
        rng = np.random.default_rng([self.seed, number])
        n_documents = self.corpus.n_documents
        for i in rng.permutation(self.corpus.n_shards):
            indptr, indices, counts = self.corpus.shard(int(i))
            n_rows = len(indptr) - 1
            if n_rows <= self.batch_size:
                documents = prepare(indptr, indices, counts, self.marker)
                yield Batch(documents, np.full(n_rows, n_documents / n_rows))
                continue
            source = DocumentSource(indptr, indices, counts, len(self.marker), self.marker)
            seed = int(rng.integers(2**31))
            for rows, weights in ShuffledEpochs(source, self.batch_size, seed).epoch(0):
                yield Batch(rows, weights * (n_documents / n_rows))


def confined(table: LazyTable, step: Tree, least: AnyArray) -> Any:
    """Clip a step so that no row of the table falls below `least`, its prior."""
    if not isinstance(step, RowGradient):
        before = table.dense()
        return np.maximum(before + step, np.broadcast_to(least, before.shape)) - before
    kind, rows = table.values.dtype.type, step.rows
    shape = table.values.shape
    anchor = np.broadcast_to(step.anchor, shape)[rows]
    rest = table.read(rows)
    rest = anchor + (rest - anchor) * kind(1 - step.factor * step.coefficient)
    lowest = np.broadcast_to(least, shape)[rows] + kind(1e-6) * rest  # for rounding
    return step._replace(values=np.maximum(step.values, (lowest - rest) / kind(step.factor)))
