"""Log densities of choices among several classes, and of their counts and probabilities."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fastvi.densities.documentation import documented
from fastvi.densities.parts import softplus
from fastvi.densities.vectorised import by_rows, compiled

__all__ = [
    "categorical",
    "categorical_logit",
    "dirichlet",
    "log_sum_exp",
    "multinomial",
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


@by_rows
def categorical(k: int, p: Array) -> float:
    """One of several classes, by their probabilities; Stan's categorical_lpmf, counted from 0.

    {category}
    p : (n,) or (N, n) array
        Probabilities, or those of each row.

    {class_as_in}
    >>> round(densities.categorical(1, np.array([0.5, 0.25, 0.25])), 6)
    -1.386294
    """
    return math.log(p[k]) if 0 <= k < p.shape[0] else -math.inf


@by_rows
def categorical_logit(k: int, logits: Array) -> float:
    """One of several classes, by their log probabilities up to a constant (softmax).

    Stan's categorical_logit_lpmf, counted from 0.

    {category}
    logits : (n,) or (N, n) array
        Those of all rows, or of each.

    {class_as_in}
    >>> round(densities.categorical_logit(1, np.array([0.0, 0.0])), 6)
    -0.693147
    """
    return logits[k] - log_sum_exp(logits) if 0 <= k < logits.shape[0] else -math.inf


@by_rows
def ordered_logistic(k: int, location: float, cutpoints: Array) -> float:
    """One of several ordered classes, by the cut points between which a logistic variable falls.

    Stan's ordered_logistic_lpmf, counted from 0.

    Parameters
    ----------
    k : int or (N,) array
        From 0 to the number of cut points.
    location : float or (N,) array
        Mean of the logistic variable.
    cutpoints : (n - 1,) or (N, n - 1) array
        Rising.

    {class_as_in}
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


@documented
@compiled
def dirichlet(x: Array, concentration: Array) -> float:
    """The Dirichlet density of probabilities; Stan's dirichlet_lpdf, scipy.stats.dirichlet.

    Parameters
    ----------
    x : (n,) or (N, n) array
        Positive, with sum 1; or several, one in each row.
    concentration : (n,) array
        > 0.

    {rows_as_in}
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


@documented
@compiled
def multinomial(k: Array, p: Array) -> float:
    """Counts of several kinds; Stan's multinomial_lpmf, scipy.stats.multinomial.

    Parameters
    ----------
    k : (n,) or (N, n) array
        Counts, or one set of counts in each row.
    p : (n,) array
        Probabilities.

    {rows_as_in}
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
