"""Mixtures by fixed-point updates, without a step size.

The bound of a mixture falls apart into those of its components once responsibilities r_k(z) are
held fixed: the best Gaussian for p r_k solves E grad f = 0 and precision = -E Hessian f, f = log p
r_k, and its weight is proportional to exp of its bound (Bishop et al. 1998; Arenz, Zhong and
Neumann 2020, eq. 8-15, without their trust regions). Both expectations are from gradients at draws
that stay the same (Stein's identity). All components are updated at once; an update that lowers the
bound is tried at half the length.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastvi.base.typing import Array
from fastvi.families.mixtures import GaussianMixture
from fastvi.fitting.growth import Candidate, best_of
from fastvi.fitting.polished import noise_of
from fastvi.targets.base import Target

__all__ = ["FixedPoint", "Look", "look"]

N_DRAWS = 1024  # of each component
MOST_UPDATES = 300
SHORTEST = 1 / 64  # an update that must be shorter to raise the bound is the last
NARROWEST = 0.9  # share of a precision that an update may take away
BOLDEST = 2.0  # nats by which a log weight may change
EMPTY = 1e-4  # weight below which a component is removed
STILL = 1e-6  # nats: such gains of five updates end a fit


class Look(NamedTuple):
    """Means over each component's draws: log ratios of p to q, and natural gradients."""

    bound: float
    heights: Array  # (K,)
    along: Array  # (K, D)
    bent: Array  # (K, D, D), symmetric: of the whitened precisions

    def updated(self, q: GaussianMixture, rate: float) -> GaussianMixture:
        """The mixture after an update of this length; 1 for that of fixed responsibilities."""
        values, frames = np.linalg.eigh(self.bent)
        spreads = 1.0 / np.sqrt(1.0 - np.minimum(rate * values, NARROWEST))
        square = frames * spreads[:, None, :]  # root of the new covariance, whitened
        inner = np.einsum("kij,kj->ki", np.swapaxes(square, 1, 2), rate * self.along)
        away = np.einsum("kij,kjl,kl->ki", q.roots, square, inner)
        wide = q.roots @ square
        log_weights = q.log_weights + np.clip(rate * (self.heights - self.bound), -BOLDEST, BOLDEST)
        return q.at(q.means + away, wide @ np.swapaxes(wide, 1, 2), log_weights)


def look(target: Target, power: float, q: GaussianMixture, eps: Array) -> Look:
    """The bound of a mixture and its natural gradients, from draws of noise (K, n, D).

    Draws without a density are left out; a component with no other has an infinite height.
    """
    K, n, D = eps.shape
    Z = (q.means[:, None] + eps @ np.swapaxes(q.roots, 1, 2)).reshape(K * n, D)
    values, slopes = target.attempt(Z)
    log_q, of_q = q.density(Z)
    fine = np.isfinite(values) & np.all(np.isfinite(slopes), axis=1)
    ratios = np.where(fine, power * values - log_q, 0.0).reshape(K, n)
    away = np.where(fine[:, None], power * slopes - of_q, 0.0).reshape(K, n, D)
    shares = fine.reshape(K, n) / np.maximum(fine.reshape(K, n).sum(axis=1, keepdims=True), 1)
    heights = np.sum(shares * ratios, axis=1)
    heights = np.where(shares.sum(axis=1) > 0, heights, -np.inf)
    away = shares[:, :, None] * (away @ q.roots)
    bent = np.einsum("kni,knj->kij", eps, away)
    bent = 0.5 * (bent + np.swapaxes(bent, 1, 2))
    return Look(float(q.weights @ heights), heights, away.sum(axis=1), bent)


class FixedPoint:
    """The growth of mixtures by fixed-point updates, see `fastvi.fitting.growth.Growth`."""

    def __init__(self, target: Target, power: float, seed: int) -> None:
        self.target, self.power, self.seed = target, power, seed

    def first(self, member: GaussianMixture) -> GaussianMixture:
        """Components from those of a member."""
        return self.fitted(member)[1]

    def with_another(
        self, params: GaussianMixture, rng: np.random.Generator
    ) -> GaussianMixture | None:
        """The mixture with one more component, and all of them updated."""
        return best_of(self, params, rng, self.fitted)

    def height(self, params: GaussianMixture) -> float:
        """The bound, from draws that stay the same."""
        return look(self.target, self.power, params, self._noise(params)).bound

    def read(self, params: GaussianMixture) -> GaussianMixture:
        """The mixture itself."""
        return params

    def fitted(self, member: GaussianMixture, n_updates: int = 0) -> Candidate:
        """The bound and the mixture after updates; 0 for as many as gain anything to speak of."""
        eps, rate = self._noise(member), 1.0
        now = look(self.target, self.power, member, eps)
        bounds, most = [now.bound], n_updates or MOST_UPDATES
        if not np.isfinite(now.bound):
            return -np.inf, member
        while len(bounds) <= most and rate >= SHORTEST:
            tried = now.updated(member, rate)
            full = tried.weights > EMPTY
            if not np.all(full):
                tried, eps = tried.kept(full), eps[full]
            seen = look(self.target, self.power, tried, eps)
            if not (seen.bound >= now.bound or (not np.all(full) and np.isfinite(seen.bound))):
                rate *= 0.5
                continue
            member, now, rate = tried, seen, min(1.0, 2.0 * rate)
            bounds.append(now.bound)
            if len(bounds) > 5 and bounds[-1] - bounds[-6] < STILL:
                break
        return now.bound, member

    def _noise(self, member: GaussianMixture) -> Array:
        return noise_of(member.n_components, N_DRAWS, member.dim, self.seed)
