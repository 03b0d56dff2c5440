"""What a fit shows while it runs: a bar, and a line when kernels are compiled."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Bar", "compiling_announced", "describe", "progress_bar", "show_bound"]

Columns = dict[str, list[float]]
SHOWN = ("bound", "local_bound", "held_out", "perplexity")


def describe(values: dict[str, float]) -> str:
    """What a line about a fit says of the values of its last step."""
    return ", ".join(f"{name} {values[name]:.10g}" for name in SHOWN if name in values)


class Bar:
    """A bar that is not drawn before the first step, and counts passes or steps."""

    def __init__(self, total: int | None, unit: str) -> None:
        self.total, self.unit = total, unit
        self._bar: Any = None

    def show(self, n: int, history: Any) -> None:
        """Move to `n`, and show the values of the history's last row."""
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(unit=f" {self.unit}", total=self.total, miniters=0)
        self._bar.set_postfix_str(describe(history.last()), refresh=False)
        self._bar.update(n - self._bar.n)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()


class _Line(logging.Handler):
    """Prints a message to standard error, above a bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(f"fastvi: {self.format(record)}", file=sys.stderr)


@contextmanager
def compiling_announced(show: bool = True) -> Iterator[None]:
    """Print what the log ``fastvi.kernels`` says of compilation, unless it is shown already."""
    log = logging.getLogger("fastvi.kernels")
    if not show or (log.isEnabledFor(logging.INFO) and log.hasHandlers()):
        yield
        return
    handler, before = _Line(), (log.level, log.propagate)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before[0])
        log.propagate = before[1]


@contextmanager
def progress_bar(
    progress: bool,
    describe: Callable[[Columns], str],
    total: int | None = None,
    unit: str = "steps",
) -> Iterator[Callable[[Any], None] | None]:
    """What is called with the history after each step, or None without progress.

    The bar shows what `describe` says of the history's columns from the first step on, and is
    closed however the fit ends.
    """
    if not progress:
        yield None
        return
    from tqdm import tqdm

    bar: Any = None

    def report(history: Any) -> None:
        nonlocal bar
        bar = tqdm(unit=f" {unit}", total=total) if bar is None else bar
        bar.set_postfix_str(describe(history.columns), refresh=False)
        bar.update(len(history) - bar.n)

    try:
        with compiling_announced():
            yield report
    finally:
        if bar is not None:
            bar.close()


def show_bound(columns: Columns) -> str:
    """The bound of the last step."""
    return f"bound {columns['bound'][-1]:.10g}"
