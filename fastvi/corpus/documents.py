"""Corpora in memory, and pruning of their words."""

import numbers
import warnings
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import AnyArray
from fastvi.corpus.options import Limit, Options

Counts = Any  # scipy.sparse.csr_array: SciPy has no types, and its import is delayed


class Corpus(NamedTuple):
    """Word counts of a collection of documents.

    Attributes
    ----------
    counts : scipy.sparse.csr_array (n_documents, n_words), float32
        Canonical: indices (int32 up to 2**31 entries) sorted, no duplicates, no stored zeros.
    vocabulary : list of str, optional
        The word of each column.
    names : list of str, optional
        The name of each document (file name, qualified name).
    description : str
        One line: what was read, its size, what pruning removed.
    reading : mapping
        Options, given or detected, with which `read` reads other files in the same way.
    pruned : bool
        Whether columns were left out.
    fields : mapping of str to list
        The values of the fields that were kept, one for each document: strings, numbers or None. A
        column of a table is made numbers if all of its values are.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse import csr_array
    >>> from fastvi.corpus import Corpus
    >>> counts = csr_array(np.array([[2, 0], [1, 3]]))
    >>> corpus = Corpus(counts, ["cat", "dog"], None, "two documents")
    >>> corpus.n_documents, corpus.n_words, float(corpus.n_tokens)
    (2, 2, 6.0)
    """

    counts: Counts
    vocabulary: list[str] | None
    names: list[str] | None
    description: str
    reading: Mapping[str, object] = MappingProxyType({})
    pruned: bool = False
    fields: Mapping[str, list[object]] = MappingProxyType({})

    @property
    def n_documents(self) -> int:
        """Number of documents, empty ones included."""
        return int(self.counts.shape[0])

    @property
    def n_words(self) -> int:
        """Number of different words."""
        return int(self.counts.shape[1])

    @property
    def n_tokens(self) -> float:
        """Sum of all counts."""
        return float(self.counts.data.sum(dtype=np.float64))

    @property
    def n_empty(self) -> int:
        """Number of documents without words."""
        return int(np.count_nonzero(np.diff(self.counts.indptr) == 0))


class Columns(NamedTuple):
    """The columns of a fully read corpus, before pruning.

    If columns have no words, those that occur in no document may be left out; `places` are then the
    positions of the others among all `n_columns`.
    """

    ids: NDArray[np.int64]  # (n,) provisional word ids, in the final order
    words: list[str] | None  # (n,)
    places: NDArray[np.int64] | None = None  # (n,)
    n_columns: int = 0


class Source(Protocol):
    """A corpus being read: blocks of documents with provisional word ids.

    `columns` is complete once `blocks` is exhausted. `open_vocabulary` says that the words came
    from the texts themselves, so that pruning is on by default. `removed` describes what was not
    counted at all.
    """

    label: str
    names: list[str] | None
    fields: Mapping[str, list[object]]
    open_vocabulary: bool
    removed: list[str]

    @property
    def reading(self) -> Mapping[str, object]:
        """Return the options with which it was read, once `columns` is known."""
        ...

    def blocks(self) -> Iterator[Counts]:
        """Yield canonical CSR blocks (documents x provisional words, float32)."""
        ...

    def columns(self) -> Columns:
        """Return the final order of the provisional ids."""
        ...


def csr_array(data: AnyArray, indices: AnyArray, indptr: AnyArray, n_words: int) -> Counts:
    """Return a float32 CSR matrix, with int32 indices if they can count its entries."""
    from scipy.sparse import csr_array

    index = np.int32 if indptr[-1] <= np.iinfo(np.int32).max else np.int64
    parts = (np.asarray(data, np.float32), np.asarray(indices, index), np.asarray(indptr, index))
    return csr_array(parts, shape=(len(indptr) - 1, n_words))


def csr_block(indptr: AnyArray, indices: AnyArray, data: AnyArray, n_words: int) -> Counts:
    """Return a canonical CSR block: duplicates summed, indices sorted, zeros dropped."""
    # Copies: SciPy sorts and sums in place.
    block = csr_array(data.astype(np.float32), indices.astype(np.int32), indptr, n_words)
    block.sum_duplicates()
    block.eliminate_zeros()
    return block


class Statistics:
    """Document frequencies and totals of provisional words, gathered block by block."""

    def __init__(self) -> None:
        self.n_documents = 0
        self.document_frequency = np.zeros(0, np.int64)
        self.totals = np.zeros(0, np.float64)

    def add(self, block: Counts) -> None:
        """Count the documents of one canonical block."""
        self.n_documents += block.shape[0]
        self.grow(block.shape[1])
        np.add.at(self.document_frequency, block.indices, 1)
        np.add.at(self.totals, block.indices, block.data.astype(np.float64))

    def grow(self, n_words: int) -> None:
        """Make room for words up to `n_words`."""
        n_more = n_words - len(self.totals)
        if n_more > 0:
            self.document_frequency = np.pad(self.document_frequency, (0, n_more))
            self.totals = np.pad(self.totals, (0, n_more))


class Pruned(NamedTuple):
    """The words that are kept."""

    position: NDArray[np.int32]  # (n_provisional,) final column, -1 for a removed word
    vocabulary: list[str] | None
    n_words: int
    removed: list[str]  # what was removed and why, in words


