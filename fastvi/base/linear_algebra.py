"""Cholesky factors of matrices that may be singular to rounding, and sizes of tasks over rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import lapack

from fastvi.base.typing import Array
from fastvi.kernels.rows import mirror

__all__ = [
    "JITTER",
    "SUMS_ENTRIES",
    "TASK_FLOPS",
    "Factor",
    "cholesky_despite_rounding",
    "cholesky_from_free",
    "cholesky_with_jitter",
    "free_from_cholesky",
    "gradient_by_free",
    "inverse_from_cholesky",
    "inverse_of_triangle",
    "jitter_slope",
]

TASK_FLOPS = 2e7  # about 1 ms of small matrix products
SUMS_ENTRIES = 1 << 22  # entries of the sums of all tasks together, of which there are at least 4
JITTER = 1e-12  # relative to the norm of the matrix
WORST_JITTER = 1e-5


def cholesky_despite_rounding(matrix: Array) -> Array:
    """Lower factor of a positive definite matrix, or of a nearby one if rounding spoilt it.

    The diagonal is increased by a relative rounding error, then by ten times as much, and so on.
    Linearly dependent columns give singular matrices.
    """
    size = np.sqrt(np.diag(matrix))
    scaled = matrix / size / size[:, None]
    growth = 0.0
    while True:
        try:
            lower = np.linalg.cholesky(scaled + growth * np.eye(len(matrix)))
        except np.linalg.LinAlgError:
            growth = max(10.0 * growth, float(np.finfo(np.float64).eps))
            if not growth < 1.0:
                raise
            continue
        return np.asarray(lower * size[:, None])


class Factor(NamedTuple):
    """A Cholesky factor, what was added to the diagonal, and the reciprocal condition number."""

    lower: Array
    jitter: float
    rcond: float


def cholesky_with_jitter(
    matrix: Array, name: str, least: float = JITTER, *, condition: bool = True
) -> Factor:
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


def inverse_of_triangle(lower: Array) -> Array:
    """Return L^-1, lower triangular too."""
    inverse, info = lapack.dtrtri(lower.T, lower=0)
    assert info == 0
    result: Array = inverse.T
    return result


def inverse_from_cholesky(lower: Array) -> Array:
    """Return (L L')^-1, by LAPACK on the transpose, which is upper triangular in Fortran order."""
    inverse, info = lapack.dpotri(lower.T, lower=0)
    assert info == 0
    result: Array = inverse.T
    mirror(result)
    return result


# Unconstrained coordinates of positive definite matrices, for plain gradients. A matrix is L L'
# with L = diag(exp(d)) (I + N) and N strictly lower triangular. All values of d and N are allowed,
# and they do not depend on units. They are stored in one array, d on the diagonal and N below.
# These functions take stacks of matrices, (..., P, P).


def free_from_cholesky(lower: Array) -> Array:
    """Return the coordinates of matrices with these Cholesky factors."""
    diagonal = np.diagonal(lower, axis1=-2, axis2=-1)
    free = np.tril(lower / diagonal[..., :, None], -1)
    free += np.log(diagonal)[..., :, None] * np.eye(lower.shape[-1])
    return np.asarray(free)


def cholesky_from_free(free: Array) -> Array:
    """Return the Cholesky factors with these coordinates."""
    scale = np.exp(np.diagonal(free, axis1=-2, axis2=-1))
    return np.asarray(scale[..., :, None] * (np.tril(free, -1) + np.eye(free.shape[-1])))


def gradient_by_free(lower: Array, slope: Array) -> Array:
    """Return the gradient of a function of L L', given L and its symmetric derivatives by entry."""
    by_lower = 2.0 * np.tril(slope @ lower)
    scale = np.diagonal(lower, axis1=-2, axis2=-1)
    free = np.tril(scale[..., :, None] * by_lower, -1)
    free += np.sum(by_lower * lower, axis=-1)[..., :, None] * np.eye(lower.shape[-1])
    return np.asarray(free)
