"""Moments and draws of a target from weighted draws, with Monte Carlo errors."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np

from fastvi.base import checks
from fastvi.base.typing import Array, RandomState
from fastvi.posteriors.importance import Weighted
from fastvi.posteriors.verdict import has_sds

__all__ = ["Corrected", "Evidence", "corrected_of", "evidence_of"]


class Evidence(NamedTuple):
    """Log evidence in nats, and its Monte Carlo standard error."""

    log: float
    error: float


class Corrected:
    """Moments and draws of the target itself, from weighted draws.

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
        Number of draws from the target to which they amount.
    """

    def __init__(self, found: Weighted, *, with_sds: bool) -> None:
        self.points, self.weights, self.worth = found.points, found.weights, found.size
        self.mean, sd = found.mean, found.sd
        squares = np.square(self.points - self.mean)
        factor = float(np.isfinite(found.size))
        self.mean_error = factor * np.sqrt(np.square(self.weights) @ squares)
        noise = np.sqrt(np.square(self.weights) @ np.square(squares - sd**2))
        self.sd_error = factor * 0.5 * noise / np.maximum(sd, np.finfo(float).tiny)
        self.sd = sd if with_sds else np.full(len(sd), np.nan)

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


def corrected_of(found: Weighted, khat_of_squares: float) -> Corrected:
    """Moments of weighted draws; without standard deviations where tails are too heavy."""
    return Corrected(found, with_sds=has_sds({"khat_sds": khat_of_squares}))


def evidence_of(found: Weighted) -> Evidence:
    """Log of the mean weight, and its standard error by the delta method.

    Between the proposals and draws that are resampled from them, the optimal bridge (Meng and Wong
    1996) reduces to this mean.
    """
    error = 0.0
    if np.isfinite(found.size):
        error = float(np.sqrt(max(1.0 / max(found.size, 1e-300) - 1.0 / len(found.points), 0.0)))
    return Evidence(float(found.log_mean), error)
