"""Assumed-density filtering: each row once, its likelihood replaced by a Gaussian at once."""

from __future__ import annotations

import numpy as np

from fastvi.base.blas import solve_rows
from fastvi.base.linear_algebra import cholesky_with_jitter, inverse_from_cholesky
from fastvi.base.typing import Array
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.inducing import Inducing
from fastvi.models.gp.posterior import Posterior
from fastvi.propagation.tilted import Site

__all__ = ["absorbed", "begun"]


def begun(covariance: Covariance, theta: Array, z: Array) -> tuple[Posterior, float]:
    """The prior as a posterior of no rows, and its jitter."""
    here, m = Inducing.at(covariance, theta, z), len(z)
    parts = here.columns, here.factor, np.eye(m), np.zeros((m, 1))
    return Posterior(covariance, here.program, here.z, *parts), here.jitter


def absorbed(prior: Posterior, x: Array, y: Array, site: Site) -> tuple[Posterior, float]:
    """The posterior after rows x (n, D) in this order, and the sum of their log probabilities."""
    k = prior.covariance.fill(prior.program, x, prior.columns, np.empty((len(x), len(prior.z))))
    a = solve_rows(prior.lower, k)
    diagonal = prior.covariance.diagonal(prior.program, x)
    left = np.maximum(diagonal - np.einsum("ij,ij->i", a, a), 1e-10 * diagonal)
    V = inverse_from_cholesky(prior.inner)
    mean = prior.lower.T @ prior.weights[:, 0]
    gained = 0.0
    for row, d, target in zip(a, left, y):
        side = V @ row
        here, variance = np.array([row @ mean]), np.array([row @ side + d])
        found = site.tilted(np.array([target]), here, variance)
        gained += float(found.log_z[0])
        mean += found.slope[0] * side
        V += (found.curvature[0] * side)[:, None] * side
    inner = cholesky_with_jitter(_inverse(V), "precision of the inducing values", 0.0).lower
    weights = solve_rows(prior.lower, mean[None].copy(), transposed=True).T
    return prior._replace(inner=inner, weights=np.ascontiguousarray(weights)), gained


def _inverse(matrix: Array) -> Array:
    lower = cholesky_with_jitter(matrix, "covariance of the inducing values", 0.0).lower
    return inverse_from_cholesky(lower)
