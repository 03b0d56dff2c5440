"""Universal boosting variational inference (Campbell and Li 2019).

The square root of a density is approximated by g = sum_i lambda_i sqrt(N_i) of Gaussians, in the
Hellinger distance, in which components cannot degenerate. A component is added where it correlates
best with what is left (their eq. 8), and all weights are found by non-negative least squares on the
Gram matrix of the roots (eq. 9). The square of g is a mixture of the products sqrt(N_i N_j), which
are Gaussian.

Parameters are the Gaussians, with weights proportional to lambda. What rises is twice the logarithm
of <sqrt(p), g>, which is less than that of the evidence by Renyi's divergence of order 1/2.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize, nnls
from scipy.special import logsumexp

from fastvi.base.typing import Array
from fastvi.families.mixtures import GaussianMixture
from fastvi.fitting.growth import Candidate, best_of, one_by_one
from fastvi.fitting.polished import noise_of
from fastvi.targets.base import Target

__all__ = ["Hellinger", "Overlap", "gram", "squared"]

N_DRAWS = 1024  # of a component's overlap with the target, while it is looked for
N_WEIGHED = 4096  # of each component, for the weights
MOST_STEPS = 200
RIDGE = 1e-10  # of the Gram matrix, whose diagonal is 1
EMPTY = 1e-6  # weight below which a product of components is left out


def _overlaps(mean: Array, root: Array, others: GaussianMixture) -> tuple[Array, Array, Array]:
    """Overlaps (K,) of a Gaussian's square root with others', and the logarithms' gradients.

    These are with respect to mean (K, D) and root (K, D, D).
    """
    own, D = np.log(np.diag(root)).sum(), len(mean)
    theirs = np.log(np.diagonal(others.roots, axis1=1, axis2=2)).sum(axis=1)
    covs = others.roots @ np.swapaxes(others.roots, 1, 2)
    inverse = np.linalg.inv(0.5 * (root @ root.T + covs))
    away = mean - others.means
    pulled = np.einsum("kij,kj->ki", inverse, away)
    logs = 0.5 * (own + theirs + np.linalg.slogdet(inverse)[1])
    logs -= 0.125 * np.sum(away * pulled, axis=1)
    of_roots = (0.125 * np.einsum("ki,kj->kij", pulled, pulled) - 0.5 * inverse) @ root
    diagonal = np.arange(D)
    of_roots[:, diagonal, diagonal] += 0.5 / np.diag(root)
    return np.exp(logs), -0.25 * pulled, of_roots


def gram(params: GaussianMixture) -> Array:
    """Overlaps Z (K, K) of the square roots of Gaussians."""
    pairs = zip(params.means, params.roots)
    return np.array([_overlaps(mean, root, params)[0] for mean, root in pairs])


def squared(params: GaussianMixture) -> GaussianMixture:
    """The density g^2, a mixture of K (K + 1) / 2 Gaussians or fewer."""
    Z, shares = gram(params), params.weights
    first, second = np.triu_indices(params.n_components)
    weights = np.where(first == second, 1.0, 2.0) * shares[first] * shares[second]
    weights *= Z[first, second]
    kept = weights > EMPTY * weights.sum()
    first, second, weights = first[kept], second[kept], weights[kept]
    precisions = np.linalg.inv(params.roots @ np.swapaxes(params.roots, 1, 2))
    pulled = np.einsum("kij,kj->ki", precisions, params.means)
    covs = np.linalg.inv(0.5 * (precisions[first] + precisions[second]))
    means = 0.5 * np.einsum("kij,kj->ki", covs, pulled[first] + pulled[second])
    covs = 0.5 * (covs + np.swapaxes(covs, 1, 2))
    return params.at(means, covs, np.log(weights))


class Overlap:
    """The overlap of a component's square root with the target's, from draws that stay the same."""

    def __init__(self, target: Target, power: float, seed: int) -> None:
        self.target, self.power = target, power
        self.eps = noise_of(1, N_DRAWS, target.dim, seed)[0]

    def log_mean(self, mean: Array, root: Array) -> tuple[float, Array, Array]:
        """Logarithm of the overlap, and its gradients with respect to mean and root."""
        values, slopes = self.target.attempt(mean + self.eps @ root.T)
        D, width = len(mean), np.log(np.diag(root)).sum()
        own = 0.5 * np.square(self.eps).sum(axis=1) + width + 0.5 * D * np.log(2.0 * np.pi)
        logs = 0.5 * (self.power * values + own)
        fine = np.isfinite(logs) & np.all(np.isfinite(slopes), axis=1)
        if not np.any(fine):
            return -np.inf, np.zeros(D), np.zeros((D, D))
        logs = np.where(fine, logs, -np.inf)
        total = float(logsumexp(logs))
        along = 0.5 * self.power * np.exp(logs - total)[:, None]
        along = along * np.where(fine[:, None], slopes, 0.0)
        of_root = np.tril(along.T @ self.eps) + 0.5 * np.diag(1.0 / np.diag(root))
        return total - np.log(len(logs)), along.sum(axis=0), of_root


class _Before(NamedTuple):
    """What is there: Gaussians, lambda (K,) with lambda' Z lambda = 1, and log <sqrt(p), g>."""

    params: GaussianMixture
    weights: Array
    height: float


