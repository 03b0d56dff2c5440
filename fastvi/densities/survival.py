"""Log probabilities of positive numbers below and above a bound, such as times until an event.

Those who are still alive contribute the log probability of surviving until now:
``densities.weibull(data.died, k, scale) + densities.weibull_log_survival(data.alive, k, scale)``.
"""

from __future__ import annotations

import math

from fastvi.densities.parts import log1m_exp, log1m_exp_exp, log_ndtr
from fastvi.densities.vectorised import summed

__all__ = [
    "exponential_log_cdf",
    "exponential_log_survival",
    "lognormal_log_cdf",
    "lognormal_log_survival",
    "weibull_log_cdf",
    "weibull_log_survival",
]


@summed
def lognormal_log_cdf(x: float, mu: float, sigma: float) -> float:
    """The log probability that the exponential of a normal variable is below x.

    Stan's lognormal_lcdf; SciPy's scipy.stats.lognorm.logcdf.

    {bound}
    {mu_sigma}

    {total_as_in}
    >>> round(densities.lognormal_log_cdf(1.0, 0.0, 1.0), 6)
    -0.693147
    """
    return -math.inf if x <= 0.0 else log_ndtr((math.log(x) - mu) / sigma)


@summed
def lognormal_log_survival(x: float, mu: float, sigma: float) -> float:
    """The log probability that the exponential of a normal variable is above x.

    Stan's lognormal_lccdf; SciPy's scipy.stats.lognorm.logsf.

    {bound}
    {mu_sigma}

    {total_as_in}
    >>> round(densities.lognormal_log_survival(1.0, 0.0, 1.0), 6)
    -0.693147
    """
    return 0.0 if x <= 0.0 else log_ndtr((mu - math.log(x)) / sigma)


@summed
def exponential_log_cdf(x: float, rate: float) -> float:
    """The log probability that an exponential variable is below x.

    Stan's exponential_lcdf; SciPy's scipy.stats.expon.logcdf.

    {bound}
    {rate}

    {total_as_in}
    >>> round(densities.exponential_log_cdf(0.693147, 1.0), 6)
    -0.693147
    """
    return -math.inf if x <= 0.0 else log1m_exp(rate * x)


@summed
def exponential_log_survival(x: float, rate: float) -> float:
    """The log probability that an exponential variable is above x.

    Stan's exponential_lccdf; SciPy's scipy.stats.expon.logsf.

    {bound}
    {rate}

    {total_as_in}
    >>> densities.exponential_log_survival(2.0, 3.0)
    -6.0
    """
    return 0.0 if x <= 0.0 else -rate * x


@summed
def weibull_log_cdf(x: float, shape: float, scale: float) -> float:
    """The log probability that a Weibull variable is below x.

    Stan's weibull_lcdf; SciPy's scipy.stats.weibull_min.logcdf.

    {bound}
    {shape}
    {scale}

    {total_as_in}
    >>> round(densities.weibull_log_cdf(1.0, 2.0, 1.0), 6)
    -0.458675
    """
    return -math.inf if x <= 0.0 else log1m_exp_exp(shape * math.log(x / scale))


@summed
def weibull_log_survival(x: float, shape: float, scale: float) -> float:
    """The log probability that a Weibull variable is above x.

    Stan's weibull_lccdf; SciPy's scipy.stats.weibull_min.logsf.

    {bound}
    {shape}
    {scale}

    {total_as_in}
    >>> densities.weibull_log_survival(1.0, 2.0, 1.0)
    -1.0
    """
    return 0.0 if x <= 0.0 else -math.exp(shape * math.log(x / scale))
