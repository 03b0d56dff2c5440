"""Log densities of vectors and of choices among several."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.densities.parts import HALF_LOG_2PI, log_ratio, softplus
from fastvi.densities.vectorised import compiled

__all__ = [
    "categorical",
    "categorical_logit",
    "dirichlet",
    "lkj_cholesky",
    "log_sum_exp",
    "multinomial",
    "multivariate_normal",
    "multivariate_normal_precision",
    "multivariate_t",
    "ordered_logistic",
]

Array = NDArray[np.float64]


@compiled
def log_sum_exp(x: Array) -> float:
    """Logarithm of a sum of exponentials, such as the densities of a mixture's components.

    Stan's log_sum_exp; SciPy's scipy.special.logsumexp.

    Parameters
    ----------
    x : (n,) array
        Logarithms; minus infinity means 0.

    Returns
    -------
    float

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import densities
    >>> weights, at = np.log([0.3, 0.7]), [densities.normal(0.5, m, 1.0) for m in (0.0, 1.0)]
    >>> round(densities.log_sum_exp(weights + at), 6)
    -1.043939
    """
    high = -math.inf
    for i in range(x.shape[0]):
        if x[i] > high:
            high = x[i]
    total = 0.0
    if high > -math.inf:
        for i in range(x.shape[0]):
            total += math.exp(x[i] - high)
    return high + math.log(total) if total > 0.0 else high


@compiled
def categorical(k: int, p: Array) -> float:
    """One of several classes, by their probabilities; Stan's categorical_lpmf, counted from 0.

    Parameters
    ----------
    k : int
        From 0.
    p : (n,) array
        Probabilities.

    Returns
    -------
    float
        In nats; minus infinity if k is not a category.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import densities
    >>> round(densities.categorical(1, np.array([0.5, 0.25, 0.25])), 6)
    -1.386294
    """
    return math.log(p[k]) if 0 <= k < p.shape[0] else -math.inf


@compiled
def categorical_logit(k: int, logits: Array) -> float:
    """One of several classes, by their log probabilities up to a constant (softmax).

    Stan's categorical_logit_lpmf, counted from 0.

    Parameters
    ----------
    k : int
        From 0.
    logits : (n,) array

    Returns
    -------
    float
        In nats; minus infinity if k is not a category.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import densities
    >>> round(densities.categorical_logit(1, np.array([0.0, 0.0])), 6)
    -0.693147
    """
    return logits[k] - log_sum_exp(logits) if 0 <= k < logits.shape[0] else -math.inf


@compiled
def ordered_logistic(k: int, location: float, cutpoints: Array) -> float:
    """One of several ordered classes, by the cut points between which a logistic variable falls.

    Stan's ordered_logistic_lpmf, counted from 0.

    Parameters
    ----------
    k : int
        From 0 to the number of cut points.
    location : float
        Mean of the logistic variable.
    cutpoints : (n - 1,) array
        Rising.

    Returns
    -------
    float
        In nats; minus infinity if k is not a class.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import densities
    >>> round(densities.ordered_logistic(1, 0.0, np.array([-1.0, 1.0])), 6)
    -0.771937
    """
    n = cutpoints.shape[0]
    if k < 0 or k > n or n == 0:
        return 0.0 if k == 0 and n == 0 else -math.inf
    value = 0.0
    if k > 0:
        value -= softplus(cutpoints[k - 1] - location)
    if k < n:
        value -= softplus(location - cutpoints[k])
        if k > 0:
            value += math.log(-math.expm1(cutpoints[k - 1] - cutpoints[k]))
    return value


@compiled
def dirichlet(x: Array, concentration: Array) -> float:
    """The Dirichlet density of probabilities; Stan's dirichlet_lpdf, scipy.stats.dirichlet.

    Parameters
    ----------
    x : (n,) or (N, n) array
        Positive, with sum 1; or several, one in each row.
    concentration : (n,) array
        > 0.

    Returns
    -------
    float
        In nats, the sum over rows.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import densities
    >>> round(densities.dirichlet(np.array([0.5, 0.5]), np.array([1.0, 1.0])), 6)
    0.0
    """
    value, total = 0.0, 0.0
    rows = 1 if x.ndim == 1 else x.shape[0]
    for i in range(concentration.shape[0]):
        total += concentration[i]
        logs = 0.0
        if x.ndim == 1:
            logs += math.log(x[i])
        else:
            for k in range(x.shape[0]):
                logs += math.log(x[k, i])
        value += (concentration[i] - 1.0) * logs - rows * math.lgamma(concentration[i])
    return value + rows * math.lgamma(total)


@compiled
def _multinomial_part(k: Array, p: Array) -> float:
    """The multinomial probability of one set of counts."""
    value, total = 0.0, 0.0
    for i in range(k.shape[0]):
        total += k[i]
        value -= math.lgamma(k[i] + 1.0)
        if k[i] > 0:
            value += k[i] * math.log(p[i])
    return value + math.lgamma(total + 1.0)


@compiled
def multinomial(k: Array, p: Array) -> float:
    """Counts of several kinds; Stan's multinomial_lpmf, scipy.stats.multinomial.

    Parameters
    ----------
    k : (n,) or (N, n) array
        Counts, or one set of counts in each row.
    p : (n,) array
        Probabilities.

    Returns
    -------
    float
        In nats, the sum over rows.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import densities
    >>> round(densities.multinomial(np.array([1, 1]), np.array([0.5, 0.5])), 6)
    -0.693147
    """
    value = 0.0
    if k.ndim == 1:
        value += _multinomial_part(k, p)
    else:
        for i in range(k.shape[0]):
            value += _multinomial_part(k[i], p)
    return value


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


@compiled
def multivariate_normal(x: Array, mean: Array, cholesky: Array) -> float:
    """The normal density of a vector; Stan's multi_normal_cholesky_lpdf.

    Parameters
    ----------
    x : (n,) or (N, n) array
        A vector, or one in each row.
    mean : (n,) array
    cholesky : (n, n) array
        Lower Cholesky factor of the covariance, of which the lower triangle is read.

    Returns
    -------
    float
        In nats, the sum over rows.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import densities
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


@compiled
def multivariate_t(x: Array, df: float, mean: Array, cholesky: Array) -> float:
    """Student's t of a vector; Stan's multi_student_t_cholesky_lpdf, scipy.stats.multivariate_t.

    Parameters
    ----------
    x : (n,) or (N, n) array
        A vector, or one in each row.
    mean : (n,) array
    df : float
        Degrees of freedom, > 0.
    cholesky : (n, n) array
        Lower Cholesky factor of the scale matrix, of which the lower triangle is read.

    Returns
    -------
    float
        In nats, the sum over rows.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import densities
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


@compiled
def multivariate_normal_precision(x: Array, mean: Array, precision: Array) -> float:
    """The normal density of a vector, by the inverse of its covariance; multi_normal_prec_lpdf.

    Parameters
    ----------
    x : (n,) or (N, n) array
        A vector, or one in each row.
    mean : (n,) array
    precision : (n, n) array
        Symmetric and positive definite.

    Returns
    -------
    float
        In nats, the sum over rows.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import densities
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

    Returns
    -------
    float
        In nats.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import densities
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
