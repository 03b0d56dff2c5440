"""Log densities of real numbers."""

from __future__ import annotations

import math

from fastvi.densities.parts import HALF_LOG_2PI, LOG_2, log1p_square, log_ratio, softplus
from fastvi.densities.vectorised import summed

__all__ = ["cauchy", "gumbel", "laplace", "logistic", "normal", "student_t"]

LOG_PI = math.log(math.pi)


@summed
def normal(x: float, mean: float, sd: float) -> float:
    """The normal density.

    Stan's normal_lpdf; SciPy's scipy.stats.norm.

    {x}
    {mean_sd}

    {total_as_in}
    >>> round(densities.normal(0.0, 0.0, 1.0), 6)
    -0.918939
    """
    precision = 1.0 / sd
    u = (x - mean) * precision
    return -0.5 * u * u - math.log(sd) - HALF_LOG_2PI


@summed
def student_t(x: float, df: float, loc: float, scale: float) -> float:
    """Student's t.

    Stan's student_t_lpdf; SciPy's scipy.stats.t.

    {x}
    df : float or array
        Degrees of freedom, > 0.
    loc : float or array
        Where it is centred.
    scale : float or array
        Its scale, > 0; not its standard deviation.

    {total_as_in}
    >>> round(densities.student_t(0.0, 3.0, 0.0, 1.0), 6)
    -1.000889
    """
    u = (x - loc) / (scale * math.sqrt(df))
    return (
        log_ratio(0.5 * df)
        - 0.5 * math.log(math.pi * df)
        - math.log(scale)
        - (0.5 * (df + 1.0) * log1p_square(u))
    )


@summed
def cauchy(x: float, loc: float, scale: float) -> float:
    """The Cauchy density.

    Stan's cauchy_lpdf; SciPy's scipy.stats.cauchy.

    {x}
    loc : float or array
        Its median.
    {scale}

    {total_as_in}
    >>> round(densities.cauchy(0.0, 0.0, 1.0), 6)
    -1.14473
    """
    u = (x - loc) / scale
    return -math.log(scale) - LOG_PI - log1p_square(u)


@summed
def laplace(x: float, loc: float, scale: float) -> float:
    """The Laplace (double exponential) density.

    Stan's double_exponential_lpdf; SciPy's scipy.stats.laplace.

    {x}
    loc : float or array
        Its median.
    {scale}

    {total_as_in}
    >>> round(densities.laplace(0.0, 0.0, 1.0), 6)
    -0.693147
    """
    return -abs(x - loc) / scale - math.log(scale) - LOG_2


@summed
def logistic(x: float, loc: float, scale: float) -> float:
    """The logistic density.

    Stan's logistic_lpdf; SciPy's scipy.stats.logistic.

    {x}
    loc : float or array
        Its mean.
    {scale}

    {total_as_in}
    >>> round(densities.logistic(0.0, 0.0, 1.0), 6)
    -1.386294
    """
    u = (x - loc) / scale
    return -u - 2.0 * softplus(-u) - math.log(scale)


@summed
def gumbel(x: float, loc: float, scale: float) -> float:
    """The Gumbel density, of the largest of many.

    Stan's gumbel_lpdf; SciPy's scipy.stats.gumbel_r.

    {x}
    loc : float or array
        Its mode.
    {scale}

    {total_as_in}
    >>> round(densities.gumbel(0.0, 0.0, 1.0), 6)
    -1.0
    """
    u = (x - loc) / scale
    return -u - math.exp(-u) - math.log(scale)
