"""UCI docword and Matrix Market: one entry per line, `document word count`."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from fastvi.base.typing import AnyArray
from fastvi.corpus.columns import ColumnNumbers
from fastvi.corpus.documents import Columns, Counts, csr_block
from fastvi.corpus.files import line_blocks
from fastvi.corpus.headers import Header, read_header
from fastvi.corpus.numbers import Line, lines_of, parse_numbers, proper, whole

BLOCK_DOCUMENTS = 1 << 16
MAX_COUNT = float(np.finfo(np.float32).max)


class NotSorted(Exception):
    """The entries are not sorted by document, so the file cannot be streamed."""


class Triples(NamedTuple):
    """Entries, indices from 0."""

    rows: AnyArray
    columns: AnyArray
    counts: AnyArray


class TripleSource:
    """Documents of UCI docword or Matrix Market files, streamed if sorted by document."""

    names: list[str] | None = None
    fields: Mapping[str, list[object]] = MappingProxyType({})
    open_vocabulary = False
    reading: Mapping[str, object] = MappingProxyType({})

    def __init__(
        self,
        paths: list[Path],
        label: str,
        vocabulary: list[str] | None,
        matrix_market: bool,
        whole_file: bool,
    ) -> None:
        self.label = label
        self.removed: list[str] = []
        self._paths = paths
        self._whole_file = whole_file
        self._headers = [read_header(path, matrix_market) for path in paths]
        self._n_words = self._headers[0].n_words
        for path, header in zip(paths, self._headers):
            if header.n_words != self._n_words:
                raise ValueError(
                    f"{path}: {header.n_words} words, but {paths[0]} has {self._n_words}"
                )
        self._vocabulary = vocabulary
        self._numbers = ColumnNumbers()
        if vocabulary is not None and len(vocabulary) != self._n_words:
            hint = ""
            if matrix_market and len(vocabulary) == self._headers[0].n_documents:
                hint = "; is the matrix transposed? Rows are documents, columns are words"
            raise ValueError(
                f"{paths[0]}: {self._n_words} words, but the vocabulary has {len(vocabulary)}{hint}"
            )

    def blocks(self) -> Iterator[Counts]:
        """Yield CSR blocks; raises NotSorted if a streamed file is not sorted."""
        for path, header in zip(self._paths, self._headers):
            if self._whole_file or not header.streamable:
                yield self._all_at_once(path, header)
            else:
                yield from self._stream(path, header)

    def columns(self) -> Columns:
        """Return all columns in the order of the file."""
        return self._numbers.columns(0, self._n_words, self._vocabulary)

    def _stream(self, path: Path, header: Header) -> Iterator[Counts]:
        """Yield documents once a later one has begun."""
        first, held = 0, Triples(*(np.zeros(0, np.int64) for _ in range(3)))
        for triples in self._parse(path, header):
            rows = np.concatenate([held.rows, triples.rows])
            if not len(rows):
                continue
            if rows[0] < first or np.any(rows[1:] < rows[:-1]):
                raise NotSorted
            columns = np.concatenate([held.columns, triples.columns])
            counts = np.concatenate([held.counts, triples.counts])
            last = int(rows[-1])
            cut = int(np.searchsorted(rows, last))
            yield from self._documents(
                Triples(rows[:cut], columns[:cut], counts[:cut]), first, last
            )
            first, held = last, Triples(rows[cut:], columns[cut:], counts[cut:])
        yield from self._documents(held, first, header.n_documents)

    def _documents(self, triples: Triples, first: int, last: int) -> Iterator[Counts]:
        """Yield documents from `first` to below `last`; some may have no entries."""
        for begin in range(first, last, BLOCK_DOCUMENTS):
            end = min(begin + BLOCK_DOCUMENTS, last)
            indptr = np.searchsorted(triples.rows, np.arange(begin, end + 1))
            part = slice(indptr[0], indptr[-1])
            yield self._block(indptr - indptr[0], triples.columns[part], triples.counts[part])

    def _all_at_once(self, path: Path, header: Header) -> Counts:
        parts = list(self._parse(path, header))
        empty = np.zeros(0, np.int64)
        rows, columns, counts = (
            np.concatenate([empty, *(part[i] for part in parts)]) for i in range(3)
        )
        if header.symmetric:
            below = rows != columns
            rows, columns = (
                np.append(rows, columns[below]),
                np.append(columns, rows[below]),
            )
            counts = np.append(counts, counts[below])
        order = np.argsort(rows, kind="stable")
        indptr = np.zeros(header.n_documents + 1, np.int64)
        np.cumsum(np.bincount(rows, minlength=header.n_documents), out=indptr[1:])
        return self._block(indptr, columns[order], counts[order])

    def _block(self, indptr: AnyArray, columns: AnyArray, counts: AnyArray) -> Counts:
        ids = self._numbers.ids(columns)
        return csr_block(indptr, ids, counts, self._numbers.n_ids)

    def _parse(self, path: Path, header: Header) -> Iterator[Triples]:
        """Yield checked entries by blocks of lines."""
        n_found, n_lines = 0, header.n_lines
        for number, block in line_blocks(path, skip=header.n_lines):
            triples = _fast(block, header, n_found)
            if triples is None:
                triples = _careful(lines_of(path, number, block), header, n_found)
            n_found += len(triples.rows)
            n_lines = number + block.count(b"\n") - 1
            yield triples
        if n_found < header.n_entries:
            raise ValueError(
                f"{path}, line {n_lines}: the header declares {header.n_entries} entries, "
                f"{n_found} were found (the file is truncated)"
            )


def _fast(block: bytes, header: Header, n_found: int) -> Triples | None:
    """Parse a block at once; None leaves it to the careful parser."""
    numbers = parse_numbers(block)
    if numbers is None or np.any(numbers.after_colon):
        return None
    lengths = np.diff(numbers.line_starts)
    if np.any(lengths[lengths > 0] != header.width):
        return None
    table = numbers.values.reshape(-1, header.width)
    if n_found + len(table) > header.n_entries:
        return None
    counts = np.ones(len(table)) if header.field == "pattern" else table[:, -1]
    if not proper(counts) or not (_may_be_fractions(header) or whole(counts, 0, MAX_COUNT)):
        return None
    if header.dense:
        return Triples(*_places(header, n_found, len(table)), counts)
    rows, columns = table[:, 0], table[:, 1]
    if not (whole(rows, 1, header.n_documents + 1) and whole(columns, 1, header.n_words + 1)):
        return None
    if header.symmetric and np.any(rows < columns):
        return None
    return Triples(rows.astype(np.int64) - 1, columns.astype(np.int64) - 1, counts)


def _careful(lines: list[Line], header: Header, n_found: int) -> Triples:
    """Parse line by line, with errors that name the line."""
    rows: list[int] = []
    columns: list[int] = []
    counts: list[float] = []
    names = ["count"] if header.dense else ["document", "word", "count"][: header.width]
    for line in lines:
        words = line.text.split()
        if not words:
            continue
        if n_found + len(counts) == header.n_entries:
            raise line.error(f"one more entry than the {header.n_entries} that the header declares")
        if len(words) != header.width:
            wanted = " ".join(names)
            raise line.error(f"{len(words)} numbers, wanted: {wanted!r} (truncated?)")
        if not header.dense:
            row = line.whole(words[0], "a document index", 1, header.n_documents + 1)
            column = line.whole(words[1], "a word index", 1, header.n_words + 1)
            if header.symmetric and row < column:
                raise line.error("above the diagonal of a matrix that is declared symmetric")
            rows.append(row - 1)
            columns.append(column - 1)
        counts.append(1.0 if header.field == "pattern" else _count(line, words[-1], header))
    if header.dense:
        return Triples(*_places(header, n_found, len(counts)), np.array(counts))
    return Triples(np.array(rows, np.int64), np.array(columns, np.int64), np.array(counts, float))


def _may_be_fractions(header: Header) -> bool:
    return header.field in ("real", "double")


def _count(line: Line, text: str, header: Header) -> float:
    count = line.amount(text, "a count")
    if count != math.floor(count) and not _may_be_fractions(header):
        raise line.error(f"a count is {text}; wanted: a whole number, as the banner says")
    return count


def _places(header: Header, begin: int, n: int) -> tuple[AnyArray, AnyArray]:
    """Return rows and columns of n values of a dense matrix, stored by columns."""
    if not header.symmetric:
        columns, rows = np.divmod(np.arange(begin, begin + n), max(header.n_documents, 1))
        return rows, columns
    lengths = np.arange(header.n_words, 0, -1)
    starts = np.cumsum(lengths) - lengths
    entries = np.arange(begin, begin + n)
    columns = np.searchsorted(starts, entries, side="right") - 1
    return entries - starts[columns] + columns, columns
