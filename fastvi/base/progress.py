"""Progress of a fit: a bar, and a line when kernels are compiled."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = ["Bar", "compiling_announced", "describe"]

SHOWN = ("elbo", "local_elbo", "held_out", "perplexity")


def describe(values: dict[str, float]) -> str:
    """Format the values of the last step for a line about a fit."""
    return ", ".join(f"{name} {values[name]:.10g}" for name in SHOWN if name in values)


class Bar:
    """A progress bar that counts passes or steps, drawn from the first step on."""

    def __init__(self, total: int | None, unit: str) -> None:
        self.total, self.unit = total, unit
        self._bar: tqdm | None = None
        self._values: dict[str, float] = {}  # the last known value of each

    def show(self, n: int, values: Mapping[str, float]) -> None:
        """Move to `n`, and show the last reported values."""
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(unit=f" {self.unit}", total=self.total, miniters=0)
        self._values |= values
        self._bar.set_postfix_str(describe(self._values), refresh=False)
        self._bar.update(n - self._bar.n)

    def close(self) -> None:
        """Close the bar and leave it on the screen."""
        if self._bar is not None:
            self._bar.close()


class _Line(logging.Handler):
    """A log handler that prints to standard error, above a bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(f"fastvi: {self.format(record)}", file=sys.stderr)


@contextmanager
def compiling_announced(show: bool = True) -> Iterator[None]:
    """Print what ``fastvi.kernels`` logs about compilation, unless it is shown already."""
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
