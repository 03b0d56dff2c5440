"""Fast parsing of lines of numbers, and slow parsing that names the bad line."""

import math
import re
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import AnyArray

# Above this, a column number is a mistake (or an attack) rather than a word.
MAX_WORDS = 1 << 26
# Up to this, float64 holds every whole number.
MAX_WHOLE = 1 << 53

_SEPARATES = np.zeros(256, bool)
_SEPARATES[list(b" \t\r\n:")] = True
_NEWLINE = ord("\n")
_COLON = ord(":")
_DIGITS = re.compile(r"[0-9]{1,18}")
_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")


class Numbers(NamedTuple):
    """The numbers of a block of lines."""

    values: AnyArray  # (n,) int64 or float64
    after_colon: NDArray[np.bool_]  # (n,) whether a colon stands right before
    line_starts: NDArray[np.int64]  # (n_lines + 1,) first number of each line


def parse_numbers(block: bytes) -> Numbers | None:
    """Parse whole lines of numbers separated by blanks or colons; None if anything is unusual."""
    raw = np.frombuffer(block, np.uint8)
    separates = _SEPARATES[raw]
    is_start = ~separates
    is_start[1:] &= separates[:-1]
    starts = np.flatnonzero(is_start)
    before = raw[starts - 1]
    if len(starts) and starts[0] == 0:
        before[0] = _NEWLINE
    colons = np.flatnonzero(raw == _COLON)
    after_colon = before == _COLON
    if np.count_nonzero(after_colon) != len(colons) or np.any(separates[colons - 1]):
        return None
    values = _values(block.replace(b":", b" "))
    if values is None or len(values) != len(starts):
        return None
    newlines = np.flatnonzero(raw == _NEWLINE)
    line_starts = np.concatenate([[0], np.searchsorted(starts, newlines)])
    return Numbers(values, after_colon, line_starts)


def _values(text: bytes) -> AnyArray | None:
    # The integer parser reads a lone sign as 0.
    dtype = np.float64 if text.translate(None, b"0123456789 \t\r\n") else np.int64
    # Older NumPy only warns about what it cannot parse.
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        try:
            values = np.fromstring(text, dtype, sep=" ")
        except (ValueError, DeprecationWarning):
            return None
    # The integer parser clips numbers above the largest integer.
    if dtype is np.int64 and len(values) and values.max() == np.iinfo(np.int64).max:
        return None
    return values


def whole(values: AnyArray, low: float, high: float) -> bool:
    """Whether all values are whole numbers from `low` to below `high`."""
    if not len(values):
        return True
    inside = bool(values.min() >= low) and bool(values.max() < high)
    return inside and (values.dtype.kind == "i" or bool(np.all(values == np.floor(values))))


def proper(counts: AnyArray) -> bool:
    """Whether all counts are finite, non-negative, and fit into float32."""
    return not len(counts) or bool(counts.min() >= 0 and counts.max() <= np.finfo(np.float32).max)


class Line(NamedTuple):
    """One line of a file, for careful parsing and clear messages."""

    path: Path
    number: int
    text: str

    def error(self, problem: str) -> ValueError:
        """Return an error that names file and line."""
        return ValueError(f"{self.path}, line {self.number}: {problem}")

    def size(self, text: str, what: str) -> int:
        """Parse a size in a header: digits only."""
        if not _DIGITS.fullmatch(text):
            raise self.error(f"{what} is {_short(text)!r}; wanted: a whole number in digits")
        return int(text)

    def whole(self, text: str, what: str, low: int, high: int = MAX_WHOLE) -> int:
        """Parse a whole number, possibly written as 1.0, from `low` to below `high`."""
        value = self._number(text, what, "a whole number")
        if math.isfinite(value) and value != math.floor(value):
            raise self.error(f"{what} is {_short(text)!r}; wanted: a whole number")
        if not low <= value < high:
            allowed = f"at least {low}" if high == MAX_WHOLE else f"{low} to {high - 1}"
            raise self.error(f"{what} is {_short(text)}; allowed: {allowed}")
        return int(value)

    def amount(self, text: str, what: str) -> float:
        """Parse a finite non-negative number."""
        value = self._number(text, what, "a number")
        if not 0 <= value <= np.finfo(np.float32).max:
            raise self.error(f"{what} is {_short(text)}; wanted: a finite number >= 0")
        return value

    def _number(self, text: str, what: str, wanted: str) -> float:
        if not _NUMBER.fullmatch(text):  # float() would accept 1_0 and infinity
            raise self.error(f"{what} is {_short(text)!r}; wanted: {wanted}")
        return float(text)


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


def lines_of(path: Path, number: int, block: bytes) -> list[Line]:
    """Return the lines of a block, numbered from the given number."""
    texts = block.decode("ascii", "backslashreplace").removesuffix("\n").split("\n")
    return [Line(path, number + i, text.rstrip("\r")) for i, text in enumerate(texts)]
