"""The precision that likelihoods of several classes add to latent functions which share a kernel.

Per row it is W = diag(d) - d d' / sum(d) over the T classes: for softmax, d are the probabilities
(Rasmussen and Williams 2006, section 3.5), for the multinomial probit the precisions of sites, with
1 for the row's own class (Riihimaki, Jylanki and Vehtari 2013). W is (1 / d + lambda 1 1')^-1 as
lambda grows, so that with E_t = D_t^1/2 B_t^-1 D_t^1/2 and B_t = I + D_t^1/2 K D_t^1/2 the matrix R
= (K + W^-1)^-1 is E - E 1 (sum E_t)^-1 1' E: T + 1 factorizations of N x N.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import blas, lapack

from fastvi.base.linear_algebra import cholesky_with_jitter
from fastvi.base.typing import Array
from fastvi.models.gp.approximation import Approximation, inverse_factor, whole_inverse

__all__ = ["ClassPrecision"]


class ClassPrecision:
    """R of T functions of covariance K (N, N), without forming it.

    Parameters
    ----------
    K : (N, N) array
    d : (T, N) array
        At least one of a row is above 0.
    """

    def __init__(self, K: Array, d: Array) -> None:
        self.K, self.d = K, d
        self.totals = d.sum(axis=0)
        self.roots = np.sqrt(d)
        factors = [inverse_factor(K, root) for root in self.roots]
        self.inverses = [inverse for inverse, _ in factors]
        self.E = np.stack([whole_inverse(i, r) for i, r in zip(self.inverses, self.roots)])
        total = self.E.sum(axis=0)
        self.outer = cholesky_with_jitter(total, "sum of the classes' precisions").lower
        # |I + W^1/2 K W^1/2| = prod |B_t| |sum E_t| / |diag totals|
        of_total = 2.0 * float(np.log(self.outer.diagonal()).sum())
        of_total -= float(np.log(self.totals).sum())
        self.log_determinant = sum(log for _, log in factors) + of_total
        self._halves: list[Array] | None = None

    def times_precision(self, v: Array) -> Array:
        """W v for v (T, N)."""
        dv = self.d * v
        return np.asarray(dv - self.d * (dv.sum(axis=0) / self.totals))

    def times(self, v: Array) -> Array:
        """R v for v (T, N)."""
        each = np.einsum("tij,tj->ti", self.E, v)
        shared, _ = lapack.dpotrs(self.outer, each.sum(axis=0), lower=1)
        return np.asarray(each - np.einsum("tij,j->ti", self.E, shared))

    def halves(self) -> list[Array]:
        """M^-1 E_t, with M the factor of the sum of E_t: R_st = E_s [s = t] - half_s' half_t."""
        if self._halves is None:
            self._halves = [lapack.dtrtrs(self.outer, E, lower=1)[0] for E in self.E]
        return self._halves

    def variances(self) -> Array:
        """Covariances (T, T, N) of the functions at each row: the diagonals of K - K R K."""
        K = self.K
        sides = [half @ K for half in self.halves()]
        shared = np.empty((len(self.d), *self.d.shape))
        for s, side in enumerate(sides):
            for t in range(s + 1):
                shared[s, t] = shared[t, s] = np.einsum("in,in->n", side, sides[t])
        for t, (inverse, root) in enumerate(zip(self.inverses, self.roots)):
            side = blas.dtrmm(1.0, inverse, np.asfortranarray(K * root[:, None]), lower=1)
            shared[t, t] += K.diagonal() - np.einsum("in,in->n", side, side)
        return shared

    def sum_of_blocks(self) -> Array:
        """The sum of R_tt over classes, (N, N)."""
        blocks = self.E.sum(axis=0)
        for half in self.halves():
            blocks -= half.T @ half
        return np.asarray(blocks)

    def approximation(
        self, value: float, weights: Array, memory: Array, n_iter: int, converged: bool,
        by_k: Array | None,
    ) -> Approximation:  # fmt: skip
        """With this evidence, and means K `weights` (T, N)."""
        inverse, shared = np.stack(self.inverses), np.stack(self.halves())
        return Approximation(
            value, weights, self.roots, inverse, memory, n_iter, converged, by_k, shared
        )
