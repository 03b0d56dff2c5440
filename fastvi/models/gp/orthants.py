"""Probabilities that each of several Gaussian numbers is the largest."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

from fastvi.base.typing import Array

__all__ = ["probabilities_of_largest"]

N_POINTS = 512
CHUNK = 1024  # rows at a time
SMALLEST = 1e-300


def probabilities_of_largest(mean: Array, covariance: Array) -> Array:
    """Probabilities (n, T) that each is the largest of ``N(mean, covariance)``.

    By Genz (1992), "Numerical computation of multivariate normal probabilities": one difference
    after another, given those before, at 512 points of a lattice with square roots of primes.
    Errors are below 1e-3, and the probabilities of a row are scaled to a sum of 1.

    Parameters
    ----------
    mean : (n, T) array
    covariance : (n, T, T) array
        Positive definite.
    """
    n, n_classes = mean.shape
    found = np.empty((n, n_classes))
    for first in range(0, n, CHUNK):
        rows = slice(first, first + CHUNK)
        for t in range(n_classes):
            found[rows, t] = _of_negative(*_differences(mean[rows], covariance[rows], t))
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def _differences(mean: Array, covariance: Array, t: int) -> tuple[Array, Array]:
    """Means and covariances of the other numbers less number t."""
    others = np.delete(np.arange(mean.shape[1]), t)
    cov = covariance[:, others[:, None], others]
    of_t = covariance[:, others, t]
    cov = cov - of_t[:, :, None] - of_t[:, None, :] + covariance[:, t, t, None, None]
    return mean[:, others] - mean[:, t, None], cov


def _of_negative(mean: Array, covariance: Array) -> Array:
    """Probabilities (n,) that all of ``N(mean, covariance)`` are negative."""
    size = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    lower = np.linalg.cholesky(covariance / (size[:, :, None] * size[:, None, :]))
    limit = -mean / size
    n, d = mean.shape
    drawn = np.empty((N_POINTS, n, d))
    product = np.ones((N_POINTS, n))
    for k, points in enumerate(_lattice(d)):
        shift = np.einsum("pnj,nj->pn", drawn[:, :, :k], lower[:, k, :k])
        below = ndtr((limit[:, k] - shift) / lower[:, k, k])
        product *= below
        drawn[:, :, k] = ndtri(np.maximum(points[:, None] * below, SMALLEST))
    return np.asarray(product.mean(axis=0))


def _lattice(d: int) -> Array:
    """Points (d, N_POINTS) in (0, 1), each folded once so that functions of them are periodic."""
    primes: list[int] = []
    number = 2
    while len(primes) < d:
        if all(number % prime for prime in primes):
            primes.append(number)
        number += 1
    steps = np.sqrt(np.array(primes, np.float64))[:, None] * np.arange(0.5, N_POINTS)
    return np.asarray(np.abs(2.0 * (steps % 1.0) - 1.0))
