"""Log densities of vectors: multivariate normals and Student's t."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.densities.documentation import documented
from fastvi.densities.parts import HALF_LOG_2PI, log_ratio
from fastvi.densities.vectorised import compiled

__all__ = ["multivariate_normal", "multivariate_normal_precision", "multivariate_t"]

Array = NDArray[np.float64]


@compiled
def _squared_length(x: Array, mean: Array, cholesky: Array) -> tuple[float, float]:
    """Squared length of L^-1 (x - mean), and the logarithm of the determinant of L."""
    n = x.shape[0]
    u = np.empty(n)
    square, logarithm = 0.0, 0.0
    for i in range(n):
        left = x[i] - mean[i]
        for j in range(i):
            left -= cholesky[i, j] * u[j]
        u[i] = left / cholesky[i, i]
        square += u[i] * u[i]
        logarithm += math.log(cholesky[i, i])
    return square, logarithm


@compiled
def _t_part(square: float, df: float, n: int) -> float:
    """Student's t of n dimensions at that squared distance, of scale matrix I."""
    value = -0.5 * n * math.log(math.pi * df) - 0.5 * (df + n) * math.log1p(square / df)
    for i in range(n):  # log Gamma((df + n) / 2) - log Gamma(df / 2), by halves
        value += log_ratio(0.5 * (df + i))
    return value


@documented
@compiled
def multivariate_normal(x: Array, mean: Array, cholesky: Array) -> float:
    """The normal density of a vector; Stan's multi_normal_cholesky_lpdf.

    {vector}
    mean : (n,) array
    cholesky : (n, n) array
        Lower Cholesky factor of the covariance, of which the lower triangle is read.

    {rows_as_in}
    >>> round(densities.multivariate_normal(np.zeros(2), np.zeros(2), np.eye(2)), 6)
    -1.837877
    """
    value = 0.0
    if x.ndim == 1:
        square, logarithm = _squared_length(x, mean, cholesky)
        value -= 0.5 * square + logarithm + HALF_LOG_2PI * x.shape[0]
    else:
        for i in range(x.shape[0]):
            square, logarithm = _squared_length(x[i], mean, cholesky)
            value -= 0.5 * square + logarithm + HALF_LOG_2PI * x.shape[1]
    return value


@documented
@compiled
def multivariate_t(x: Array, df: float, mean: Array, cholesky: Array) -> float:
    """Student's t density of a vector.

    Stan's multi_student_t_cholesky_lpdf; SciPy's scipy.stats.multivariate_t.

    {vector}
    df : float
        Degrees of freedom, > 0.
    mean : (n,) array
    cholesky : (n, n) array
        Lower Cholesky factor of the scale matrix, of which the lower triangle is read.

    {rows_as_in}
    >>> round(densities.multivariate_t(np.zeros(2), 1.0, np.zeros(2), np.eye(2)), 6)
    -1.837877
    """
    value = 0.0
    if x.ndim == 1:
        square, logarithm = _squared_length(x, mean, cholesky)
        value += _t_part(square, df, x.shape[0]) - logarithm
    else:
        for i in range(x.shape[0]):
            square, logarithm = _squared_length(x[i], mean, cholesky)
            value += _t_part(square, df, x.shape[1]) - logarithm
    return value


@compiled
def _by_precision(x: Array, mean: Array, cholesky: NDArray[np.floating[Any]]) -> float:
    """The normal density by the lower factor of its precision."""
    n = x.shape[0]
    value = 0.0
    for j in range(n):
        total = 0.0
        for i in range(j, n):
            total += cholesky[i, j] * (x[i] - mean[i])
        value += math.log(cholesky[j, j]) - 0.5 * total * total - HALF_LOG_2PI
    return value


@documented
@compiled
def multivariate_normal_precision(x: Array, mean: Array, precision: Array) -> float:
    """The normal density of a vector, by the inverse of its covariance; multi_normal_prec_lpdf.

    {vector}
    mean : (n,) array
    precision : (n, n) array
        Symmetric and positive definite.

    {rows_as_in}
    >>> round(densities.multivariate_normal_precision(np.zeros(2), np.zeros(2), np.eye(2)), 6)
    -1.837877
    """
    L = np.linalg.cholesky(precision)
    value = 0.0
    if x.ndim == 1:
        value += _by_precision(x, mean, L)
    else:
        for i in range(x.shape[0]):
            value += _by_precision(x[i], mean, L)
    return value
