"""Laplace's approximation for latent Gaussian processes of several classes, by softmax.

Rasmussen and Williams (2006), algorithms 3.3 and 3.4. The T latent functions share a covariance K.
With W = diag(p) - P P' the negative curvature by rows, E_t = D_t^1/2 B_t^-1 D_t^1/2 where B_t = I +
D_t^1/2 K D_t^1/2 and D_t = diag(p_t), and R = (K + W^-1)^-1 = E - E 1 (sum E_t)^-1 1' E.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import lapack
from scipy.special import log_softmax

from fastvi.base.linear_algebra import cholesky_with_jitter
from fastvi.base.typing import AnyArray, Array
from fastvi.models.gp.approximation import Approximation, inverse_factor, whole_inverse

__all__ = ["laplace_of_classes"]

HALVINGS = 30


class _Curvature:
    """R at the latents f (T, N), without forming it."""

    def __init__(self, K: Array, f: Array, counts: Array) -> None:
        self.p = np.exp(log_softmax(f, axis=0))
        self.counts = counts
        self.roots = np.sqrt(self.p * counts)
        factors = [inverse_factor(K, root) for root in self.roots]
        self.inverses = [inverse for inverse, _ in factors]
        self.E = np.stack([whole_inverse(i, r) for i, r in zip(self.inverses, self.roots)])
        total = self.E.sum(axis=0)
        self.outer = cholesky_with_jitter(total, "sum of the classes' precisions").lower
        # |I + W^1/2 K W^1/2| = prod |B_t| |sum E_t| / |diag counts|
        of_total = 2.0 * float(np.log(self.outer.diagonal()).sum() - 0.5 * np.log(counts).sum())
        self.log_determinant = sum(log for _, log in factors) + of_total

    def times_weights(self, v: Array) -> Array:
        """W v for v (T, N)."""
        pv = self.p * v
        return np.asarray(self.counts * (pv - self.p * pv.sum(axis=0)))

    def times(self, v: Array) -> Array:
        """R v for v (T, N)."""
        each = np.einsum("tij,tj->ti", self.E, v)
        shared, _ = lapack.dpotrs(self.outer, each.sum(axis=0), lower=1)
        return np.asarray(each - np.einsum("tij,j->ti", self.E, shared))

    def halves(self) -> list[Array]:
        """M^-1 E_t, with M the factor of the sum of E_t: R_st = E_s [s = t] - half_s' half_t."""
        return [lapack.dtrtrs(self.outer, E, lower=1)[0] for E in self.E]


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
    height = _height(Y, counts, a, f)
    converged, n_iter = False, 0
    while n_iter < max_iter and not converged:
        here = _Curvature(K, f, counts)
        target = here.times_weights(f) + counts * (Y - here.p)
        move = target - here.times(target @ K) - a
        by_move, share = move @ K, 1.0
        for _ in range(HALVINGS):
            there = _height(Y, counts, a + share * move, f + share * by_move)
            if there >= height:
                break
            share *= 0.5
        else:
            share, there = 0.0, height
        a, f = a + share * move, f + share * by_move
        converged = there - height <= tol * max(1.0, abs(height))
        height, n_iter = there, n_iter + 1
    return _at_mode(K, Y, counts, a, f, height, n_iter, converged, slope)


def _at_mode(
    K: Array, Y: Array, counts: Array, a: Array, f: Array,
    height: float, n_iter: int, converged: bool, slope: bool,
) -> Approximation:  # fmt: skip
    here = _Curvature(K, f, counts)
    weights = counts * (Y - here.p)
    halves = here.halves()
    by_k = None
    if slope:
        by_k = _slope(K, here, weights, halves)
    value = height - 0.5 * here.log_determinant
    inverse, shared = np.stack(here.inverses), np.stack(halves)
    return Approximation(value, weights, here.roots, inverse, a, n_iter, converged, by_k, shared)


def _slope(K: Array, here: _Curvature, weights: Array, halves: list[Array]) -> Array:
    """Derivative of the evidence by K, that through the mode included."""
    blocks = here.E.sum(axis=0)
    for half in halves:
        blocks -= half.T @ half
    by_f = -0.5 * _by_latents(K, here, halves)
    moved = by_f - here.times(by_f @ K)
    other = 0.5 * weights + moved
    crossed = weights.T @ other
    return np.asarray(0.5 * (crossed + crossed.T) - 0.5 * blocks)


def _by_latents(K: Array, here: _Curvature, halves: list[Array]) -> Array:
    """tr((K^-1 + W)^-1 dW / df), (T, N)."""
    p, counts = here.p, here.counts
    sides = [half @ K for half in halves]
    shared: Any = np.einsum("sin,tin->stn", sides, sides)  # K half_s' half_t K, its diagonal
    for t, E in enumerate(here.E):
        shared[t, t] += K.diagonal() - np.einsum("in,in->n", K, E @ K)
    # W_st = counts (p_s [s = t] - p_s p_t), dp_s / df_u = p_s ([s = u] - p_u)
    own = np.einsum("ttn->tn", shared)
    both = np.einsum("stn,tn->sn", shared, p)
    mean = (p * own).sum(axis=0) - 2.0 * (p * both).sum(axis=0)
    return np.asarray(counts * p * (own - 2.0 * both - mean))
