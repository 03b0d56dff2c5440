"""Moments of a target from draws that are also weighted towards an approximation.

Where the approximation is right, both weights are the same, and as its moments are known, so is
nearly all of the noise: errors that both weightings make are taken out by regression (control
variates; Owen and Zhou 2000).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastvi.base.typing import Array
from fastvi.posteriors.importance import Own, Weighted

__all__ = ["Moments", "moments_of"]

TINY = float(np.finfo(float).tiny)


class Moments(NamedTuple):
    """Means and standard deviations (D,), with their Monte Carlo standard errors."""

    mean: Array
    sd: Array
    mean_error: Array
    sd_error: Array


def moments_of(found: Weighted, own: Own | None) -> Moments:
    """Moments of weighted draws, with the help of weights towards an approximation, if known."""
    weights = found.weights[:, None]
    away = found.points - found.mean
    of_mean, of_square = weights * away, weights * (np.square(away) - np.square(found.sd))
    if own is None or not np.all(np.isfinite(own.mean) & np.isfinite(own.sd)):
        variance = np.square(found.sd)
        return _moments(found.mean, variance, of_mean, of_square)
    shares = own.weights[:, None]
    of_mean = _less(of_mean, shares * (found.points - own.mean))
    mean = found.mean + of_mean.sum(axis=0)
    squares = np.square(found.points - mean)
    variance = found.weights @ squares
    known = np.square(own.sd) + np.square(own.mean - mean)
    of_square = _less(weights * (squares - variance), shares * (squares - known))
    better = variance + of_square.sum(axis=0)
    return _moments(mean, np.where(better > 0.0, better, variance), of_mean, of_square)


def _less(errors: Array, known: Array) -> Array:
    """Errors (n, D) less what is proportional to others, whose sums are 0 on average."""
    size = np.square(known).sum(axis=0)
    factor = (errors * known).sum(axis=0) / np.maximum(size, TINY)
    return np.asarray(errors - factor * known)


def _moments(mean: Array, variance: Array, of_mean: Array, of_square: Array) -> Moments:
    sd = np.sqrt(variance)
    errors = (np.sqrt(np.square(each).sum(axis=0)) for each in (of_mean, of_square))
    mean_error, error = errors
    return Moments(mean, sd, mean_error, 0.5 * error / np.maximum(sd, TINY))
