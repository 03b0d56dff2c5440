"""Sums over shards, in an order that depends on the shards alone: a fixed binary tree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastvi.base import tree
from fastvi.base.tables import RowStatistics
from fastvi.base.typing import Tree

__all__ = ["grouped", "less", "merged", "of_parts", "spread", "summed"]


def merged(a: Any, b: Any) -> Any:
    """Add two trees of arrays and numbers; of rows of a table, those that occur in either."""
    if isinstance(a, RowStatistics):
        return _merged_rows(a, b)
    if isinstance(a, tuple):
        return tree.rebuild(a, (merged(*parts) for parts in zip(a, b, strict=True)))
    return a + b


def _merged_rows(a: RowStatistics, b: RowStatistics) -> RowStatistics:
    if np.array_equal(a.rows, b.rows):
        return RowStatistics(a.rows, a.values + b.values)
    rows = np.union1d(a.rows, b.rows)
    values = np.zeros((len(rows), *a.values.shape[1:]), a.values.dtype)
    values[np.searchsorted(rows, a.rows)] = a.values
    values[np.searchsorted(rows, b.rows)] += b.values
    return RowStatistics(rows, values)


def less(a: Any, b: Any) -> Any:
    """Subtract the statistics of no rows from those of some rows."""
    if isinstance(a, RowStatistics):
        return a
    if isinstance(a, tuple):
        return tree.rebuild(a, (less(*parts) for parts in zip(a, b, strict=True)))
    return a - b


def spread(statistics: Tree, columns: Any) -> Any:
    """Number the rows of statistics by the columns of all data, (U,), if these are given."""
    if columns is None:
        return statistics
    if isinstance(statistics, RowStatistics):
        return statistics._replace(rows=columns[statistics.rows])
    if isinstance(statistics, tuple):
        return tree.rebuild(statistics, (spread(part, columns) for part in statistics))
    return statistics


def summed(n: int, term: Callable[[int], Any], first: int = 0) -> Any:
    """Sum ``term(first)`` to ``term(first + n - 1)`` by halves.

    The order of additions depends on `n` alone; no more than log2(n) + 1 sums are in memory.
    """
    if n == 1:
        return term(first)
    left = halved(n)
    return merged(summed(left, term, first), summed(n - left, term, first + left))


def halved(n: int) -> int:
    """Return how many of `n` terms the left half of a sum has: the largest power of 2 below n.

    All left halves are whole trees, so that a tree may be cut at any height.
    """
    return 1 << (n - 1).bit_length() - 1


def of_parts(*parts: Any) -> Any:
    """Sum of consecutive terms that are sums of equally many, a power of 2; the last of fewer."""
    return summed(len(parts), parts.__getitem__)


def grouped(terms: Sequence[Any], size: int) -> list[tuple[Any, ...]]:
    """Cut terms into groups of `size`, a power of 2, whose sums are nodes of the tree."""
    return [tuple(terms[i : i + size]) for i in range(0, len(terms), size)]
