"""Options for reading a corpus, checked once."""

import math
import numbers
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from fastvi.base.checks import flag
from fastvi.corpus.words import FORMS, WORDS

FORMATS = {
    "folder": "folder of text files",
    "lines": "text, one document per line",
    "jsonl": "JSON lines",
    "json": "JSON array",
    "csv": "CSV",
    "tsv": "tab-separated values",
    "ldac": "LDA-C",
    "svmlight": "svmlight",
    "docword": "UCI docword",
    "mtx": "Matrix Market",
    "npz": "npz CSR",
}
FIELD_FORMATS = frozenset({"jsonl", "json", "csv", "tsv"})
TEXT_FORMATS = FIELD_FORMATS | {"folder", "lines"}

Path = str | os.PathLike[str]
Limit = int | float | str


@dataclass(frozen=True)
class Options:
    """Options of `read` and `read_sharded`.

    Parameters
    ----------
    format : str, optional
        One of ``folder, lines, jsonl, json, csv, tsv, ldac, svmlight, docword, mtx, npz``;
        recognised from the file by default.
    field : str, optional
        Column (CSV, TSV) or key (JSON) with the text; by default ``"text"`` or a table's only
        column.
    keep : sequence of str
        Other columns or keys, such as a date, to keep with each document in `Corpus.fields`.
    delimiter : str, optional
        One character that separates the columns of a CSV file; by default the comma, semicolon, tab
        or ``|`` with which the header row has a column `field`, or the most columns.
    vocabulary : path, sequence of str or False, optional
        Text: count only these words, in this order, and prune only if requested. Bag of words: the
        name of each column; by default read from a vocabulary file beside the corpus, unless it is
        ``False``.
    min_df, max_df : int or float
        Keep words that occur in at least / at most this number (int) or share (float) of documents.
        ``"auto"``: 5 (fewer in a corpus of less than 1000 documents) and 0.5 (no limit in less than
        20 documents) for text; no limit for bags of words.
    max_features : int, optional
        Keep only this number of words, the most frequent ones.
    stop_words : str, path, collection of str or None
        ``"english"``, a file with one word per line, the words themselves, or None. ``"auto"``:
        English for text, none for bags of words.
    lowercase : bool
        Convert texts to lower case first.
    token_pattern : str
        Regular expression of a word, or of its context and, as a group, the word. By default three
        letters of any script; fewer where letters are syllables (one) or consonants (two).
    normal_form : {"NFC", "NFD", "NFKC", "NFKD"} or None
        Unicode normal form to which texts, stop words and vocabulary are converted first.
    encoding : str
        Encoding of text and vocabulary files.
    zero_based : bool, optional
        Whether columns of an svmlight file count from 0; by default they do if a 0 occurs.

    Examples
    --------
    >>> from fastvi.corpus import Options
    >>> Options(min_df=2, max_features=1000).max_features
    1000
    """

    format: str | None = None
    field: str | None = None
    keep: Sequence[str] = ()
    delimiter: str | None = None
    vocabulary: Path | Sequence[str] | bool | None = None
    min_df: Limit = "auto"
    max_df: Limit = "auto"
    max_features: int | None = None
    stop_words: Path | Collection[str] | None = "auto"
    lowercase: bool = True
    token_pattern: str = WORDS
    normal_form: str | None = "NFC"
    encoding: str = "utf-8"
    zero_based: bool | None = None

    def __post_init__(self) -> None:
        if self.format is not None and self.format not in FORMATS:
            raise ValueError(f"format is {self.format!r}; known are {', '.join(FORMATS)}")
        if self.vocabulary is True:
            raise ValueError("vocabulary is True; give a path, the words, False or None")
        check_limit("min_df", self.min_df)
        check_limit("max_df", self.max_df)
        if self.max_features is not None and not is_count(self.max_features):
            raise ValueError(f"max_features is {self.max_features!r}; wanted: an integer >= 1")
        check_pattern(self.token_pattern)
        if self.normal_form is not None and self.normal_form not in FORMS:
            raise ValueError(
                f"normal_form is {self.normal_form!r}; wanted one of {', '.join(FORMS)} or None"
            )
        if self.delimiter is not None:
            check_delimiter(self.delimiter)
        if self.field is not None and not isinstance(self.field, str):
            raise ValueError(f"field is {self.field!r}; wanted: the name of a column or key")
        if isinstance(self.keep, str) or not all(isinstance(name, str) for name in self.keep):
            raise ValueError(f"keep is {self.keep!r}; wanted: the names of columns or keys")
        flag(self.lowercase, "lowercase")
        if self.zero_based is not None:
            flag(self.zero_based, "zero_based")
        try:
            "".encode(self.encoding)
        except (LookupError, TypeError):
            raise ValueError(
                f"encoding is {self.encoding!r}, which Python does not know; try 'utf-8', "
                "'latin-1' or 'utf-16'"
            ) from None


def is_count(value: object) -> bool:
    """Whether the value is an integer of at least 1."""
    return (
        isinstance(value, numbers.Integral) and not isinstance(value, bool) and bool(value >= 1)  # type: ignore[operator]
    )


def check_limit(name: str, value: Limit) -> None:
    """Refuse anything but "auto", a count >= 1 or a share in [0, 1]."""
    if value == "auto" or is_count(value):
        return
    is_share = isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral)
    if not (is_share and math.isfinite(value) and 0 <= value <= 1):  # type: ignore[arg-type, operator]
        raise ValueError(
            f"{name} is {value!r}; wanted: a number of documents (an integer >= 1), a share of "
            "them (a float from 0.0 to 1.0) or 'auto'"
        )


def check_delimiter(delimiter: object) -> None:
    """Refuse anything that cannot separate columns."""
    if not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '"\r\n\0':
        raise ValueError(
            f"delimiter is {delimiter!r}; wanted: one character other than a quote or line end"
        )


def check_pattern(pattern: str) -> None:
    """Refuse a pattern that does not compile or has several groups."""
    try:
        groups = re.compile(pattern).groups
    except (re.error, TypeError) as error:
        raise ValueError(
            f"token_pattern {pattern!r} is not a regular expression: {error}"
        ) from None
    if groups > 1:
        raise ValueError(f"token_pattern {pattern!r} has {groups} groups; wanted: at most one")
