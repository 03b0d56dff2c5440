"""Passes over the rows of a Gaussian mixture, by blocks whose features fit in a core's cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi import parallel
from fastvi.kernels import mixture as kernels

__all__ = ["COVARIANCE_TYPES", "Blocks", "Coefficients", "Frame", "Sums"]

COVARIANCE_TYPES = ("full", "tied", "diag", "spherical")
BLOCK_ENTRIES = 3 << 16  # entries of features and logits of a block: about a core's cache
TASK_FLOPS = 5e7  # about 1 ms
SUMS_ENTRIES = 1 << 22  # entries of statistics that tasks hold together, at least 4 of them

FEATURES = {
    "full": kernels.products,
    "tied": kernels.linear,
    "diag": kernels.squares,
    "spherical": kernels.mean_square,
}


class Frame(NamedTuple):
    """Coordinates to compute in: (X - centre) / scale, where products lose the fewest digits.

    Scales are powers of two, which change no digit.
    """

    centre: NDArray[np.float64]  # (D,)
    scale: NDArray[np.float64]  # (D,)


class Coefficients(NamedTuple):
    """What makes logits of features.

    `linear` (K, F) times the features, minus the squares of `root` (D, D) times x, which all
    components share (tied covariances only).
    """

    linear: NDArray[np.float64]
    root: NDArray[np.float64] | None = None


class Sums(NamedTuple):
    """Weighted sums over rows: the local bound, r features' (K, F), and, if tied, x x' (D, D)."""

    bound: float
    features: NDArray[np.float64]
    products: NDArray[np.float64]


class Blocks:
    """Rows X (n, D) in coordinates of `frame`, in tasks of about 1 ms.

    Tasks and blocks depend on sizes only, so results do not depend on the number of threads.
    """

    def __init__(
        self,
        X: NDArray[Any],
        frame: Frame,
        covariance_type: str,
        n_components: int,
        *,
        dtype: Any,
        n_threads: int,
    ) -> None:
        self.X, self.centre, self.factor = X, frame.centre, 1.0 / frame.scale
        self.fill = FEATURES[covariance_type]
        self.tied = covariance_type == "tied"
        self.dtype, self.n_threads = np.dtype(dtype), n_threads
        n_rows, d = X.shape
        n_quadratic = {"full": d * (d + 1) // 2, "tied": 0, "diag": d, "spherical": 1}
        self.n_quadratic = n_quadratic[covariance_type]
        self.shape = k, f = n_components, self.n_quadratic + d + 1
        self.shared_shape = (d, d) if self.tied else (0, 0)
        self.n_block = max(64, BLOCK_ENTRIES // (f + k) // 64 * 64)
        row_flops = 4 * k * f + 4 * self.shared_shape[0] ** 2 + 20 * k + f
        most = max(4, SUMS_ENTRIES // (k * f))
        target = max(TASK_FLOPS / row_flops, n_rows / most)
        self.bounds = parallel.split(np.arange(n_rows + 1), target)

    def expect(
        self,
        coefficients: Coefficients,
        weights: NDArray[Any],
        norms: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    ) -> Sums:
        """Sums under the responsibilities of `coefficients`, of rows with weights (n,).

        `norms` is an array (n,) for the norms of rows' statistics, and what is to be added to
        their quadratic features.
        """
        theta, root = self._cast(coefficients)

        def responsible(block: _Block) -> float:
            logits, norm = block.logits(theta, root)
            kernels.responsibilities(logits, norm)
            if norms is not None:
                self._norms(block, norms[0][block.rows], norms[1])
            logits *= weights[block.rows].astype(self.dtype)
            return float(kernels.weighted_sum(norm, weights[block.rows]))

        return self._sums(responsible, weights)

    def gather(self, responsibilities: NDArray[Any]) -> tuple[Sums, float]:
        """Sums under given responsibilities (n, K), or labels (n,) where -1 is no component.

        Also the sum of all responsibilities.
        """
        by_label = responsibilities.ndim == 1
        weights = (responsibilities >= 0) if by_label else responsibilities.sum(axis=1)
        weights = weights.astype(np.float64)

        def given(block: _Block) -> float:
            part = responsibilities[block.rows]
            if by_label:
                part = part[:, None] == np.arange(self.shape[0])
            np.copyto(block.responsibilities, part.T, casting="unsafe")
            return 0.0

        return self._sums(given, weights), float(weights.sum())

    def predict(
        self,
        coefficients: Coefficients,
        *,
        labels: NDArray[np.int64] | None = None,
        log_norm: NDArray[Any] | None = None,
        responsibilities: NDArray[Any] | None = None,
    ) -> None:
        """Write what is asked for: (n,) labels, (n,) logs of sums, (n, K) responsibilities."""
        theta, root = self._cast(coefficients)

        def predict(block: _Block) -> None:
            logits, norm = block.logits(theta, root)
            if labels is not None:
                kernels.likeliest(logits, labels[block.rows])
            if log_norm is None and responsibilities is None:
                return
            kernels.responsibilities(logits, norm)
            if log_norm is not None:
                log_norm[block.rows] = norm
            if responsibilities is not None:
                responsibilities[block.rows] = logits.T

        self._run(lambda i, block: predict(block))

    def _sums(self, responsible: Callable[[_Block], float], weights: NDArray[Any]) -> Sums:
        n_tasks = len(self.bounds) - 1
        bound, sums = np.zeros(n_tasks), np.zeros((n_tasks, *self.shape[::-1]))
        shared = np.zeros((n_tasks, *self.shared_shape))

        def visit(i: int, block: _Block) -> None:
            bound[i] += responsible(block)
            sums[i] += block.weighted_features()
            if self.tied:
                shared[i] += block.weighted_products(weights[block.rows])

        self._run(visit)
        return Sums(float(bound.sum()), sums.sum(axis=0).T, shared.sum(axis=0))

    def _norms(self, block: _Block, out: NDArray[np.float64], shift: NDArray[np.float64]) -> None:
        out[:] = 0.0
        d = self.X.shape[1]
        if self.tied:
            kernels.add_pair_squares(block.features[:d], shift, float(self.shape[0]), out)
            shift = np.zeros(0)
        more = np.concatenate((shift, np.zeros(d + 1)))
        kernels.statistics_norms(block.responsibilities, block.features, more, out)

    def _cast(self, coefficients: Coefficients) -> tuple[NDArray[Any], NDArray[Any] | None]:
        root = coefficients.root
        linear = np.ascontiguousarray(coefficients.linear, self.dtype)
        return linear, None if root is None else np.ascontiguousarray(root, self.dtype)

    def _run(self, visit: Callable[[int, _Block], None]) -> None:
        def task(i: int) -> None:
            start, stop = self.bounds[i], self.bounds[i + 1]
            try:
                buffers = free.pop()
            except IndexError:
                buffers = _Buffers(self, min(self.n_block, longest))
            n_blocks = -(-(stop - start) // self.n_block)
            ends = start + np.arange(n_blocks + 1) * (stop - start) // n_blocks
            for a, b in zip(ends[:-1].tolist(), ends[1:].tolist()):
                visit(i, _Block(self, buffers, a, b))
            free.append(buffers)

        longest = int(np.diff(self.bounds).max(initial=0))
        free: list[_Buffers] = []  # fresh memory for each task would cost as much as its features
        parallel.run(task, len(self.bounds) - 1, self.n_threads)


class _Buffers:
    """Memory of one task, and of the next on its thread."""

    def __init__(self, blocks: Blocks, n: int) -> None:
        (k, f), d, dtype = blocks.shape, blocks.shared_shape[0], blocks.dtype
        self.features, self.logits = np.empty(f * n, dtype), np.empty(k * n, dtype)
        self.log_norm, self.sums = np.empty(n, dtype), np.empty((f, k), dtype)
        self.shared, self.products = np.empty(d * n, dtype), np.empty((d, d), dtype)


class _Block:
    """A block of rows: its features (F, B), and its logits or responsibilities (K, B)."""

    def __init__(self, blocks: Blocks, buffers: _Buffers, start: int, stop: int) -> None:
        n, (k, f), d = stop - start, blocks.shape, blocks.shared_shape[0]
        self.rows = slice(start, stop)
        self.features = buffers.features[: f * n].reshape(f, n)
        self.responsibilities = buffers.logits[: k * n].reshape(k, n)
        self.log_norm = buffers.log_norm[:n]
        self.shared = buffers.shared[: d * n].reshape(d, n)
        self.sums, self.products = buffers.sums, buffers.products
        blocks.fill(blocks.X, blocks.centre, blocks.factor, start, stop, self.features)

    def logits(
        self, theta: NDArray[Any], root: NDArray[Any] | None
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Logits, and what all those of a row have in common."""
        np.matmul(theta, self.features, out=self.responsibilities)
        if root is None:
            self.log_norm[:] = 0
        else:
            np.matmul(root, self.features[: len(root)], out=self.shared)
            kernels.negative_squares(self.shared, self.log_norm)
        return self.responsibilities, self.log_norm

    def weighted_features(self) -> NDArray[Any]:
        """Sums over rows of features times responsibilities, (F, K), which BLAS does faster."""
        return np.matmul(self.features, self.responsibilities.T, out=self.sums)

    def weighted_products(self, weights: NDArray[Any]) -> NDArray[Any]:
        """Sums over rows of weights times x x', (D, D)."""
        x = self.features[: len(self.products)]
        kernels.scaled_columns(x, weights, self.shared)
        return np.matmul(self.shared, x.T, out=self.products)
