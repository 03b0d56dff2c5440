"""Word counts of texts."""

import os
from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fastvi.base.typing import JsonObject
from fastvi.corpus.documents import Columns, Counts, csr_block
from fastvi.corpus.files import read_words
from fastvi.corpus.options import Options
from fastvi.corpus.text_files import Found, Text
from fastvi.corpus.words import WORDS, cutter, normal

BLOCK_DOCUMENTS = 1024
BLOCK_CHARACTERS = 1 << 20


def resolve_stop_words(options: Options, default: bool) -> frozenset[str]:
    """Return the requested stop words; `default` is the meaning of "auto"."""
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
    words = (normal(word, options.normal_form) for word in wanted)
    return frozenset(word.lower() if options.lowercase else word for word in words)


class TextSource:
    """Word counts of texts; words are numbered as they appear.

    Stop words are in the index with number -1, so that skipping them costs nothing per word.
    """

    def __init__(
        self,
        texts: Iterator[Text],
        label: str,
        options: Options,
        fixed: list[str] | None,
        found: Found | None = None,
    ) -> None:
        self.label = label
        self.names: list[str] | None = None
        self.fields: Mapping[str, list[object]] = {name: [] for name in options.keep}
        self.open_vocabulary = fixed is None
        self._texts = texts
        self._options = options
        self._fixed = fixed
        self._found = {} if found is None else found
        stop_words = resolve_stop_words(options, default=fixed is None)
        self.removed = [f"{len(stop_words)} stop words"] if stop_words else []
        self._index: dict[str, int] = _growing(stop_words)
        self._n_stop = len(stop_words)
        if fixed is not None:
            words = [normal(word, options.normal_form) for word in fixed]
            self._index = {word: number for number, word in enumerate(words)}
            if len(self._index) < len(fixed):
                repeated = next(w for i, w in enumerate(words) if self._index[w] != i)
                raise ValueError(f"vocabulary has {repeated!r} more than once")
            self._index.update(dict.fromkeys(stop_words & self._index.keys(), -1))
            self._n_stop = 0

    def blocks(self) -> Iterator[Counts]:
        """Yield CSR blocks (documents x words seen so far)."""
        options = self._options
        cut = cutter(options.token_pattern, options.lowercase, options.normal_form)
        for texts in self._chunks():
            ids, ends = array("i"), [0]
            for text in texts:
                ids.extend(self._numbers(cut(text)))
                ends.append(len(ids))
            yield self._block(np.frombuffer(ids, np.int32), np.array(ends))
        if n_skipped := self._found.get("n_skipped"):
            self.removed.append(f"{n_skipped} unreadable files")

    @property
    def reading(self) -> JsonObject:
        """Return the options with which other texts can be read in the same way."""
        names = ("encoding", "lowercase", "token_pattern", "normal_form")
        found = {name: self._found[name] for name in ("field", "delimiter") if name in self._found}
        kept = {"keep": list(self._options.keep)} if self._options.keep else {}
        return {name: getattr(self._options, name) for name in names} | found | kept

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
        for name, text, fields in self._texts:
            if name is not None and self.names is not None:
                self.names.append(name)
            for column, value in zip(self.fields.values(), fields):
                column.append(value)
            texts.append(text)
            size += len(text)
            if len(texts) == BLOCK_DOCUMENTS or size > BLOCK_CHARACTERS:
                yield texts
                texts, size = [], 0
        if texts:
            yield texts

    def columns(self) -> Columns:
        """Return the words in alphabetical order, or in that of the fixed vocabulary."""
        if self._fixed is not None:
            return Columns(np.arange(len(self._fixed)), self._fixed)
        words = list(self._index)[self._n_stop :]
        if not words:
            pattern = self._options.token_pattern
            raise ValueError(
                f"{self.label}: no words; only stop words matched the token_pattern"
                + ("" if pattern == WORDS else f" {pattern!r}")
            )
        ids = sorted(range(len(words)), key=words.__getitem__)
        return Columns(np.array(ids, np.int64), [words[i] for i in ids])


def _growing(stop_words: frozenset[str]) -> dict[str, int]:
    """Return an index that gives each new word the next number, after the stop words."""
    index: defaultdict[str, int] = defaultdict()
    index.update(dict.fromkeys(stop_words, -1))
    index.default_factory = index.__len__
    return index
