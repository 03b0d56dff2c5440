"""Log probabilities of whole numbers."""

from __future__ import annotations

import math

from fastvi.densities.parts import HALF_LOG_2PI, deviance, outside, rest, softplus
from fastvi.densities.vectorised import compiled, summed

__all__ = [
    "bernoulli",
    "bernoulli_logit",
    "binomial",
    "binomial_logit",
    "geometric",
    "neg_binomial",
    "poisson",
    "poisson_log",
]


@compiled
def poisson_part(k: float, rate: float) -> float:
    """For k > 0."""
    return -rest(k) - 0.5 * math.log(k) - HALF_LOG_2PI - deviance(k, rate)


@compiled
def binomial_part(k: float, n: float, p: float) -> float:
    """For 0 < k < n."""
    return (
        rest(n) - rest(k) - rest(n - k) - HALF_LOG_2PI
        + 0.5 * (math.log(n) - math.log(k) - math.log(n - k))
        - deviance(k, n * p) - deviance(n - k, n * (1.0 - p))
    )  # fmt: skip


@compiled
def log_choose(n: float, k: float) -> float:
    """Logarithm of the binomial coefficient."""
    return math.lgamma(n + 1.0) - math.lgamma(k + 1.0) - math.lgamma(n - k + 1.0)


@compiled
def neg_binomial_part(k: float, mean: float, shape: float) -> float:
    """For k > 0."""
    n = k + shape
    return (
        rest(n) - rest(k) - rest(shape) - HALF_LOG_2PI
        + 0.5 * (math.log(shape) - math.log(k) - math.log(n))
        - deviance(k, mean) + deviance(n, shape + mean)
    )  # fmt: skip


@summed
def bernoulli(k: float, p: float) -> float:
    """Success or failure.

    Stan's bernoulli_lpmf; SciPy's scipy.stats.bernoulli.

    {binary}
    p : float or array
        Probability of 1.

    {total_as_in}
    >>> round(densities.bernoulli(1, 0.5), 6)
    -0.693147
    """
    return math.log(p) if k == 1 else (math.log1p(-p) if k == 0 else outside(k))


@summed
def bernoulli_logit(k: float, logit: float) -> float:
    """Success or failure, by the log odds.

    Stan's bernoulli_logit_lpmf; SciPy's scipy.stats.bernoulli, of p = expit(logit).

    {binary}
    logit : float or array
        log(p / (1 - p)).

    {total_as_in}
    >>> round(densities.bernoulli_logit(1, 0.0), 6)
    -0.693147
    """
    return -softplus(-logit) if k == 1 else (-softplus(logit) if k == 0 else outside(k))


@summed
def binomial(k: float, n: float, p: float) -> float:
    """Successes among n.

    Stan's binomial_lpmf; SciPy's scipy.stats.binom.

    {count}
    n : int or array
        Trials.
    {success}

    {total_as_in}
    >>> round(densities.binomial(1, 2, 0.5), 6)
    -0.693147
    """
    return (
        binomial_part(k, n, p)
        if 0 < k < n
        else (
            (n * math.log(p) if n > 0 else 0.0)
            if k == n
            else (n * math.log1p(-p) if k == 0 else outside(k + n))
        )
    )


@summed
def binomial_logit(k: float, n: float, logit: float) -> float:
    """Successes among n, by the log odds.

    Stan's binomial_logit_lpmf; SciPy's scipy.stats.binom, of p = expit(logit).

    {count}
    n : int or array
        Trials.
    logit : float or array
        log(p / (1 - p)).

    {total_as_in}
    >>> round(densities.binomial_logit(1, 2, 0.0), 6)
    -0.693147
    """
    return (
        -k * softplus(-logit) - (n - k) * softplus(logit) + log_choose(n, k)
        if 0 <= k <= n
        else outside(k + n)
    )


@summed
def geometric(k: float, p: float) -> float:
    """Failures before the first success.

    Stan's neg_binomial_lpmf, of shape 1; SciPy's scipy.stats.geom, of k + 1.

    {count}
    {success}

    {total_as_in}
    >>> round(densities.geometric(1, 0.5), 6)
    -1.386294
    """
    return -math.inf if k < 0 else math.log(p) + k * math.log1p(-p)


@summed
def poisson(k: float, rate: float) -> float:
    """The Poisson distribution.

    Stan's poisson_lpmf; SciPy's scipy.stats.poisson.

    {count}
    rate : float or array
        Its mean, > 0.

    {total_as_in}
    >>> round(densities.poisson(0, 1.0), 6)
    -1.0
    """
    return poisson_part(k, rate) if k > 0 else (-rate if k == 0 else outside(k))


@summed
def poisson_log(k: float, log_rate: float) -> float:
    """The Poisson distribution, by the logarithm of its mean.

    Stan's poisson_log_lpmf; SciPy's scipy.stats.poisson, of exp(log_rate).

    {count}
    log_rate : float or array
        Logarithm of its mean.

    {total_as_in}
    >>> round(densities.poisson_log(0, 0.0), 6)
    -1.0
    """
    return -math.inf if k < 0 else k * log_rate - math.exp(log_rate) - math.lgamma(k + 1.0)


@summed
def neg_binomial(k: float, mean: float, shape: float) -> float:
    """The negative binomial: a Poisson whose rate is Gamma distributed.

    Stan's neg_binomial_2_lpmf; SciPy's scipy.stats.nbinom, of n = shape and
    p = shape / (shape + mean).

    {count}
    mean : float or array
        Its mean, > 0.
    shape : float or array
        Shape of the Gamma, > 0; the variance is mean + mean^2 / shape.

    {total_as_in}
    >>> round(densities.neg_binomial(0, 1.0, 1.0), 6)
    -0.693147
    """
    return (
        neg_binomial_part(k, mean, shape)
        if k > 0
        else (-shape * math.log1p(mean / shape) if k == 0 else outside(k))
    )
