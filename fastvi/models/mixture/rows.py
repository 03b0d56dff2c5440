"""Passes over the rows of a Gaussian mixture, by blocks whose features fit in a core's cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base import parallel
from fastvi.base.linear_algebra import SUMS_ENTRIES
from fastvi.base.typing import AnyArray, Array, DTypeLike
from fastvi.kernels import mixture as kernels

__all__ = ["COVARIANCE_TYPES", "Coefficients", "Frame", "RowTasks", "Sums", "by_roots"]

COVARIANCE_TYPES = ("full", "tied", "diag", "spherical")
BLOCK_ENTRIES = 3 << 16  # entries of features and logits per block, about a core's cache
TASK_FLOPS = 5e7  # about 1 ms
FEW = 16  # features whose products are worth their memory for any number of components

FEATURES = {
    "full": kernels.products,
    "tied": kernels.linear,
    "diag": kernels.squares,
    "spherical": kernels.mean_square,
}


class Frame(NamedTuple):
    """Coordinates for computations: (X - centre) / scale, in which products lose few digits.

    Scales are powers of two, which cause no rounding.
    """

    centre: Array  # (D,)
    scale: Array  # (D,)


class Coefficients(NamedTuple):
    """Coefficients that turn features into logits.

    Logits are `linear` (K, F) times the features, minus the squares of `roots` (G, D, D + 1) times
    (x, 1): one root per component, one for all, or none.
    """

    linear: Array
    roots: Array


class Sums(NamedTuple):
    """Weighted sums over rows: the local bound, r features' (K, F), and x x' (G, D, D)."""

    bound: float
    features: Array
    products: Array


def by_roots(covariance_type: str, n_features: int, n_components: int) -> bool:
    """Whether components have their own matrix products, by measured speed."""
    return covariance_type == "full" and n_features > FEW + 4 * n_components


class RowTasks:
    """Rows X (n, D) in coordinates of `frame`, in tasks of about 1 ms.

    Tasks and blocks depend only on sizes, so results do not depend on the number of threads. With
    full covariances, products x_i x_j are features too, so that two matrix products suffice. If few
    components share many of them, memory traffic costs more than this saves; every component then
    has its own two matrix products (`by_roots`), with twice the operations.
    """

    def __init__(
        self,
        X: AnyArray,
        frame: Frame,
        covariance_type: str,
        n_components: int,
        *,
        dtype: DTypeLike,
        n_threads: int,
    ) -> None:
        self.X, self.centre, self.factor = X, frame.centre, 1.0 / frame.scale
        self.dtype, self.n_threads = np.dtype(dtype), n_threads
        n_rows, d = X.shape
        self.tied = covariance_type == "tied"
        n_roots = (
            1 if self.tied else n_components if by_roots(covariance_type, d, n_components) else 0
        )
        self.fill = kernels.linear if n_roots else FEATURES[covariance_type]
        n_quadratic = {"full": d * (d + 1) // 2, "tied": 0, "diag": d, "spherical": 1}
        self.n_quadratic = 0 if n_roots else n_quadratic[covariance_type]
        self.shape = k, f = n_components, self.n_quadratic + d + 1
        self.products_shape = (n_roots, d, d) if n_roots else (0, 0, 0)
        self.n_block = max(64, BLOCK_ENTRIES // (f + k) // 64 * 64)
        row_flops = 4 * k * f + 4 * n_roots * d * d + 20 * k + f
        most = max(4, SUMS_ENTRIES // (k * f + n_roots * d * d))
        target = max(TASK_FLOPS / row_flops, n_rows / most)
        self.bounds = parallel.split(np.arange(n_rows + 1), target)

    def expect(
        self,
        coefficients: Coefficients,
        weights: AnyArray,
        norms: tuple[Array, Array] | None = None,
    ) -> Sums:
        """Return sums under the responsibilities of `coefficients`, for rows with weights (n,).

        `norms` is an array (n,) for the norms of rows' statistics, and what to add to their
        quadratic features.
        """
        theta, roots = self._cast(coefficients)

        def responsible(block: _Block) -> float:
            logits, norm = block.logits(theta, roots)
            kernels.responsibilities(logits, norm)
            if norms is not None:
                self._norms(block, norms[0][block.rows], norms[1])
            logits *= weights[block.rows].astype(self.dtype)
            return float(kernels.weighted_sum(norm, weights[block.rows]))

        return self._sums(responsible, weights)

    def gather(self, responsibilities: AnyArray) -> tuple[Sums, float]:
        """Return sums under given responsibilities (n, K), or labels (n,) with -1 for no component.

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
        log_norm: AnyArray | None = None,
        responsibilities: AnyArray | None = None,
    ) -> None:
        """Write the requested results: (n,) labels, (n,) logs of sums, (n, K) responsibilities."""
        theta, roots = self._cast(coefficients)

        def predict(block: _Block) -> None:
            logits, norm = block.logits(theta, roots)
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

    def _sums(self, responsible: Callable[[_Block], float], weights: AnyArray) -> Sums:
        n_tasks = len(self.bounds) - 1
        bound, sums = np.zeros(n_tasks), np.zeros((n_tasks, *self.shape[::-1]))
        products = np.zeros((n_tasks, *self.products_shape))

        def visit(i: int, block: _Block) -> None:
            bound[i] += responsible(block)
            sums[i] += block.weighted_features()
            for g, total in enumerate(products[i]):
                by = weights[block.rows] if self.tied else block.responsibilities[g]
                total += block.weighted_products(by)

        self._run(visit)
        return Sums(float(bound.sum()), sums.sum(axis=0).T, products.sum(axis=0))

    def _norms(self, block: _Block, out: Array, shift: Array) -> None:
        out[:] = 0.0
        d, length = self.X.shape[1], np.zeros(len(out))
        if self.products_shape[0]:
            many = float(self.shape[0]) if self.tied else 1.0
            squares = out if self.tied else length
            kernels.add_pair_squares(block.features[:d], shift, many, squares)
            shift = np.zeros(0)
        more = np.concatenate((shift, np.zeros(d + 1)))
        kernels.statistics_norms(block.responsibilities, block.features, more, length, out)

    def _cast(self, coefficients: Coefficients) -> tuple[AnyArray, ...]:
        return tuple(np.ascontiguousarray(part, self.dtype) for part in coefficients)

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
        free: list[_Buffers] = []  # fresh memory per task would cost as much as its features
        parallel.run(task, len(self.bounds) - 1, self.n_threads)


