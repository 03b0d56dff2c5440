"""Variance reduction for score-function gradients.

`overdispersed` wraps `fastvi.gradients.score.score` and changes the proposal; `centred` and
`controlled` wrap either, in any order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from fastvi.base.typing import Array, Info
from fastvi.core import Batch, Gradient

if TYPE_CHECKING:
    from fastvi.gradients.score import Draws

__all__ = ["centred", "controlled", "overdispersed"]

T = TypeVar("T")

LARGEST = 5.0  # tau
DELAY, EXPONENT, FARTHEST = 10.0, 0.6, 0.1  # of the steps of log tau


def _again(draws: Draws, info: Info) -> tuple[Array, Info]:
    return draws.gradient(), {**info, "draws": draws}


def controlled(gradient: Gradient) -> Gradient:
    """Subtract an optimal control variate from the signal of each coordinate.

    The control variate is the score itself (Ranganath, Gerrish and Blei 2014, section 3.2). Its
    coefficient for each draw is estimated from the others, which causes no bias.

    Parameters
    ----------
    gradient : Gradient
        From `score`, `overdispersed` or `centred`.
    """

    def estimate(
        state: T, params: Array, batch: Batch, rng: np.random.Generator
    ) -> tuple[Array, T, Info]:
        _, state, info = gradient.estimate(state, params, batch, rng)
        direction, info = _again(info["draws"]._replace(controlled=True), info)
        return direction, state, info

    return Gradient(gradient.init, estimate, pathwise=False)


class CentredState(NamedTuple):
    """Running mean of the signals, (B,) or (1,), its weight so far, and the inner state."""

    level: Array | None
    share: float
    inner: object


def centred(gradient: Gradient, decay: float = 0.9) -> Gradient:
    """Subtract a running mean of earlier signals from each signal (Williams 1992).

    Parameters
    ----------
    gradient : Gradient
        From `score`, `overdispersed` or `controlled`.
    decay : float
        Share of the running mean that is kept at each step.

    Raises
    ------
    ValueError
        If `decay` is not in [0, 1).
    """
    if not 0 <= decay < 1:
        raise ValueError(f"decay is {decay}; wanted a number in [0, 1)")

    def init(params: object) -> CentredState:
        return CentredState(None, 0.0, gradient.init(params))

    def estimate(
        state: CentredState, params: Array, batch: Batch, rng: np.random.Generator
    ) -> tuple[Array, CentredState, Info]:
        _, inner, info = gradient.estimate(state.inner, params, batch, rng)
        draws = info["draws"]
        now = (draws.weights * draws.signals).sum(axis=0) / draws.weights.sum(axis=0)
        level, share = state.level, state.share
        if level is not None and share > 0:
            draws = draws._replace(signals=draws.signals - level / share)
        level = (1 - decay) * now + (0.0 if level is None else decay * level)
        direction, info = _again(draws, info)
        return direction, CentredState(level, 1 - decay + decay * share, inner), info

    return Gradient(init, estimate, pathwise=False)


class OverdispersedState(NamedTuple):
    """Log dispersions (B,), which are also the inner state, and the number of steps."""

    log_tau: Array
    t: int


def overdispersed(
    gradient: Gradient, largest: float = LARGEST, *, centred: bool = True
) -> Gradient:
    """Weighted draws from distributions with heavier tails (Ruiz, Titsias and Blei 2016).

    Scores are small where most draws fall. The dispersion tau of each block starts at 1, which
    changes nothing, and follows the gradient of the variance, in the units of `Product.step_units`.
    All blocks of a draw are dispersed at once and weighted together, whereas Ruiz et al. draw
    separately for each block. A draw therefore costs one evaluation, but the gain falls with the
    number of blocks that share terms, and may vanish.

    Parameters
    ----------
    gradient : Gradient
        From `score`.
    largest : float
        Largest tau.
    centred : bool
        Whether `centred` or `controlled` wrap this; tau then minimises the variance with them.

    Returns
    -------
    Gradient
        Its `info` also has `dispersion`, the mean of tau.

    Raises
    ------
    ValueError
        If `largest` is below 1, or (on first use) the gradient is not that of `score`.
    """
    if not 1 <= largest < np.inf:
        raise ValueError(f"largest is {largest}; wanted a number >= 1")

    def init(params: object) -> OverdispersedState:
        log_tau = gradient.init(params)
        if not isinstance(log_tau, np.ndarray):
            raise ValueError("overdispersed(...) must wrap score(...), inside all other tools")
        return OverdispersedState(log_tau, 0)

    def estimate(
        state: OverdispersedState, params: Array, batch: Batch, rng: np.random.Generator
    ) -> tuple[Array, OverdispersedState, Info]:
        direction, _, info = gradient.estimate(state.log_tau, params, batch, rng)
        rate = (DELAY + state.t) ** -EXPONENT
        draws = info["draws"]
        step = rate * draws.q.dispersion_slopes(
            state.log_tau, draws.Z, draws.weights, draws.signals, centred
        )
        log_tau = state.log_tau + np.clip(step, -FARTHEST, FARTHEST)
        info |= {"dispersion": float(np.exp(state.log_tau).mean())}
        return (
            direction,
            OverdispersedState(np.clip(log_tau, 0.0, np.log(largest)), state.t + 1),
            info,
        )

    return Gradient(init, estimate, pathwise=False)
