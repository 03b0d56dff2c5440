"""Laplace's approximation for latent Gaussian processes of several classes, by softmax.

Rasmussen and Williams (2006), algorithms 3.3 and 3.4.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy.special import log_softmax

from fastvi.base.typing import AnyArray, Array
from fastvi.models.gp.approximation import Approximation, uphill
from fastvi.models.gp.class_precision import ClassPrecision

__all__ = ["laplace_of_classes"]


def _curvature(K: Array, f: Array, counts: Array) -> tuple[ClassPrecision, Array]:
    """The negative curvature at the latents f (T, N), and probabilities."""
    p = np.exp(log_softmax(f, axis=0))
    return ClassPrecision(K, p * counts), p


def _height(Y: Array, counts: Array, a: Array, f: Array) -> float:
    return float((counts * Y * log_softmax(f, axis=0)).sum() - 0.5 * (a * f).sum())


def laplace_of_classes(
    K: Array,
    codes: AnyArray,
    n_classes: int,
    counts: Array,
    start: Array | None = None,
    *,
    max_iter: int = 100,
    tol: float = 1e-10,
    slope: bool = False,
) -> Approximation:
    """The mode of the latents of rows with classes `codes` (N,), and the evidence around it.

    Parameters as of `fastvi.models.gp.laplace.laplace`; `start` (T, N) is the mode's K^-1 f.

    Raises
    ------
    numpy.linalg.LinAlgError
        If K holds NaN or infinity.
    """
    Y = (codes == np.arange(n_classes)[:, None]).astype(np.float64)
    a = np.zeros(Y.shape) if start is None else start.copy()
    f = a @ K
    height_of = partial(_height, Y, counts)
    height = height_of(a, f)
    converged, n_iter = False, 0
    while n_iter < max_iter and not converged:
        here, p = _curvature(K, f, counts)
        target = here.times_precision(f) + counts * (Y - p)
        move = target - here.times(target @ K) - a
        a, f, there = uphill(height_of, (a, f), (move, move @ K), height)
        converged = there - height <= tol * max(1.0, abs(height))
        height, n_iter = there, n_iter + 1
    return _at_mode(K, Y, counts, a, f, height, n_iter, converged, slope)


def _at_mode(
    K: Array, Y: Array, counts: Array, a: Array, f: Array,
    height: float, n_iter: int, converged: bool, slope: bool,
) -> Approximation:  # fmt: skip
    here, p = _curvature(K, f, counts)
    weights = counts * (Y - p)
    by_k = _slope(K, here, p, counts, weights) if slope else None
    value = height - 0.5 * here.log_determinant
    return here.approximation(value, weights, a, n_iter, converged, by_k)


def _slope(K: Array, here: ClassPrecision, p: Array, counts: Array, weights: Array) -> Array:
    """Derivative of the evidence by K, that through the mode included."""
    by_f = -0.5 * _by_latents(here, p, counts)
    moved = by_f - here.times(by_f @ K)
    other = 0.5 * weights + moved
    crossed = weights.T @ other
    return np.asarray(0.5 * (crossed + crossed.T) - 0.5 * here.sum_of_blocks())


def _by_latents(here: ClassPrecision, p: Array, counts: Array) -> Array:
    """tr((K^-1 + W)^-1 dW / df), (T, N)."""
    shared = here.variances()
    # W_st = counts (p_s [s = t] - p_s p_t), dp_s / df_u = p_s ([s = u] - p_u)
    own = np.einsum("ttn->tn", shared)
    both = np.einsum("stn,tn->sn", shared, p)
    mean = (p * own).sum(axis=0) - 2.0 * (p * both).sum(axis=0)
    return np.asarray(counts * p * (own - 2.0 * both - mean))
