"""How a corpus is read: one record of options, checked once."""

import math
import numbers
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

FORMATS = {
    "folder": "folder of text files",
    "lines": "text, one document a line",
    "jsonl": "JSON lines",
    "csv": "CSV",
    "tsv": "tab-separated values",
    "ldac": "LDA-C",
    "svmlight": "svmlight",
    "docword": "UCI docword",
    "mtx": "Matrix Market",
    "npz": "npz CSR",
}
TEXT_FORMATS = frozenset({"folder", "lines", "jsonl", "csv", "tsv"})

# Three letters or more of any script; digits and underscores are no letters.
WORDS_OF_THREE_LETTERS = r"(?u)\b[^\W\d_]{3,}\b"

Path = str | os.PathLike[str]
Limit = int | float | str


@dataclass(frozen=True)
class Options:
    """Options of `read` and `read_sharded`.

    Parameters
    ----------
    format : str, optional
        One of ``folder, lines, jsonl, csv, tsv, ldac, svmlight, docword, mtx, npz``; recognised
        from the file when not given.
    field : str, optional
        Column (CSV, TSV) or key (JSON lines) that holds the text; ``"text"`` when not given.
    vocabulary : path, sequence of str or False, optional
        Text: count these words only, in this order, and prune nothing unless asked.
        Bag of words: the name of each column; when not given, a vocabulary file beside the
        corpus is used, and ``False`` forbids that.
    min_df, max_df : int or float
        Keep words that occur in at least / at most so many documents (int) or such a share of
        them (float). ``"auto"``: 5 (fewer in a corpus of less than 1000 documents) and 0.5
        (no limit in less than 20 documents) for text; no limit for bags of words.
    max_features : int, optional
        Keep only so many words, the most frequent ones.
    stop_words : str, path, collection of str or None
        ``"english"``, a file with a word a line, the words themselves, or None.
        ``"auto"``: English for text, none for bags of words.
    lowercase : bool
        Lower-case texts first.
    token_pattern : str
        Regular expression of a word.
    encoding : str
        Encoding of text and vocabulary files.
    zero_based : bool, optional
        Whether columns of an svmlight file count from 0; when not given they do if a 0 occurs.
    """

    format: str | None = None
    field: str | None = None
    vocabulary: Path | Sequence[str] | bool | None = None
    min_df: Limit = "auto"
    max_df: Limit = "auto"
    max_features: int | None = None
    stop_words: Path | Collection[str] | None = "auto"
    lowercase: bool = True
    token_pattern: str = WORDS_OF_THREE_LETTERS
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
        try:
            "".encode(self.encoding)
        except LookupError:
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
    """Refuse what is neither "auto", a count >= 1 nor a share in [0, 1]."""
    if value == "auto" or is_count(value):
        return
    is_share = isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral)
    if not (is_share and math.isfinite(value) and 0 <= value <= 1):  # type: ignore[arg-type, operator]
        raise ValueError(
            f"{name} is {value!r}; wanted: a number of documents (an integer >= 1), a share of "
            "them (a float from 0.0 to 1.0) or 'auto'"
        )


def check_pattern(pattern: str) -> None:
    """Refuse a pattern that does not compile or has several groups."""
    try:
        groups = re.compile(pattern).groups
    except (re.error, TypeError) as error:
        raise ValueError(f"token_pattern {pattern!r} is no regular expression: {error}") from None
    if groups > 1:
        raise ValueError(f"token_pattern {pattern!r} has {groups} groups; wanted: at most one")
