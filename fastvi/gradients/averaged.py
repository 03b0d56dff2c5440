"""Averages of expected sufficient statistics over the last batches (Mandt and Blei 2014)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastvi.base import tree
from fastvi.base.typing import AnyArray, Indices, Info, Tree
from fastvi.core import Batch, Gradient, LazyTable, RowGradient
from fastvi.gradients.natural import without_noise

__all__ = ["averaged"]


class WindowState(NamedTuple):
    """Targets (parameters plus gradient) of the last batches, oldest first, and their number."""

    targets: tuple[Any, ...]
    n: int
    inner: object


class Rows(NamedTuple):
    """Rows (n,) of a table with `length` rows, and their statistics (n, K)."""

    rows: Indices
    values: AnyArray
    length: int

    def adopted(self, found: Rows) -> Rows:
        """Return rows from a checkpoint, if they belong to the same table."""
        rows, values, length = found.rows, found.values, int(found.length)
        fits = rows.dtype == self.rows.dtype and values.dtype == self.values.dtype
        fits = fits and rows.ndim == 1 and values.shape == (len(rows), self.values.shape[1])
        if not fits or length != self.length or not np.all((rows >= 0) & (rows < length)):
            raise ValueError(f"the window holds rows of a table whose length is not {self.length}")
        return Rows(rows, values, length)


def averaged(gradient: Gradient, length: int) -> Gradient:
    """Replace a batch's statistics by their mean over the last `length` batches.

    "Smoothed gradients for stochastic variational inference", eq. 6: the direction is prior + mean
    statistics - parameters. Its variance is about `length` times smaller, and it stays in the
    domain. It is biased, because older batches were fitted to older parameters: it lags behind
    changing statistics by (`length` - 1) / 2 steps, which matters little once they settle. It
    stores the statistics of `length` batches.

    Parameters
    ----------
    gradient : Gradient
        A natural gradient.
    length : int
        Number of batches in the window.

    Raises
    ------
    ValueError
        If `length` is below 1.
    """
    if length < 1:
        raise ValueError(f"length is {length}; wanted a number of batches >= 1")

    def init(params: object) -> WindowState:
        empty = tree.map_leaves(_nothing, params)
        return WindowState((empty,) * length, 0, gradient.init(params))

    def estimate(
        state: WindowState, params: Tree, batch: Batch, rng: np.random.Generator
    ) -> tuple[Tree, WindowState, Info]:
        direction, inner, info = gradient.estimate(state.inner, params, batch, rng)
        targets = (*state.targets[1:], _target(direction, params))
        n = min(state.n + 1, length)
        smooth = _mean(direction, targets[length - n :], params)
        return smooth, WindowState(targets, n, inner), {**without_noise(info), "window": n}

    return Gradient(init, estimate)


def _nothing(leaf: LazyTable | AnyArray) -> Rows | AnyArray:
    if isinstance(leaf, LazyTable):
        length, width = leaf.values.shape
        return Rows(np.empty(0, np.int32), np.empty((0, width), leaf.values.dtype), length)
    return np.zeros_like(leaf)


def _target(direction: Tree, params: Tree) -> Tree:
    if isinstance(direction, RowGradient):
        return Rows(direction.rows, direction.values, len(params.values))
    if isinstance(direction, tuple):
        return tree.rebuild(direction, (_target(*parts) for parts in zip(direction, params)))
    return direction + params


def _mean(direction: Tree, targets: tuple[Any, ...], params: Tree) -> Tree:
    """Replace the target of a direction by the mean of targets, summed in a fixed order."""
    n = len(targets)
    if isinstance(direction, RowGradient):
        rows = np.unique(np.concatenate([t.rows for t in targets]))
        values = np.zeros((len(rows), direction.values.shape[1]), direction.values.dtype)
        for t in targets:
            values[np.searchsorted(rows, t.rows)] += t.values
        values /= values.dtype.type(n)
        return direction._replace(rows=rows, values=values)
    if isinstance(direction, tuple):
        columns = zip(direction, zip(*targets), params)
        return tree.rebuild(direction, (_mean(*column) for column in columns))
    return sum(targets[1:], targets[0]) / n - params
