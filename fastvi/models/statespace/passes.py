"""Filtered and smoothed states of all sequences; see `fastvi.kernels.kalman`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import Array
from fastvi.kernels import kalman as kernels
from fastvi.kernels.kalman import Leads, Nodes, Rows, System

__all__ = ["Filtered", "Passed", "Smoothed", "filter_rows", "pass_rows", "smooth_rows"]

FEW, MORE = 256, 8  # entries of tables to begin with, and by what they grow
MANY = 512  # entries of tables that are not kept
KNOWN = 16  # patterns whose steps are shared


class Passed(NamedTuple):
    """Filtered means of rows (n, K), the covariance of the last one, and `log_norms` (n,).

    These are logs of the norms of rows given those before, less what a row says at its mean.
    """

    means: Array
    log_norms: Array
    covariance: Array


class Filtered(NamedTuple):
    """Filtered states of rows.

    Attributes
    ----------
    nodes : Nodes
        What covariances are computed from, `n_nodes` of them; `which` (n,) says which one a row
        has.
    predicted, means : (n, K) arrays
    log_norms : (n,) array
        As in `Passed`.
    """

    nodes: Nodes
    n_nodes: int
    which: NDArray[np.int64]
    predicted: Array
    means: Array
    log_norms: Array

    def covariances(self, rows: NDArray[np.int64] | slice = slice(None)) -> Array:
        """Filtered covariances of some rows, (m, K, K)."""
        used, place = np.unique(self.which[rows], return_inverse=True)
        half = self.nodes.half[used]
        return np.asarray((half @ half.swapaxes(1, 2))[place])


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
    n = len(rows.linear)
    nodes, t, n_nodes, *parts = _begun(system, rows, FEW)
    while t < n:
        t, n_nodes = kernels.forward(t, n_nodes, system, rows, nodes, *parts)
        if t < n:
            nodes = _grown(nodes, min(n, MORE * n_nodes), but=("first", "steady"))
    return Filtered(nodes, n_nodes, *parts)


def pass_rows(system: System, rows: Rows) -> Passed:
    """Filter all sequences in tables that stay in cache, without covariances of each row."""
    n = len(rows.linear)
    nodes, t, n_nodes, which, predicted, means, norms = _begun(system, rows, MANY)
    while t < n:
        t, n_nodes = kernels.forward(
            t, n_nodes, system, rows, nodes, which, predicted, means, norms
        )
        if t < n:
            kernels.restart(which[t - 1], nodes)
            which[t - 1], n_nodes = 0, 1
    half = nodes.half[which[-1]]
    return Passed(means, norms, half @ half.T)


def _begun(system: System, rows: Rows, most: int) -> Any:
    """Tables, the first row, no nodes, and arrays of rows."""
    (n, k), n_patterns = rows.linear.shape, len(rows.roots)
    nodes = _nodes(min(n, most), k, min(n_patterns, KNOWN))
    which, norms = np.empty(n, np.int64), np.empty(n)
    return nodes, 0, 0, which, np.empty((n, k)), np.empty((n, k)), norms


def smooth_rows(system: System, rows: Rows) -> Smoothed:
    """Filter and smooth all sequences."""
    found = filter_rows(system, rows)
    n, k = found.means.shape
    leads = Leads(np.empty((found.n_nodes, k, k)), np.empty((found.n_nodes, k, k)))
    kernels.lead_back(found.n_nodes, system, found.nodes, leads)
    tables = _smoothed(min(n, FEW), k, found.n_nodes)
    own, means = np.empty(n, np.int64), np.empty((n, k))
    t, n_known = n - 1, 0
    while True:
        t, n_known = kernels.backward(
            t, n_known, rows.begins, found.nodes, leads, found.which, found.predicted, found.means,
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
        matrices(), unknown, matrices(), np.zeros(size), matrices(), matrices(),
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
