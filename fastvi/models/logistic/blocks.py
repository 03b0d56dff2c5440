"""Passes of Bayesian logistic regression over rows, in blocks that fit in a core's cache."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastvi.base import parallel
from fastvi.base.linear_algebra import SUMS_ENTRIES, TASK_FLOPS
from fastvi.base.typing import AnyArray, DTypeLike
from fastvi.core import Batch
from fastvi.kernels import logistic as kernels
from fastvi.models.logistic import rows

__all__ = ["Blocks"]

BLOCK_ENTRIES = 1 << 16  # a block and its two copies fit in a core's cache


class Blocks:
    """One local step: tasks of about 1 ms, in blocks of rows that fit in the cache."""

    def __init__(
        self,
        batch: Batch,
        whitener: NDArray[np.float64],
        intercept: bool,
        norms: bool,
        dtype: DTypeLike,
    ) -> None:
        self.features, self.targets, self.row_weights = batch.rows
        self.weights = batch.weights * self.row_weights
        self.intercept = intercept
        self.dtype = np.promote_types(dtype, self.features.dtype)
        self.whitener = whitener.astype(self.dtype)
        self.xi = np.empty(len(self.targets), self.dtype)
        self.norms = np.empty(len(self.xi)) if norms else None
        self.n_coefficients = p = len(whitener)
        self.linear: tuple[int, ...] = (p,)
        self.n_block = max(64, BLOCK_ENTRIES // p)
        row_flops = 4 * p * p + 100 * p
        most = max(4, SUMS_ENTRIES // (p * p))
        target = max(TASK_FLOPS / row_flops, len(self.xi) / most)
        self.bounds = parallel.split(np.arange(len(self.xi) + 1), target)

    def run(self, n_threads: int) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        """Return the bound and the sums of the two statistics."""
        n_tasks, p = len(self.bounds) - 1, self.n_coefficients
        bound = np.zeros(n_tasks)
        linear, precision = np.zeros((n_tasks, *self.linear)), np.zeros((n_tasks, p, p))

        def task(i: int) -> None:
            bound[i] = self._task(self.bounds[i], self.bounds[i + 1], linear[i], precision[i])

        parallel.run(task, n_tasks, n_threads)
        return float(bound.sum()), linear.sum(axis=0), precision.sum(axis=0)

    def _task(
        self, start: int, stop: int, linear: NDArray[np.float64], precision: NDArray[np.float64]
    ) -> float:
        dtype, p = self.dtype, self.n_coefficients
        shape = (min(self.n_block, stop - start), p)
        ones, scaled = np.empty(shape, dtype), np.empty(shape, dtype)
        whitened, product = np.empty((shape[0], p + 1), dtype), np.empty((p, p), dtype)
        bound = 0.0
        for a in range(start, stop, self.n_block):
            b = min(a + self.n_block, stop)
            n = b - a
            block = self._block(a, b, ones)
            np.matmul(block, self.whitener, out=whitened[:n])
            bound += kernels.fit_rows(
                block, whitened[:n], self.targets[a:b], self.weights[a:b],
                self.xi[a:b], scaled[:n], linear,
            )  # fmt: skip
            if self.norms is not None:
                kernels.statistics_norms(block, self.xi[a:b], self.norms[a:b])
                self.norms[a:b] *= self.row_weights[a:b]
            precision += np.matmul(scaled[:n].T, scaled[:n], out=product)
        return bound

    def _block(self, start: int, stop: int, work: AnyArray) -> AnyArray:
        """Rows start..stop with their column of ones, in the dtype of `work`."""
        n, block = stop - start, rows.dense(self.features, start, stop)
        if self.intercept:
            kernels.append_one(block, 0, n, work)
        elif block.dtype != work.dtype:
            work[:n] = block
        else:
            return block
        return work[:n]
