"""Filtered and smoothed states of all sequences; see `fastvi.kernels.kalman`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import Array
from fastvi.kernels import kalman as kernels
from fastvi.kernels.kalman import Nodes, Rows, System

__all__ = ["Filtered", "Smoothed", "filter_rows", "smooth_rows"]

FEW, MORE = 256, 8  # entries of tables to begin with, and by what they grow
KNOWN = 16  # patterns whose steps are shared


class Filtered(NamedTuple):
    """Filtered states of rows.

    Attributes
    ----------
    nodes : Nodes
        What covariances are computed from; `which` (n,) says which one a row has.
    predicted, means : (n, K) arrays
    squares : (n,) array
        Squared steps of the updates, in units of the predicted covariance.
    """

    nodes: Nodes
    which: NDArray[np.int64]
    predicted: Array
    means: Array
    squares: Array

    @property
    def log_norms(self) -> Array:
        """Logs of the norms of rows given those before, less what a row says at its mean, (n,)."""
        return np.asarray(-0.5 * (self.squares + self.nodes.log_det[self.which]))

    def covariances(self, rows: NDArray[np.int64] | slice = slice(None)) -> Array:
        """Filtered covariances of some rows, (m, K, K)."""
        used, place = np.unique(self.which[rows], return_inverse=True)
        half = self.nodes.gain[used] @ self.nodes.ahead[used]
        return np.asarray((self.nodes.rest[used] + half @ half.swapaxes(1, 2))[place])

    def predicted_covariances(self) -> Array:
        """Covariances before each row is seen, (n, K, K)."""
        root = self.nodes.root
        return np.asarray((root @ root.swapaxes(1, 2))[self.which])


class Smoothed(NamedTuple):
    """Smoothed states of rows.

    Attributes
    ----------
    filtered : Filtered
    means : (n, K) array
    own : (n,) array of int
        Which covariance of the table a row has.
    covariance, cross : (M, K, K) arrays
        Tables of covariances, and of those of the next state with this one.
    """

    filtered: Filtered
    means: Array
    own: NDArray[np.int64]
    covariance: Array
    cross: Array

    def covariances(self) -> Array:
        """Smoothed covariances of rows, (n, K, K)."""
        return self.covariance[self.own]

    def total(self, table: Array, weights: Array | None = None) -> Array:
        """Sum of a table's entries over rows, (K, K)."""
        counts = np.bincount(self.own, weights, len(table))
        return np.asarray(np.tensordot(counts, table, 1))


def filter_rows(system: System, rows: Rows) -> Filtered:
    """Filter all sequences."""
    (n, k), n_patterns = rows.linear.shape, len(rows.roots)
    nodes = _nodes(min(n, FEW), k, min(n_patterns, KNOWN))
    which, squares = np.empty(n, np.int64), np.empty(n)
    predicted, filtered = np.empty((n, k)), np.empty((n, k))
    t = n_nodes = 0
    while True:
        t, n_nodes = kernels.forward(
            t, n_nodes, system, rows, nodes, which, predicted, filtered, squares
        )
        if t == n:
            return Filtered(nodes, which, predicted, filtered, squares)
        nodes = _grown(nodes, min(n, MORE * n_nodes), but=("first", "steady"))


def smooth_rows(system: System, rows: Rows) -> Smoothed:
    """Filter and smooth all sequences."""
    found = filter_rows(system, rows)
    n, k = found.means.shape
    tables = _smoothed(min(n, FEW), k, len(found.nodes.log_det))
    own, means = np.empty(n, np.int64), np.empty((n, k))
    t, n_known = n - 1, 0
    while True:
        t, n_known = kernels.backward(
            t, n_known, rows.begins, found.nodes, found.which, found.predicted, found.means,
            tables, own, means,
        )  # fmt: skip
        if t < 0:
            kept = tables.covariance[:n_known], tables.cross[:n_known]
            return Smoothed(found, means, own, *kept)
        tables = _grown(tables, min(n, MORE * n_known), but=("ends", "steady"))


def _nodes(size: int, k: int, n_known: int) -> Nodes:
    def matrices() -> Array:
        return np.empty((size, k, k))

    unknown = np.full(size, -1)
    return Nodes(
        matrices(), unknown, matrices(), np.zeros(size), matrices(), matrices(), matrices(),
        np.full((size, n_known), -1), np.full(n_known, -1), np.full(n_known, -1),
    )  # fmt: skip


def _smoothed(size: int, k: int, n_nodes: int) -> kernels.Smoothed:
    def unknown(*shape: int) -> NDArray[np.int64]:
        return np.full(shape, -1)

    return kernels.Smoothed(
        np.empty((size, k, k)), np.empty((size, k, k)), unknown(size),
        unknown(size, kernels.SLOTS), unknown(size, kernels.SLOTS), unknown(n_nodes),
        unknown(n_nodes),
    )  # fmt: skip


def _grown(tables: Any, size: int, but: tuple[str, ...]) -> Any:
    """Make tables longer; new entries are unknown."""
    longer = {}
    for name, table in tables._asdict().items():
        if name not in but:
            grown = np.empty((size, *table.shape[1:]), table.dtype)
            grown[: len(table)] = table
            if table.dtype == np.int64:
                grown[len(table) :] = -1
            longer[name] = grown
    return tables._replace(**longer)
