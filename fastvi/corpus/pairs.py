"""LDA-C and svmlight: one document per line, as `index:count` pairs."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from fastvi.base.typing import AnyArray, JsonObject
from fastvi.corpus.columns import ColumnNumbers
from fastvi.corpus.documents import Columns, Counts, csr_block
from fastvi.corpus.files import line_blocks
from fastvi.corpus.numbers import MAX_WORDS, Line, lines_of, parse_numbers, proper, whole

_COMMENT = re.compile(rb"#[^\n]*")
_LABEL = re.compile(r"[-+]?[0-9][-+.eE0-9]*(,[-+]?[0-9][-+.eE0-9]*)*")


class Pairs(NamedTuple):
    """The entries of a block of documents."""

    indptr: AnyArray  # (n_documents + 1,)
    indices: AnyArray  # (nnz,)
    counts: AnyArray  # (nnz,)


class PairSource:
    """Documents of LDA-C (`n index:count ...`) or svmlight (`label index:count ...`) files."""

    names: list[str] | None = None
    fields: Mapping[str, list[object]] = MappingProxyType({})
    open_vocabulary = False

    def __init__(
        self,
        paths: list[Path],
        label: str,
        vocabulary: list[str] | None,
        svmlight: bool = False,
        zero_based: bool | None = None,
    ) -> None:
        self.label = label
        self.removed: list[str] = []
        self._paths = paths
        self._vocabulary = vocabulary
        self._svmlight = svmlight
        self._zero_based = zero_based if svmlight else True
        self._low = 1 if self._zero_based is False else 0
        n_words = MAX_WORDS if vocabulary is None else len(vocabulary)
        # One more while it is unknown whether indices begin at 0 or at 1.
        self._high = n_words + (0 if self._zero_based else 1)
        self._numbers = ColumnNumbers()

    def blocks(self) -> Iterator[Counts]:
        """Yield CSR blocks of about 1 MB of file."""
        for path in self._paths:
            for number, block in line_blocks(path):
                pairs = self._fast(block)
                if pairs is None:
                    pairs = self._careful(lines_of(path, number, block))
                ids = self._numbers.ids(pairs.indices.astype(np.int64, copy=False))
                yield csr_block(pairs.indptr, ids, pairs.counts, self._numbers.n_ids)

    def _fast(self, block: bytes) -> Pairs | None:
        """Parse a block at once; None leaves it to the careful parser."""
        if self._svmlight and b"#" in block:
            block = _COMMENT.sub(b"", block)
        numbers = parse_numbers(block)
        if numbers is None:
            return None
        lengths = np.diff(numbers.line_starts)
        if self._svmlight:
            lengths = lengths[lengths > 0]
        starts = np.cumsum(lengths) - lengths
        if np.any(lengths % 2 == 0):
            return None
        n_pairs = lengths // 2
        indptr = np.concatenate([[0], np.cumsum(n_pairs)])
        is_head = np.zeros(len(numbers.values), bool)
        is_head[starts] = True
        # After each head, numbers must alternate: index, colon, count.
        after_colon = numbers.after_colon[~is_head]
        if np.any(after_colon[0::2]) or not np.all(after_colon[1::2]):
            return None
        entries = numbers.values[~is_head]
        indices, counts = entries[0::2], entries[1::2]
        if np.any(numbers.after_colon[is_head]):
            return None
        if not self._svmlight and not np.array_equal(numbers.values[is_head], n_pairs):
            return None
        if not (whole(indices, self._low, self._high) and proper(counts)):
            return None
        return Pairs(indptr, indices, counts)

    def _careful(self, lines: list[Line]) -> Pairs:
        """Parse line by line, with errors that name the line."""
        ends, indices, counts = [0], [], []
        for line in lines:
            words = line.text.partition("#")[0].split() if self._svmlight else line.text.split()
            if not words and self._svmlight:
                continue
            for word in self._tail(line, words):
                left, colon, right = word.partition(":")
                if not colon or not right:
                    raise line.error(f"{word!r} is not an 'index:count' pair")
                indices.append(line.whole(left, "an index", self._low, self._high))
                counts.append(line.amount(right, f"the count of index {left}"))
            ends.append(len(indices))
        return Pairs(np.array(ends), np.array(indices, np.int64), np.array(counts, np.float64))

    def _tail(self, line: Line, words: list[str]) -> list[str]:
        """Check the head of a line, and return its pairs."""
        if self._svmlight:
            is_label = ":" not in words[0]
            if is_label and not _LABEL.fullmatch(words[0]):
                raise line.error(f"the label is {words[0][:40]!r}; wanted: a number")
            tail = words[1:] if is_label else words
            return [word for word in tail if not word.startswith("qid:")]
        if not words:
            raise line.error("empty line; LDA-C writes an empty document as '0'")
        n_pairs = line.whole(words[0], "the number of pairs", 0)
        if n_pairs != len(words) - 1:
            raise line.error(f"{n_pairs} pairs declared, {len(words) - 1} found (truncated?)")
        return words[1:]

    def columns(self) -> Columns:
        """Return the columns, without an unused column 0 if indices begin at 1."""
        first = self._first
        n_words = self._numbers.highest + 1 - first
        if self._vocabulary is not None:
            if n_words > len(self._vocabulary):
                raise ValueError(
                    f"{self.label}: indices go from {first} to {self._numbers.highest}, but the "
                    f"vocabulary has only {len(self._vocabulary)} words"
                )
            n_words = len(self._vocabulary)
        return self._numbers.columns(first, max(n_words, 0), self._vocabulary)

    @property
    def _first(self) -> int:
        """Return the number of the first column; by default it is 0 if a 0 occurs."""
        if self._zero_based is None and self._numbers.lowest > 0:
            return 1
        return self._low

    @property
    def reading(self) -> JsonObject:
        """Return the format, which looks much like another, and the number of the first column."""
        if not self._svmlight:
            return {"format": "ldac"}
        return {"format": "svmlight", "zero_based": self._first == 0}
