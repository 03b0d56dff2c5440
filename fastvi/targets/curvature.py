"""Curvature of log densities: Hessians, and covariances that these stand for."""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from fastvi.base.typing import Array
from fastvi.targets.base import Target

__all__ = ["hessian", "inverse_of"]


def hessian(target: Target, z: Array) -> Array:
    """Hessian (D, D) of the log density by central differences of its gradients.

    Steps follow the curvature: a first pass finds each coordinate's scale.
    """
    step = 1e-5 * np.maximum(1.0, np.abs(z))
    for _ in range(2):
        shifts = np.diag(step)
        _, slopes = target.attempt(np.concatenate((z + shifts, z - shifts)))
        up, down = slopes[: len(z)], slopes[len(z) :]
        with np.errstate(over="ignore", invalid="ignore"):  # callers check for non-finite numbers
            rows = (up - down) / (2.0 * step[:, None])
        curvature = np.abs(np.diag(rows))
        scale = 1.0 / np.sqrt(np.where(curvature > 0, curvature, 1.0))
        better = np.clip(1e-4 * scale, 1e-9 * np.maximum(1.0, np.abs(z)), 1e-2)
        if np.all((better > 0.1 * step) & (better < 10.0 * step)):
            break
        step = better
    return np.asarray(0.5 * (rows + rows.T))


def inverse_of(precision: Array) -> Array | None:
    """Return the inverse of a positive definite matrix; None for any other."""
    diagonal = np.diag(precision)
    if not (np.all(np.isfinite(precision)) and np.all(diagonal > 0)):
        return None
    scale = 1.0 / np.sqrt(diagonal)
    try:
        factor = cho_factor(precision * scale * scale[:, None], lower=True)
    except np.linalg.LinAlgError:
        return None
    inverse = cho_solve(factor, np.eye(len(scale)))
    return np.asarray(0.5 * (inverse + inverse.T) * scale * scale[:, None])
