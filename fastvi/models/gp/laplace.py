"""Laplace's approximation for a latent Gaussian process of two classes.

Rasmussen and Williams (2006), algorithms 3.1 and 5.1, with either link and rows that count more
than once.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy.linalg import blas
from scipy.special import expit, log_expit, log_ndtr

from fastvi.base.typing import Array
from fastvi.models.gp.approximation import (
    Approximation,
    inverse_factor,
    solve,
    uphill,
    whole_inverse,
)

__all__ = ["derivatives", "laplace"]

HALF_LOG_2PI = 0.5 * np.log(2.0 * np.pi)


def derivatives(link: str, y: Array, f: Array) -> tuple[Array, Array, Array, Array]:
    """Log p(y | f) and its first three derivatives by f, (N,) each; y is -1 or 1."""
    z = y * f
    if link == "logit":
        p, q = expit(z), expit(-z)
        return log_expit(z), y * q, -p * q, -y * p * q * (q - p)
    value = log_ndtr(z)
    hazard = np.exp(-0.5 * z * z - HALF_LOG_2PI - value)
    both = z + hazard
    return value, y * hazard, -hazard * both, y * hazard * (both * (both + hazard) - 1.0)


def laplace(
    K: Array,
    y: Array,
    counts: Array,
    link: str,
    start: Array | None = None,
    *,
    max_iter: int = 100,
    tol: float = 1e-10,
    slope: bool = False,
) -> Approximation:
    """The mode of the latents of targets y (N,), -1 or 1, and the evidence of its Gaussian.

    Parameters as of `fastvi.models.gp.ep.propagate`; `start` (N,) is the mode's K^-1 f.

    Raises
    ------
    numpy.linalg.LinAlgError
        If K holds NaN or infinity.
    """
    a = np.zeros(len(y)) if start is None else start.copy()
    f = K @ a
    height_of = partial(_height, link, y, counts)
    height = height_of(a, f)
    converged, n_iter = False, 0
    while n_iter < max_iter and not converged:
        _, gradient, curvature, _ = derivatives(link, y, f)
        roots = np.sqrt(counts * -curvature)
        inverse, _ = inverse_factor(K, roots)
        target = counts * (gradient - curvature * f)
        solved = solve(inverse, roots * (K @ target))
        move = target - roots * solved - a
        by_move = K @ move
        a, f, there = uphill(height_of, (a, f), (move, by_move), height)
        converged = there - height <= tol * max(1.0, abs(height))
        height = there
        n_iter += 1
    return _at_mode(K, y, counts, link, a, f, height, n_iter, converged, slope)


def _height(link: str, y: Array, counts: Array, a: Array, f: Array) -> float:
    return float(counts @ derivatives(link, y, f)[0] - 0.5 * (a @ f))


def _at_mode(
    K: Array, y: Array, counts: Array, link: str, a: Array, f: Array,
    height: float, n_iter: int, converged: bool, slope: bool,
) -> Approximation:  # fmt: skip
    """The approximation at the mode, and the derivative of its evidence by K."""
    _, gradient, curvature, third = derivatives(link, y, f)
    roots = np.sqrt(counts * -curvature)
    inverse, log_determinant = inverse_factor(K, roots)
    weights = counts * gradient
    by_k = None
    if slope:
        R = whole_inverse(inverse, roots)
        explained = blas.dtrmm(1.0, inverse, np.asfortranarray(K * roots[:, None]), lower=1)
        variance = K.diagonal() - np.einsum("ij,ij->j", explained, explained)
        # f moves with K, and with it the curvatures
        by_f = 0.5 * variance * counts * third
        moved = by_f - R @ (K @ by_f)
        by_k = -0.5 * R
        other = 0.5 * weights + moved
        by_k += 0.5 * (weights[:, None] * other + other[:, None] * weights)
    value = height - 0.5 * log_determinant
    return Approximation(
        value, weights[None], roots[None], inverse[None], a, n_iter, converged, by_k
    )
