"""Unconstrained coordinates of positive definite matrices, for plain gradients.

A matrix is L L' with ``L = diag(exp(d)) (I + N)`` and N strictly lower triangular. All values of d
and N are allowed, and they do not depend on units. They are stored in one array, d on the diagonal
and N below. All functions take stacks of matrices, (..., P, P).
"""

from __future__ import annotations

import numpy as np

from fastvi.base.typing import Array

__all__ = ["free_of", "gradient", "lower_of"]


def free_of(lower: Array) -> Array:
    """Return the coordinates of matrices with these Cholesky factors."""
    diagonal = np.diagonal(lower, axis1=-2, axis2=-1)
    free = np.tril(lower / diagonal[..., :, None], -1)
    free += np.log(diagonal)[..., :, None] * np.eye(lower.shape[-1])
    return np.asarray(free)


def lower_of(free: Array) -> Array:
    """Return the Cholesky factors with these coordinates."""
    scale = np.exp(np.diagonal(free, axis1=-2, axis2=-1))
    return np.asarray(scale[..., :, None] * (np.tril(free, -1) + np.eye(free.shape[-1])))


def gradient(lower: Array, slope: Array) -> Array:
    """Return the gradient of a function of L L', given L and its symmetric derivatives by entry."""
    by_lower = 2.0 * np.tril(slope @ lower)
    scale = np.diagonal(lower, axis1=-2, axis2=-1)
    free = np.tril(scale[..., :, None] * by_lower, -1)
    free += np.sum(by_lower * lower, axis=-1)[..., :, None] * np.eye(lower.shape[-1])
    return np.asarray(free)
