"""Moments and draws of a target from weighted draws or chains, with Monte Carlo errors."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from fastvi.base import checks
from fastvi.base.typing import Array, RandomState
from fastvi.posteriors.bridge import Evidence
from fastvi.posteriors.importance import Weighted
from fastvi.posteriors.mixing import TAIL_OF_SQUARES
from fastvi.posteriors.refined import Refined
from fastvi.posteriors.verdict import GOOD, MEANS_ONLY, Verdict, has_sds

__all__ = ["Corrected", "corrected_by_chains", "corrected_of", "evidence_of"]


class Corrected:
    """Moments and draws of the target itself, from weighted draws, or from chains (`refine=True`).

    Attributes
    ----------
    mean : (D,) array
        Means of the unconstrained parameters.
    sd : (D,) array
        Standard deviations; nan where tails are too heavy to tell them.
    mean_error, sd_error : (D,) array
        Monte Carlo standard errors of these; 0 where all points are listed.
    points : (n, D) array
        Draws.
    weights : (n,) array
        Their weights, which sum to 1.
    worth : float
        Number of independent draws from the target to which they amount.
    verdict : Verdict
        On these moments themselves: "good", or "means only" where there are no standard deviations,
        and what it rests on.
    """

    def __init__(
        self, points: Array, weights: Array, verdict: Verdict, *, n_moves: int = 1, exact: bool
    ) -> None:
        self.points, self.weights, self.verdict = points, weights, verdict
        self.mean = np.asarray(weights @ points)
        squares = np.square(points - self.mean)
        sd = np.sqrt(weights @ squares)
        factor = 0.0 if exact else 1.0
        self.mean_error = factor * self._error(points - self.mean, n_moves)
        noise = self._error(squares - sd**2, n_moves)
        self.sd_error = factor * 0.5 * noise / np.maximum(sd, np.finfo(float).tiny)
        self.sd = sd if verdict.word == GOOD else np.full(len(sd), np.nan)
        self.worth = float(verdict.figures["worth"])

    def _error(self, values: Array, n_moves: int) -> Array:
        """Standard errors of weighted means of values (n, D); chains of so many moves are
        independent.
        """
        own = self.weights[:, None] * values
        of_chains = own.reshape(n_moves, -1, own.shape[1]).sum(axis=0)
        return np.asarray(np.sqrt(np.square(of_chains).sum(axis=0)))

    @cached_property
    def cov(self) -> Array:
        """Covariance of the unconstrained parameters, (D, D); nan where standard deviations are."""
        if np.isnan(self.sd).any():
            return np.full((len(self.sd), len(self.sd)), np.nan)
        away = self.points - self.mean
        return np.asarray((away.T * self.weights) @ away)

    def sample(self, n: int, random_state: RandomState = None) -> Array:
        """Draw (n, D) unconstrained parameters, by resampling the weighted draws.

        Some draws occur more than once.

        Parameters
        ----------
        n, random_state
            As in `Posterior.sample`.
        """
        n = checks.integer(n, "n", 0)
        rng = checks.generator(random_state, "random_state")
        total = np.cumsum(self.weights)
        places = (np.arange(n) + rng.random()) / max(n, 1) * total[-1]  # systematic
        which = np.minimum(np.searchsorted(total, places, "right"), len(total) - 1)
        return np.asarray(self.points[rng.permutation(which)])

    def __repr__(self) -> str:
        worth = "all points" if np.isinf(self.worth) else f"worth {self.worth:.0f} draws"
        return f"<Corrected: mean {self.mean}, sd {self.sd}, {worth}>"


def corrected_of(found: Weighted, figures: Mapping[str, float], seconds: float) -> Corrected:
    """Moments of weighted draws; without standard deviations where tails are too heavy."""
    exact = bool(np.isinf(found.size))
    n = len(found.points)
    reason = f"All {n} points are listed."
    if not exact:
        reason = f"{n} weighted draws are worth {found.size:.0f} draws from the target."
    word = GOOD
    if not has_sds(figures):
        word, reason = MEANS_ONLY, f"{reason[:-1]}; tails are too heavy for standard deviations."
    verdict = Verdict(word, reason, {**figures, "worth": found.size}, seconds)
    return Corrected(found.points, found.weights, verdict, exact=exact)


def corrected_by_chains(found: Refined, seconds: float) -> Corrected:
    """Moments of chains; without standard deviations where tails are too heavy."""
    n, C, D = found.window.points.shape
    points = found.window.points.reshape(-1, D)
    means = found.window.points.mean(axis=0)
    worth = float(np.min(points.var(axis=0) / means.var(axis=0, ddof=1))) * C
    reason = f"{n} moves of {C} chains agree (R-hat {found.figures['rhat']:.2f})."
    word = GOOD
    if found.figures["khat_sds"] >= TAIL_OF_SQUARES:
        word, reason = MEANS_ONLY, f"{reason[:-1]}; tails are too heavy for standard deviations."
    verdict = Verdict(word, reason, {**found.figures, "worth": worth}, seconds)
    weights = np.full(len(points), 1.0 / len(points))
    return Corrected(points, weights, verdict, n_moves=n, exact=False)


def evidence_of(found: Weighted) -> Evidence:
    """Log of the mean weight, and its standard error by the delta method."""
    error = 0.0
    if np.isfinite(found.size):
        error = float(np.sqrt(max(1.0 / max(found.size, 1e-300) - 1.0 / len(found.points), 0.0)))
    return Evidence(float(found.log_mean), error)
