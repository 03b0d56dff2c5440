"""Variational boosting with low-rank components (Miller, Foti and Adams 2017).

A component with a low-rank plus diagonal covariance and its weight are found together, so that the
ELBO of the mixture rises most while earlier components stay (their section 3.2); then all weights
are refitted. The draws are fixed while a component is fitted.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit, logsumexp

from fastvi.base.typing import Array
from fastvi.families.lowrank import LowRank
from fastvi.families.mixtures import GaussianMixture
from fastvi.fitting.growth import Candidate, best_of, one_by_one
from fastvi.fitting.polished import noise_of
from fastvi.targets.base import Target

__all__ = ["Added", "LowRankGrowth", "reweighted"]

N_DRAWS = 1024  # of the mixture, and of the component
N_WEIGHED = 2048  # of each component, for the weights
MOST_STEPS, MOST_REWEIGHED = 200, 500
NARROWEST = 1e-6  # share of a standard deviation that factors must leave
FIRST = 0.2  # weight of a component to begin with
STILL = 1e-6  # nats per unit of a weight, at which weights are the best


class Added(NamedTuple):
    """The bound of a mixture of what was there and one component, for draws that stay the same."""

    target: Target
    power: float
    before: GaussianMixture | None
    points: Array  # (n, D), of the mixture before
    log_p: Array  # (n,) there
    noise: Array  # (n, R + D), of the component

    @classmethod
    def to(
        cls, target: Target, power: float, before: GaussianMixture | None, rank: int, seed: int
    ) -> Added:
        """Draw what stays the same."""
        noise = noise_of(1, N_DRAWS, rank + target.dim, seed)[0]
        if before is None:
            return cls(target, power, None, np.empty((0, target.dim)), np.empty(0), noise)
        points = before.draw(N_DRAWS, np.random.default_rng(seed)).points
        values = power * target.attempt(points, with_gradient=False)[0]
        fine = np.isfinite(values)
        return cls(target, power, before, points[fine], values[fine], noise)

    def bound(self, logit_weight: float, q: LowRank) -> tuple[float, float, tuple[Array, ...]]:
        """The bound, and its gradients with respect to the logit of the weight and `q.free()`.

        A component alone has the weight 1.
        """
        draws = q.at(self.noise).points
        values, slopes = np.array(-np.inf), draws
        if np.all(np.isfinite(draws)) and np.all(q.sd0 > NARROWEST * q.sd):
            values, slopes = self.target.attempt(draws)
        if not (np.all(np.isfinite(values)) and np.all(np.isfinite(slopes))):
            return -np.inf, 0.0, tuple(np.zeros(leaf.shape) for leaf in q.free())
        Z = np.concatenate((self.points, draws))
        n, weight, turned = len(self.points), float(expit(logit_weight)), q._solve(Z - q.mean)
        heights, mine, of_q = self._mixed(logit_weight, q, Z)
        heights += np.append(self.log_p, self.power * values)
        shares = np.full(len(Z), weight / len(values))
        of_weight = 0.0
        if n:
            shares[:n] = (1.0 - weight) / n
            of_weight = weight * (1.0 - weight) * (heights[n:].mean() - heights[:n].mean())
            of_weight -= float(shares @ (mine - weight))
        along = self.power * slopes - of_q[n:] + mine[n:, None] * turned[n:]
        rest = _pulled(q, shares * mine, turned, shares[n:, None] * along, self.noise)
        return float(shares @ heights), float(of_weight), rest

    def _mixed(self, logit_weight: float, q: LowRank, Z: Array) -> tuple[Array, Array, Array]:
        """Minus log densities of the mixture, shares of the component, slopes of the others."""
        own = q.log_prob(Z)
        if self.before is None:
            return -own, np.ones(len(Z)), np.zeros_like(Z)
        log_q, slopes = self.before.density(Z)
        mixed = np.logaddexp(log_expit(logit_weight) + own, log_expit(-logit_weight) + log_q)
        mine = np.exp(log_expit(logit_weight) + own - mixed)
        return -mixed, mine, (1.0 - mine)[:, None] * slopes

    def best(self, start: LowRank, n_steps: int = 0) -> tuple[float, float, LowRank]:
        """Bound, weight and component near a start that are best."""
        free, alone = start.free(), self.before is None
        ends = np.cumsum([np.size(leaf) for leaf in free])[:-1]

        def read(flat: Array) -> LowRank:
            parts = np.split(flat, ends)
            mean, factors, log_sd = (p.reshape(leaf.shape) for p, leaf in zip(parts, free))
            return LowRank.from_free((mean, factors, log_sd))

        def loss(flat: Array) -> tuple[float, Array]:
            bound, of_weight, rest = self.bound(np.inf if alone else flat[-1], read(flat[:size]))
            gradient = np.concatenate([np.ravel(leaf) for leaf in rest])
            return -bound, -(gradient if alone else np.append(gradient, of_weight))

        flat = np.concatenate([np.ravel(leaf) for leaf in free])
        size = len(flat)
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            found: Any = minimize(
                loss, flat if alone else np.append(flat, logit(FIRST)), jac=True,
                method="L-BFGS-B", options={"maxiter": n_steps or MOST_STEPS},
            )  # fmt: skip
        weight = 1.0 if alone else float(expit(found.x[-1]))
        return -float(found.fun), weight, read(found.x[:size])


def _pulled(
    q: LowRank, mass: Array, turned: Array, along: Array, noise: Array
) -> tuple[Array, Array, Array]:
    """Gradients with respect to `q.free()`.

    They come from the log densities of draws, whose masses (n,) belong to q, and from the places of
    its own ones, along (m, D) which the bound rises. `turned` (n, D) are draws times the precision.
    """
    rank, m = q.factors.shape[1], len(noise)
    inner = q._solve(q.factors.T).T
    precisions = (1.0 - np.sum(inner * q.factors, axis=1)) / q.sd0**2
    of_mean = along.sum(axis=0) - mass @ turned
    of_factors = mass.sum() * inner - (turned.T * mass) @ (turned @ q.factors)
    of_factors += along.T @ noise[:, :rank]
    of_sd = q.sd0**2 * (mass.sum() * precisions - mass @ np.square(turned))
    of_sd += q.sd0 * np.sum(along * noise[:m, rank:], axis=0)
    return of_mean, of_factors, of_sd


class LowRankGrowth:
    """The growth of mixtures by low-rank components, see `fastvi.fitting.growth.Growth`."""

    def __init__(self, target: Target, power: float, rank: int, seed: int) -> None:
        self.target, self.power, self.seed = target, power, seed
        self.rank = min(rank, target.dim)

    def first(self, member: GaussianMixture) -> GaussianMixture:
        """Components from those of a member, one after the other."""
        return one_by_one(member, partial(self._best, n_steps=0), self._weighted)

    def with_another(
        self, params: GaussianMixture, rng: np.random.Generator
    ) -> GaussianMixture | None:
        """The component that raises the bound most, and new weights."""
        found = best_of(
            self, params, rng,
            lambda trial, n: self._best(params, trial.means[-1], trial.roots[-1], n),
        )  # fmt: skip
        return None if found is None else self._weighted(found)

    def height(self, params: GaussianMixture) -> float:
        """The bound, from draws that stay the same."""
        return reweighted(self.target, self.power, params, self.seed, n_steps=0)[1]

    def read(self, params: GaussianMixture) -> GaussianMixture:
        """The mixture itself."""
        return params

    def _weighted(self, params: GaussianMixture) -> GaussianMixture:
        return reweighted(self.target, self.power, params, self.seed)[0]

    def _best(
        self, before: GaussianMixture | None, mean: Array, root: Array, n_steps: int
    ) -> Candidate:
        added = Added.to(self.target, self.power, before, self.rank, self.seed)
        start = LowRank.of(mean, root @ root.T, self.rank)
        bound, weight, q = added.best(start, n_steps)
        own = np.asarray(np.linalg.cholesky(q.cov), np.float64)
        if before is None:
            return bound, GaussianMixture(np.zeros(1), q.mean[None], own[None])
        weight = min(max(weight, 1e-12), 1.0 - 1e-12)
        return bound, before.with_component(weight, q.mean, own)


def reweighted(
    target: Target, power: float, member: GaussianMixture, seed: int, n_steps: int = MOST_REWEIGHED
) -> tuple[GaussianMixture, float]:
    """Return a mixture with the best weights of its components, and its bound in nats.

    Weights move along natural gradients of the bound on draws that stay the same.
    """
    K, D = member.n_components, member.dim
    noise = noise_of(K, N_WEIGHED, D, seed)
    points = (member.means[:, None] + noise @ np.swapaxes(member.roots, 1, 2)).reshape(-1, D)
    values = power * target.attempt(points, with_gradient=False)[0]
    fine = np.isfinite(values)
    if not np.any(fine):
        return member, -np.inf
    values = np.where(fine, values, values[fine].min())
    parts = np.array([member.kept(np.array([k])).log_prob(points) for k in range(K)])
    log_weights = member.log_weights
    for step in range(n_steps + 1):
        heights = values - logsumexp(parts + log_weights[:, None], axis=0)
        each, weights = heights.reshape(K, -1).mean(axis=1), np.exp(log_weights)
        bound = float(weights @ each)
        away = each - bound
        if step == n_steps or np.max(np.abs(weights * away)) < STILL:
            break
        log_weights = log_weights + np.clip(0.5 * away, -1.0, 1.0)
        log_weights -= logsumexp(log_weights)
    return member._replace(log_weights=log_weights), bound
