"""Tables of parameters as people read them: means, standard deviations and quantiles by name."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from fastvi.base.typing import Array

__all__ = ["COLUMNS", "Table", "labels", "make_table"]

COLUMNS = ("mean", "sd", "5 %", "50 %", "95 %")
QUANTILES = (0.05, 0.5, 0.95)
DIGITS = 3  # significant ones of a standard deviation; the other figures have as many decimals
DECIMALS = 6  # at most; smaller numbers are printed with an exponent
LARGE = 1e8  # numbers from here on have one too


class Table(NamedTuple):
    """Labels of numbers, and for each a row of figures by `COLUMNS`."""

    labels: list[str]
    figures: Array

    def text(self, max_rows: int | None = None) -> list[str]:
        """Lines of text, the first of them the header; a last line counts rows left out."""
        shown = self.labels[:max_rows]
        width = max(map(len, shown), default=0)
        rows = [_row(figures) for figures in self.figures[:max_rows]]
        widths = [max(map(len, column)) for column in zip(COLUMNS, *rows)]
        lines = [
            "  ".join([label.ljust(width), *(cell.rjust(w) for cell, w in zip(row, widths))])
            for label, row in zip(["", *shown], [COLUMNS, *rows])
        ]
        left = len(self.labels) - len(shown)
        return [*lines, f"... and {left} more"] if left else lines

    def html(self, max_rows: int | None = None) -> str:
        """An HTML table."""
        head = "".join(f"<th>{column}</th>" for column in ("", *COLUMNS))
        rows = [
            f"<tr><th>{html.escape(label)}</th>"
            + "".join(f"<td>{cell}</td>" for cell in _row(figures))
            + "</tr>"
            for label, figures in zip(self.labels[:max_rows], self.figures)
        ]
        left = len(self.labels) - len(rows)
        more = f"<p>... and {left} more</p>" if left else ""
        return f"<table><tr>{head}</tr>{''.join(rows)}</table>{more}"


def make_table(
    draws: Mapping[str, Array],
    dims: Mapping[str, Sequence[str]],
    coords: Mapping[str, Sequence[Any]],
    exact: Mapping[bytes, tuple[float, float]],
) -> Table:
    """Make the table of named draws (n, *shape) each.

    Parameters
    ----------
    draws : mapping of str to array
    dims, coords : mapping
        Names of axes by parameter and of places along them, for `labels`.
    exact : mapping of bytes to (float, float)
        Mean and standard deviation of draws with these bytes, where they are known.
    """
    names, rows = [], []
    for name, x in draws.items():
        names += labels(name, x.shape[1:], dims.get(name, ()), coords)
        for column in np.ascontiguousarray(x.reshape(len(x), -1).T, np.float64):
            moments = exact.get(column.tobytes(), (column.mean(), column.std()))
            rows.append([*moments, *np.quantile(column, QUANTILES)])
    return Table(names, np.reshape(rows, (len(names), len(COLUMNS))))


def labels(
    name: str, shape: Sequence[int], dims: Sequence[str], coords: Mapping[str, Sequence[Any]]
) -> list[str]:
    """Names of the numbers of a parameter: "beta[0, 1]", or with coordinates "beta[north, 1]"."""
    if not len(shape):
        return [name]
    axes = []
    for i, size in enumerate(shape):
        places = coords.get(dims[i]) if i < len(dims) else None
        axes.append(range(size) if places is None or len(places) != size else places)
    return [f"{name}[{', '.join(map(str, index))}]" for index in product(*axes)]


def _row(figures: Array) -> list[str]:
    """Format figures, with as many decimals as the standard deviation asks for."""
    sd, largest = figures[1], np.abs(figures).max(initial=0.0)
    if not np.isfinite(figures).all() or largest >= LARGE or not sd > 0:
        return [f"{x:.{DIGITS + 1}g}" for x in figures]
    decimals = DIGITS - 1 - int(np.floor(np.log10(sd)))
    if decimals > DECIMALS:
        return [f"{x:.{DIGITS + 1}g}" for x in figures]
    return [f"{x:.{max(decimals, 0)}f}" for x in figures]
