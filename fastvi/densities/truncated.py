"""Log probabilities between bounds, and densities of values observed only there.

If values beyond a bound were never collected, subtract the log probability of being within it once
for each value: ``densities.weibull(x, k, scale) - densities.weibull_log_survival(low, k,
scale)``, with as many bounds as values.
"""

from __future__ import annotations

import math

from fastvi.densities.parts import HALF_LOG_2PI, log1m_exp, log_ndtr, softplus
from fastvi.densities.vectorised import compiled, summed

__all__ = [
    "log_diff_exp",
    "logistic_log_interval",
    "normal_log_interval",
    "truncated_normal",
]


@summed
def log_diff_exp(a: float, b: float) -> float:
    """log(exp(a) - exp(b)), such as the probability between two bounds; Stan's log_diff_exp.

    Parameters
    ----------
    a : float or array
        The larger logarithm.
    b : float or array
        The smaller one; minus infinity means 0.

    {total_as_in}
    >>> round(densities.log_diff_exp(0.0, -0.693147), 6)
    -0.693147
    """
    return a if b == -math.inf else (-math.inf if a <= b else a + log1m_exp(a - b))


@compiled
def lower_interval(a: float, b: float, w: float) -> float:
    """Log of Phi(b) - Phi(a), w = b - a > 0, for a + b <= 0; by a series where they are close."""
    m = 0.5 * (a + b)
    t, s = w * w, m * m
    return (
        math.log(w) - 0.5 * s - HALF_LOG_2PI
        + math.log1p(t * ((s - 1.0) / 24.0 + t * (s * (s - 6.0) + 3.0) / 1920.0))
        if w * (1.0 - m) < 0.03
        else log_ndtr(b) + log1m_exp(log_ndtr(b) - log_ndtr(a))
    )  # fmt: skip


@compiled
def finite_interval(low: float, high: float, mean: float, sd: float) -> float:
    """Log probability of a normal variable between finite bounds."""
    a, b, w = (low - mean) / sd, (high - mean) / sd, (high - low) / sd
    return lower_interval(-b, -a, w) if a + b > 0.0 else lower_interval(a, b, w)


@compiled
def interval_part(low: float, high: float, mean: float, sd: float) -> float:
    """The same for bounds that may be infinite; derivatives must not meet infinite ones."""
    return (
        (0.0 if high == math.inf else log_ndtr((high - mean) / sd))
        if low == -math.inf
        else (
            log_ndtr((mean - low) / sd)
            if high == math.inf
            else finite_interval(low, high, mean, sd)
        )
    )


@summed
def normal_log_interval(low: float, high: float, mean: float, sd: float) -> float:
    """The log probability that a normal variable is between two bounds, for rounded values.

    In SciPy log(norm.cdf(high) - norm.cdf(low)), here also where that is 0.

    {bounds}
    {mean_sd}

    {total_as_in}
    >>> round(densities.normal_log_interval(40.0, 41.0, 0.0, 1.0), 6)
    -804.608442
    """
    return -math.inf if low >= high else interval_part(low, high, mean, sd)


@compiled
def logistic_interval(low: float, high: float, loc: float, scale: float) -> float:
    """Log probability of a logistic variable between finite bounds."""
    return (
        log1m_exp((high - low) / scale)
        - softplus((loc - high) / scale)
        - softplus((low - loc) / scale)
    )


@summed
def logistic_log_interval(low: float, high: float, loc: float, scale: float) -> float:
    """The log probability that a logistic variable is between two bounds, for ordered classes.

    With the cut points below and above the class of each row it is `ordered_logistic` for all rows
    at once. In SciPy log(logistic.cdf(high) - logistic.cdf(low)), here also where that is 0.

    {bounds}
    loc : float or array
        Its mean.
    {scale}

    {total_as_in}
    >>> round(densities.logistic_log_interval(-1.0, 1.0, 0.0, 1.0), 6)
    -0.771937
    """
    return (
        -math.inf
        if low >= high
        else (
            (0.0 if high == math.inf else -softplus((loc - high) / scale))
            if low == -math.inf
            else (
                -softplus((low - loc) / scale)
                if high == math.inf
                else logistic_interval(low, high, loc, scale)
            )
        )
    )


@summed
def truncated_normal(x: float, low: float, high: float, mean: float, sd: float) -> float:
    """A normal variable that is observed only between two bounds.

    In Stan normal_lpdf with T[low, high]; SciPy's scipy.stats.truncnorm.

    {x}
    low, high : float or array
        The bounds, low < high, which may be infinite.
    mean : float or array
        Mean of the normal variable.
    sd : float or array
        Its standard deviation, > 0.

    {total_as_in}
    >>> round(densities.truncated_normal(0.0, 0.0, float("inf"), 0.0, 1.0), 6)
    -0.225791
    """
    u = (x - mean) / sd
    return (
        -math.inf
        if low >= high or x < low or x > high
        else -0.5 * u * u - math.log(sd) - HALF_LOG_2PI - interval_part(low, high, mean, sd)
    )
