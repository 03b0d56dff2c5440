"""Where the fits of hierarchical families begin: the parameters of members near a Gaussian."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import qmc

from fastvi.base.typing import Array
from fastvi.families.lowrank import LowRank

__all__ = ["MOST_DIMS", "backward", "linear", "near", "nodes"]

Fields = tuple[Array, Array, NDArray[np.int64], Array, Array]
MOST_DIMS = 3  # of a Gaussian process
SMALL = 0.1  # weights of hidden units to begin with


def nodes(L: int, n: int, rest: int) -> Array:
    """Standard normal numbers (n, L) that fill space evenly, and zeros (n, rest)."""
    uniform = qmc.Sobol(L, seed=0).random(n)
    return np.concatenate(
        (ndtri(np.clip(uniform, 1e-12, 1.0 - 1e-12)), np.zeros((n, rest))), axis=1
    )


def linear(n_hidden: int, weights: Array, shifts: Array, rng: np.random.Generator) -> Array:
    """Parameters of a network that is nearly ``shifts + weights x``, weights (n_out, n_in)."""
    n_out, n_in = weights.shape
    hidden = rng.standard_normal(n_hidden * (n_in + 1))
    bent = SMALL * rng.standard_normal((n_out, n_hidden)) / np.sqrt(max(n_hidden, 1))
    return np.concatenate((hidden, np.hstack((bent, weights, shifts[:, None])).ravel()))


def backward(factors: Array, cov: Array, n_hidden: int, rng: np.random.Generator) -> Array:
    """A reverse network that begins as q(u | z) of a Gaussian z with these factors (D, L)."""
    if n_hidden == 0:
        return np.empty(0)
    gain = np.linalg.solve(cov, factors).T  # (L, D)
    left = np.diag(np.eye(len(gain)) - gain @ factors)
    weights = np.concatenate((gain, np.zeros(gain.shape)))
    shifts = np.concatenate((np.zeros(len(gain)), 0.5 * np.log(np.maximum(left, 1e-3))))
    return linear(n_hidden, weights, shifts, rng)


def near(
    mean: Array, covariance: Array, *, L: int | None, H: int, G: int, K: int, M: int = 0
) -> Fields:
    """Fields of the member near a Gaussian; with M variational data of a process, or a network."""
    D, rng = len(mean), np.random.default_rng(0)
    if M and D > MOST_DIMS:
        raise ValueError(
            f"family 'vgp' is for at most {MOST_DIMS} numbers; the target has {D}; wanted "
            "fastvi.families.hierarchical()"
        )
    L = min(2, D) if L is None else L
    L = D if M else L
    scale = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(scale, scale)
    low = LowRank.of(np.zeros(D), correlation, L)
    factors = np.zeros((D, L))
    factors[:, : low.factors.shape[1]] = low.factors
    sd0 = low.sd0
    if M:
        factors, sd0 = 0.9 * np.linalg.cholesky(correlation), np.full(D, np.sqrt(1.0 - 0.81))
        places = nodes(L, 32, 0)[:M]
        forward = np.concatenate(
            (places.ravel(), (places @ factors.T).ravel(), np.full(L, 0.7), [0.7], np.log(sd0))
        )
    else:
        weights = np.concatenate((factors, np.zeros((D, L))))
        forward = linear(H, weights, np.concatenate((np.zeros(D), np.log(sd0))), rng)
    reverse = backward(factors, factors @ factors.T + np.diag(sd0**2), G, rng)
    sizes = np.array([0, D, L, H, G, K, M])
    return forward, reverse, sizes, np.array(mean, np.float64), scale
