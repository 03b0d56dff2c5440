"""Log densities of positive numbers."""

from __future__ import annotations

import math

from fastvi.densities.parts import HALF_LOG_2PI, LOG_2, deviance, log1p_square, log_ratio, rest
from fastvi.densities.vectorised import compiled, summed

__all__ = [
    "exponential",
    "gamma",
    "half_cauchy",
    "half_normal",
    "half_student_t",
    "inverse_gamma",
    "lognormal",
    "weibull",
]

LOG_2_BY_PI = math.log(2.0 / math.pi)


@compiled
def gamma_part(x: float, shape: float, rate: float) -> float:
    """For x > 0."""
    return (
        0.5 * math.log(shape) - HALF_LOG_2PI - rest(shape) - math.log(x) - deviance(shape, rate * x)
    )


@compiled
def weibull_part(u: float, shape: float) -> float:
    """The terms in u = log(x / scale), without -log x."""
    return math.log(shape) + shape * u - math.exp(shape * u)


@compiled
def lognormal_part(u: float, mu: float, sigma: float) -> float:
    """The whole density, with u = log x."""
    v = (u - mu) / sigma
    return -0.5 * v * v - math.log(sigma) - HALF_LOG_2PI - u


@compiled
def half_normal_part(u: float) -> float:
    """The terms in u = x / scale, without -log scale."""
    return LOG_2 - HALF_LOG_2PI - 0.5 * u * u


@compiled
def half_t_part(u: float, df: float) -> float:
    """The terms in u = x / scale, without -log scale."""
    return (
        LOG_2
        + log_ratio(0.5 * df)
        - 0.5 * math.log(math.pi * df)
        - (0.5 * (df + 1.0) * log1p_square(u / math.sqrt(df)))
    )


@summed
def exponential(x: float, rate: float) -> float:
    """The exponential density.

    Stan's exponential_lpdf; SciPy's scipy.stats.expon, of scale 1 / rate.

    {x}
    {rate}

    {total_as_in}
    >>> round(densities.exponential(1.0, 2.0), 6)
    -1.306853
    """
    return -math.inf if x < 0.0 else math.log(rate) - rate * x


@summed
def gamma(x: float, shape: float, rate: float) -> float:
    """The Gamma density.

    Stan's gamma_lpdf; SciPy's scipy.stats.gamma, of scale 1 / rate.

    {x}
    {shape}
    rate : float or array
        Its rate, > 0; its mean is shape / rate.

    {total_as_in}
    >>> round(densities.gamma(1.0, 2.0, 3.0), 6)
    -0.802775
    """
    return -math.inf if x <= 0.0 else gamma_part(x, shape, rate)


@summed
def inverse_gamma(x: float, shape: float, scale: float) -> float:
    """The density of one over a Gamma variable.

    Stan's inv_gamma_lpdf; SciPy's scipy.stats.invgamma.

    {x}
    {shape}
    {scale}

    {total_as_in}
    >>> round(densities.inverse_gamma(1.0, 2.0, 3.0), 6)
    -0.802775
    """
    return (
        -math.inf
        if x <= 0.0
        else 0.5 * math.log(shape)
        - HALF_LOG_2PI
        - rest(shape)
        - math.log(x)
        - deviance(shape, scale / x)
    )


@summed
def weibull(x: float, shape: float, scale: float) -> float:
    """The Weibull density.

    Stan's weibull_lpdf; SciPy's scipy.stats.weibull_min.

    {x}
    {shape}
    {scale}

    {total_as_in}
    >>> round(densities.weibull(1.0, 2.0, 1.0), 6)
    -0.306853
    """
    return -math.inf if x <= 0.0 else weibull_part(math.log(x / scale), shape) - math.log(x)


@summed
def lognormal(x: float, mu: float, sigma: float) -> float:
    """The density of the exponential of a normal variable.

    Stan's lognormal_lpdf; SciPy's scipy.stats.lognorm, of shape sigma and scale exp(mu).

    {x}
    {mu_sigma}

    {total_as_in}
    >>> round(densities.lognormal(1.0, 0.0, 1.0), 6)
    -0.918939
    """
    return -math.inf if x <= 0.0 else lognormal_part(math.log(x), mu, sigma)


@summed
def half_normal(x: float, scale: float) -> float:
    """The normal density of mean 0, of positive numbers only.

    Stan's normal_lpdf, with a lower bound; SciPy's scipy.stats.halfnorm.

    {x}
    scale : float or array
        Standard deviation of the whole, > 0.

    {total_as_in}
    >>> round(densities.half_normal(0.0, 1.0), 6)
    -0.225791
    """
    return -math.inf if x < 0.0 else half_normal_part(x / scale) - math.log(scale)


@summed
def half_cauchy(x: float, scale: float) -> float:
    """The Cauchy density around 0, of positive numbers only.

    Stan's cauchy_lpdf, with a lower bound; SciPy's scipy.stats.halfcauchy.

    {x}
    scale : float or array
        Its median, > 0.

    {total_as_in}
    >>> round(densities.half_cauchy(0.0, 1.0), 6)
    -0.451583
    """
    return -math.inf if x < 0.0 else LOG_2_BY_PI - math.log(scale) - log1p_square(x / scale)


@summed
def half_student_t(x: float, df: float, scale: float) -> float:
    """Student's t around 0, of positive numbers only.

    In Stan student_t_lpdf, with a lower bound.

    {x}
    df : float or array
        Degrees of freedom, > 0.
    {scale}

    {total_as_in}
    >>> round(densities.half_student_t(0.0, 3.0, 1.0), 6)
    -0.307742
    """
    return -math.inf if x < 0.0 else half_t_part(x / scale, df) - math.log(scale)
