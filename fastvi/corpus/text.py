"""Texts from folders, lines, JSON lines and CSV, cut into words and counted."""

import csv
import json
import os
import sys
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from fastvi.corpus.documents import Columns, Counts, csr_block
from fastvi.corpus.files import open_text, read_words
from fastvi.corpus.options import Options

Named = tuple[str | None, str]  # name and text of a document

BLOCK_DOCUMENTS = 1024
BLOCK_CHARACTERS = 1 << 20


def folder_texts(path: Path, options: Options) -> Iterator[Named]:
    """Yield each file below the folder in sorted order, hidden ones left out."""
    found = False
    for folder, subfolders, files in os.walk(path):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(files):
            file = Path(folder, name)
            if name.startswith(".") or not file.is_file():
                continue
            found = True
            with open_text(file, options.encoding) as text:
                yield file.relative_to(path).as_posix(), text.read()
    if not found:
        raise ValueError(f"{path}: the folder has no files")


def line_texts(path: Path, options: Options) -> Iterator[Named]:
    """Yield each line; an empty line is an empty document."""
    with open_text(path, options.encoding) as file:
        for line in file:
            yield None, line


def jsonl_texts(path: Path, options: Options) -> Iterator[Named]:
    """Yield one field of each JSON object; empty lines are skipped, null is an empty text."""
    field = options.field or "text"
    with open_text(path, options.encoding) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            place = f"{path}, line {number}"
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{place}: not a JSON object on one line ({error})") from None
            if not isinstance(record, dict):
                kind = type(record).__name__
                raise ValueError(f"{place}: one JSON object a line is wanted, this is a {kind}")
            if field not in record:
                raise ValueError(f"{place}: no field {field!r}; there are {_listed(record)}")
            text = record[field]
            if text is not None and not isinstance(text, str):
                kind = type(text).__name__
                raise ValueError(f"{place}: field {field!r} is a {kind}; wanted: a string")
            yield None, text or ""


def csv_texts(path: Path, options: Options, delimiter: str | None = None) -> Iterator[Named]:
    """Yield one column of a table with a header row."""
    longest = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        with open_text(path, options.encoding, newline="") as file:
            first = file.readline()
            delimiter = delimiter or (";" if ";" in first and "," not in first else ",")
            rows = csv.reader(chain([first], file), delimiter=delimiter, strict=True)
            yield from _column(path, rows, options.field)
    finally:
        csv.field_size_limit(longest)


def _column(path: Path, rows: Any, field: str | None) -> Iterator[Named]:
    """Yield one column of a csv.reader whose first row is the header."""
    try:
        header = [name.strip() for name in next(rows, [])]
        place = f"{path}, line 1"
        if not header:
            raise ValueError(f"{place}: no header row with column names")
        name = field or (header[0] if len(header) == 1 else "text")
        if name not in header:
            raise ValueError(f"{place}: no column {name!r}; there are {_listed(header)}")
        column = header.index(name)
        for row in rows:
            if len(row) > column:
                yield None, row[column]
            elif row:
                raise ValueError(
                    f"{path}, line {rows.line_num}: {len(row)} columns, but {name!r} is column "
                    f"{column + 1} of {len(header)}"
                )
    except csv.Error as error:
        raise ValueError(f"{path}, line {rows.line_num}: not well-formed CSV ({error})") from None


def _listed(names: Iterable[str]) -> str:
    shown = [repr(name) for name in names]
    more = f" and {len(shown) - 20} more" if len(shown) > 20 else ""
    return (", ".join(shown[:20]) or "none") + more


def tsv_texts(path: Path, options: Options) -> Iterator[Named]:
    """Yield one column of a tab-separated table."""
    return csv_texts(path, options, "\t")


READERS: dict[str, Callable[[Path, Options], Iterator[Named]]] = {
    "folder": folder_texts,
    "lines": line_texts,
    "jsonl": jsonl_texts,
    "csv": csv_texts,
    "tsv": tsv_texts,
}


