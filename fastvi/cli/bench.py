"""``fastvi bench``: pure Python, NumPy, fastvi and other libraries in five hot loops, here."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastvi.base.parallel import single_threaded_blas
from fastvi.cli.hot_loops import FASTVI, LOOPS, NUMPY, PYTHON, Loop

__all__ = ["Row", "bench", "measure"]

ENOUGH = 0.5  # seconds of a way
REPEATS = 3  # at least; the fastest counts
AGREE = 1e-3  # relative difference of results, of which some are float32


class Row(NamedTuple):
    """Units of a loop per second, by the name of the way, and the seconds of the first call."""

    name: str
    unit: str
    rates: dict[str, float]
    first: float

    def times_python(self, way: str) -> float:
        """How many times as fast as pure Python."""
        return self.rates[way] / self.rates[PYTHON]


def _seconds(work: Callable[[], Any], enough: float) -> float:
    """The least of several times."""
    times: list[float] = []
    while len(times) < REPEATS or sum(times) < enough:
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
        if times[0] > enough:
            break
    return min(times)


def measure(loop: Loop, enough: float = ENOUGH, large: int | None = None) -> Row:
    """Time all ways of a loop, which must agree.

    Raises
    ------
    RuntimeError
        If fastvi or NumPy compute something else than pure Python.
    """
    small = loop.problem(loop.small)
    wanted = np.asarray(small.ways[PYTHON]())
    began = time.perf_counter()
    small.ways[FASTVI]()
    first = time.perf_counter() - began
    for way in (NUMPY, FASTVI):
        found = np.asarray(small.ways[way](), np.float64).reshape(wanted.shape)
        if not np.allclose(found, wanted, rtol=AGREE, atol=AGREE * np.abs(wanted).max()):
            raise RuntimeError(f"{loop.name}: {way} and pure Python disagree")
    rates = {PYTHON: small.n_units / _seconds(small.ways[PYTHON], enough)}
    problem = loop.problem(large or loop.large)
    for way, work in problem.ways.items():
        if way != PYTHON:
            work()
            rates[way] = problem.n_units / _seconds(work, enough)
    return Row(loop.name, loop.unit, rates, first)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [
                line.split(":", 1)[1].strip() for line in file if line.startswith("model name")
            ]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _machine() -> dict[str, str]:
    from importlib.metadata import version

    found = {"processor": _processor(), "Python": platform.python_version()}
    return found | {name: version(name) for name in ("fastvi", "numpy", "numba", "scikit-learn")}


def _shown(rate: float) -> str:
    for factor, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if rate >= factor:
            return f"{rate / factor:.3g}{letter}/s"
    return f"{rate:.3g} /s"


def _table(rows: list[Row]) -> list[str]:
    ways = list(dict.fromkeys(way for row in rows for way in row.rates))
    head = ["loop", "unit", *ways, "fastvi / Python", "first call"]
    body = [
        [
            row.name,
            row.unit,
            *(_shown(row.rates[way]) if way in row.rates else "-" for way in ways),
            f"{row.times_python(FASTVI):.0f}",
            f"{row.first:.1f} s",
        ]
        for row in rows
    ]
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]
    return ["  ".join(cell.ljust(w) for cell, w in zip(line, widths)).rstrip()
            for line in (head, *body)]  # fmt: skip


def _plot(rows: list[Row], path: str) -> None:
    from fastvi.plots.figures import blank, check_ending, save

    ending = check_ending(path)
    ways = list(dict.fromkeys(way for row in rows for way in row.rates))
    figure = blank(8.0, 4.5)
    axes = figure.subplots()
    height = 0.8 / len(ways)
    for i, way in enumerate(ways):
        known = [(j, row.times_python(way)) for j, row in enumerate(rows) if way in row.rates]
        places = [j + i * height for j, _ in known]
        axes.barh(places, [x for _, x in known], height, label=way)
    axes.set_yticks([j + 0.4 - height / 2 for j in range(len(rows))], [row.name for row in rows])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("units of work per second, as a multiple of pure Python; one thread")
    axes.set_title(f"{_processor()}, Python {platform.python_version()}")
    figure.legend(loc="outside lower center", ncols=len(ways))
    save(figure, path, ending)


def bench(json_path: str | None = None, plot: str | None = None) -> None:
    """Measure all loops, and print a table or write it.

    Parameters
    ----------
    json_path : str, optional
        A file for all figures, or "-" for standard output, instead of the table.
    plot : str, optional
        A file for a picture.
    """
    if plot is not None:
        from fastvi.plots.figures import check_ending

        check_ending(plot)  # before the work
    rows = []
    with single_threaded_blas():
        for loop in LOOPS:
            print(f"fastvi: {loop.name} ...", file=sys.stderr)
            rows.append(measure(loop))
    machine = _machine()
    if plot is not None:
        _plot(rows, plot)
    if json_path is not None:
        figures = [row._asdict() for row in rows]
        text = json.dumps({"machine": machine, "loops": figures}, indent=2)
        if json_path == "-":
            print(text)
            return
        from fastvi.base.archive import replacing

        with replacing(json_path) as name, open(name, "w") as file:
            file.write(text + os.linesep)
    print(", ".join(f"{name} {value}" for name, value in machine.items()), "- one thread")
    print("\n".join(_table(rows)))
