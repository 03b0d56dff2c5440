"""Rows for probabilistic PCA and factor analysis: standardised, compressed, in blocks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from fastvi.base import parallel
from fastvi.base.linear_algebra import SUMS_ENTRIES
from fastvi.base.typing import AnyArray, Array, DTypeLike, Indices
from fastvi.batches import InMemory, Part
from fastvi.cluster.remote import array_part
from fastvi.kernels import factors as kernels

__all__ = ["StandardRows", "block_rows", "compressed", "principal"]

BLOCK_ENTRIES = 1 << 16  # a block stays in a core's cache between its two products


def block_rows(width: int) -> int:
    """Number of rows in a block of this width."""
    return max(64, BLOCK_ENTRIES // width)


class StandardRows:
    """Rows in memory, returned as ((x - centre) * factor, 1)."""

    def __init__(self, x: AnyArray, centre: AnyArray, factor: AnyArray) -> None:
        self.x, self.centre, self.factor = x, centre, factor
        self.n_rows, self.width = len(x), x.shape[1] + 1

    @property
    def norms(self) -> Array:
        """Squared lengths of rows, roughly proportional to the norms of their statistics."""
        result = np.empty(self.n_rows)
        self.map(lambda rows: np.einsum("ij,ij->i", rows, rows), result)
        return result

    def all(self, dtype: DTypeLike | None = None) -> AnyArray:
        """Return all rows in order, (n_rows, D + 1), by default in the dtype of the data."""
        return self._standard(self.x, dtype or self.x.dtype)

    def take(self, rows: Indices) -> AnyArray:
        """The rows with these numbers."""
        return self._standard(self.x[rows], self.x.dtype)

    def part(self, start: int, stop: int) -> Part:
        """Rows `start` to ``stop - 1``, as a source of their own."""
        return Part(StandardRows(self.x[start:stop], self.centre, self.factor))

    def likewise(self) -> Callable[[AnyArray], Part]:
        """Return what makes a shard of rows of the same features."""
        make = partial(StandardRows, centre=self.centre, factor=self.factor)
        return partial(array_part, n_features=self.x.shape[1], dtype=self.x.dtype, make=make)

    def _standard(self, x: AnyArray, dtype: DTypeLike) -> AnyArray:
        rows = np.empty((len(x), self.width), dtype)
        kernels.standardize(x, self.centre, self.factor, rows)
        return rows

    def map(
        self,
        function: Callable[[Array], Array],
        out: AnyArray,
        n_threads: int = 1,
    ) -> None:
        """Set out (n_rows, ...) to a function of rows in float64, block by block."""
        n_block = block_rows(self.width)

        def task(i: int) -> None:
            block = slice(i * n_block, (i + 1) * n_block)
            out[block] = function(self._standard(self.x[block], np.float64))

        parallel.run(task, -(-self.n_rows // n_block), n_threads)

    def gram(self, n_threads: int = 1) -> Array:
        """Sums of products of columns, (D + 1, D + 1)."""
        most = max(4, SUMS_ENTRIES // self.width**2)
        n_tasks = min(most, -(-self.n_rows * self.width**2 // 10**7))
        bounds = np.linspace(0, self.n_rows, n_tasks + 1).astype(np.int64)
        sums = np.zeros((n_tasks, self.width, self.width))
        n_block = block_rows(self.width)

        def task(i: int) -> None:
            for a in range(bounds[i], bounds[i + 1], n_block):
                rows = self._standard(self.x[a : min(a + n_block, bounds[i + 1])], np.float64)
                sums[i] += rows.T @ rows

        parallel.run(task, n_tasks, n_threads)
        return np.asarray(sums.sum(axis=0))


def compressed(gram: Array) -> InMemory:
    """Return D + 1 rows with the same sums of products as all rows, longest first.

    The local step is linear and its statistics are quadratic in (x, 1), so coordinate ascent on
    these rows equals coordinate ascent on the data, for any number of rows.
    """
    values, vectors = np.linalg.eigh(gram)
    rows = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    few = InMemory(np.ascontiguousarray(rows[::-1]))
    few.is_few = True
    return few


def principal(rows: Array, count: float, n_factors: int, least: float) -> tuple[Array, Array]:
    """Return loadings (D, n_factors) and noise variances (D,) of the most likely PCA.

    Tipping and Bishop (1999), "Probabilistic principal component analysis", eq. 8 and 9, of rows
    (n, D + 1) that represent `count` rows. For use as a start, noise is at least `least`, and every
    direction keeps at least half of its variance, because loadings would not recover from less. The
    noise of a feature is its residual variance, but at least a tenth of the mean noise's share.
    """
    n_features = rows.shape[1] - 1
    _, lengths, axes = np.linalg.svd(rows[:, :-1] / np.sqrt(count), full_matrices=False)
    variances = np.square(lengths)
    noise = float(variances[n_factors:].sum()) / max(n_features - n_factors, 1)
    kept = variances[:n_factors]
    loadings = np.zeros((n_features, n_factors))
    loadings[:, : len(kept)] = axes[:n_factors].T * np.sqrt(np.maximum(kept - noise, 0.5 * kept))
    whole = np.square(rows[:, :-1]).sum(axis=0) / count
    rest = whole - np.square(loadings).sum(axis=1)
    return loadings, np.maximum(np.maximum(rest, 0.1 * min(noise, 1.0) * whole), least)
