"""Score-function gradients, and what makes them less noisy.

A gradient is the mean over draws of ``weight x signal x score``, where the score has mean zero, so
that anything that does not depend on the draw may be taken from the signal. `score` gives it for
any target, continuous or discrete, that has a density and no gradient; `overdispersed` goes around
it and draws from elsewhere; `baseline` and `control_variates` go around either, in any order.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastvi.base import checks
from fastvi.core import Batch, Gradient
from fastvi.families.base import Family, Product
from fastvi.objectives import Objective, elbo
from fastvi.targets.base import Target

__all__ = ["Draws", "baseline", "control_variates", "overdispersed", "score"]

Array = NDArray[np.float64]
LARGEST = 5.0  # tau
DELAY, EXPONENT, FARTHEST = 10.0, 0.6, 0.1  # of the steps of log tau


class Draws(NamedTuple):
    """What a score-function gradient is made of, as ``info["draws"]``.

    Attributes
    ----------
    q : Product
        Whose gradient it is.
    Z : (n, D) array
    weights : (n, B) or (n, 1) array
        Importance weights of each block's part, or of all.
    signals : (n, B) or (n, 1) array
        What a draw says about each block's parameters, or about all; nats.
    controlled : bool
        Whether control variates are to be taken off.
    """

    q: Product
    Z: Array
    weights: Array
    signals: Array
    controlled: bool = False

    def gradient(self) -> Array:
        """With respect to the free parameters of q, (P,)."""
        return self.q.score_pullback(self.Z, self.weights, self.signals, self.controlled)


def score(
    target: Target,
    objective: Objective | None = None,
    *,
    n_draws: int,
    family: Family,
    touches: ArrayLike | None = None,
) -> Gradient:
    """Gradients of the ELBO from values of the log density alone.

    E_q[(log p(z) - log q(z)) grad log q(z)] (Ranganath, Gerrish and Blei 2014, eq. 2). Where the
    target says which terms of the density each number touches, a block's part is Rao-Blackwellized
    (eq. 6): its signal is the sum of the terms that it touches, less its own log density.

    Parameters
    ----------
    target : Target
        Of vectors that the family draws; needs no gradient.
    objective : Objective, optional
        The ELBO (the default), perhaps tempered.
    n_draws : int
        Draws per step.
    family : Family
        A product of independent blocks, or a member that is one; the fit keeps its form.
    touches : (D, n_terms) array of bool, optional
        By default ``target.touches``; all True (or None there) is no Rao-Blackwellization.

    Returns
    -------
    Gradient
        With respect to ``free()`` of the product. Its `info` has `bound` in nats, its standard
        error `bound_error`, `draws` (a `Draws`), and `rejected`, the number of draws whose density
        was not finite: these count as the worst of the others, so that q moves away from them.

    Raises
    ------
    ValueError
        If the family is not a product of independent blocks, or has another number of numbers than
        the target, or the objective is another.
    """
    goal = elbo() if objective is None else objective
    if goal.weights is not elbo().weights:
        raise ValueError("score-function gradients are of the ELBO, perhaps tempered; wanted that")
    form = family.powers.score
    if form is None:
        raise ValueError("family has no score functions; wanted fastvi.families.blocks(...)")
    if family.dim != target.dim:
        raise ValueError(f"family draws {family.dim} numbers; the target takes {target.dim}")
    like = form.product
    n_draws = checks.integer(n_draws, "n_draws", 1)
    known = target.touches if touches is None else touches
    of_blocks = None if known is None else _of_blocks(like, known, target.n_terms)
    shares = None if of_blocks is None else _shares(of_blocks)

    def estimate(
        log_tau: Array, params: Array, batch: Batch, rng: np.random.Generator
    ) -> tuple[Array, Array, dict[str, Any]]:
        q = like.from_free(np.array(params))  # which are stepped on in place
        Z, log_q, log_r = q.dispersed(log_tau, n_draws, rng)
        terms = target.attempt(Z, batch, with_gradient=False, terms=of_blocks is not None)[0]
        log_p = terms if terms.ndim == 1 else terms.sum(axis=1)
        bounds, rejected = _repaired((goal.power * log_p - log_q.sum(axis=1))[:, None])
        if rejected == n_draws:
            target.refuse(Z, batch)
        signals = bounds
        if of_blocks is not None:
            signals = _repaired(goal.power * terms @ of_blocks.T - log_q)[0]
        draws = Draws(q, Z, _weights(log_q - log_r, shares), signals)
        info = _bound(bounds[:, 0], log_q - log_r) | {"rejected": rejected, "draws": draws}
        return draws.gradient(), log_tau, info

    return Gradient(lambda params: np.zeros(len(like.starts)), estimate, pathwise=False)


def _of_blocks(family: Product, touches: ArrayLike, n_terms: int) -> Array:
    """Which terms each block touches, (B, n_terms) of 0 and 1."""
    table = np.asarray(touches)
    if table.dtype != bool or table.shape != (family.dim, n_terms):
        raise ValueError(
            f"touches is {table.dtype} of shape {table.shape}; wanted bool, ({family.dim}, "
            f"{n_terms}): a row a number, a column a term"
        )
    return np.asarray(np.logical_or.reduceat(table, family.starts, axis=0), np.float64)


def _repaired(signals: Array) -> tuple[Array, int]:
    """Signals (n, B) where rows that are not finite became the least of their column."""
    wrong = ~np.isfinite(signals).all(axis=1)
    rejected = int(np.count_nonzero(wrong))
    if 0 < rejected < len(signals):
        signals[wrong] = signals[~wrong].min(axis=0)
    return signals, rejected


def _shares(of_blocks: Array) -> Array:
    """Which blocks share a term, (B, B) of 0 and 1."""
    found = of_blocks @ of_blocks.T > 0
    np.fill_diagonal(found, True)
    return found.astype(np.float64)


def _weights(log_ratios: Array, shares: Array | None) -> Array:
    """Weights of draws for each block: over the blocks that share a term with it, or over all."""
    if shares is None or not np.any(log_ratios):
        return np.asarray(np.exp(log_ratios.sum(axis=1, keepdims=True)))
    return np.asarray(np.exp(log_ratios @ shares))


def _bound(log_w: Array, log_ratios: Array) -> dict[str, float]:
    """The ELBO and its standard error, by normalised importance weights."""
    weights = np.exp(log_ratios.sum(axis=1))
    weights /= weights.sum()
    bound = float(weights @ log_w)
    with np.errstate(over="ignore"):
        error = float(np.linalg.norm(weights * (log_w - bound)))
    return {"bound": bound, "bound_error": error}


# Variance reduction


def _again(draws: Draws, info: dict[str, Any]) -> tuple[Array, dict[str, Any]]:
    return draws.gradient(), {**info, "draws": draws}


def control_variates(gradient: Gradient) -> Gradient:
    """Take from each coordinate's signal what makes it vary least.

    The optimal coefficient of the score as its own control variate (Ranganath, Gerrish and Blei
    2014, section 3.2), for each draw from the others, so that no bias comes in.

    Parameters
    ----------
    gradient : Gradient
        From `score`, `overdispersed` or `baseline`.
    """

    def estimate(
        state: Any, params: Array, batch: Batch, rng: np.random.Generator
    ) -> tuple[Array, Any, dict[str, Any]]:
        _, state, info = gradient.estimate(state, params, batch, rng)
        direction, info = _again(info["draws"]._replace(controlled=True), info)
        return direction, state, info

    return Gradient(gradient.init, estimate, pathwise=False)


class BaselineState(NamedTuple):
    """Running mean of the signals, (B,) or (1,), the weight it has so far, and the inner state."""

    level: Any
    share: float
    inner: Any


def baseline(gradient: Gradient, decay: float = 0.9) -> Gradient:
    """Take the running mean of earlier steps' signals from each signal (Williams 1992).

    Parameters
    ----------
    gradient : Gradient
        From `score`, `overdispersed` or `control_variates`.
    decay : float
        Share that the past keeps at each step.

    Raises
    ------
    ValueError
        If `decay` is not in [0, 1).
    """
    if not 0 <= decay < 1:
        raise ValueError(f"decay is {decay}; wanted a number in [0, 1)")

    def init(params: Any) -> BaselineState:
        return BaselineState(None, 0.0, gradient.init(params))

    def estimate(
        state: BaselineState, params: Array, batch: Batch, rng: np.random.Generator
    ) -> tuple[Array, BaselineState, dict[str, Any]]:
        _, inner, info = gradient.estimate(state.inner, params, batch, rng)
        draws = info["draws"]
        now = (draws.weights * draws.signals).sum(axis=0) / draws.weights.sum(axis=0)
        level, share = state.level, state.share
        if share > 0:
            draws = draws._replace(signals=draws.signals - level / share)
        level = (1 - decay) * now + (0.0 if level is None else decay * level)
        direction, info = _again(draws, info)
        return direction, BaselineState(level, 1 - decay + decay * share, inner), info

    return Gradient(init, estimate, pathwise=False)


class OverdispersedState(NamedTuple):
    """Log dispersions (B,), which are the inner state as well, and the number of steps."""

    log_tau: Array
    t: int


def overdispersed(
    gradient: Gradient, largest: float = LARGEST, *, centred: bool = True
) -> Gradient:
    """Draw from distributions with heavier tails, and weigh (Ruiz, Titsias and Blei 2016).

    Scores are small where draws are many. The dispersion tau of each block begins at 1, which is
    no change, and follows the gradient of the variance, in the units of `Product.step_units`. All
    blocks of a draw are dispersed at once and weighed together, where Ruiz et al. draw for each
    block anew: a draw costs one evaluation, and gains fall with the number of blocks that share
    terms, down to none.

    Parameters
    ----------
    gradient : Gradient
        From `score`.
    largest : float
        Of tau.
    centred : bool
        Whether `baseline` or `control_variates` go around this: tau suits their variance then.

    Returns
    -------
    Gradient
        Its `info` also has `dispersion`, the mean of tau.

    Raises
    ------
    ValueError
        If `largest` is below 1, or the gradient (which then shows) is not of `score`.
    """
    if not 1 <= largest < np.inf:
        raise ValueError(f"largest is {largest}; wanted a number >= 1")

    def init(params: Any) -> OverdispersedState:
        log_tau = gradient.init(params)
        if not isinstance(log_tau, np.ndarray):
            raise ValueError("overdispersed(...) goes around score(...), inside all others")
        return OverdispersedState(log_tau, 0)

    def estimate(
        state: OverdispersedState, params: Array, batch: Batch, rng: np.random.Generator
    ) -> tuple[Array, OverdispersedState, dict[str, Any]]:
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