class _Buffers:
    """Memory of a task, reused by the next one on its thread."""

    def __init__(self, blocks: RowTasks, n: int) -> None:
        (k, f), d, dtype = blocks.shape, blocks.products_shape[1], blocks.dtype
        self.features, self.logits = np.empty(f * n, dtype), np.empty(k * n, dtype)
        self.log_norm, self.sums = np.empty(n, dtype), np.empty((f, k), dtype)
        self.whitened, self.products = np.empty(d * n, dtype), np.empty((d, d), dtype)


class _Block:
    """A block of rows: its features (F, B), and its logits or responsibilities (K, B)."""

    def __init__(self, blocks: RowTasks, buffers: _Buffers, start: int, stop: int) -> None:
        n, (k, f), d = stop - start, blocks.shape, blocks.products_shape[1]
        self.rows = slice(start, stop)
        self.features = buffers.features[: f * n].reshape(f, n)
        self.responsibilities = buffers.logits[: k * n].reshape(k, n)
        self.log_norm = buffers.log_norm[:n]
        self.whitened = buffers.whitened[: d * n].reshape(d, n)
        self.sums, self.products, self.tied = buffers.sums, buffers.products, blocks.tied
        blocks.fill(blocks.X, blocks.centre, blocks.factor, start, stop, self.features)

    def logits(self, theta: AnyArray, roots: AnyArray) -> tuple[AnyArray, AnyArray]:
        """Compute logits, and the part that all logits of a row share."""
        np.matmul(theta, self.features, out=self.responsibilities)
        self.log_norm[:] = 0
        for g, root in enumerate(roots):
            np.matmul(root, self.features, out=self.whitened)
            out = self.log_norm if self.tied else self.responsibilities[g]
            kernels.subtract_squares(self.whitened, out)
        return self.responsibilities, self.log_norm

    def weighted_features(self) -> AnyArray:
        """Sums over rows of features times responsibilities, (F, K), the faster order for BLAS."""
        return np.matmul(self.features, self.responsibilities.T, out=self.sums)

    def weighted_products(self, weights: AnyArray) -> AnyArray:
        """Sums over rows of weights times x x', (D, D)."""
        x = self.features[: len(self.products)]
        kernels.scaled_columns(x, weights, self.whitened)
        return np.matmul(self.whitened, x.T, out=self.products)
