"""Optimizers with one rate for all coordinates."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple, TypeVar

from fastvi.base import checks, tree
from fastvi.core import Optimizer, scale
from fastvi.optimizers.arithmetic import first_step, follow, positive, squared_norm

__all__ = ["AdaptiveState", "adaptive", "constant", "robbins_monro"]

T = TypeVar("T")


def constant(learning_rate: float = 1.0) -> Optimizer:
    """The same rate at every step; rate 1 on the natural gradient of all data is CAVI.

    Raises
    ------
    ValueError
        If `learning_rate` is not a number above 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import optimizers
    >>> optimizer, params = optimizers.constant(0.5), np.zeros(2)
    >>> step, state, rate = optimizer.update(np.array([3.0, -4.0]), optimizer.init(params), params)
    >>> step.round(4)
    array([ 1.5, -2. ])
    """
    rate = positive("learning_rate", learning_rate)
    return Optimizer(first_step, partial(_constant, rate), convex=rate <= 1)


def _constant(rate: float, gradient: T, t: int, params: object) -> tuple[T, int, float]:
    return scale(gradient, rate), t + 1, rate


def robbins_monro(delay: float = 10.0, exponent: float = 0.7) -> Optimizer:
    """Rate ``(delay + t) ** -exponent`` at step t = 1, 2, ...

    Parameters
    ----------
    delay : float
        tau >= 0; larger values shorten early steps.
    exponent : float
        kappa in (0.5, 1]: sums of rates diverge and sums of their squares converge (Robbins and
        Monro 1951; Hoffman et al. 2013, eq. 26).

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import optimizers
    >>> optimizer, params = optimizers.robbins_monro(delay=1.0, exponent=1.0), np.zeros(2)
    >>> step, state, rate = optimizer.update(np.array([3.0, -4.0]), optimizer.init(params), params)
    >>> step.round(4)
    array([ 1.5, -2. ])
    """
    delay = checks.number(delay, "delay", 0.0)
    exponent = checks.number(exponent, "exponent", 0.5, 1.0, open_low=True)
    return Optimizer(first_step, partial(_robbins_monro, delay, exponent))


def _robbins_monro(
    delay: float, exponent: float, gradient: T, t: int, params: object
) -> tuple[T, int, float]:
    rate = float(delay + t) ** -exponent
    return scale(gradient, rate), t + 1, rate


LEAST_DELAY = 50.0


class AdaptiveState(NamedTuple):
    """Running means of the gradient and its squared norm, their window in steps, and the sum of the
    squared weights of the gradients in them.
    """

    mean: object
    square: float
    window: float
    weight: float
    t: int


def adaptive(n_warm: int = 5) -> Optimizer:
    """The rate that minimises the expected distance to the optimum (Ranganath et al. 2013).

    For natural gradients g it is rho = |E g|^2 / E |g|^2 = |g*|^2 / (|g*|^2 + tr Sigma) (eq. 12),
    with running means of g and |g|^2 over a window that adapts: tau <- tau (1 - rho) + 1 (eq. 14 to
    16). Unlike the paper, this subtracts the noise of the running mean from its squared norm, which
    is |E g|^2 + w tr Sigma, where w is the sum of the squared weights of the gradients (1 /
    `n_warm` at first). Without this, long steps that follow noise can spoil a good start. The rate
    is also at least 1 / (50 + t), so that the sum of the rates diverges.

    Parameters
    ----------
    n_warm : int
        Number of gradients at the starting point that initialise the means, before the first step.

    Raises
    ------
    ValueError
        If `n_warm` is not an integer of at least 2, the fewest that allow an estimate of noise.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import optimizers
    >>> optimizer, params = optimizers.adaptive(), np.zeros(2)
    >>> step, state, rate = optimizer.update(np.array([3.0, -4.0]), optimizer.init(params), params)
    >>> step.round(4)
    array([ 0., -0.])
    """
    n_warm = checks.integer(n_warm, "n_warm", 2)
    return Optimizer(_adaptive_start, partial(_adaptive, n_warm), takes_rows=False)


def _adaptive_start(params: object) -> AdaptiveState:
    return AdaptiveState(tree.zeros_like(params), 0.0, 1.0, 0.0, 1)


def _adaptive(
    n_warm: int, gradient: T, state: AdaptiveState, params: object
) -> tuple[T, AdaptiveState, float]:
    mean, square, window, weight, t = state
    share = 1.0 / (t if t <= n_warm else window)
    follow(mean, gradient, share)
    square += share * (squared_norm(gradient) - square)
    weight = (1.0 - share) ** 2 * weight + share**2
    if t < n_warm:
        waiting = AdaptiveState(mean, square, float(n_warm), weight, t + 1)
        return scale(gradient, 0.0), waiting, 0.0
    signal = (squared_norm(mean) - weight * square) / (1.0 - weight)
    rate = min(max(signal / square, 1.0 / (LEAST_DELAY + t)), 1.0) if square > 0 else 0.0
    window = max((window if t > n_warm else n_warm) * (1.0 - rate) + 1.0, 2.0)
    return scale(gradient, rate), AdaptiveState(mean, square, window, weight, t + 1), rate
