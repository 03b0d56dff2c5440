"""Log probabilities of whole numbers with more, or fewer, zeros than usual."""

from __future__ import annotations

import math

from fastvi.densities.counts import neg_binomial_part, poisson_part
from fastvi.densities.vectorised import compiled, summed

__all__ = ["hurdle_poisson", "zero_inflated_neg_binomial", "zero_inflated_poisson"]


@compiled
def zero_part(zero: float, loss: float) -> float:
    """log(zero + (1 - zero) exp(-loss))."""
    return math.log(zero + (1.0 - zero) * math.exp(-loss))


@summed
def zero_inflated_poisson(k: float, zero: float, rate: float) -> float:
    """Zero with an extra probability, otherwise Poisson.

    In Stan log_mix(zero, 0, poisson_lpmf) for k = 0.

    Parameters
    ----------
    {count}
    zero : float or array
        Probability of an extra zero, from 0 to 1.
    rate : float or array
        Mean of the Poisson, > 0.

    {total}

    Examples
    --------
    >>> from fastvi import densities
    >>> round(densities.zero_inflated_poisson(0, 0.5, 1.0), 6)
    -0.379885
    """
    return (
        math.log1p(-zero) + poisson_part(k, rate)
        if k > 0
        else (math.log(zero + (1.0 - zero) * math.exp(-rate)) if k == 0 else -math.inf)
    )


@summed
def zero_inflated_neg_binomial(k: float, zero: float, mean: float, shape: float) -> float:
    """Zero with an extra probability, otherwise negative binomial.

    In Stan log_mix(zero, 0, neg_binomial_2_lpmf) for k = 0.

    Parameters
    ----------
    {count}
    zero : float or array
        Probability of an extra zero, from 0 to 1.
    mean : float or array
        Mean of the negative binomial, > 0.
    {shape}

    {total}

    Examples
    --------
    >>> from fastvi import densities
    >>> round(densities.zero_inflated_neg_binomial(0, 0.5, 1.0, 1.0), 6)
    -0.287682
    """
    return (
        math.log1p(-zero) + neg_binomial_part(k, mean, shape)
        if k > 0
        else (zero_part(zero, shape * math.log1p(mean / shape)) if k == 0 else -math.inf)
    )


@summed
def hurdle_poisson(k: float, zero: float, rate: float) -> float:
    """Zero with a probability, otherwise a Poisson that is not zero.

    In Stan poisson_lpmf less log1m_exp(-rate).

    Parameters
    ----------
    {count}
    zero : float or array
        Probability of zero.
    rate : float or array
        Mean of the Poisson before zeros are taken out, > 0.

    {total}

    Examples
    --------
    >>> from fastvi import densities
    >>> round(densities.hurdle_poisson(0, 0.5, 1.0), 6)
    -0.693147
    """
    return (
        math.log1p(-zero) + poisson_part(k, rate) - math.log(-math.expm1(-rate))
        if k > 0
        else (math.log(zero) if k == 0 else -math.inf)
    )
