"""Log densities with more, or fewer, zeros than usual."""

from __future__ import annotations

import math

from fastvi.densities.counts import binomial_part, neg_binomial_part, poisson_part
from fastvi.densities.parts import log1m_exp, outside
from fastvi.densities.positive import gamma_part, lognormal_part
from fastvi.densities.vectorised import compiled, summed

__all__ = [
    "hurdle_gamma",
    "hurdle_lognormal",
    "hurdle_neg_binomial",
    "hurdle_poisson",
    "zero_inflated_binomial",
    "zero_inflated_neg_binomial",
    "zero_inflated_poisson",
]


@compiled
def zero_part(zero: float, loss: float) -> float:
    """log(zero + (1 - zero) exp(-loss))."""
    return math.log(zero + (1.0 - zero) * math.exp(-loss))


@summed
def zero_inflated_poisson(k: float, zero: float, rate: float) -> float:
    """Zero with an extra probability, otherwise Poisson.

    In Stan log_mix(zero, 0, poisson_lpmf) for k = 0.

    {count}
    {extra_zero}
    rate : float or array
        Mean of the Poisson, > 0.

    {total_as_in}
    >>> round(densities.zero_inflated_poisson(0, 0.5, 1.0), 6)
    -0.379885
    """
    return (
        math.log1p(-zero) + poisson_part(k, rate)
        if k > 0
        else (zero_part(zero, rate) if k == 0 else outside(k))
    )


@summed
def zero_inflated_binomial(k: float, n: float, zero: float, p: float) -> float:
    """Zero with an extra probability, otherwise the successes among n.

    In Stan log_mix(zero, 0, binomial_lpmf) for k = 0.

    {count}
    n : int or array
        Trials, > 0.
    {extra_zero}
    {success}

    {total_as_in}
    >>> round(densities.zero_inflated_binomial(0, 2, 0.5, 0.5), 6)
    -0.470004
    """
    return (
        math.log1p(-zero) + binomial_part(k, n, p)
        if 0 < k < n
        else (
            math.log1p(-zero) + n * math.log(p)
            if k == n
            else (zero_part(zero, -n * math.log1p(-p)) if k == 0 else outside(k + n))
        )
    )


@summed
def zero_inflated_neg_binomial(k: float, zero: float, mean: float, shape: float) -> float:
    """Zero with an extra probability, otherwise negative binomial.

    In Stan log_mix(zero, 0, neg_binomial_2_lpmf) for k = 0.

    {count}
    {extra_zero}
    mean : float or array
        Mean of the negative binomial, > 0.
    {shape}

    {total_as_in}
    >>> round(densities.zero_inflated_neg_binomial(0, 0.5, 1.0, 1.0), 6)
    -0.287682
    """
    return (
        math.log1p(-zero) + neg_binomial_part(k, mean, shape)
        if k > 0
        else (zero_part(zero, shape * math.log1p(mean / shape)) if k == 0 else outside(k))
    )


@summed
def hurdle_poisson(k: float, zero: float, rate: float) -> float:
    """Zero with a probability, otherwise a Poisson that is not zero.

    In Stan poisson_lpmf less log1m_exp(-rate).

    {count}
    {zero}
    rate : float or array
        Mean of the Poisson before zeros are taken out, > 0.

    {total_as_in}
    >>> round(densities.hurdle_poisson(0, 0.5, 1.0), 6)
    -0.693147
    """
    return (
        math.log1p(-zero) + poisson_part(k, rate) - log1m_exp(rate)
        if k > 0
        else (math.log(zero) if k == 0 else outside(k))
    )


@summed
def hurdle_neg_binomial(k: float, zero: float, mean: float, shape: float) -> float:
    """Zero with a probability, otherwise a negative binomial that is not zero.

    In Stan neg_binomial_2_lpmf less log1m_exp of its value at 0.

    {count}
    {zero}
    mean : float or array
        Mean of the negative binomial before zeros are taken out, > 0.
    {shape}

    {total_as_in}
    >>> round(densities.hurdle_neg_binomial(1, 0.5, 1.0, 1.0), 6)
    -1.386294
    """
    return (
        math.log1p(-zero)
        + neg_binomial_part(k, mean, shape)
        - log1m_exp(shape * math.log1p(mean / shape))
        if k > 0
        else (math.log(zero) if k == 0 else outside(k))
    )


@summed
def hurdle_gamma(x: float, zero: float, shape: float, rate: float) -> float:
    """Zero with a probability, otherwise a Gamma variable, such as amounts of rain.

    In Stan bernoulli_lpmf, and gamma_lpdf of what is not zero.

    {x}
    {zero}
    {shape}
    rate : float or array
        Its rate, > 0; the mean of what is not zero is shape / rate.

    {total_as_in}
    >>> round(densities.hurdle_gamma(0.0, 0.5, 2.0, 1.0), 6)
    -0.693147
    """
    return (
        math.log1p(-zero) + gamma_part(x, shape, rate)
        if x > 0.0
        else (math.log(zero) if x == 0.0 else outside(x))
    )


@summed
def hurdle_lognormal(x: float, zero: float, mu: float, sigma: float) -> float:
    """Zero with a probability, otherwise the exponential of a normal variable.

    In Stan bernoulli_lpmf, and lognormal_lpdf of what is not zero.

    {x}
    {zero}
    mu : float or array
        Mean of the logarithm of what is not zero.
    sigma : float or array
        Standard deviation of that logarithm, > 0.

    {total_as_in}
    >>> round(densities.hurdle_lognormal(0.0, 0.5, 0.0, 1.0), 6)
    -0.693147
    """
    return (
        math.log1p(-zero) + lognormal_part(math.log(x), mu, sigma)
        if x > 0.0
        else (math.log(zero) if x == 0.0 else outside(x))
    )
