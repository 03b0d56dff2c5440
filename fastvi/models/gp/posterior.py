"""What predictions of sparse Gaussian processes take."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastvi.base import parallel
from fastvi.base.blas import solve_rows
from fastvi.base.typing import Array
from fastvi.models.gp.covariance import Covariance

__all__ = ["Posterior", "chunk_rows"]

CHUNK_ENTRIES = 1 << 17  # a chunk's covariances fit in a core's second cache


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

    def _covariances(self, x: Array, out: Array) -> Array:
        return self.covariance.fill(self.program, x, self.columns, out)


def chunk_rows(m: int) -> int:
    """Rows of a chunk of covariances with M inducing inputs."""
    return max(128, CHUNK_ENTRIES // max(m, 1))
