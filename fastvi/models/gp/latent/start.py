"""Kernel and inputs that fits of latent variable models start from."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Kernel, WhiteKernel

from fastvi.base.typing import Array
from fastvi.models.gp.covariance import Covariance

__all__ = ["initial_kernel", "principal"]

SHORTEST, LONGEST = 1.0, 30.0  # length scales of components, for inputs of variance 1
NOISE = 0.05  # least noise, as a share of the variance of the rows


def principal(y: Array, n: int) -> tuple[Array, Array]:
    """The first n principal components of centred rows y (N, T), of variance 1, and shares (n,).

    Shares are of the rows' variance. Where y has fewer components, the rest are 0.
    """
    wide = y.shape[1] > len(y)
    squares, vectors = np.linalg.eigh(y @ y.T if wide else y.T @ y)
    k = min(n, len(squares))
    squares, vectors = squares[::-1][:k], vectors[:, ::-1][:, :k]
    total = float(np.square(y).sum())
    kept = squares > 1e-12 * total
    scores = (vectors if wide else y @ vectors)[:, kept]
    scores *= np.sign(scores[np.abs(scores).argmax(axis=0), np.arange(scores.shape[1])])
    inputs, shares = np.zeros((len(y), n)), np.zeros(n)
    at = np.flatnonzero(kept)
    inputs[:, at] = scores / np.sqrt(np.square(scores).mean(axis=0))
    shares[at] = squares[kept] / (total if total > 0 else 1.0)
    return inputs, shares


def initial_kernel(kernel: Kernel | None, shares: Array) -> tuple[Kernel, Covariance]:
    """The kernel to start from, with noise, and what computes it.

    Raises
    ------
    ValueError
        If a kernel is given that is not a constant times an RBF, with or without noise.
    """
    if kernel is None:
        return _checked(_default(shares), len(shares))
    given: Any = clone(kernel)
    if not Covariance(given, len(shares)).white:
        given = given + WhiteKernel(*_noise(shares))
    return _checked(given, len(shares))


def _checked(kernel: Kernel, n: int) -> tuple[Kernel, Covariance]:
    covariance = Covariance(kernel, n)
    if not covariance.is_gaussian:
        raise ValueError(
            f"kernel is {kernel}; wanted an RBF, or a constant times an RBF, with or without "
            "WhiteKernel: only its expectations are known in closed form"
        )
    return kernel, covariance


def _default(shares: Array) -> Kernel:
    first = shares.max(initial=0.0)
    relative = np.sqrt(np.maximum(shares, 1e-12) / first) if first > 0 else np.ones(len(shares))
    length = np.clip(SHORTEST / relative, SHORTEST, LONGEST)
    rbf = RBF(length, [(1e-2, 1e4)] * len(length))
    return ConstantKernel(1.0, (1e-4, 1e4)) * rbf + WhiteKernel(*_noise(shares))


def _noise(shares: Array) -> tuple[float, tuple[float, float]]:
    level = max(NOISE, 0.5 * float(1.0 - shares.sum()))
    return level, (1e-6, 1e2)
