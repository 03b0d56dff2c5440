"""Pareto-smoothed importance sampling: can draws from q represent the target?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastvi.base.typing import Array

__all__ = ["Smoothed", "psis", "shapes"]

LEAST_TAIL = 5
CHUNK = 2**13  # numbers of tails at a time
ROUNDING = 100 * float(np.finfo(float).eps)  # relative error of a log-ratio


class Smoothed(NamedTuple):
    """Normalised log weights (n,), log of the mean weight, and shape k-hat of the tail."""

    log_weights: Array
    log_mean: float
    khat: float


def psis(log_ratios: Array) -> Smoothed:
    """Replace the largest importance weights by quantiles of a Pareto fit (Vehtari et al. 2024).

    Below a k-hat of 0.7, estimates with these weights are reliable. Above it, the target has mass
    where q has hardly any draws, and neither they nor the moments of q can be trusted.

    Parameters
    ----------
    log_ratios : (n,) array
        log p(z) - log q(z) of draws z from q, up to a constant.

    Returns
    -------
    Smoothed
        k-hat is infinite if a ratio is nan or +inf, or if the tail is too short to fit (fewer than
        25 draws).
    """
    log_w = np.array(log_ratios, np.float64)
    n = len(log_w)
    if np.any(np.isnan(log_w)) or np.any(log_w == np.inf) or not np.any(np.isfinite(log_w)):
        return Smoothed(np.full(n, -np.log(max(n, 1))), np.nan, np.inf)
    largest = float(log_w.max())
    log_w -= largest
    n_tail = int(min(0.2 * n, 3.0 * np.sqrt(n)))
    khat = np.inf
    if n_tail >= LEAST_TAIL:
        order = np.argsort(log_w, kind="stable")
        tail = order[-n_tail:]
        cut = float(np.exp(log_w[order[-n_tail - 1]]))
        excess = np.exp(log_w[tail]) - cut
        if excess[-1] <= ROUNDING * max(abs(largest), 1.0):
            khat = -np.inf  # practically equal
        elif np.count_nonzero(excess > 0) >= LEAST_TAIL:
            khat, sigma = _pareto(excess[excess > 0])
            at = (np.arange(n_tail) + 0.5) / n_tail
            smooth = np.log(cut + _quantiles(at, khat, sigma))
            log_w[tail] = np.minimum(smooth, 0.0)
    total = float(np.log(np.exp(log_w).sum()))
    return Smoothed(log_w - total, largest + total - np.log(n), khat)


def shapes(values: Array) -> Array:
    """Pareto shapes (C,) of the upper tails of the columns of values (n, C) >= 0.

    These are the k-hats of `psis`, of many quantities at once; -inf for a tail of equal values.
    """
    n = len(values)
    n_tail = int(min(0.2 * n, 3.0 * np.sqrt(n)))
    if n_tail < LEAST_TAIL:
        return np.full(values.shape[1], np.inf)
    top = np.sort(np.partition(values.T, n - n_tail - 1, axis=1)[:, n - n_tail - 1 :], axis=1)
    excess = top[:, 1:] - top[:, :1]
    largest = excess[:, -1]
    spread = largest > ROUNDING * top[:, -1]
    found = np.full(len(top), -np.inf)
    simple = spread & (excess[:, 0] > 0)
    for rows in np.array_split(np.flatnonzero(simple), len(top) * n_tail // CHUNK + 1):
        if len(rows):
            found[rows] = _paretos(excess[rows] / largest[rows, None])[0]
    for i in np.flatnonzero(spread & ~simple):  # ties
        x = excess[i][excess[i] > 0]
        found[i] = _pareto(x)[0] if len(x) >= LEAST_TAIL else np.inf
    return found


def _pareto(x: Array) -> tuple[float, float]:
    """Fit the shape and scale of a generalised Pareto distribution to increasing x > 0."""
    shape, sigma = _paretos(x[None])
    return float(shape[0]), float(sigma[0])


def _paretos(x: Array) -> tuple[Array, Array]:
    """Fit shapes and scales (C,) of generalised Pareto distributions to increasing rows of x > 0.

    Zhang and Stephens (2009), eq. 4 to 8, with the weak prior of Vehtari et al. (2024), appendix G.
    """
    n = x.shape[1]
    n_grid = 30 + int(np.sqrt(n))
    quartile = x[:, int(n / 4 + 0.5) - 1, None]
    steps = (1.0 - np.sqrt(n_grid / (np.arange(1, n_grid + 1) - 0.5))) / 3
    grid = 1.0 / x[:, -1:] + steps / quartile
    grid[grid == 0.0] = -np.inf  # if the largest is exactly three times the quartile
    shapes = np.mean(np.log1p(-grid[:, :, None] * x[:, None]), axis=2)
    with np.errstate(invalid="ignore"):
        height = n * (np.log(-grid / shapes) - shapes - 1.0)
    height[np.isnan(height)] = -np.inf
    weights = np.exp(height - height.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    theta = np.sum(weights * np.where(np.isfinite(grid), grid, 0.0), axis=1)
    shape = np.mean(np.log1p(-theta[:, None] * x), axis=1)
    sigma = -shape / theta
    return (shape * n + 0.5 * 10.0) / (n + 10.0), sigma


def _quantiles(at: Array, shape: float, scale: float) -> Array:
    if abs(shape) < 1e-12:
        return np.asarray(-scale * np.log1p(-at))
    return np.asarray(scale * np.expm1(-shape * np.log1p(-at)) / shape)
