"""Cholesky factors of covariance matrices, with the least jitter that they need."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import lapack

from fastvi.base.typing import Array
from fastvi.kernels.rows import mirror

__all__ = ["Factor", "cholesky", "cholesky_of_sum", "inverse_of", "jitter_slope"]

JITTER = 1e-12  # relative to the norm of the matrix
WORST_JITTER = 1e-5


class Factor(NamedTuple):
    """A Cholesky factor, what was added to the diagonal, and the reciprocal condition number."""

    lower: Array
    jitter: float
    rcond: float


def cholesky(matrix: Array, name: str, least: float = JITTER, *, condition: bool = True) -> Factor:
    """Factor a covariance matrix (M, M), with the least jitter that allows it.

    `least` is the initial jitter, as a share of the norm. Without `condition` the reciprocal
    condition number is NaN.

    Raises
    ------
    numpy.linalg.LinAlgError
        If 1e-5 of its norm is not enough, or it is not finite.
    """
    norm = float(np.abs(matrix).sum(axis=1).max(initial=0.0))
    share = least
    while np.isfinite(norm) and share <= WORST_JITTER:
        jitter = share * norm
        shifted = matrix.copy()
        shifted.flat[:: len(matrix) + 1] += jitter
        lower, info = lapack.dpotrf(shifted.T, lower=0, overwrite_a=1)  # of .T, for C order
        if info == 0:
            rcond = np.nan
            if condition:
                rcond, _ = lapack.dpocon(lower, norm + jitter, uplo="U")
            return Factor(np.ascontiguousarray(lower.T), jitter, float(rcond))
        share = max(10.0 * share, JITTER)
    if not np.isfinite(norm):
        reason = "holds numbers that are not finite; try length scales closer to those of X"
    elif (least_eigenvalue := np.linalg.eigvalsh(matrix)[0]) < -WORST_JITTER * norm:
        reason = (
            f"has the eigenvalue {least_eigenvalue:.1e}: its kernel is not positive definite, as "
            "ExpSineSquared of several columns; try another kernel"
        )
    else:
        reason = (
            f"is singular to rounding (condition above {1.0 / WORST_JITTER:.0e} with a jitter of "
            f"{WORST_JITTER * norm:.1e}); try fewer or other inducing inputs, or shorter length "
            "scales"
        )
    raise np.linalg.LinAlgError(f"the {name} ({len(matrix)} x {len(matrix)}) {reason}")


def jitter_slope(matrix: Array, jitter: float, adjoint: Array) -> None:
    """Add the jitter, a share of the norm (a row sum), to the adjoint of a matrix."""
    sums = np.abs(matrix).sum(axis=1)
    row = int(sums.argmax())
    slope = 0.5 * (jitter / sums[row]) * adjoint.trace() * np.sign(matrix[row])
    adjoint[row] += slope
    adjoint[:, row] += slope


def inverse_of(lower: Array) -> Array:
    """Return (L L')^-1, by LAPACK on the transpose, which is upper triangular in Fortran order."""
    inverse, info = lapack.dpotri(lower.T, lower=0)
    assert info == 0
    result: Array = inverse.T
    mirror(result)
    return result


def cholesky_of_sum(v: Array) -> Array:
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
