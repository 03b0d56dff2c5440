"""Score-function gradients.

The gradient is the mean over draws of ``weight x signal x score``. The score has mean zero, so
anything that does not depend on the draw may be subtracted from the signal. `score` needs only the
density of a target, which may be continuous or discrete. `fastvi.gradients.score_variance` reduces
the variance.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fastvi.base import checks
from fastvi.base.typing import Array, Info
from fastvi.core import Batch, Gradient
from fastvi.families.base import Family, Product
from fastvi.objectives import Objective, elbo
from fastvi.targets.base import Target

__all__ = ["Draws", "score"]


class Draws(NamedTuple):
    """Parts of a score-function gradient, as ``info["draws"]``.

    Attributes
    ----------
    q : Product
        Member whose gradient it is.
    Z : (n, D) array
    weights : (n, B) or (n, 1) array
        Importance weights of each block's part, or of all.
    signals : (n, B) or (n, 1) array
        Signals of each draw for each block's parameters, or for all, in nats.
    controlled : bool
        Whether to subtract control variates.
    """

    q: Product
    Z: Array
    weights: Array
    signals: Array
    controlled: bool = False

    def gradient(self) -> Array:
        """Gradient with respect to the unconstrained parameters of q, (P,)."""
        return self.q.score_pullback(self.Z, self.weights, self.signals, self.controlled)


def score(
    target: Target,
    objective: Objective | None = None,
    *,
    n_draws: int,
    family: Family,
    touches: ArrayLike | None = None,
) -> Gradient:
    """Gradients of the ELBO from values of the log density.

    The gradient is E_q[(log p(z) - log q(z)) grad log q(z)] (Ranganath, Gerrish and Blei 2014, eq.
    2). If the target says which terms of the density each parameter affects, the gradient is
    Rao-Blackwellized (eq. 6): the signal of a block is the sum of the terms that it affects, minus
    its own log density.

    Parameters
    ----------
    target : Target
        A target of the vectors that the family draws; it needs no gradient.
    objective : Objective, optional
        The ELBO (the default), perhaps tempered.
    n_draws : int
        Draws per step.
    family : Family
        A product of independent blocks, or a member that equals one; the fit keeps its form.
    touches : (D, n_terms) array of bool, optional
        By default ``target.touches``; all True (or None) means no Rao-Blackwellization.

    Returns
    -------
    Gradient
        With respect to ``free()`` of the product. Its `info` has `elbo` in nats, its standard
        error `elbo_error`, `draws` (a `Draws`), and `rejected`, the number of draws whose density
        was not finite: these count as the worst of the others, so that q moves away from them.

    Raises
    ------
    ValueError
        If the family is not a product of independent blocks or has another dimension than the
        target, or the objective is not the ELBO.
    """
    goal = elbo() if objective is None else objective
    if goal.weights is not elbo().weights:
        raise ValueError("score-function gradients support only the ELBO, possibly tempered")
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
    ) -> tuple[Array, Array, Info]:
        q = like.from_free(np.array(params))  # because steps change params in place
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
    """Return which terms each block affects, (B, n_terms) of 0 and 1."""
    table = np.asarray(touches)
    if table.dtype != bool or table.shape != (family.dim, n_terms):
        raise ValueError(
            f"touches is {table.dtype} of shape {table.shape}; wanted bool, ({family.dim}, "
            f"{n_terms}): one row per parameter, one column per term"
        )
    return np.asarray(np.logical_or.reduceat(table, family.starts, axis=0), np.float64)


def _repaired(signals: Array) -> tuple[Array, int]:
    """Replace rows of signals (n, B) that are not finite by the minima of the columns."""
    wrong = ~np.isfinite(signals).all(axis=1)
    rejected = int(np.count_nonzero(wrong))
    if 0 < rejected < len(signals):
        signals[wrong] = signals[~wrong].min(axis=0)
    return signals, rejected


def _shares(of_blocks: Array) -> Array:
    """Return which blocks share a term, (B, B) of 0 and 1."""
    found = of_blocks @ of_blocks.T > 0
    np.fill_diagonal(found, True)
    return found.astype(np.float64)


def _weights(log_ratios: Array, shares: Array | None) -> Array:
    """Weights of draws for each block, over blocks that share a term with it, or over all."""
    if shares is None or not np.any(log_ratios):
        return np.asarray(np.exp(log_ratios.sum(axis=1, keepdims=True)))
    return np.asarray(np.exp(log_ratios @ shares))


def _bound(log_w: Array, log_ratios: Array) -> dict[str, float]:
    """Estimate the ELBO and its standard error, with normalised importance weights."""
    weights = np.exp(log_ratios.sum(axis=1))
    weights /= weights.sum()
    bound = float(weights @ log_w)
    with np.errstate(over="ignore"):
        error = float(np.linalg.norm(weights * (log_w - bound)))
    return {"elbo": bound, "elbo_error": error}
