"""Tables of numbers from files: CSV with a header or without, NumPy's npy and npz."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fastvi.base.typing import Array

__all__ = ["Columns", "read_columns"]

MISSING = {"", "na", "nan", "n/a", "null", "none", "."}


class Columns(NamedTuple):
    """Named columns of numbers, (n_rows, n_columns), with NaN for what is missing.

    `faults` has, for columns that hold text, what is said if such a column is asked for.
    """

    names: list[str]
    values: Array
    faults: dict[str, str]

    def chosen(self, names: Sequence[str], option: str) -> Columns:
        """Some of the columns, in the order given.

        Raises
        ------
        ValueError
            If there is no such column, or it holds text.
        """
        for name in names:
            if name not in self.names:
                listed = ", ".join(self.names[:20]) + (", ..." if len(self.names) > 20 else "")
                raise ValueError(f"{option}: no column {name!r}; wanted one of {listed}")
            if name in self.faults:
                raise ValueError(self.faults[name])
        return Columns(list(names), self.values[:, [self.names.index(n) for n in names]], {})

    def usual(self, without: Sequence[str], quiet: bool) -> list[str]:
        """Names of the columns that are used if none are asked for.

        Those of text are left out, and those that count the rows (1, 2, 3, ...), by which groups
        and predictions would be artefacts; a note on standard error names them.
        """
        names = [n for n in self.names if n not in self.faults and n not in without]
        counting = [n for n in names if self._counts(n)]
        counting = [] if counting == names else counting
        text = [n for n in self.names if n in self.faults and n not in without]
        for what, left in (("of text", text), ("that count the rows", counting)):
            if left and not quiet:
                print(f"columns {what} are left out: {', '.join(left)}", file=sys.stderr)
        return [n for n in names if n not in counting]

    def _counts(self, name: str) -> bool:
        """Whether a column counts its rows from 0 or 1."""
        column = self.values[:, self.names.index(name)]
        return column[0] in (0.0, 1.0) and bool(np.all(np.diff(column) == 1.0)) and len(column) > 1


def read_columns(path: str, delimiter: str | None = None) -> Columns:
    """Read a table.

    Raises
    ------
    ValueError
        If rows differ in length or the file has none; the message names the file and the line.
    """
    if os.path.splitext(path)[1].lower() in (".npy", ".npz"):
        return _array(path)
    with open(path, newline="", encoding="utf-8-sig") as file:
        found = delimiter or _delimiter(file.read(65536))
        file.seek(0)
        rows = [(n, row) for n, row in enumerate(csv.reader(file, delimiter=found), 1) if any(row)]
    if not rows:
        raise ValueError(f"{path}: the file is empty")
    first = [cell.strip() for cell in rows[0][1]]
    headed = any(not _is_number(cell) for cell in first)
    names = first if headed else [f"column{k}" for k in range(1, len(first) + 1)]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{path}, line {rows[0][0]}: column {twice!r} occurs twice")
    if len(rows) == headed:
        raise ValueError(f"{path}: there is a header, but no rows")
    for line, row in rows[headed:]:
        if len(row) != len(names):
            raise ValueError(
                f"{path}, line {line}: {len(row)} cells; wanted {len(names)}, as in line "
                f"{rows[0][0]}"
            )
    return _parsed(path, names, rows[headed:])


def _parsed(path: str, names: list[str], rows: list[tuple[int, list[str]]]) -> Columns:
    """The numbers of the rows; columns with anything else are noted."""
    values, faults = np.full((len(rows), len(names)), np.nan), {}
    for k, name in enumerate(names):
        for i, (line, row) in enumerate(rows):
            text = row[k].strip()
            if not _is_number(text):
                faults[name] = (
                    f"{path}, line {line}: column {name!r} holds {text!r}; wanted a number"
                )
                break
            values[i, k] = np.nan if text.lower() in MISSING else float(text)
    return Columns(names, values, faults)


def _delimiter(text: str) -> str:
    """The character that most often separates cells of the first line."""
    line = next((line for line in text.splitlines() if line.strip()), "")
    return max(",;\t", key=line.count)


def _array(path: str) -> Columns:
    """The array of a file, whose columns have numbers for names."""
    found = np.load(path, allow_pickle=False)
    if not isinstance(found, np.ndarray):
        with found:
            if len(found.files) != 1:
                raise ValueError(f"{path}: {len(found.files)} arrays; wanted one")
            found = found[found.files[0]]
    values = np.asarray(found)
    if values.ndim not in (1, 2) or values.dtype.kind not in "biuf" or not values.size:
        raise ValueError(
            f"{path}: an array of shape {values.shape} and type {values.dtype}; wanted numbers, "
            "(n_rows, n_columns)"
        )
    values = values.reshape(len(values), -1).astype(float)
    return Columns([f"column{k}" for k in range(1, values.shape[1] + 1)], values, {})


def _is_number(cell: str) -> bool:
    """Whether it is a finite number, or says that one is missing."""
    if cell.strip().lower() in MISSING:
        return True
    try:
        return bool(np.isfinite(float(cell)))
    except ValueError:
        return False
