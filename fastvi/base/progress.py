"""A bar that follows a fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["progress_bar", "show_bound"]

Columns = dict[str, list[float]]


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
        yield report
    finally:
        if bar is not None:
            bar.close()


def show_bound(columns: Columns) -> str:
    """The bound of the last step."""
    return f"bound {columns['bound'][-1]:.10g}"
