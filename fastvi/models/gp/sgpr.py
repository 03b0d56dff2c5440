"""Sparse Gaussian process regression: the collapsed bound, its gradient and its predictions.

N rows, M inducing inputs z, T targets that share the kernel. Rows are processed in chunks, once for
the bound and once more for the gradient. Nothing of size N x M is stored, except the covariances of
small data sets, which the second pass uses again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastvi.base import parallel
from fastvi.base.blas import add_square, aligned, solve_rows
from fastvi.base.linear_algebra import cholesky_with_jitter, jitter_slope
from fastvi.base.typing import Array
from fastvi.kernels.rows import mirror
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.optimum import Optimum, Rows, sandwich
from fastvi.models.gp.posterior import Posterior, chunk_rows
from fastvi.models.gp.reverse import Reverse
from fastvi.models.gp.start import column_means

__all__ = ["MAX_TASKS", "Bound", "Evaluation", "SparseRegression"]

TASK_FLOPS = 1e8
MAX_TASKS = 8  # each holds M x M sums
KEPT = 1 << 20  # entries of K(x, z) that are kept for the second pass, if those are all
ROUNDING = 1e-3  # estimated error of the bound, nats, that the form with fewer flops may have


class Bound(NamedTuple):
    """The bound in nats, its derivatives by theta and z (None if not asked for), and more."""

    value: float
    by_theta: Array | None
    by_z: Array | None
    posterior: Posterior
    jitter: float
    condition: float
    converged: bool = True


class SparseRegression:
    """The collapsed bound of Titsias (2009), eq. 9, and its gradient by hand.

    With K = K(z, z) = L L', P = K(z, x) K(x, z), V = L^-1 P L^-T / noise and B = I + V, the bound
    depends on the rows through P and b = K(z, x) y alone. Its derivatives by P, b and K are
    L^-T (.) L^-1 of small matrices, so that no factorization has to be differentiated, and the one
    by K(z, x) is a matrix times K(z, x) plus an outer product: a second pass recomputes K(z, x).

    Parameters
    ----------
    covariance : Covariance
    x : (N, D) float64 array
    y : (N, T) float64 array
        Of mean 0.
    n_threads : int
        Results do not depend on it.
    weights : (N,) array, optional
        How often each row counts; None means once.
    """

    memory: Array = np.empty(0)  # an evaluation starts from nothing

    def __init__(
        self,
        covariance: Covariance,
        x: Array,
        y: Array,
        n_threads: int = 1,
        weights: Array | None = None,
    ) -> None:
        self.covariance, self.x, self.weights = covariance, x, weights
        self.n_threads = n_threads
        self.centre = column_means(x, weights) if len(x) else np.zeros(x.shape[1])
        self.y = y if weights is None else weights[:, None] * y
        self.square = float(np.vdot(y, self.y))
        self.n_rows = float(len(x) if weights is None else weights.sum())
        self._spare: list[Array] = []

    def take_room(self, m: int) -> Array | None:
        """Room for all K(x, z) (N, M), where they are few; nobody else has it till `give_room`."""
        if len(self.x) * m > KEPT:
            return None
        try:
            room = self._spare.pop()
        except IndexError:
            return aligned((len(self.x), m))
        return room if room.shape[1] == m else aligned((len(self.x), m))

    def give_room(self, room: Array | None) -> None:
        """Keep it for the next evaluation."""
        if room is not None:
            self._spare[:] = [room]

    def __getstate__(self) -> dict[str, object]:
        """What is kept between evaluations is no part of the model."""
        return self.__dict__ | {"_spare": []}

    def bound(self, theta: Array, z: Array, *, gradient: bool = True) -> Bound:
        """The bound at these logarithms of hyperparameters and inducing inputs z (M, D).

        Raises
        ------
        numpy.linalg.LinAlgError
            If K(z, z) or B has no Cholesky factor.
        """
        return self.evaluation(theta, np.ascontiguousarray(z)).run(gradient)

    def evaluation(self, theta: Array, z: Array) -> Evaluation:
        """What computes the bound at a point."""
        return Evaluation(self, theta, z)


class Evaluation:
    """One evaluation of the bound; symbols as in `SparseRegression`."""

    def __init__(self, model: SparseRegression, theta: Array, z: Array) -> None:
        self.model, self.theta, self.z = model, theta, z
        self.covariance = model.covariance
        self.program = self.covariance.program(theta)
        self.noise = self.covariance.noise(theta)
        self.columns = self.covariance.scaled(self.program, z)
        n, m, t = len(model.x), len(z), model.y.shape[1]
        self.n_chunk = chunk_rows(m)
        n_chunks = -(-n // self.n_chunk)
        n_tasks = int(np.clip(n * m * (m + 100.0) / TASK_FLOPS, 1, min(MAX_TASKS, n_chunks)))
        self.tasks = [(i * n_chunks // n_tasks, (i + 1) * n_chunks // n_tasks)
                      for i in range(n_tasks)]  # fmt: skip
        self.careful = False
        self.kept: Array | None = None
        self.kuu = self.covariance.fill(self.program, z, self.columns, np.empty((m, m)))
        self.factor = cholesky_with_jitter(self.kuu, "covariance of the inducing inputs")
        self.n_targets = t

    def run(self, gradient: bool) -> Bound:
        """Return the bound, and its gradient if asked for."""
        lower, noise = self.factor.lower, self.noise
        self.variance = self.variance_of_rows()
        # rounding in P is magnified by 1 / lambda_min(K), and then by 1 / noise
        error = np.finfo(float).eps / self.factor.rcond * self.variance / noise
        self.careful = bool(error > ROUNDING)
        self.kept = None if self.careful or not gradient else self.model.take_room(len(self.z))
        v, beta = self._whitened(*self.sums())
        v /= noise
        beta /= noise
        rows = Rows(self.model.n_rows, self.model.square, self.variance)
        optimum = Optimum.of(v, beta, noise, rows)
        weights = optimum.weights(lower)
        posterior = Posterior(
            self.covariance, self.program, self.z, self.columns, lower, optimum.inner, weights
        )
        slopes: tuple[Array | None, Array | None] = (None, None)
        if gradient:
            slopes = self._gradient(optimum, weights)
            self.model.give_room(self.kept)
        jitter, condition = self.factor.jitter, 1.0 / self.factor.rcond
        return Bound(optimum.value, *slopes, posterior, jitter, condition)

    def _chunks(self, task: int) -> list[slice]:
        first, last = self.tasks[task]
        n, size = len(self.model.x), self.n_chunk
        return [slice(c * size, min((c + 1) * size, n)) for c in range(first, last)]

    def _buffer(self) -> Array:
        return aligned((min(self.n_chunk, len(self.model.x)), len(self.z)))

    def _fill(self, rows: slice, buffer: Array) -> Array:
        """K(x, z) of these rows, where they are kept or in a buffer."""
        x = self.model.x[rows]
        out = buffer[: len(x)] if self.kept is None else self.kept[rows]
        return self.covariance.fill(self.program, x, self.columns, out)

    def _parallel(self, function: Callable[[int], object]) -> None:
        parallel.run(function, len(self.tasks), self.model.n_threads)

    def variance_of_rows(self) -> float:
        """Sum of k(x, x)."""
        x, weights = self.model.x, self.model.weights
        if self.covariance.is_stationary:
            return self.model.n_rows * float(self.covariance.diagonal(self.program, x[:1]).sum())
        total = np.zeros(len(self.tasks))

        def task(i: int) -> None:
            for rows in self._chunks(i):
                diagonal = self.covariance.diagonal(self.program, x[rows])
                total[i] += diagonal.sum() if weights is None else weights[rows] @ diagonal

        self._parallel(task)
        return float(total.sum())

    def sums(self) -> tuple[Array, Array]:
        """K(z, x) K(x, z) (M, M) and K(z, x) y (M, T), with L^-1 K(z, x) if `careful`."""
        m, n_tasks = len(self.z), len(self.tasks)
        squares, products = np.zeros((n_tasks, m, m)), np.zeros((n_tasks, m, self.n_targets))
        lower, weights = self.factor.lower, self.model.weights

        def task(i: int) -> None:
            buffer = self._buffer()
            for rows in self._chunks(i):
                k = self._fill(rows, buffer)
                if self.careful:
                    solve_rows(lower, k)
                products[i] += k.T @ self.model.y[rows]
                if weights is not None:
                    k = np.sqrt(weights[rows])[:, None] * k
                add_square(k, squares[i])

        self._parallel(task)
        square, product = squares.sum(axis=0), products.sum(axis=0)
        mirror(square)
        return square, product

    def _whitened(self, square: Array, product: Array) -> tuple[Array, Array]:
        """L^-1 P L^-T (M, M) and L^-1 K(z, x) y (M, T) from `_sums`."""
        if not self.careful:
            square = sandwich(self.factor.lower, square)
            product = solve_rows(self.factor.lower, product.T.copy()).T
        return square, np.ascontiguousarray(product)

    def _gradient(self, optimum: Optimum, weights: Array) -> tuple[Array, Array]:
        lower, noise, by_v = self.factor.lower, self.noise, optimum.slope()
        by_noise = optimum.slope_of_noise(by_v)
        matrix = solve_rows(lower, by_v * (2.0 / noise), transposed=True)
        if self.careful:  # times L^-1 K(z, x)
            matrix = np.ascontiguousarray(matrix)
        else:
            matrix = solve_rows(lower, np.ascontiguousarray(matrix.T), transposed=True)
        by_k = optimum.slope_of_prior(by_v, lower)
        jitter_slope(self.kuu, self.factor.jitter, by_k)
        sums = self.reverse(matrix, weights.T / noise)
        of_z = self._reversed()
        of_z.add(self.z, self.columns, by_k, self.kuu)
        by_theta, by_z = sums.gradient(self.theta)
        more_theta, more_z = of_z.gradient(self.theta)
        by_theta += more_theta + by_noise * self.covariance.noise_gradient(self.theta)
        return by_theta, by_z + 2.0 * more_z

    def _reversed(self) -> Reverse:
        return Reverse(self.covariance, self.program, self.z, self.model.centre)

    def reverse(self, matrix: Array, outer: Array) -> Reverse:
        """Sums for the gradient, from the derivative by K(x, z): K(x, z) matrix + y outer.

        Each row of that counts with its weight, which `SparseRegression.y` has in it.
        """
        n_tasks = len(self.tasks)
        sums = [self._reversed() for _ in range(n_tasks)]
        slope = -0.5 * self.n_targets / self.noise
        lower, weights = self.factor.lower, self.model.weights

        def task(i: int) -> None:
            buffer, room, copy = (self._buffer() for _ in range(3))
            for rows in self._chunks(i):
                x, adjoint = self.model.x[rows], room[: rows.stop - rows.start]
                k = values = self._fill(rows, buffer) if self.kept is None else self.kept[rows]
                if self.careful:
                    k = copy[: len(x)]
                    k[...] = values
                    solve_rows(lower, k)
                np.matmul(k, matrix, out=adjoint)
                if weights is not None:
                    adjoint *= weights[rows, None]
                sums[i].add(x, self.columns, adjoint, values, self.model.y[rows], outer)
                if not self.covariance.is_stationary:
                    ones = np.ones(len(x)) if weights is None else weights[rows]
                    sums[i].add_diagonal(x, slope * ones)

        self._parallel(task)
        for other in sums[1:]:
            sums[0].merge(other)
        if self.covariance.is_stationary:
            sums[0].add_diagonal(self.model.x[:1], np.full(1, slope * self.model.n_rows))
        return sums[0]