def prune(
    columns: Columns,
    statistics: Statistics,
    options: Options,
    stop_words: frozenset[str],
    open_vocabulary: bool,
) -> Pruned:
    """Choose the words to keep, after a first pass over the documents."""
    n_documents = statistics.n_documents
    statistics.grow(int(columns.ids.max(initial=-1)) + 1)
    frequency = statistics.document_frequency[columns.ids]
    kept = np.ones(len(columns.ids), bool)
    removed: list[str] = []

    def drop(bad: NDArray[np.bool_], why: str) -> None:
        n_bad = int(np.count_nonzero(kept & bad))
        if n_bad:
            kept[bad] = False
            removed.append(f"{n_bad} {why}")

    least, most = document_limits(options, n_documents, open_vocabulary)
    if stop_words:
        words = columns.words or []
        drop(np.fromiter((w in stop_words for w in words), bool, len(words)), "stop words")
    if most is not None:
        drop(frequency > most, f"words in more than {most} documents (max_df)")
    if least > 1:
        drop(frequency < least, f"words in fewer than {least} documents (min_df)")
    if options.max_features is not None:
        totals = np.where(kept, statistics.totals[columns.ids], -1.0)
        rare = np.ones(len(kept), bool)
        rare[np.argsort(-totals, kind="stable")[: options.max_features]] = False
        drop(rare, f"words rarer than the {options.max_features} most frequent (max_features)")
    if len(kept) and not kept.any():
        raise ValueError(f"no words are left, pruning removed {', '.join(removed)}; relax that")
    position = np.full(len(statistics.totals), -1, np.int32)
    if columns.places is not None and not removed:
        position[columns.ids] = columns.places
        return Pruned(position, None, columns.n_columns, removed)
    position[columns.ids[kept]] = np.arange(np.count_nonzero(kept), dtype=np.int32)
    vocabulary = None
    if columns.words is not None:
        vocabulary = [columns.words[i] for i in np.flatnonzero(kept).tolist()]
    return Pruned(position, vocabulary, int(np.count_nonzero(kept)), removed)


def document_limits(
    options: Options, n_documents: int, open_vocabulary: bool
) -> tuple[int, int | None]:
    """Return the smallest and the largest document frequency of words to keep."""
    min_df, max_df = options.min_df, options.max_df
    if min_df == "auto":
        min_df = max(1, min(5, n_documents // 200)) if open_vocabulary else 1
    if max_df == "auto":
        max_df = 0.5 if open_vocabulary and n_documents >= 20 else 1.0
    least = _documents(min_df, n_documents, round_up=True)
    most = _documents(max_df, n_documents, round_up=False)
    return least, None if most >= n_documents else most


def _documents(limit: Limit, n_documents: int, round_up: bool) -> int:
    if not isinstance(limit, numbers.Integral):
        # Shares like 0.07 * 100 = 7.000000000000001 must not round to 8.
        share = float(limit) * n_documents
        nearest = round(share)
        if abs(share - nearest) <= 1e-9 * max(1.0, share):
            return nearest
        return int(np.ceil(share) if round_up else np.floor(share))
    return int(limit)


def renumber(block: Counts, pruned: Pruned) -> Counts:
    """Replace provisional ids by final columns and drop removed words."""
    indices = pruned.position[block.indices]
    stays = indices >= 0
    kept_before = np.zeros(len(stays) + 1, np.int64)
    np.cumsum(stays, out=kept_before[1:])
    result = csr_array(block.data[stays], indices[stays], kept_before[block.indptr], pruned.n_words)
    result.sort_indices()
    return result


def stack(blocks: Iterable[Counts], n_words: int) -> Counts:
    """Stack blocks vertically."""
    data, indices, lengths = [np.zeros(0, np.float32)], [np.zeros(0, np.int32)], []
    for block in blocks:
        data.append(block.data)
        indices.append(block.indices)
        lengths.append(np.diff(block.indptr))
    indptr = np.concatenate([np.zeros(1, np.int64), *lengths]).cumsum()
    result = csr_array(np.concatenate(data), np.concatenate(indices), indptr, n_words)
    result.has_canonical_format = True
    return result


def warn_of_empty(source: Source, n_empty: int, n_documents: int) -> None:
    """Warn if most texts have no words."""
    if "token_pattern" in source.reading and 2 * n_empty > n_documents:
        words = "words" if source.open_vocabulary else "words of the vocabulary"
        warnings.warn(
            f"{source.label}: {n_empty} of {n_documents} documents have no {words} left; do "
            "token_pattern, encoding, stop_words, min_df and max_df suit them?",
            stacklevel=2,
        )


def describe(label: str, size: tuple[int, int, float, int], removed: list[str]) -> str:
    """Return one line about a corpus; `size` = documents, words, tokens, empty documents."""
    n_documents, n_words, n_tokens, n_empty = size
    text = f"{label}: {n_documents:,} documents, {n_words:,} words, {n_tokens:,.0f} tokens"
    if n_empty:
        text += f", {n_empty:,} documents empty"
    return text + (f"; removed {', '.join(removed)}" if removed else "")
