"""Cholesky factors of covariance matrices, with as little jitter as makes one exist."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import lapack

from fastvi.base.typing import Array
from fastvi.kernels.rows import mirror

__all__ = ["Factor", "cholesky", "cholesky_of_sum", "inverse_of", "jitter_slope"]

JITTER = 1e-12  # in relation to the norm of the matrix
WORST_JITTER = 1e-5


class Factor(NamedTuple):
    """A Cholesky factor, what was added to the diagonal, and the reciprocal condition."""

    lower: Array
    jitter: float
    rcond: float


def cholesky(matrix: Array, name: str, least: float = JITTER, *, condition: bool = True) -> Factor:
    """Factor of a covariance matrix (M, M), with the least jitter that makes one exist.

    `least` is the share of its norm that is added at once, the jitter to begin with. Without
    `condition` the reciprocal condition is NaN.

    Raises
    ------
    numpy.linalg.LinAlgError
        If none up to 1e-5 of its norm does, or it is not finite.
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
        reason = "holds numbers that are not finite; try length scales nearer to those of X"
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
    """Add to the adjoint of a matrix what its jitter adds, a share of its norm, a row's sum."""
    sums = np.abs(matrix).sum(axis=1)
    row = int(sums.argmax())
    slope = 0.5 * (jitter / sums[row]) * adjoint.trace() * np.sign(matrix[row])
    adjoint[row] += slope
    adjoint[:, row] += slope


def inverse_of(lower: Array) -> Array:
    """(L L')^-1, by LAPACK on the transpose, which is upper triangular in its order."""
    inverse, info = lapack.dpotri(lower.T, lower=0)
    assert info == 0
    result: Array = inverse.T
    mirror(result)
    return result


def cholesky_of_sum(v: Array) -> Array:
    """Lower factor of B = I + V."""
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
