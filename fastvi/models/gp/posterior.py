"""What predictions of sparse Gaussian processes take."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from fastvi.base import parallel
from fastvi.base.blas import solve_rows
from fastvi.base.tree import read_only
from fastvi.base.typing import Array
from fastvi.models.gp.covariance import Covariance, readable

__all__ = ["Function", "Latent", "Moments", "Posterior", "chunk_rows"]

CHUNK_ENTRIES = 1 << 17  # a chunk's covariances fit in a core's second cache


class Moments(Protocol):
    """Mean and variance of a function at rows x, with nothing in between."""

    point: Array  # a row to try it on

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Mean and variance, (n,) each."""
        ...


class Latent(Protocol):
    """The posterior of a latent function."""

    def predict(
        self, x: Array, *, variance: bool = True, n_threads: int = 1
    ) -> tuple[Array, Array | None]:
        """Mean (n, 1) and variance (n,) of the function, without noise; the variance is >= 0."""
        ...

    def joint(self, x: Array) -> tuple[Array, Array]:
        """Mean (n, 1) and covariance (n, n) of the function, without noise."""
        ...

    def compiled(self) -> Moments:
        """Mean and variance with nothing in between."""
        ...


class Posterior(NamedTuple):
    """What predictions take: K(z, z) = L L', B = L_B L_B', and weights L^-T B^-1 beta (M, T)."""

    covariance: Covariance
    program: Any
    z: Array
    columns: Array
    lower: Array
    inner: Array
    weights: Array

    def predict(
        self, x: Array, *, variance: bool = True, n_threads: int = 1
    ) -> tuple[Array, Array | None]:
        """Mean (n, T) and variance (n,) of the function, without noise; the variance is >= 0."""
        n, m = len(x), len(self.z)
        mean = np.empty((n, self.weights.shape[1]))
        spread = np.empty(n) if variance else None
        n_chunk = chunk_rows(m)

        def task(i: int) -> None:
            rows = slice(i * n_chunk, min((i + 1) * n_chunk, n))
            k = self._covariances(x[rows], np.empty((rows.stop - rows.start, m)))
            np.matmul(k, self.weights, out=mean[rows])
            if spread is not None:
                a = solve_rows(self.lower, k)
                unexplained = self.covariance.diagonal(self.program, x[rows])
                unexplained -= np.einsum("ij,ij->i", a, a)
                np.maximum(unexplained, 0.0, out=unexplained)
                b = solve_rows(self.inner, a)
                spread[rows] = unexplained + np.einsum("ij,ij->i", b, b)

        parallel.run(task, -(-n // n_chunk), n_threads)
        return mean, spread

    def joint(self, x: Array) -> tuple[Array, Array]:
        """Mean (n, T) and covariance (n, n) of the function, without noise."""
        k = self._covariances(x, np.empty((len(x), len(self.z))))
        mean = k @ self.weights
        a = solve_rows(self.lower, k)
        covariance = self.covariance.matrix(self.program, x, x) - a @ a.T
        np.fill_diagonal(covariance, np.maximum(covariance.diagonal(), 0.0))
        b = solve_rows(self.inner, a)
        return mean, covariance + b @ b.T

    def compiled(self) -> Function:
        """Mean and variance of the first function with nothing in between."""
        return Function(self, self.weights[:, 0])

    def _covariances(self, x: Array, out: Array) -> Array:
        return self.covariance.fill(self.program, x, self.columns, out)


def chunk_rows(m: int) -> int:
    """Rows of a chunk of covariances with M inducing inputs."""
    return max(128, CHUNK_ENTRIES // max(m, 1))


class Function:
    """Mean and variance of one function, or of several that share their variance."""

    def __init__(self, posterior: Posterior, weights: Array) -> None:
        self._program = readable(posterior.program)
        self._columns = read_only(posterior.columns)
        self._covariance, self._weights = posterior.covariance, np.ascontiguousarray(weights)
        m = self._m = len(posterior.z)
        # I - B^-1 = U D U', so the variance that z explains is that of the row times L^-T U D^1/2
        root = solve_rows(posterior.inner, np.eye(m))
        share, basis = np.linalg.eigh(np.eye(m) - root @ root.T)
        explained = basis * np.sqrt(np.maximum(share, 0.0))
        explained = solve_rows(posterior.lower, np.ascontiguousarray(explained.T), transposed=True)
        self._explained = np.ascontiguousarray(explained.T)
        self._scratch = posterior.covariance.scratch(m, posterior.columns)
        self.point = posterior.z[:1]
        self._variance: float | None = (
            float(posterior.covariance.diagonal(posterior.program, self.point)[0])
            if posterior.covariance.is_stationary
            else None
        )

    def arrays(self) -> dict[str, Array]:
        """What the C library takes; `tree` has the kinds, operands and slots of nodes, (4, L)."""
        kinds, left, right, slots, amplitudes, shapes, scales = self._program
        return {
            "tree": np.array([kinds, left, right, slots], np.float64),
            "amplitudes": amplitudes, "shapes": shapes, "scales": scales,
            "columns": self._columns, "explained": self._explained, "weights": self._weights,
        }  # fmt: skip

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Mean (n,) or (n, T), and variance (n,), at x (n, D)."""
        k = np.empty((len(x), self._m))
        self._covariance.fill(self._program, x, self._columns, k, self._scratch)
        explained = k @ self._explained
        variance = (
            self._covariance.diagonal(self._program, x)
            if self._variance is None
            else np.full(len(x), self._variance)
        )
        variance -= np.einsum("ij,ij->i", explained, explained)
        return k @ self._weights, np.maximum(variance, 0.0, out=variance)
