"""The prior of the function at inducing inputs: K(z, z), factorized."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base.blas import solve_rows
from fastvi.base.cholesky import cholesky, inverse_of
from fastvi.models.gp.covariance import Covariance

__all__ = ["Inducing"]

Array = NDArray[np.float64]
JITTER = 1e-9  # relative to the norm; explicit inverses need more than factors do


class Inducing(NamedTuple):
    """M inducing inputs at given hyperparameters, with K = K(z, z) plus jitter = L L'."""

    covariance: Covariance
    program: Any
    z: Array
    columns: Array  # of z, as `Covariance.fill` takes them
    plain: Array  # K(z, z) without jitter
    jitter: float
    k: Array
    lower: Array
    inverse: Array
    log_det: float

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
        lower, jitter, _ = cholesky(plain, name, JITTER, condition=False)
        log_det = 2.0 * float(np.log(lower.diagonal()).sum())
        return cls(
            covariance, program, z, columns, plain, jitter, plain + jitter * np.eye(m), lower,
            inverse_of(lower), log_det,
        )  # fmt: skip

    def projection(self, z: Array) -> Array:
        """K(z_new, z) K^-1 for other inducing inputs (M', D)."""
        k = np.empty((len(z), len(self.z)))
        self.covariance.fill(self.program, np.ascontiguousarray(z), self.columns, k)
        return solve_rows(self.lower, solve_rows(self.lower, k), transposed=True)
