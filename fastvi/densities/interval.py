"""Log densities on an interval."""

from __future__ import annotations

import math

from fastvi.densities.parts import HALF_LOG_2PI, deviance, log_i0e, outside, rest
from fastvi.densities.vectorised import compiled, summed

__all__ = ["beta", "beta_proportion", "uniform", "von_mises"]


@compiled
def beta_part(x: float, a: float, b: float) -> float:
    """For 0 < x < 1."""
    n = a + b
    return (
        rest(n) - rest(a) - rest(b) - HALF_LOG_2PI
        + 0.5 * (math.log(a) + math.log(b) - math.log(n))
        - deviance(a, x * n) - deviance(b, (1.0 - x) * n) - math.log(x) - math.log1p(-x)
    )  # fmt: skip


@summed
def uniform(x: float, low: float, high: float) -> float:
    """The same density everywhere between two bounds.

    Stan's uniform_lpdf; SciPy's scipy.stats.uniform, from loc to loc + scale.

    {x}
    low : float or array
        Lower bound.
    high : float or array
        Upper bound.

    {total_as_in}
    >>> round(densities.uniform(0.5, 0.0, 2.0), 6)
    -0.693147
    """
    return -math.log(high - low) if low < high and low <= x <= high else outside(x + low + high)


@summed
def beta(x: float, a: float, b: float) -> float:
    """The Beta density, on 0 < x < 1.

    Stan's beta_lpdf; SciPy's scipy.stats.beta.

    {x}
    a : float or array
        Weight of 1, > 0.
    b : float or array
        Weight of 0, > 0.

    {total_as_in}
    >>> round(densities.beta(0.5, 2.0, 2.0), 6)
    0.405465
    """
    return -math.inf if x <= 0.0 or x >= 1.0 else beta_part(x, a, b)


@summed
def beta_proportion(x: float, mean: float, concentration: float) -> float:
    """The Beta density with a = mean concentration, b = (1 - mean) concentration.

    Stan's beta_proportion_lpdf; SciPy's scipy.stats.beta.

    {x}
    mean : float or array
        Its mean, between 0 and 1.
    concentration : float or array
        a + b, > 0.

    {total_as_in}
    >>> round(densities.beta_proportion(0.5, 0.5, 4.0), 6)
    0.405465
    """
    return (
        -math.inf
        if x <= 0.0 or x >= 1.0
        else beta_part(x, mean * concentration, (1.0 - mean) * concentration)
    )


@summed
def von_mises(x: float, loc: float, concentration: float) -> float:
    """The von Mises density of angles, in radians.

    Stan's von_mises_lpdf; SciPy's scipy.stats.vonmises.

    {x}
    loc : float or array
        Its mode.
    concentration : float or array
        About one over the variance, >= 0.

    {total_as_in}
    >>> round(densities.von_mises(0.0, 0.0, 0.0), 6)
    -1.837877
    """
    half = math.sin(0.5 * (x - loc))
    return -2.0 * concentration * half * half - 2.0 * HALF_LOG_2PI - log_i0e(concentration)
