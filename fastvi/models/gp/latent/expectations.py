"""Expectations of RBF covariances under Gaussian inputs, and their reverse pass.

Shapes: N rows with inputs x ~ N(mean, diag(variance)) of Q dimensions, M inducing inputs z. The
covariance is c exp(-1/2 sum_q a_q (x_q - z_q)^2). Titsias and Lawrence (2010), "Bayesian Gaussian
process latent variable model", appendix: psi_1 and Psi_2.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from fastvi.base import parallel
from fastvi.base.typing import Array
from fastvi.kernels import latents as kernels
from fastvi.kernels.rows import mirror

__all__ = ["Expectations", "Slopes"]

CHUNK_ENTRIES = 1 << 16  # pairs of inducing inputs of a chunk of rows
MAX_TASKS = 8  # each holds a sum (M, M)


class Slopes(NamedTuple):
    """Derivatives of sum(firsts * psi_1) + sum(seconds * Psi_2), and its value a row."""

    values: Array  # (N,)
    by_mean: Array  # (N, Q)
    by_variance: Array  # (N, Q)
    by_log_c: float
    by_a: Array  # (Q,)
    by_z: Array  # (M, Q)


class Expectations:
    """Those at given hyperparameters.

    Parameters
    ----------
    c : float
    a : (Q,) array
    z : (M, Q) array
    n_threads : int
        Results do not depend on it.
    """

    def __init__(self, c: float, a: Array, z: Array, n_threads: int = 1) -> None:
        self.c, self.a, self.z, self.n_threads = c, a, z, n_threads
        scaled = z * np.sqrt(a)
        apart = np.zeros((len(z), len(z)))
        for column in scaled.T:  # no difference of large numbers
            apart += np.square(column[:, None] - column)
        self.factor = np.exp(-0.25 * apart)  # of Psi_2, without the rows

    def first(self, mean: Array, variance: Array) -> Array:
        """psi_1 (N, M), the expectations of k(x, z)."""
        out, chunks = np.empty((len(mean), len(self.z))), self._chunks(len(mean))

        def task(i: int) -> None:
            rows = chunks[i]
            spread = self.a * variance[rows] + 1.0
            away = np.square(mean[rows, None] - self.z)
            exponents = np.matmul(away, (self.a / spread)[:, :, None])[:, :, 0]
            sizes = np.log(self.c) - 0.5 * np.log(spread).sum(axis=1)
            np.exp(sizes[:, None] - 0.5 * exponents, out=out[rows])

        parallel.run(task, len(chunks), self.n_threads)
        return out

    def second(self, mean: Array, variance: Array) -> Array:
        """Psi_2 (M, M), the sum over rows of the expectations of k(z, x) k(x, z)."""
        m, tasks = len(self.z), self._tasks(len(mean))
        totals = np.zeros((len(tasks), m, m))

        def task(i: int) -> None:
            for rows in tasks[i]:
                kernels.add_pairs(*self._pairs(mean[rows], variance[rows])[:3], totals[i])

        parallel.run(task, len(tasks), self.n_threads)
        total = totals.sum(axis=0)
        mirror(total)
        return np.asarray(total * self.factor)

    def reverse(self, mean: Array, variance: Array, firsts: Array, seconds: Array) -> Slopes:
        """Slopes, given derivatives by psi_1 (N, M) and by Psi_2 (M, M), which is symmetric."""
        (n, q), m, tasks = mean.shape, len(self.z), self._tasks(len(mean))
        values, by_mean, by_variance = np.empty(n), np.empty((n, q)), np.empty((n, q))
        by_log_c, by_a = np.zeros(len(tasks)), np.zeros((len(tasks), q))
        by_z, between = np.zeros((len(tasks), m, q)), np.zeros((len(tasks), m, m))
        slopes = seconds * self.factor

        def task(i: int) -> None:
            for rows in tasks[i]:
                part = mean[rows], variance[rows]
                one, two = self._first(*part, firsts[rows]), self._second(*part, slopes)
                values[rows] = one.values + two.values
                by_mean[rows] = one.by_mean + two.by_mean
                by_variance[rows] = one.by_variance + two.by_variance
                by_log_c[i] += one.values.sum() + 2.0 * two.values.sum()
                by_a[i] += one.by_a + two.by_a
                by_z[i] += one.by_z + two.by_z
                between[i] += two.pairs

        parallel.run(task, len(tasks), self.n_threads)
        a_sum, z_sum, t = by_a.sum(axis=0), by_z.sum(axis=0), between.sum(axis=0)
        t_row = t.sum(axis=1)
        z_sum -= self.a * (t_row[:, None] * self.z - t @ self.z)
        centred = self.z - self.z.mean(axis=0)
        a_sum -= 0.5 * (t_row @ np.square(centred) - (centred * (t @ centred)).sum(axis=0))
        return Slopes(values, by_mean, by_variance, float(by_log_c.sum()), a_sum, z_sum)

    def _first(self, mean: Array, variance: Array, firsts: Array) -> _Part:
        spread = self.a * variance + 1.0
        v = self.a / spread
        away = mean[:, None] - self.z
        square = np.square(away)
        sizes = np.log(self.c) - 0.5 * np.log(spread).sum(axis=1)
        weights = np.matmul(square, v[:, :, None])[:, :, 0]
        np.exp(sizes[:, None] - 0.5 * weights, out=weights)
        weights *= firsts
        values = weights.sum(axis=1)
        moved = np.matmul(weights[:, None], away)[:, 0]
        curved = np.matmul(weights[:, None], square)[:, 0]
        by_a = -0.5 * (variance / spread * values[:, None] + curved / np.square(spread))
        by_variance = 0.5 * (np.square(v) * curved - v * values[:, None])
        by_z = np.einsum("nm,nmq->mq", weights, away * v[:, None])
        return _Part(values, -v * moved, by_variance, by_a.sum(axis=0), by_z, np.zeros(0))

    def _second(self, mean: Array, variance: Array, slopes: Array) -> _Part:
        pairs, near, logs, away, spread = self._pairs(mean, variance)
        w = self.a / spread
        kernels.weigh_pairs(pairs, near, logs, slopes)
        sums = np.matmul(pairs, np.ones(len(slopes)))
        turned = np.matmul(pairs, away)
        values = sums.sum(axis=1)
        once = sums[:, :, None] * away
        moved = once.sum(axis=1)
        curved = ((once + turned) * away).sum(axis=1)  # half of that of (u + u')^2
        by_a = -variance / spread * values[:, None] - 0.5 * curved / np.square(spread)
        by_variance = np.square(w) * curved - w * values[:, None]
        by_z = ((once + turned) * w[:, None]).sum(axis=0)
        between = pairs.sum(axis=0)
        return _Part(values, -2.0 * w * moved, by_variance, by_a.sum(axis=0), by_z, between)

    def _pairs(self, mean: Array, variance: Array) -> tuple[Array, Array, Array, Array, Array]:
        """What the kernels take, differences (n, M, Q) of means and z, and 2 a variance + 1."""
        spread = 2.0 * self.a * variance + 1.0
        half = 0.5 * self.a / spread
        away = mean[:, None] - self.z
        turned = away * half[:, None]
        pairs = np.matmul(turned, away.transpose(0, 2, 1))
        near = 0.5 * (turned * away).sum(axis=2)
        logs = 2.0 * np.log(self.c) - 0.5 * np.log(spread).sum(axis=1)
        return pairs, near, logs, away, spread

    def _chunks(self, n: int) -> list[slice]:
        size = max(1, CHUNK_ENTRIES // max(len(self.z) ** 2, 1))
        return [slice(start, min(start + size, n)) for start in range(0, n, size)]

    def _tasks(self, n: int) -> list[list[slice]]:
        chunks = self._chunks(n)
        n_tasks = min(MAX_TASKS, len(chunks))
        ends = [i * len(chunks) // max(n_tasks, 1) for i in range(n_tasks + 1)]
        return [chunks[start:end] for start, end in pairwise(ends)]


class _Part(NamedTuple):
    """Slopes of some rows by one of the two; `pairs` (M, M) is of the second."""

    values: Array
    by_mean: Array
    by_variance: Array
    by_a: Array
    by_z: Array
    pairs: Array
