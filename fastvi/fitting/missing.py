"""Where a mixture lacks mass: places of a new component, from weighted draws."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

from fastvi.base.typing import Array
from fastvi.families.mixtures import GaussianMixture
from fastvi.targets.base import Target

__all__ = ["Missing", "missing_of", "trials_of"]

RIDGE = 1e-4  # of variances, added to those of missing mass
N_PROPOSED = 1000  # draws among which the place of a component is looked for
SCALES = (2.0, 8.0)  # of standard deviations, of proposals
N_PLACES, WIDTHS = 5, (1.0, 3.0)  # of a new component: places, and standard deviations to try


class Missing(NamedTuple):
    """Mass that a mixture lacks: draws (n, D), their shares of it (n,), and how much it is."""

    points: Array
    shares: Array
    mass: float


def missing_of(
    target: Target, power: float, member: GaussianMixture, rng: np.random.Generator
) -> Missing | None:
    """Weigh draws from widened components by what the mixture lacks there; None if nothing."""
    K = member.n_components
    parts = [
        GaussianMixture(np.full(K, -np.log(K)), member.means, s * member.roots) for s in SCALES
    ]
    draws = [part.draw(N_PROPOSED // len(parts), rng).points for part in [member, *parts][1:]]
    Z = np.concatenate([*draws, member.draw(N_PROPOSED // len(parts), rng).points])
    logs = np.array([part.log_prob(Z) for part in [*parts, member]])
    proposed = logsumexp(logs, axis=0) - np.log(len(logs))
    values = power * target.attempt(Z, with_gradient=False)[0]
    ratios = np.where(np.isfinite(values), values, -np.inf) - proposed
    if not np.isfinite(ratios.max()):
        return None
    log_p = ratios - logsumexp(ratios)  # shares of the target's mass
    log_q = logs[-1] - proposed - np.log(len(Z))
    lacking = np.exp(log_p) - np.exp(log_q)
    lacking = np.where(lacking > 0, lacking, 0.0)
    mass = float(lacking.sum())
    if not mass > 0:
        return None
    return Missing(Z, lacking / mass, mass)


def trials_of(
    member: GaussianMixture, missing: Missing, rng: np.random.Generator
) -> list[GaussianMixture]:
    """Mixtures with one more component, at places of much missing mass that lie apart."""
    points, shares = missing.points, missing.shares.copy()
    weight = float(np.clip(missing.mass, 0.02, 0.5))
    centre = shares @ points
    cov = (points - centre).T * shares @ (points - centre)
    cov += RIDGE * np.diag(np.square(member.sd))
    found = [member.with_component(weight, centre, _root(cov))]
    for _ in range(N_PLACES):
        if not shares.sum() > 0:
            break
        place = points[rng.choice(len(shares), p=shares / shares.sum())]
        squares = [
            np.square(solve_triangular(root, place - mean, lower=True)).sum()
            for mean, root in zip(member.means, member.roots)
        ]
        root = member.roots[int(np.argmin(squares))]
        white = solve_triangular(root, (points - place).T, lower=True)
        near = np.square(white).sum(axis=0) < member.dim
        shares[near] = 0.0
        found += [member.with_component(weight, place, width * root) for width in WIDTHS]
    return found


def _root(cov: Array) -> Array:
    return np.asarray(np.linalg.cholesky(cov), np.float64)