def resolve_stop_words(options: Options, default: bool) -> frozenset[str]:
    """Return the stop words that were asked for; `default`: what "auto" means."""
    wanted = options.stop_words
    if isinstance(wanted, str) and wanted == "auto":
        wanted = "english" if default else None
    if wanted is None:
        return frozenset()
    if isinstance(wanted, str) and wanted == "english":
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        return frozenset(ENGLISH_STOP_WORDS)
    if isinstance(wanted, str | os.PathLike):
        wanted = read_words(wanted, options.encoding)
    return frozenset(word.lower() if options.lowercase else word for word in wanted)


class TextSource:
    """Word counts of texts; words are numbered as they appear.

    Stop words sit in the index with the number -1, so that leaving them out costs nothing
    a word.
    """

    def __init__(
        self, texts: Iterator[Named], label: str, options: Options, fixed: list[str] | None
    ) -> None:
        self.label = label
        self.names: list[str] | None = None
        self.open_vocabulary = fixed is None
        self._texts = texts
        self._options = options
        self._fixed = fixed
        stop_words = resolve_stop_words(options, default=fixed is None)
        self.removed = [f"{len(stop_words)} stop words"] if stop_words else []
        self._index: dict[str, int] = _growing(stop_words)
        self._n_stop = len(stop_words)
        if fixed is not None:
            self._index = {word: number for number, word in enumerate(fixed)}
            if len(self._index) < len(fixed):
                repeated = next(w for i, w in enumerate(fixed) if self._index[w] != i)
                raise ValueError(f"vocabulary has {repeated!r} more than once")
            self._index.update(dict.fromkeys(stop_words & self._index.keys(), -1))
            self._n_stop = 0

    def blocks(self) -> Iterator[Counts]:
        """Yield CSR blocks (documents x words seen so far)."""
        from sklearn.feature_extraction.text import CountVectorizer

        options = self._options
        cut = CountVectorizer(
            lowercase=options.lowercase, token_pattern=options.token_pattern
        ).build_analyzer()
        for texts in self._chunks():
            ids, ends = array("i"), [0]
            for text in texts:
                ids.extend(self._numbers(cut(text)))
                ends.append(len(ids))
            yield self._block(np.frombuffer(ids, np.int32), np.array(ends))

    def _numbers(self, words: list[str]) -> list[int]:
        index = self._index
        if self._fixed is None:
            return [index[word] for word in words]
        return [index.get(word, -1) for word in words]

    def _block(self, ids: Any, ends: Any) -> Counts:
        ids = ids - np.int32(self._n_stop)
        stays = ids >= 0
        kept_before = np.concatenate([[0], np.cumsum(stays)])
        ones = np.ones(kept_before[-1], np.float32)
        return csr_block(kept_before[ends], ids[stays], ones, len(self._index) - self._n_stop)

    def _chunks(self) -> Iterator[list[str]]:
        texts: list[str] = []
        size = 0
        for name, text in self._texts:
            if name is not None and self.names is not None:
                self.names.append(name)
            texts.append(text)
            size += len(text)
            if len(texts) == BLOCK_DOCUMENTS or size > BLOCK_CHARACTERS:
                yield texts
                texts, size = [], 0
        if texts:
            yield texts

    def columns(self) -> Columns:
        """Return the words in alphabetical order, or as the fixed vocabulary has them."""
        if self._fixed is not None:
            return Columns(np.arange(len(self._fixed)), self._fixed)
        words = list(self._index)[self._n_stop :]
        if not words:
            raise ValueError(
                f"{self.label}: no words; nothing but stop words matched the token_pattern "
                f"{self._options.token_pattern!r}"
            )
        ids = sorted(range(len(words)), key=words.__getitem__)
        return Columns(np.array(ids, np.int64), [words[i] for i in ids])


def _growing(stop_words: frozenset[str]) -> dict[str, int]:
    """Return an index that gives every new word the next number, beginning after the stops."""
    index: defaultdict[str, int] = defaultdict()
    index.update(dict.fromkeys(stop_words, -1))
    index.default_factory = index.__len__
    return index
