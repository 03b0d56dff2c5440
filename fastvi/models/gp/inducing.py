"""The prior of the function at inducing inputs: K(z, z), factorized."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastvi.base.blas import multiply_rows
from fastvi.base.linear_algebra import cholesky_with_jitter, inverse_of_triangle, jitter_slope
from fastvi.base.typing import Array
from fastvi.models.gp.covariance import Covariance

__all__ = ["Inducing"]


class Inducing(NamedTuple):
    """M inducing inputs at given hyperparameters, with K(z, z) plus jitter = L L'.

    What is said of their values u is said of v = L^-1 u, whose prior is N(0, I); K(z, x) becomes
    L^-1 K(z, x). Products with K^-1 instead would lose all digits where the precision of q(u) times
    the condition of K is above 1e15.
    """

    covariance: Covariance
    program: Any
    z: Array
    columns: Array  # of z, as `Covariance.fill` takes them
    plain: Array  # K(z, z) without jitter
    jitter: float
    factor: Array  # L
    inverse: Array  # of L: products with it are several times faster than solves

    @classmethod
    def at(cls, covariance: Covariance, theta: Array, z: Array) -> Inducing:
        """Those at the logarithms `theta` of hyperparameters.

        Raises
        ------
        numpy.linalg.LinAlgError
            If K(z, z) has no Cholesky factor.
        """
        z, m = np.ascontiguousarray(z), len(z)
        program = covariance.program(theta)
        columns = covariance.scaled(program, z)
        plain = covariance.fill(program, z, columns, np.empty((m, m)))
        name = "covariance of the inducing inputs"
        factor, jitter, _ = cholesky_with_jitter(plain, name, condition=False)
        inverse = inverse_of_triangle(factor)
        return cls(covariance, program, z, columns, plain, jitter, factor, inverse)

    def covariances(self, x: Array, out: Array) -> Array:
        """K(x, z) of inputs x (n, D)."""
        return self.covariance.fill(self.program, x, self.columns, out)

    def whitened(self, rows: Array) -> Array:
        """Rows of `covariances` (n, M) times L^-T."""
        return multiply_rows(self.inverse, rows.copy(), transposed=True)

    def slopes(self, rows: Array) -> Array:
        """Derivatives by `covariances` (n, M) from those by `whitened` of them, in place."""
        return multiply_rows(self.inverse, rows)

    def slope_of_prior(self, turned: Array) -> Array:
        """The derivative by `plain` (M, M), from the sum over rows of derivatives times rows.

        Both are those of `whitened` rows L^-1 k, which change by -L^-1 dL of themselves. As
        L^-1 dL is the lower triangle, with half the diagonal, of L^-1 dK L^-T, the derivative by K
        is the symmetric part of -L^-T T L^-1, with T that triangle of `turned`.
        """
        triangle = np.tril(turned)
        triangle.flat[:: len(triangle) + 1] *= 0.5
        half = np.ascontiguousarray(self.slopes(triangle).T)
        half = self.slopes(half)
        slope = -0.5 * (half + half.T)
        jitter_slope(self.plain, self.jitter, slope)
        return slope
