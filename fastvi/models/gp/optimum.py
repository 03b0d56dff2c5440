"""The collapsed bound once q(u) is at its optimum, and its slopes, in whitened coordinates.

N rows, M inducing values with K(z, z) = L L', T targets. Titsias (2009), "Variational learning of
inducing variables in sparse Gaussian processes", eq. 9.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastvi.base.blas import solve_rows
from fastvi.base.linear_algebra import inverse_from_cholesky
from fastvi.base.typing import Array

__all__ = ["Optimum", "Rows", "sandwich"]

LOG_2PI = float(np.log(2.0 * np.pi))


class Rows(NamedTuple):
    """Sums over rows."""

    total: float  # how many, by their weights
    square: float  # of the targets
    variance: float  # k(x, x)


class Optimum(NamedTuple):
    """What follows from V = L^-1 P L^-T / noise (M, M) and beta = L^-1 b / noise (M, T).

    P is the sum over rows of K(z, x) K(x, z), or its expectation, and b that of K(z, x) y.
    """

    value: float  # nats
    v: Array
    beta: Array
    noise: float
    rows: Rows
    inner: Array  # the lower factor of B = I + V
    solved: Array  # B^-1 beta, (T, M)

    @classmethod
    def of(cls, v: Array, beta: Array, noise: float, rows: Rows) -> Optimum:
        """The bound in nats.

        Raises
        ------
        numpy.linalg.LinAlgError
            If B has no Cholesky factor.
        """
        t, inner = beta.shape[1], _cholesky_of_sum(v)
        log_det = 2.0 * float(np.log(inner.diagonal()).sum())
        gamma = solve_rows(inner, beta.T.copy())  # rows are targets
        fit = float(np.vdot(gamma, gamma))
        solve_rows(inner, gamma, transposed=True)
        value = -0.5 * t * (rows.total * (LOG_2PI + np.log(noise)) + log_det) + 0.5 * fit
        value -= 0.5 * (rows.square + t * rows.variance) / noise - 0.5 * t * v.trace()
        return cls(float(value), v, beta, noise, rows, inner, gamma)

    def weights(self, lower: Array) -> Array:
        """L^-T B^-1 beta (M, T): the mean of the functions at x is K(x, z) times it."""
        return np.ascontiguousarray(solve_rows(lower, self.solved.copy(), transposed=True).T)

    def slope(self) -> Array:
        """The derivative by V (M, M)."""
        t, m = self.solved.shape
        identity = np.eye(m)
        return np.asarray(
            0.5 * (t * (identity - inverse_from_cholesky(self.inner)) - self.solved.T @ self.solved)
        )

    def slope_of_noise(self, by_v: Array) -> float:
        """The derivative by the noise's variance, given that by V."""
        t, rows, noise = self.beta.shape[1], self.rows, self.noise
        slope = -0.5 * t * rows.total + 0.5 * (rows.square + t * rows.variance) / noise
        slope -= float(np.vdot(by_v, self.v)) + float(np.vdot(self.solved.T, self.beta))
        return float(slope / noise)

    def slope_of_prior(self, by_v: Array, lower: Array) -> Array:
        """The derivative by K(z, z) (M, M), given that by V."""
        t = self.beta.shape[1]
        return sandwich(lower, by_v - (0.5 * t) * self.v, transposed=True)


def sandwich(lower: Array, matrix: Array, *, transposed: bool = False) -> Array:
    """L^-1 A L^-T of a symmetric A, or L^-T A L^-1."""
    half = solve_rows(lower, np.array(matrix, order="C"), transposed=transposed)
    return solve_rows(lower, np.ascontiguousarray(half.T), transposed=transposed)


def _cholesky_of_sum(v: Array) -> Array:
    """Return the lower factor of B = I + V."""
    b = v + np.eye(len(v))
    try:
        return np.ascontiguousarray(np.linalg.cholesky(b))
    except np.linalg.LinAlgError:
        largest = float(np.abs(v).max(initial=0.0))
        raise np.linalg.LinAlgError(
            f"I + K(z, x) K(x, z) / noise, whitened ({len(v)} x {len(v)}, largest entry "
            f"{largest:.1e}), is not positive definite to rounding; try a larger noise level "
            "or fewer inducing inputs"
        ) from None
