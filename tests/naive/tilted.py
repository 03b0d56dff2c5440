"""Tilted moments of likelihoods of one number, by brute force on a dense even grid."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import special, stats

LogLikelihood = Callable[[np.ndarray], np.ndarray]


def log_likelihood(name: str, y: float, numbers: tuple[float, ...] = ()) -> LogLikelihood:
    """log p(y | f) as a function of f (n,)."""
    sign = 1.0 if y > 0 else -1.0
    if name == "probit":
        return lambda f: special.log_ndtr(sign * f)
    if name == "logit":
        return lambda f: special.log_expit(sign * f)
    if name == "poisson":
        return lambda f: y * f - np.exp(f) - special.gammaln(y + 1.0)
    if name == "student":
        noise, df = numbers
        return lambda f: stats.t.logpdf(y - f, df, scale=np.sqrt(noise))
    if name == "gaussian":
        return lambda f: stats.norm.logpdf(y, f, np.sqrt(numbers[0]))
    cuts = (-np.inf, *numbers, np.inf)
    low, high = cuts[int(y)], cuts[int(y) + 1]

    def ordinal(f: np.ndarray) -> np.ndarray:
        a, b = np.where(f < low, [f - low, f - high], [high - f, low - f])  # the tail of both
        upper, lower = special.log_ndtr(a), special.log_ndtr(b)
        return upper + np.log1p(-np.exp(lower - upper))

    return ordinal


def moments(
    log_p: LogLikelihood,
    mean: float,
    variance: float,
    power: float,
    near: float = 0.0,
    n: int = 40_001,
) -> tuple[float, float, float]:
    """(log Z, mean, variance) of N(f; mean, variance) p(f)^power; `near` is the likelihood's."""

    def density(f: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            found = power * log_p(f) - 0.5 * np.square(f - mean) / variance
        return np.where(np.isfinite(found), found, -np.inf)

    spread = np.sqrt(variance)
    steps = np.geomspace(1e-5, 1e3, 500)
    steps = np.concatenate((-steps[::-1], [0.0], steps))
    coarse = np.unique(np.concatenate((mean + spread * steps, near + steps)))
    height = density(coarse)
    best = coarse[height.argmax()]
    coarse = np.unique(np.concatenate((coarse, best + steps, best + spread * steps)))
    height = density(coarse)
    inside = coarse[height > height.max() - 50.0]
    f = np.linspace(inside[0] - 1e-3 * spread, inside[-1] + 1e-3 * spread, n)
    height = density(f)
    weight = np.exp(height - height.max())
    total, centre = weight.sum(), f[height.argmax()]
    shift = float(weight @ (f - centre) / total)
    log_z = height.max() + np.log(total * (f[1] - f[0])) - 0.5 * np.log(2 * np.pi * variance)
    return float(log_z), centre + shift, float(weight @ np.square(f - centre - shift) / total)
