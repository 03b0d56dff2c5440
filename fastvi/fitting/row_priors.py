"""Priors of the weights of rows, and what weights a row's expected log likelihood then gets.

The weights w of Wang, Kucukelbir and Blei (2017), "Robust probabilistic modeling with Bayesian data
reweighting", raise the likelihoods l of rows to powers. Given the others, a weight has the density
p(w) exp(w E log l), whose mean is wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln, hyp1f1

from fastvi.base import checks
from fastvi.base.typing import Array

__all__ = ["ROW_PRIORS", "RowPrior", "beta", "gamma", "row_prior_of"]

FAR, N_TERMS = 50.0, 12  # where a series in its inverse takes over from Kummer's, and its terms


class RowPrior(NamedTuple):
    """A prior of weights.

    Attributes
    ----------
    name : str
    weights : callable
        ``weights(values)``: expected weights (n,) of rows with these expected log likelihoods.
    mean : float
        Of the prior.
    """

    name: str
    weights: Callable[[Array], Array]
    mean: float


def beta(a: float = 0.1, b: float = 0.01) -> RowPrior:
    """Independent Beta(a, b) weights: the rows that the model cannot explain are ignored.

    Weights are ratios of Kummer's functions, E w = a / (a + b) M(a + 1, a + b + 1, v) / M(a, a + b,
    v) for an expected log likelihood v.

    Parameters
    ----------
    a, b : float
        As in the paper, near 1 a priori and seldom between 0 and 1, by default.
    """
    a = checks.number(a, "a", 0.0, open_low=True)
    b = checks.number(b, "b", 0.0, open_low=True)

    def weights(values: Array) -> Array:
        logs = _log_kummer(a + 1.0, a + b + 1.0, values) - _log_kummer(a, a + b, values)
        return np.asarray(a / (a + b) * np.exp(logs))

    return RowPrior(f"beta({a:g}, {b:g})", weights, a / (a + b))


def gamma(shape: float = 2.0, rate: float = 2.0) -> RowPrior:
    """Independent Gamma(shape, rate) weights, E w = shape / (rate - v), which may exceed 1.

    Parameters
    ----------
    shape, rate : float
        The rate must exceed all expected log likelihoods v.
    """
    shape = checks.number(shape, "shape", 0.0, open_low=True)
    rate = checks.number(rate, "rate", 0.0, open_low=True)

    def weights(values: Array) -> Array:
        if values.max() >= rate:
            raise ValueError(
                f"rate={rate:g} of the gamma prior of weights, but a row has expected log "
                f"likelihood {values.max():.4g}, with which its weight would be infinite; wanted a "
                "larger rate, or other units of the data"
            )
        return np.asarray(shape / (rate - values))

    return RowPrior(f"gamma({shape:g}, {rate:g})", weights, shape / rate)


ROW_PRIORS = {"beta": beta, "gamma": gamma}


def row_prior_of(prior: object) -> RowPrior:
    """The prior of weights that is given, or named."""
    if isinstance(prior, RowPrior):
        return prior
    return ROW_PRIORS[checks.choice(prior, "prior", tuple(ROW_PRIORS))]()


def _log_kummer(a: float, c: float, x: Array) -> Array:
    """Log M(a, c, x) for c > a > 0: DLMF 13.2.2, and 13.7.2 far from 0."""
    near = np.abs(x) < FAR
    result = np.log(hyp1f1(a, c, np.where(near, x, 0.0)))
    size = np.maximum(np.abs(x), FAR)
    falls, rises = size**-a, size ** (a - c)
    below = gammaln(c) - gammaln(c - a) + np.log(falls * _series(a, a - c + 1.0, size))
    above = gammaln(c) - gammaln(a) + size + np.log(rises * _series(c - a, 1.0 - a, size))
    return np.asarray(np.where(near, result, np.where(x < 0, below, above)))


def _series(a: float, b: float, x: Array) -> Array:
    """Sum of (a)_n (b)_n / (n! x^n)."""
    term = total = np.ones_like(x)
    for n in range(N_TERMS):
        term = term * (a + n) * (b + n) / ((n + 1.0) * x)
        total = total + term
    return total
