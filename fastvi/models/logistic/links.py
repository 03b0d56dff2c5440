"""The logistic and the probit function: slopes, and means over a Gaussian."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from scipy.special import erfcx, expit, log_ndtr

from fastvi.base.typing import AnyArray, Array

__all__ = ["LINKS", "Link", "LogMean", "log_mean_probit", "log_mean_sigmoid"]

# Log of E[p(a)] for a ~ N(mean, variance), mean <= 0, given mean and variance.
LogMean: TypeAlias = Callable[[AnyArray, AnyArray], Array]

# The logistic function as a mixture of normal distribution functions, of error below 2.2e-9:
# Monahan and Stefanski (1992), "Normal scale mixture approximations to F*(z) and computation of
# the logistic-normal integral", table for k = 8.
MIXTURE = (
    (0.003246343272134, 1.365340806296348),
    (0.051517477033972, 1.059523971016916),
    (0.195077912673858, 0.830791313765644),
    (0.315569823632818, 0.650732166639391),
    (0.274149576158423, 0.508135425366489),
    (0.131076880695470, 0.396313345166341),
    (0.027912418727972, 0.308904252267995),
    (0.001449567805354, 0.238212616409306),
)


def log_mean_sigmoid(mean: AnyArray, variance: AnyArray) -> Array:
    """Log of E[1 / (1 + exp(-a))] for a ~ N(mean, variance), for mean <= 0.

    Each term of the mixture has a closed-form integral, as in the probit approximation (Bishop
    2006, eq. 4.153), which has one term. Since sigma(a) = exp(a) sigma(-a), the mean is also
    exp(mean + variance / 2) times the one at -mean - variance; taking the larger of the two keeps
    small probabilities accurate, for which the tails of the mixture are too light.
    """
    mean, variance = np.asarray(mean, np.float64), np.asarray(variance, np.float64)
    tilted = mean < -0.5 * variance
    centre = np.where(tilted, -mean - variance, mean)
    factor = np.where(tilted, mean + 0.5 * variance, 0.0)
    weights, slopes = (column.reshape(-1, *(1,) * mean.ndim) for column in np.array(MIXTURE).T)
    terms = np.log(weights) + log_ndtr(slopes * centre / np.sqrt(1.0 + slopes * slopes * variance))
    return np.asarray(factor + np.logaddexp.reduce(terms), np.float64)


def log_mean_probit(mean: AnyArray, variance: AnyArray) -> Array:
    """Log of E[Phi(a)] for a ~ N(mean, variance)."""
    return np.asarray(log_ndtr(np.asarray(mean, np.float64) / np.sqrt(1.0 + variance)), np.float64)


def _slopes_of_sigmoid(logits: Array) -> tuple[Array, Array]:
    miss = expit(-logits)
    return miss, miss * expit(logits)


def _slopes_of_probit(logits: Array) -> tuple[Array, Array]:
    ratio = np.sqrt(2.0 / np.pi) / erfcx(-logits / np.sqrt(2.0))
    return ratio, np.clip(ratio * (logits + ratio), 0.0, 1.0)


class Link(NamedTuple):
    """A function from logits to probabilities of the second label."""

    log_mean: LogMean
    slopes: Callable[[Array], tuple[Array, Array]]  # of its logarithm, and minus their slopes


LINKS = {
    "logit": Link(log_mean_sigmoid, _slopes_of_sigmoid),
    "probit": Link(log_mean_probit, _slopes_of_probit),
}
