"""Priors of the weights of rows, and what weights a row's expected log likelihood then gets.

The weights w of Wang, Kucukelbir and Blei (2017), "Robust probabilistic modeling with Bayesian data
reweighting", raise the likelihoods l of rows to powers. Given the others, a weight has the density
p(w) exp(w E log l), whose mean is wanted. Inverse temperatures are such weights, with a finite
number of values, of likelihoods that stay normalised (Mandt et al. 2016, "Variational tempering").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln, hyp1f1

from fastvi.base import checks
from fastvi.base.typing import Array

__all__ = ["ROW_PRIORS", "RowPrior", "beta", "gamma", "row_prior_of", "temperatures"]

LEVELS = tuple(2.0**k for k in range(11))  # temperatures
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
    first : float
        Weights of all rows to begin with.
    """

    name: str
    weights: Callable[[Array], Array]
    mean: float
    first: float = 1.0


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


def temperatures(
    levels: Sequence[float] = LEVELS,
    *,
    shared: bool = False,
    peak: float | None = None,
    dim: int = 1,
) -> RowPrior:
    """Inverse temperatures of rows, or of all rows at once, from a list (Mandt et al. 2016).

    A row at temperature T has the likelihood l^(1/T), normalised over the data that it could be:
    that of a normal distribution is wider by sqrt(T). So rows that the model cannot explain are hot
    and lose weight, as with Student's t distribution. With ``shared=True`` all rows have the same
    temperature, and the fit begins at the highest one: this is annealing whose schedule the data
    set. Temperatures are equally likely a priori.

    Parameters
    ----------
    levels : sequence of float
        Temperatures, at least 1; by default 1, 2, 4, ..., 1024.
    shared : bool
        One temperature for all rows.
    peak : float, optional
        Largest log likelihood that a row can have, in nats: ``-0.5 log(2 pi s^2)`` if it is normal.
        By default the largest expected one of the rows. The normalisation is that of normal rows
        with it.
    dim : int
        Numbers that a row observes.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi.fitting import row_priors
    >>> row_priors.temperatures([1.0, 100.0]).weights(np.array([-1.0, -60.0])).round(2)
    array([0.91, 0.01])
    """
    inverse = 1.0 / np.asarray([checks.number(T, "levels", 1.0) for T in levels])
    if not len(inverse):
        raise ValueError("levels is empty; wanted temperatures, such as [1.0, 2.0, 4.0]")
    size = checks.integer(dim, "dim", 1)
    top = None if peak is None else checks.number(peak, "peak", -np.inf)
    is_shared = checks.flag(shared, "shared")

    def weights(values: Array) -> Array:
        away = values - (values.max() if top is None else top)
        logits = away[:, None] * inverse + 0.5 * size * np.log(inverse)
        if is_shared:
            logits = np.broadcast_to(logits.sum(axis=0), logits.shape)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(shares @ inverse / shares.sum(axis=1))

    name = f"temperatures({len(inverse)}{', shared' if is_shared else ''})"
    first = float(inverse.min()) if is_shared else 1.0
    return RowPrior(name, weights, float(inverse.mean()), first)


def _shared() -> RowPrior:
    return temperatures(shared=True)


ROW_PRIORS: dict[str, Callable[[], RowPrior]] = {
    "beta": beta, "gamma": gamma, "temperatures": temperatures, "temperature": _shared,
}  # fmt: skip


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
