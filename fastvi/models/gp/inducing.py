"""The prior of the function at inducing inputs: K(z, z), factorized."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base.blas import solve_rows
from fastvi.base.linear_algebra import JITTER, cholesky_with_jitter, inverse_from_cholesky
from fastvi.models.gp.covariance import Covariance

__all__ = ["Inducing"]

Array = NDArray[np.float64]
PLAIN_JITTER = 1e-9  # relative to the norm; explicit inverses need more than factors do
ROUNDING = 1e-3  # nats of the bound that plain units may lose
CROWDED = 1e4  # prior variance over that given the other inducing values
JITTER_LOSS = 1e-5  # nats per row that the larger jitter may cost


class Inducing(NamedTuple):
    """M inducing inputs at given hyperparameters, with K(z, z) plus jitter = L L'.

    Whatever is said of them is in plain units, or in whitened ones, in which their prior is N(0, I)
    and K(z, x) is L^-1 times itself. Plain units take fewer flops; products with K^-1 in them lose
    all digits where the precision of q(u) times the condition of K is above 1e15, and whitened ones
    do not.
    """

    covariance: Covariance
    program: Any
    z: Array
    columns: Array  # of z, as `Covariance.fill` takes them
    plain: Array  # K(z, z) without jitter
    jitter: float
    factor: Array  # L
    whitened: bool
    k: Array  # in these units, and what follows too
    lower: Array
    inverse: Array
    log_det: float

    @classmethod
    def at(cls, covariance: Covariance, theta: Array, z: Array, whitened: bool = False) -> Inducing:
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
        name, least = "covariance of the inducing inputs", JITTER if whitened else PLAIN_JITTER
        factor, jitter, _ = cholesky_with_jitter(plain, name, least, condition=False)
        common = covariance, program, z, columns, plain, jitter, factor, whitened
        if whitened:
            return cls(*common, np.eye(m), np.eye(m), np.eye(m), 0.0)
        log_det = 2.0 * float(np.log(factor.diagonal()).sum())
        k = plain + jitter * np.eye(m)
        return cls(*common, k, factor, inverse_from_cholesky(factor), log_det)

    def covariances(self, x: Array, out: Array) -> Array:
        """K(x, z) of inputs x (n, D), without units."""
        return self.covariance.fill(self.program, x, self.columns, out)

    def in_units(self, rows: Array) -> Array:
        """Rows of `covariances` (n, M) in these units; plain ones are given back."""
        return solve_rows(self.factor, rows.copy()) if self.whitened else rows

    def slopes(self, rows: Array) -> Array:
        """Derivatives by `covariances` (n, M) from those by `in_units` of them, in place."""
        return solve_rows(self.factor, rows, transposed=True) if self.whitened else rows

    @property
    def is_crowded(self) -> bool:
        """Whether some inducing value has next to no variance given the others.

        Then K(z, x) of other inducing inputs is not K(z_new, x), even if they moved by little: what
        is in its units has to be carried along.
        """
        if self.whitened:
            return True
        return bool((self.inverse.diagonal() * self.plain.diagonal()).max(initial=0.0) > CROWDED)

    def loses_little(self, precision: Array, n_rows: float) -> bool:
        """Whether a bound of so many rows, with these precisions (T, M, M), is as good as exact.

        In plain units rounding costs eps times K^-1 times the precision, and the jitter, which is
        larger there, half of itself for each row's curvature.
        """
        if self.whitened:
            return True
        eps, worst = np.finfo(float).eps, self.inverse.diagonal().max(initial=0.0)
        rounding = eps * worst * precision.trace(axis1=1, axis2=2).sum()
        explained = sum(np.vdot(self.inverse, part) for part in precision)  # curvatures times k
        lost = 0.5 * self.jitter * explained / self.plain.diagonal().max(initial=0.0)
        return bool(rounding <= ROUNDING and lost <= JITTER_LOSS * n_rows)
