"""Objectives: log-ratios of draws in, a bound and the draws' weights out.

With ``log_w = log p(z) - log q(z)`` of draws z from q, an objective says what it comes to (`bound`)
and how much each draw's pathwise gradient of log_w counts (`weights`, which sum to 1). That is the
doubly reparameterized gradient (Tucker et al. 2019, "Doubly reparameterized gradient estimators
for Monte Carlo objectives") of every f-divergence: for ``D = E_q[f(p / q)]`` a draw counts
``f''(w) w^2``, since the term that differentiates q's density alone turns into a pathwise one.
Weights are normalised, which changes the length of a step but not where it vanishes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax

from fastvi.base import checks

__all__ = ["Objective", "chi", "elbo", "f_divergence", "iwae", "renyi", "tempered"]

Array = NDArray[np.float64]
LARGEST = 200.0  # log-ratio that the functions of f-divergences see


class Objective(NamedTuple):
    """What a fit makes of the log-ratios (n,) of n draws.

    Attributes
    ----------
    bound : callable
        ``log_w -> float``, nats.
    weights : callable
        ``log_w -> (n,)``.
    is_upper : bool
        The bound is above the log evidence (as n grows) and falls in a fit.
    power : float
        The target is raised to it.
    """

    bound: Callable[[Array], float]
    weights: Callable[[Array], Array]
    is_upper: bool = False
    power: float = 1.0


def _mean(log_w: Array) -> float:
    return float(np.mean(log_w))


def _even(log_w: Array) -> Array:
    return np.full(len(log_w), 1.0 / len(log_w))


def elbo() -> Objective:
    """The evidence lower bound: KL(q || p), where each draw counts the same."""
    return Objective(_mean, _even)


def renyi(alpha: float) -> Objective:
    """The variational Renyi bound (Li and Turner 2016, eq. 6), of every order.

    ``log E_q[w^(1 - alpha)] / (1 - alpha)``: 1 is the ELBO, 0 the log evidence itself (and with n
    draws the bound of `iwae`), below 0 an upper bound; plus and minus infinity are the extremes of
    log_w. With n draws, orders below 1 are biased downwards.

    Raises
    ------
    ValueError
        If `alpha` is nan.
    """
    alpha = float(alpha)
    if np.isnan(alpha):
        raise ValueError("alpha is nan; wanted a number, or plus or minus infinity")
    if alpha == 1.0:
        return elbo()
    if alpha == 0.0:
        return iwae()
    if np.isinf(alpha):
        worst = np.argmin if alpha > 0 else np.argmax
        return Objective(partial(_extreme, worst), partial(_one, worst), alpha < 0)
    return Objective(
        partial(_power_mean, 1.0 - alpha), partial(_power_weights, 1.0 - alpha), alpha < 0
    )


def _power_mean(beta: float, log_w: Array) -> float:
    return float(logsumexp(beta * log_w) - np.log(len(log_w))) / beta


def _power_weights(beta: float, log_w: Array) -> Array:
    return np.asarray(softmax(beta * log_w))


def _extreme(which: Callable[..., Any], log_w: Array) -> float:
    return float(log_w[which(log_w)])


def _one(which: Callable[..., Any], log_w: Array) -> Array:
    weights = np.zeros(len(log_w))
    weights[which(log_w)] = 1.0
    return weights


def iwae() -> Objective:
    """The importance-weighted bound (Burda et al. 2016): log of the mean of w over the draws.

    Its gradient weighs by squares (Tucker et al. 2019, eq. 8).
    """
    return Objective(partial(_power_mean, 1.0), _squares)


def _squares(log_w: Array) -> Array:
    return np.asarray(softmax(2.0 * log_w))


def chi(n: float = 2.0) -> Objective:
    """The chi upper bound (Dieng et al. 2017, eq. 3), ``log E_q[w^n] / n``.

    Raises
    ------
    ValueError
        If `n` is not a number above 1.
    """
    return renyi(1.0 - checks.number(n, "n", 1.0, open_low=True))


def f_divergence(f: Callable[[Array], Array], step: float = 1e-3) -> Objective:
    """Any f-divergence ``E_q[f(p / q)]`` (Wan, Li and Hovakimyan 2020), given its function.

    The target has no known normaliser, so ratios are taken relative to their mean; the bound is
    minus the divergence at that.

    Parameters
    ----------
    f : callable
        Convex on (0, inf) with f(1) = 0; takes and gives float64 arrays (n,).
    step : float
        Of the differences, in log w, that give ``f''(w) w^2``.

    Raises
    ------
    ValueError
        If f is not finite, not 0 at 1, or concave somewhere near 1.
    """
    trial = np.linspace(-1.0, 1.0, 21)
    curvature = _curvature(f, step, trial)
    at_one = float(np.asarray(f(np.ones(1)))[0])
    if not np.all(np.isfinite(curvature)) or abs(at_one) > 1e-9:
        raise ValueError(f"f(1) is {at_one}; wanted a function that is finite, and 0 at 1")
    if curvature.min() < -1e-6 * max(curvature.max(), 1.0):
        raise ValueError("f is not convex; wanted f'' >= 0")
    return Objective(partial(_minus_divergence, f), partial(_curvature_weights, f, step))


def _curvature(f: Callable[[Array], Array], step: float, s: Array) -> Array:
    """f''(w) w^2 at w = exp(s): with h(s) = f(exp(s)) it is h'' - h'."""
    up, here, down = (np.asarray(f(np.exp(s + d))) for d in (step, 0.0, -step))
    return np.asarray((up - 2.0 * here + down) / step**2 - (up - down) / (2.0 * step))


def _centred(log_w: Array) -> Array:
    """Relative to the mean ratio, and within what functions of a ratio can take."""
    centred = log_w - (logsumexp(log_w) - np.log(len(log_w)))
    return np.asarray(np.clip(centred, -LARGEST, LARGEST))


def _minus_divergence(f: Callable[[Array], Array], log_w: Array) -> float:
    return -float(np.mean(f(np.exp(_centred(log_w)))))


def _curvature_weights(f: Callable[[Array], Array], step: float, log_w: Array) -> Array:
    weights = np.maximum(_curvature(f, step, _centred(log_w)), 0.0)
    total = weights.sum()
    return np.asarray(weights / total) if 0 < total < np.inf else _even(log_w)


def tempered(objective: Objective, power: float) -> Objective:
    """The same objective for the target raised to a power (a temperature of 1 / power).

    The fit's own figures, such as `Posterior.elbo` and `khat`, are of the target as it is.

    Raises
    ------
    ValueError
        If `power` is not a number above 0.
    """
    return objective._replace(power=checks.number(power, "power", 0.0, open_low=True))