class Hellinger:
    """The growth of mixtures by Hellinger distances, see `fastvi.fitting.growth.Growth`."""

    def __init__(self, target: Target, power: float, seed: int) -> None:
        self.target, self.power, self.seed = target, power, seed
        self.overlap = Overlap(target, power, seed)

    def first(self, member: GaussianMixture) -> GaussianMixture:
        """Components from those of a member, one after the other."""

        def fitted(params: GaussianMixture | None, mean: Array, root: Array) -> Candidate:
            before = None if params is None else self._before(params)
            return self._best(before, mean, root, 0)

        return one_by_one(member, fitted, self._weighted)

    def with_another(
        self, params: GaussianMixture, rng: np.random.Generator
    ) -> GaussianMixture | None:
        """The component that correlates best with what is left, and new weights."""
        before = self._before(params)
        found = best_of(
            self, squared(params), rng,
            lambda trial, n: self._best(before, trial.means[-1], trial.roots[-1], n),
        )  # fmt: skip
        return None if found is None else self._weighted(found)

    def height(self, params: GaussianMixture) -> float:
        """Twice log <sqrt(p), g>, from draws that stay the same."""
        return 2.0 * self._before(params).height

    def read(self, params: GaussianMixture) -> GaussianMixture:
        """The density g^2."""
        return squared(params)

    def _before(self, params: GaussianMixture) -> _Before:
        Z, shares = gram(params), params.weights
        weights = shares / np.sqrt(shares @ Z @ shares)
        overlaps, level = self._with_target(params)
        height = np.log(weights @ overlaps) + level if np.isfinite(level) else -np.inf
        return _Before(params, weights, float(height))

    def _with_target(self, params: GaussianMixture) -> tuple[Array, float]:
        """Overlaps (K,) of the Gaussians' square roots with the target's, over exp(level).

        All are from the same draws, so that their errors are much the same.
        """
        K, D = params.n_components, params.dim
        n = 2 ** int(np.log2(max(4 * N_WEIGHED // K, 2)))
        eps = noise_of(K, min(n, N_WEIGHED), D, self.seed + 1)
        Z = (params.means[:, None] + eps @ np.swapaxes(params.roots, 1, 2)).reshape(-1, D)
        each = np.array([params.kept(np.array([k])).log_prob(Z) for k in range(K)])
        proposed = logsumexp(each, axis=0) - np.log(K)
        values = 0.5 * self.power * self.target.attempt(Z, with_gradient=False)[0]
        logs = np.where(np.isfinite(values), values - proposed, -np.inf) + 0.5 * each
        totals = logsumexp(logs, axis=1) - np.log(len(Z))
        level = float(totals.max())
        return np.exp(totals - level) if np.isfinite(level) else totals, level

    def _weighted(self, params: GaussianMixture) -> GaussianMixture:
        """These Gaussians with the best weights, without those that get none."""
        Z, (overlaps, level) = gram(params), self._with_target(params)
        if not np.isfinite(level):
            return params
        lower = np.linalg.cholesky(Z + RIDGE * np.eye(len(Z)))
        weights = nnls(lower.T, np.linalg.solve(lower, overlaps))[0]
        kept = weights > 0.0
        return params._replace(log_weights=np.log(np.where(kept, weights, 1.0))).kept(kept)

    def score(self, before: _Before | None, mean: Array, root: Array) -> tuple[float, Array, Array]:
        """Log correlation of a component with what is left, and its gradients; eq. 8."""
        height, of_mean, of_root = self.overlap.log_mean(mean, root)
        if before is None or not np.isfinite(height):
            return height, of_mean, of_root
        Z, of_means, of_roots = _overlaps(mean, root, before.params)
        shares = before.weights * Z
        along = float(shares.sum())
        ratio = np.exp(before.height - height)
        left = 1.0 - ratio * along
        if not (left > 0.0 and along < 1.0):
            return -np.inf, np.zeros_like(of_mean), np.zeros_like(of_root)
        of_along = along / (1.0 - along * along) - ratio / left
        score = height + np.log(left) - 0.5 * np.log1p(-along * along)
        of_mean = of_mean / left + of_along * shares @ of_means
        of_root = of_root / left + of_along * np.einsum("k,kij->ij", shares, of_roots)
        return float(score), of_mean, np.tril(of_root)

    def _best(self, before: _Before | None, mean: Array, root: Array, n_steps: int) -> Candidate:
        """The best component near a start, with those before; its score."""
        D = len(mean)
        rows, diagonal = np.tril_indices(D), np.arange(D)

        def read(free: Array) -> tuple[Array, Array]:
            own = np.zeros((D, D))
            own[rows] = free[D:]
            own[diagonal, diagonal] = np.exp(own[diagonal, diagonal])
            return free[:D], own

        def loss(free: Array) -> tuple[float, Array]:
            centre, own = read(free)
            score, of_mean, of_root = self.score(before, centre, own)
            of_root[diagonal, diagonal] *= own[diagonal, diagonal]
            return -score, -np.concatenate((of_mean, of_root[rows]))

        begin = root.copy()
        begin[diagonal, diagonal] = np.log(begin[diagonal, diagonal])
        with np.errstate(over="ignore", invalid="ignore"):
            found: Any = minimize(
                loss, np.concatenate((mean, begin[rows])), jac=True, method="L-BFGS-B",
                options={"maxiter": n_steps or MOST_STEPS},
            )  # fmt: skip
        new = GaussianMixture(np.zeros(1), *(part[None] for part in read(found.x)))
        if before is not None:
            new = before.params.with_component(0.5, new.means[0], new.roots[0])
        return -float(found.fun), new
