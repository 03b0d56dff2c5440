"""Objectives: turn the log-ratios of draws into a bound and a weight per draw.

From ``log_w = log p(z) - log q(z)`` of draws z from q, an objective computes its value (`bound`)
and the weight of each draw's pathwise gradient of log_w (`weights`, which sum to 1). This gives the
doubly reparameterized gradient (Tucker et al. 2019, "Doubly reparameterized gradient estimators for
Monte Carlo objectives") of any f-divergence: for ``D = E_q[f(p / q)]`` the weight is proportional
to ``f''(w) w^2``, because the score-function term becomes a pathwise one. Normalising the weights
changes the length of a step, but not where it vanishes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp, softmax

from fastvi.base import checks
from fastvi.base.typing import Array

__all__ = ["Objective", "chi", "elbo", "f_divergence", "iwae", "renyi", "tempered"]

LARGEST = 200.0  # largest log-ratio passed to the functions of f-divergences


class Objective(NamedTuple):
    """The quantity to optimise, as functions of the log-ratios (n,) of n draws.

    Attributes
    ----------
    bound : callable
        ``log_w -> float``, in nats.
    weights : callable
        ``log_w -> (n,)``.
    is_upper : bool
        Whether the bound is an upper bound on the log evidence (as n grows), which a fit minimises.
    power : float
        Power to which the target is raised.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import objectives
    >>> objective = objectives.Objective(np.mean, np.ones_like)  # the evidence lower bound
    >>> objective.bound(np.array([1.0, 2.0]))
    np.float64(1.5)
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
    """The evidence lower bound, which minimises KL(q || p); all draws have the same weight.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import objectives
    >>> float(objectives.elbo().bound(np.array([1.0, 3.0])))
    2.0
    """
    return Objective(_mean, _even)


def renyi(alpha: float) -> Objective:
    """The variational Rényi bound (Li and Turner 2016, eq. 6) of any order.

    The bound is ``log E_q[w^(1 - alpha)] / (1 - alpha)``. Order 1 is the ELBO, order 0 the log
    evidence (with n draws, the bound of `iwae`), and negative orders are upper bounds; plus and
    minus infinity are the smallest and largest log_w. Estimates from n draws are biased downwards
    for orders below 1.

    Raises
    ------
    ValueError
        If `alpha` is nan.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import objectives
    >>> log_ratios = np.array([-1.0, 0.0, 2.0])
    >>> [round(float(objectives.renyi(a).bound(log_ratios)), 3) for a in (0.0, 0.5, 1.0)]
    [1.071, 0.732, 0.333]
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


def _extreme(which: Callable[[Array], np.intp], log_w: Array) -> float:
    return float(log_w[which(log_w)])


def _one(which: Callable[[Array], np.intp], log_w: Array) -> Array:
    weights = np.zeros(len(log_w))
    weights[which(log_w)] = 1.0
    return weights


def iwae() -> Objective:
    """The importance-weighted bound (Burda et al. 2016): log of the mean of w over the draws.

    Its gradient weights draws by w^2 (Tucker et al. 2019, eq. 8).

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import objectives
    >>> round(float(objectives.iwae().bound(np.log([1.0, 3.0]))), 6) == round(np.log(2.0), 6)
    np.True_
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

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import objectives
    >>> objectives.chi().bound(np.zeros(4)), objectives.chi().is_upper
    (0.0, True)
    """
    return renyi(1.0 - checks.number(n, "n", 1.0, open_low=True))


def f_divergence(f: Callable[[Array], Array], step: float = 1e-3) -> Objective:
    """Any f-divergence ``E_q[f(p / q)]`` (Wan, Li and Hovakimyan 2020).

    The target's normalising constant is unknown, so ratios are divided by their mean. The bound is
    the negative divergence of these.

    Parameters
    ----------
    f : callable
        Convex on (0, inf) with f(1) = 0; takes and returns float64 arrays (n,).
    step : float
        Step in log w of the finite differences that give ``f''(w) w^2``.

    Raises
    ------
    ValueError
        If f is not finite, not 0 at 1, or concave somewhere near 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import objectives
    >>> kl = objectives.f_divergence(lambda t: t * np.log(t))  # KL(p || q)
    >>> kl.weights(np.zeros(3)).round(2)
    array([0.33, 0.33, 0.33])
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
    """f''(w) w^2 at w = exp(s), which is h'' - h' with h(s) = f(exp(s))."""
    up, here, down = (np.asarray(f(np.exp(s + d))) for d in (step, 0.0, -step))
    return np.asarray((up - 2.0 * here + down) / step**2 - (up - down) / (2.0 * step))


def _centred(log_w: Array) -> Array:
    """Log-ratios relative to the mean ratio, clipped so that exp does not overflow."""
    centred = log_w - (logsumexp(log_w) - np.log(len(log_w)))
    return np.asarray(np.clip(centred, -LARGEST, LARGEST))


def _minus_divergence(f: Callable[[Array], Array], log_w: Array) -> float:
    return -float(np.mean(f(np.exp(_centred(log_w)))))


def _curvature_weights(f: Callable[[Array], Array], step: float, log_w: Array) -> Array:
    weights = np.maximum(_curvature(f, step, _centred(log_w)), 0.0)
    total = weights.sum()
    return np.asarray(weights / total) if 0 < total < np.inf else _even(log_w)


def tempered(objective: Objective, power: float) -> Objective:
    """The same objective for the target raised to a power (temperature 1 / power).

    Figures such as `Posterior.elbo` and `khat` still refer to the original target.

    Raises
    ------
    ValueError
        If `power` is not a number above 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import objectives
    >>> objectives.tempered(objectives.elbo(), 0.5).power
    0.5
    """
    return objective._replace(power=checks.number(power, "power", 0.0, open_low=True))
