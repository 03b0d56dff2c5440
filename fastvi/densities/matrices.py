"""Log densities of positive definite matrices, and of their Cholesky factors.

Those of Wishart variables use Bartlett's decomposition, in which no large numbers cancel: the
factor of a variable with scale I has independent entries, normal below the diagonal and chi on it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.densities.documentation import documented
from fastvi.densities.parts import HALF_LOG_2PI, LOG_2, deviance, log_ratio, rest
from fastvi.densities.vectorised import compiled

__all__ = [
    "inverse_wishart",
    "inverse_wishart_cholesky",
    "lkj_cholesky",
    "wishart",
    "wishart_cholesky",
]

Array = NDArray[np.floating[Any]]


@compiled
def chi_part(a: float, df: float) -> float:
    """The log density of the root of a chi-squared variable."""
    k = 0.5 * df
    return 0.5 * math.log(k) - HALF_LOG_2PI - rest(k) - deviance(k, 0.5 * a * a) - math.log(0.5 * a)


@compiled
def quotient(cholesky: Array, right: Array) -> Array:
    """The lower triangle of L^-1 R, of lower triangular L and R."""
    n = cholesky.shape[0]
    found = np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1):
            left = right[i, j]
            for k in range(j, i):
                left -= cholesky[i, k] * found[k, j]
            found[i, j] = left / cholesky[i, i]
    return found


@compiled
def log_square(cholesky: Array) -> float:
    """Logarithm of the Jacobian of L L' with respect to the lower triangular L."""
    n = cholesky.shape[0]
    value = 0.0
    for i in range(n):
        value += LOG_2 + (n - i) * math.log(cholesky[i, i])
    return value


@documented
@compiled
def wishart_cholesky(cholesky: Array, df: float, scale_cholesky: Array) -> float:
    """The density of the Cholesky factor of a Wishart variable; Stan's wishart_cholesky_lpdf.

    It is with respect to the entries on and below the diagonal, as `transforms.cholesky_cov` needs.

    {factor}
    scale_cholesky : (n, n) array
        Lower Cholesky factor of the scale; the mean of the matrix is df times the scale.

    {nats_as_in}
    >>> round(densities.wishart_cholesky(np.eye(2), 3.0, np.eye(2)), 6)
    -2.14473
    """
    A = quotient(scale_cholesky, cholesky)
    value = 0.0
    for i in range(cholesky.shape[0]):
        for j in range(i):
            value -= 0.5 * A[i, j] * A[i, j] + HALF_LOG_2PI
        value += chi_part(A[i, i], df - i) - (i + 1) * math.log(scale_cholesky[i, i])
    return value


@documented
@compiled
def wishart(x: Array, df: float, scale: Array) -> float:
    """The Wishart density of matrices; Stan's wishart_lpdf, scipy.stats.wishart.

    {matrix}
    scale : (n, n) array
        Symmetric and positive definite; the mean is df times the scale.

    {nats_as_in}
    >>> round(densities.wishart(np.eye(2), 3.0, np.eye(2)), 6)
    -3.531024
    """
    L = np.linalg.cholesky(x)
    return wishart_cholesky(L, df, np.linalg.cholesky(scale)) - log_square(L)


@documented
@compiled
def inverse_wishart_cholesky(cholesky: Array, df: float, scale_cholesky: Array) -> float:
    """The density of the Cholesky factor of an inverse Wishart variable.

    Stan's inv_wishart_cholesky_lpdf. It is with respect to the entries on and below the diagonal,
    as `transforms.cholesky_cov` needs.

    {factor}
    scale_cholesky : (n, n) array
        Lower Cholesky factor of the scale; the mean of the matrix is the scale over df - n - 1.

    {nats_as_in}
    >>> round(densities.inverse_wishart_cholesky(np.eye(2), 3.0, np.eye(2)), 6)
    -2.14473
    """
    n = cholesky.shape[0]
    B = quotient(cholesky, scale_cholesky)
    value = 0.0
    for i in range(n):
        for j in range(i):
            value -= 0.5 * B[i, j] * B[i, j] + HALF_LOG_2PI
        value += chi_part(B[i, i], df - (n - 1 - i))
        value += (n - i) * math.log(B[i, i]) - (i + 1) * math.log(cholesky[i, i])
    return value


@documented
@compiled
def inverse_wishart(x: Array, df: float, scale: Array) -> float:
    """The density of the inverse of a Wishart variable.

    Stan's inv_wishart_lpdf; SciPy's scipy.stats.invwishart.

    {matrix}
    scale : (n, n) array
        Symmetric and positive definite; the mean is the scale over df - n - 1.

    {nats_as_in}
    >>> round(densities.inverse_wishart(np.eye(2), 3.0, np.eye(2)), 6)
    -3.531024
    """
    L = np.linalg.cholesky(x)
    return inverse_wishart_cholesky(L, df, np.linalg.cholesky(scale)) - log_square(L)


@documented
@compiled
def lkj_cholesky(cholesky: Array, eta: float) -> float:
    """The density of Lewandowski, Kurowicka and Joe of the Cholesky factor of correlations.

    Stan's lkj_corr_cholesky_lpdf.

    Parameters
    ----------
    cholesky : (n, n) array
        Lower factor of a correlation matrix.
    eta : float
        > 0; at 1 all correlation matrices are equally likely.

    {nats_as_in}
    >>> round(densities.lkj_cholesky(np.eye(2), 1.0), 6)
    -0.693147
    """
    n = cholesky.shape[0]
    value = 0.0
    for i in range(1, n):
        value += (n - i - 1 + 2.0 * (eta - 1.0)) * math.log(cholesky[i, i])
    for i in range(1, n):  # with B(b, b) = 2^(1 - 2 b) sqrt(pi) Gamma(b) / Gamma(b + 1/2)
        b = eta + 0.5 * (i - 1)
        value -= i * (0.5 * math.log(math.pi) - log_ratio(b))
    return value
