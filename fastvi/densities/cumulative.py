"""Log probabilities of real numbers below and above a bound, for censored values.

Only a bound is known for a censored value; the probability of lying beyond it enters the log
density:
``densities.normal(data.y, mean, sd) + densities.normal_log_survival(data.above, mean, sd)``.
"""

from __future__ import annotations

import math

from fastvi.densities.parts import LOG_2, log1m_exp_exp, log_ndtr, softplus
from fastvi.densities.vectorised import compiled, summed

__all__ = [
    "cauchy_log_cdf",
    "cauchy_log_survival",
    "gumbel_log_cdf",
    "gumbel_log_survival",
    "laplace_log_cdf",
    "laplace_log_survival",
    "logistic_log_cdf",
    "logistic_log_survival",
    "normal_log_cdf",
    "normal_log_survival",
]


@summed
def normal_log_cdf(x: float, mean: float, sd: float) -> float:
    """The log probability that a normal variable is below x.

    Stan's normal_lcdf; SciPy's scipy.stats.norm.logcdf.

    {bound}
    {mean_sd}

    {total_as_in}
    >>> round(densities.normal_log_cdf(0.0, 0.0, 1.0), 6)
    -0.693147
    """
    return log_ndtr((x - mean) / sd)


@summed
def normal_log_survival(x: float, mean: float, sd: float) -> float:
    """The log probability that a normal variable is above x.

    Stan's normal_lccdf; SciPy's scipy.stats.norm.logsf.

    {bound}
    {mean_sd}

    {total_as_in}
    >>> round(densities.normal_log_survival(40.0, 0.0, 1.0), 6)
    -804.608442
    """
    return log_ndtr((mean - x) / sd)


@summed
def logistic_log_cdf(x: float, loc: float, scale: float) -> float:
    """The log probability that a logistic variable is below x.

    Stan's logistic_lcdf; SciPy's scipy.stats.logistic.logcdf.

    {bound}
    loc : float or array
        Its mean.
    {scale}

    {total_as_in}
    >>> round(densities.logistic_log_cdf(0.0, 0.0, 1.0), 6)
    -0.693147
    """
    return -softplus((loc - x) / scale)


@summed
def logistic_log_survival(x: float, loc: float, scale: float) -> float:
    """The log probability that a logistic variable is above x.

    Stan's logistic_lccdf; SciPy's scipy.stats.logistic.logsf.

    {bound}
    loc : float or array
        Its mean.
    {scale}

    {total_as_in}
    >>> round(densities.logistic_log_survival(0.0, 0.0, 1.0), 6)
    -0.693147
    """
    return -softplus((x - loc) / scale)


@compiled
def cauchy_part(u: float) -> float:
    """The log probability below u, of the standard Cauchy density."""
    return (
        math.log(math.atan2(1.0, -u) / math.pi)
        if u < 0.0
        else math.log1p(-math.atan2(1.0, u) / math.pi)
    )


@summed
def cauchy_log_cdf(x: float, loc: float, scale: float) -> float:
    """The log probability that a Cauchy variable is below x.

    Stan's cauchy_lcdf; SciPy's scipy.stats.cauchy.logcdf.

    {bound}
    loc : float or array
        Its median.
    {scale}

    {total_as_in}
    >>> round(densities.cauchy_log_cdf(0.0, 0.0, 1.0), 6)
    -0.693147
    """
    return cauchy_part((x - loc) / scale)


@summed
def cauchy_log_survival(x: float, loc: float, scale: float) -> float:
    """The log probability that a Cauchy variable is above x.

    Stan's cauchy_lccdf; SciPy's scipy.stats.cauchy.logsf.

    {bound}
    loc : float or array
        Its median.
    {scale}

    {total_as_in}
    >>> round(densities.cauchy_log_survival(0.0, 0.0, 1.0), 6)
    -0.693147
    """
    return cauchy_part((loc - x) / scale)


@compiled
def laplace_part(u: float) -> float:
    """The log probability below u, of the standard Laplace density."""
    return u - LOG_2 if u < 0.0 else math.log1p(-0.5 * math.exp(-u))


@summed
def laplace_log_cdf(x: float, loc: float, scale: float) -> float:
    """The log probability that a Laplace variable is below x.

    Stan's double_exponential_lcdf; SciPy's scipy.stats.laplace.logcdf.

    {bound}
    loc : float or array
        Its median.
    {scale}

    {total_as_in}
    >>> round(densities.laplace_log_cdf(0.0, 0.0, 1.0), 6)
    -0.693147
    """
    return laplace_part((x - loc) / scale)


@summed
def laplace_log_survival(x: float, loc: float, scale: float) -> float:
    """The log probability that a Laplace variable is above x.

    Stan's double_exponential_lccdf; SciPy's scipy.stats.laplace.logsf.

    {bound}
    loc : float or array
        Its median.
    {scale}

    {total_as_in}
    >>> round(densities.laplace_log_survival(0.0, 0.0, 1.0), 6)
    -0.693147
    """
    return laplace_part((loc - x) / scale)


@summed
def gumbel_log_cdf(x: float, loc: float, scale: float) -> float:
    """The log probability that a Gumbel variable is below x.

    Stan's gumbel_lcdf; SciPy's scipy.stats.gumbel_r.logcdf.

    {bound}
    loc : float or array
        Its mode.
    {scale}

    {total_as_in}
    >>> round(densities.gumbel_log_cdf(0.0, 0.0, 1.0), 6)
    -1.0
    """
    return -math.exp((loc - x) / scale)


@summed
def gumbel_log_survival(x: float, loc: float, scale: float) -> float:
    """The log probability that a Gumbel variable is above x.

    Stan's gumbel_lccdf; SciPy's scipy.stats.gumbel_r.logsf.

    {bound}
    loc : float or array
        Its mode.
    {scale}

    {total_as_in}
    >>> round(densities.gumbel_log_survival(0.0, 0.0, 1.0), 6)
    -0.458675
    """
    return log1m_exp_exp((loc - x) / scale)
