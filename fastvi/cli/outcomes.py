"""What commands on tables and densities have in common: how a fit is told, drawn and saved."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastvi.base import checks
from fastvi.base.archive import replacing
from fastvi.base.typing import AnyArray, Array
from fastvi.cli.columns import Columns
from fastvi.cli.options import check_outputs
from fastvi.plots.fit_page import FitReport, Picture, write_fit_report

__all__ = ["Outcome", "Scaled", "checked", "described", "held_out_rows", "tell", "write_csv"]

PROJECT = (
    "The fastvi developers. fastvi: variational inference on CPUs. Version {version}. "
    "BSD 3-Clause Licence."
)


class Outcome(NamedTuple):
    """A fit, as it is told.

    Attributes
    ----------
    title : str
    verdict : tuple of str and str
        A word or two, and the reason in a sentence.
    info : dict
        For ``--json``; its values are numbers, strings, lists and dicts.
    facts : list of (str, str)
    tables : list of (str, rows)
        The first row is the header.
    pictures : list of Picture
        The first is that of ``--plot``.
    cite : list of str
    """

    title: str
    verdict: tuple[str, str]
    info: dict[str, Any]
    facts: list[tuple[str, str]]
    tables: list[tuple[str, list[list[str]]]]
    pictures: list[Picture]
    cite: list[str]


class Scaled(NamedTuple):
    """Columns (n, D) with mean 0 and standard deviation 1, and what they were."""

    values: Array
    centre: Array
    scale: Array

    @classmethod
    def of(cls, columns: Columns) -> Scaled:
        """Standardise columns; NaN stays.

        Raises
        ------
        ValueError
            If a column is constant.
        """
        centre, scale = np.nanmean(columns.values, axis=0), np.nanstd(columns.values, axis=0)
        for name, sd in zip(columns.names, scale):
            if not sd > 0:
                raise ValueError(f"column {name!r} has the same value in each row; leave it out")
        return cls((columns.values - centre) / scale, centre, scale)


def checked(options: argparse.Namespace) -> None:
    """Check before the work what all of these commands share.

    Raises
    ------
    ValueError
        If an option is out of range, or an output cannot be written.
    """
    check_outputs(options)
    checks.integer(options.seed, "--seed", 0)
    held_out = getattr(options, "held_out", 0.0)
    if not 0 <= held_out < 1:
        raise ValueError(f"--held-out is {held_out}; wanted a share >= 0 and < 1")


def held_out_rows(n: int, share: float, seed: int) -> AnyArray:
    """Which of n rows are kept for scoring, at random, (n,) of bool."""
    chosen = np.zeros(n, bool)
    n_kept = round(share * n)
    if n_kept and n - n_kept >= 2:
        chosen[np.random.default_rng([seed, 0]).permutation(n)[:n_kept]] = True
    return chosen


def described(columns: Columns) -> tuple[str, list[list[str]]]:
    """The table that says what the data are."""
    rows = [["column", "rows", "missing", "mean", "sd", "least", "largest"]]
    for name, x in zip(columns.names, columns.values.T):
        known = x[np.isfinite(x)]
        figures = (known.mean(), known.std(), known.min(), known.max()) if len(known) else ()
        rows.append([name, str(len(x)), str(len(x) - len(known)), *(f"{f:.4g}" for f in figures)])
    return "The data", rows


def tell(options: argparse.Namespace, outcome: Outcome, model: Any = None) -> None:
    """Save the model, draw it, write the report, and print what was found."""
    from fastvi import __version__

    if model is not None and options.output:
        model.save(options.output)
    if options.plot:
        outcome.pictures[0].draw(options.plot)
    command = shlex.join(["fastvi", *options.arguments])
    if options.html:
        versions = f"# fastvi {__version__}, Python {platform.python_version()}, "
        versions += f"NumPy {np.__version__}, {platform.machine()}"
        cite = [PROJECT.format(version=__version__), *outcome.cite]
        report = FitReport(
            outcome.title, outcome.verdict, outcome.facts, outcome.tables, outcome.pictures,
            f"{command}\n{versions}", cite,
        )  # fmt: skip
        write_fit_report(report, options.html)
    if options.json:
        word, reason = outcome.verdict
        about = {"verdict": word, "reason": reason, "model": options.output, "command": command}
        print(json.dumps(outcome.info | about))
        return
    for title, rows in outcome.tables[1:]:
        _print_table(title, rows)
    width = max(len(name) for name, _ in outcome.facts)
    for name, value in outcome.facts:
        print(f"{name.ljust(width)}  {value}")
    print(f"Verdict: {outcome.verdict[0]}. {outcome.verdict[1]}")
    for written in (options.output, options.plot, options.html):
        if written:
            print(f"wrote {written}")


def _print_table(title: str, rows: Sequence[Sequence[str]]) -> None:
    """The rows with their columns beside each other."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    print(title)
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))]
        print("  ".join(cells).rstrip())
    print()


def write_csv(path: str, names: Sequence[str], columns: Iterable[Iterable[Any]]) -> None:
    """Write columns, atomically."""
    import csv

    with (
        replacing(os.fspath(path)) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(zip(*columns))
