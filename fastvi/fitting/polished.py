"""Last steps of mixtures: a quasi-Newton ascent of the bound on draws that stay the same.

Natural gradients of the components, each in its own frame, gain little along directions in which
overlapping components make up for each other; second-order steps on fixed draws do not mind.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import minimize
from scipy.special import logsumexp, ndtri
from scipy.stats import qmc

from fastvi.base.typing import Array
from fastvi.families.mixtures import GaussianMixture
from fastvi.targets.base import Target

__all__ = ["divergence_of", "noise_of", "polished"]

N_DRAWS, MOST_DRAWS = 2048, 16384  # per component, and of all; powers of 2 fill space evenly
N_CHECK = 4  # times as many draws that compare the mixture before and after
MOST_STEPS = 200
MOST_PARAMETERS = 500  # beyond which it would take too many steps


def noise_of(K: int, n: int, D: int, seed: int) -> Array:
    """Quasi-random normal numbers (K, n, D) and their opposites, others for each component."""
    uniform = qmc.Sobol(K * D, seed=seed).random(n // 2).reshape(n // 2, K, D)
    half = ndtri(np.clip(uniform, 1e-12, 1.0 - 1e-12)).swapaxes(0, 1)
    return np.concatenate((half, -half), axis=1)


def polished(target: Target, power: float, member: GaussianMixture, seed: int) -> GaussianMixture:
    """Return a mixture whose bound is at least as high, as independent draws tell."""
    K, D = member.n_components, member.dim
    n_parameters = sum(np.size(leaf) for leaf in member.free())
    if K == 1 or n_parameters > MOST_PARAMETERS:
        return member
    n = max(min(N_DRAWS, 2 ** int(np.log2(MOST_DRAWS / K))), 2)
    noise = noise_of(K, n, D, seed)
    free = member.free()
    shapes = [leaf.shape for leaf in free]

    def loss(flat: Array) -> tuple[float, Array]:
        q = member.from_free(_rebuilt(flat, shapes))
        value, gradient = divergence_of(target, power, q, noise)
        return value, np.concatenate([np.ravel(leaf) for leaf in gradient])

    start = np.concatenate([np.ravel(leaf) for leaf in free])
    with np.errstate(over="ignore", invalid="ignore"):
        found: Any = minimize(
            loss, start, jac=True, method="L-BFGS-B", options={"maxiter": MOST_STEPS, "maxcor": 30}
        )
    if not np.all(np.isfinite(found.x)):
        return member
    after = member.from_free(_rebuilt(found.x, shapes))
    check = noise_of(K, N_CHECK * n, D, seed + 1)
    values = [divergence_of(target, power, q, check)[0] for q in (member, after)]
    return after if values[1] < values[0] else member


def _rebuilt(flat: Array, shapes: list[tuple[int, ...]]) -> tuple[Array, Array, Array]:
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
    a, b, c = (part.reshape(shape) for part, shape in zip(np.split(flat, ends), shapes))
    return a, b, c


def divergence_of(
    target: Target, power: float, q: GaussianMixture, eps: Array
) -> tuple[float, tuple[Array, Array, Array]]:
    """KL(q || p) up to a constant, from draws of noise (K, n, D), and its gradient in `q.free()`.

    Each component's draws have its weight. A draw without a density makes it infinite.
    """
    (K, n, D), weights = eps.shape, q.weights
    points = q.means[:, None] + eps @ np.swapaxes(q.roots, 1, 2)
    Z = points.reshape(K * n, D)
    values, slopes = target.attempt(Z)
    if not (np.all(np.isfinite(values)) and np.all(np.isfinite(slopes))):
        return np.inf, tuple(np.zeros(leaf.shape) for leaf in q.free())  # type: ignore[return-value]
    (whites, turned), logs = np.empty((2, K, K * n, D)), np.empty((K, K * n))
    for k in range(K):
        whites[k] = solve_triangular(q.roots[k], (Z - q.means[k]).T, lower=True).T
        turned[k] = solve_triangular(q.roots[k], whites[k].T, lower=True, trans="T").T
        log_det = np.log(np.diag(q.roots[k])).sum()
        logs[k] = q.log_weights[k] - log_det - 0.5 * np.square(whites[k]).sum(axis=1)
    log_q = logsumexp(logs, axis=0)
    shares = np.exp(logs - log_q)
    heights = (log_q - power * values - 0.5 * D * np.log(2.0 * np.pi)).reshape(K, n)
    of_draws = np.repeat(weights / n, n)
    along = -np.einsum("kn,knd->nd", shares, turned) - power * slopes
    along = (of_draws[:, None] * along).reshape(K, n, D)
    mass = shares * of_draws  # (K, K n)
    of_means = along.sum(axis=1) + np.einsum("kn,knd->kd", mass, turned)
    of_roots = np.einsum("kni,knj->kij", along, eps)
    of_roots += np.einsum("kn,kni,knj->kij", mass, turned, whites)
    diagonal = np.arange(D)
    own = np.diagonal(q.roots, axis1=1, axis2=2)
    of_roots = np.tril(of_roots)
    of_roots[:, diagonal, diagonal] *= own
    of_roots[:, diagonal, diagonal] -= mass.sum(axis=1)[:, None]
    bound = float(weights @ heights.mean(axis=1))
    of_weights = weights * (heights.mean(axis=1) - bound) + mass.sum(axis=1) - weights
    return bound, (of_weights, of_means, of_roots)
