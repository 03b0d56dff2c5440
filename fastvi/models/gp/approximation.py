"""What approximations of the posterior of latent functions at the rows have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.linalg import blas, lapack

from fastvi.base.typing import Array

__all__ = ["Approximation", "inverse_factor", "solve", "uphill", "whole_inverse"]

HALVINGS = 30  # of a step that would lead downhill


class Approximation(NamedTuple):
    """A Gaussian approximation of latent values at N rows, and its evidence.

    At a new row with covariances k (N,) to the rows, a latent has the mean k' weights and the
    variance k(x, x) - |inverse (roots k)|^2.
    """

    value: float  # log evidence
    weights: Array  # (T, N)
    roots: Array  # (T, N) square roots of precisions
    inverse: Array  # (T, N, N) of the factor of B = I + roots K roots, lower triangular
    memory: Array  # what a fit with another kernel may start from
    n_iter: int
    converged: bool
    by_k: Array | None = None  # (N, N) derivative of the value by K
    shared: Array | None = None  # (T, N, N), where latents s and t covary by k' s' t k

    def latents(self, k: Array, diagonal: Array) -> tuple[Array, Array]:
        """Means (n, T) and covariances (n, T, T), from k (n, N) and variances `diagonal` (n,)."""
        n_latents = len(self.weights)
        covariance = np.zeros((len(k), n_latents, n_latents))
        if self.shared is not None:
            sides = [k @ each.T for each in self.shared]
            covariance += np.stack([[np.einsum("ij,ij->i", a, b) for a in sides] for b in sides]).T
        for t in range(n_latents):
            explained = (k * self.roots[t]) @ self.inverse[t].T
            left = diagonal - np.einsum("ij,ij->i", explained, explained)
            covariance[:, t, t] += np.maximum(left, 1e-12 * diagonal)
        return k @ self.weights.T, covariance


def inverse_factor(K: Array, roots: Array) -> tuple[Array, float]:
    """L^-1 in Fortran order, and log det of B = I + roots K roots = L L'.

    Raises
    ------
    numpy.linalg.LinAlgError
        If K holds NaN or infinity.
    """
    matrix = K * roots
    matrix *= roots[:, None]
    matrix.flat[:: len(K) + 1] += 1.0
    lower, info = lapack.dpotrf(matrix.T, lower=1, overwrite_a=1, clean=1)
    if info != 0 or not np.all(np.isfinite(lower.diagonal())):
        raise np.linalg.LinAlgError(
            f"the covariance of the rows ({len(K)} x {len(K)}) holds numbers that are not finite, "
            "or is not positive definite; try another kernel, or length scales closer to those of X"
        )
    log_determinant = 2.0 * float(np.log(lower.diagonal()).sum())
    return lapack.dtrtri(lower, lower=1, overwrite_c=1)[0], log_determinant


def solve(inverse: Array, vector: Array) -> Array:
    """B^-1 times a vector, given L^-1."""
    half = blas.dtrmv(inverse, vector, lower=1)
    solved: Array = blas.dtrmv(inverse, half, lower=1, trans=1)
    return solved


def whole_inverse(inverse: Array, roots: Array) -> Array:
    """The matrix roots B^-1 roots, (K + 1 / roots^2)^-1, given L^-1."""
    square, _ = lapack.dlauum(inverse, lower=1)
    whole: Array = square + np.tril(square, -1).T
    whole *= roots
    whole *= roots[:, None]
    return whole


def uphill(
    height_of: Callable[[Array, Array], float],
    place: tuple[Array, Array],
    step: tuple[Array, Array],
    height: float,
) -> tuple[Array, Array, float]:
    """Take a step, halved until it does not lower the height; none after `HALVINGS`.

    The place is that of K^-1 f and f; returned with its height.
    """
    (a, f), (move, by_move), share = place, step, 1.0
    for _ in range(HALVINGS):
        there = a + share * move, f + share * by_move
        found = height_of(*there)
        if found >= height:
            return *there, found
        share *= 0.5
    return a, f, height
