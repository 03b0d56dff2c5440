"""UCI docword and Matrix Market: an entry a line, `document word count`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.corpus.documents import Columns, Counts, csr_block
from fastvi.corpus.files import line_blocks, open_bytes
from fastvi.corpus.numbers import MAX_WORDS, Line, lines_of, parse_numbers, proper, whole

BLOCK_DOCUMENTS = 1 << 16
SIZES = ("the number of documents", "the number of words", "the number of entries")


class NotSorted(Exception):
    """The entries are not sorted by document, so the file cannot be streamed."""


class Header(NamedTuple):
    """What the head of a file promises."""

    n_documents: int
    n_words: int
    n_entries: int
    n_lines: int  # of the header itself
    pattern: bool = False  # entries without a count, each meaning 1
    plain: bool = True  # coordinates, no symmetry


class Triples(NamedTuple):
    """Entries, indices from 0."""

    rows: NDArray[Any]
    columns: NDArray[Any]
    counts: NDArray[Any]


def read_header(path: Path, matrix_market: bool) -> Header:
    """Read and check the head of a docword or Matrix Market file."""
    head: list[str] = []
    with open_bytes(path) as file:
        for number, raw in enumerate(file, 1):
            line = Line(path, number, raw[:1000].decode("ascii", "backslashreplace").strip())
            head.append(line.text)
            if matrix_market and number == 1:
                _check_banner(line)
            elif matrix_market and not line.text.startswith("%") and line.text:
                return _market_header(line, head[0].lower().split())
            elif not matrix_market and number == 3:
                n_documents, n_words, n_entries = (
                    Line(path, i, text).whole(text, what, 0)
                    for i, (text, what) in enumerate(zip(head, SIZES), 1)
                )
                return _believable(Header(n_documents, n_words, n_entries, 3), line)
    raise ValueError(f"{path}, line {len(head) + 1}: the file ends inside its header")


def _check_banner(line: Line) -> None:
    words = line.text.lower().split()
    known = (
        len(words) == 5
        and words[0] == "%%matrixmarket"
        and words[1] == "matrix"
        and words[2] in ("coordinate", "array")
        and words[3] in ("integer", "real", "pattern", "double", "unsigned-integer")
    )
    if not known:
        raise line.error(
            "wanted: '%%MatrixMarket matrix coordinate integer general' (or real, pattern, array)"
        )


def _market_header(line: Line, banner: list[str]) -> Header:
    sizes = [line.whole(text, "a size", 0) for text in line.text.split()]
    is_array = banner[2] == "array"
    if len(sizes) != (2 if is_array else 3):
        raise line.error("wanted: the numbers of rows, columns and entries")
    entries = sizes[0] * sizes[1] if is_array else sizes[2]
    plain = not is_array and banner[4] == "general"
    header = Header(
        sizes[0], sizes[1], entries, line.number, pattern=banner[3] == "pattern", plain=plain
    )
    return _believable(header, line)


def _believable(header: Header, line: Line) -> Header:
    """Refuse sizes that would fill the memory without a document to show for it."""
    if header.n_words > MAX_WORDS:
        raise line.error(f"{header.n_words} words promised; at most {MAX_WORDS} are possible")
    if header.n_documents > 100 * header.n_entries + 10**6:
        raise line.error(
            f"{header.n_documents} documents promised but only {header.n_entries} entries"
        )
    return header


class TripleSource:
    """Documents of UCI docword or Matrix Market files, streamed if sorted by document."""

    names: list[str] | None = None
    open_vocabulary = False

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
        self._market = matrix_market
        self._whole_file = whole_file
        self._headers = [read_header(path, matrix_market) for path in paths]
        self._n_words = self._headers[0].n_words
        for path, header in zip(paths, self._headers):
            if header.n_words != self._n_words:
                raise ValueError(
                    f"{path}: {header.n_words} words, but {paths[0]} has {self._n_words}"
                )
        self._vocabulary = vocabulary
        if vocabulary is not None and len(vocabulary) != self._n_words:
            hint = ""
            if matrix_market and len(vocabulary) == self._headers[0].n_documents:
                hint = "; is the matrix transposed? Rows are documents, columns are words"
            raise ValueError(
                f"{paths[0]}: {self._n_words} words, but the vocabulary has {len(vocabulary)}{hint}"
            )

    def blocks(self) -> Iterator[Counts]:
        """Yield CSR blocks; raises NotSorted when streaming meets an unsorted file."""
        for path, header in zip(self._paths, self._headers):
            if self._market and (self._whole_file or not header.plain):
                yield self._market_matrix(path, header)
            elif self._whole_file:
                yield self._all_at_once(path, header)
            else:
                yield from self._stream(path, header)

    def columns(self) -> Columns:
        """Return all columns in the order of the file."""
        return Columns(np.arange(self._n_words), self._vocabulary)

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
        """Yield documents `first` to below `last`, of which some may have no entries."""
        for begin in range(first, last, BLOCK_DOCUMENTS):
            end = min(begin + BLOCK_DOCUMENTS, last)
            indptr = np.searchsorted(triples.rows, np.arange(begin, end + 1))
            part = slice(indptr[0], indptr[-1])
            yield csr_block(
                indptr - indptr[0], triples.columns[part], triples.counts[part], self._n_words
            )

    def _all_at_once(self, path: Path, header: Header) -> Counts:
        parts = list(self._parse(path, header))
        empty = np.zeros(0, np.int64)
        rows, columns, counts = (
            np.concatenate([empty, *(part[i] for part in parts)]) for i in range(3)
        )
        order = np.argsort(rows, kind="stable")
        indptr = np.zeros(header.n_documents + 1, np.int64)
        np.cumsum(np.bincount(rows, minlength=header.n_documents), out=indptr[1:])
        return csr_block(indptr, columns[order], counts[order], self._n_words)

    def _parse(self, path: Path, header: Header) -> Iterator[Triples]:
        """Yield checked entries by blocks of lines."""
        n_found = 0
        for number, block in line_blocks(path, skip=header.n_lines):
            triples = _fast(block, header)
            if triples is None:
                triples = _careful(lines_of(path, number, block), header)
            n_found += len(triples.rows)
            yield triples
        if n_found != header.n_entries:
            problem = "the file is truncated" if n_found < header.n_entries else "too many"
            raise ValueError(
                f"{path}, line {header.n_lines + n_found}: the header promises "
                f"{header.n_entries} entries, {n_found} were found ({problem})"
            )

    def _market_matrix(self, path: Path, header: Header) -> Counts:
        """Read a Matrix Market file with SciPy."""
        import scipy.io
        from scipy.sparse import csr_array

        try:
            with open_bytes(path) as file:
                matrix = csr_array(scipy.io.mmread(file))
            if not proper(matrix.data):
                raise ValueError("counts must be finite and >= 0")
        except (ValueError, OverflowError, OSError) as error:
            if header.plain:
                # Our own parser says more about what is wrong.
                for _ in self._parse(path, header):
                    continue
            raise ValueError(f"{path}: malformed Matrix Market file ({error})") from None
        return csr_block(matrix.indptr, matrix.indices, matrix.data, self._n_words)


def _fast(block: bytes, header: Header) -> Triples | None:
    """Parse a block all at once; None leaves it to the careful parser."""
    numbers = parse_numbers(block)
    if numbers is None or np.any(numbers.after_colon):
        return None
    width = 2 if header.pattern else 3
    lengths = np.diff(numbers.line_starts)
    if np.any(lengths[lengths > 0] != width):
        return None
    table = numbers.values.reshape(-1, width)
    rows, columns = table[:, 0], table[:, 1]
    counts = np.ones(len(table)) if header.pattern else table[:, 2]
    in_range = whole(rows, 1, header.n_documents + 1) and whole(columns, 1, header.n_words + 1)
    if not (in_range and proper(counts)):
        return None
    return Triples(rows.astype(np.int64) - 1, columns.astype(np.int64) - 1, counts)


def _careful(lines: list[Line], header: Header) -> Triples:
    """Parse line by line, and say which line is wrong."""
    width = 2 if header.pattern else 3
    entries: list[tuple[int, int, float]] = []
    for line in lines:
        words = line.text.split()
        if not words:
            continue
        if len(words) != width:
            wanted = "document word" + ("" if header.pattern else " count")
            raise line.error(f"{len(words)} numbers, wanted: {wanted!r} (truncated?)")
        row = line.whole(words[0], "a document index", 1, header.n_documents + 1)
        column = line.whole(words[1], "a word index", 1, header.n_words + 1)
        count = 1.0 if header.pattern else line.amount(words[2], "a count")
        entries.append((row - 1, column - 1, count))
    rows, columns, counts = (np.array(part) for part in zip(*entries)) if entries else ([],) * 3
    return Triples(np.array(rows, np.int64), np.array(columns, np.int64), np.array(counts, float))
