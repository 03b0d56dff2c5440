"""How fast a density falls far from its mode: whether it has means and standard deviations."""

from __future__ import annotations

import numpy as np

from fastvi.base.typing import Array
from fastvi.posteriors.bell import Bell
from fastvi.targets.base import Target

__all__ = ["least_slope"]

NEAR_TAIL, FAR_TAIL = 30.0, 300.0  # standard deviations between which tails are measured
NEGLIGIBLE = 100.0  # nats below the mode at which a tail no longer matters
CORRELATED = 0.3  # below, other coordinates stay where they are on a coordinate's line
N_GENERIC = 4  # directions across all coordinates in which tails are measured


def least_slope(target: Target, bell: Bell, sd: Array, seed: int) -> tuple[float, int]:
    """Least steep slope of the log density in log distance far out, and a coordinate of it.

    Along a coordinate's line a slope of -3 or less is needed for a variance, in directions across
    all D coordinates -(D + 2), because the volume grows; D - 1 is added to those, up to 0. Where a
    slope is beyond 0, the density grows.
    """
    D = len(sd)
    signs = np.random.default_rng([seed, 4]).choice([-1.0, 1.0], (N_GENERIC, D))
    units = np.maximum(sd, bell.sd)
    correlations = bell.lines * bell.sd[:, None] / bell.sd
    lines = np.where(np.abs(correlations) > CORRELATED, bell.lines, 0.0)
    directions = np.concatenate((units[:, None] * lines, signs * units))
    directions = np.concatenate((directions, -directions))
    around = np.concatenate((bell.mean[None], bell.mean + NEAR_TAIL * directions))
    top, *near = _heights(target, around)
    matter = np.flatnonzero(np.array(near) > top - NEGLIGIBLE)
    found = np.full(len(directions), -np.inf)
    if len(matter):
        far = _heights(target, bell.mean + FAR_TAIL * directions[matter])
        found[matter] = (far - np.array(near)[matter]) / np.log(FAR_TAIL / NEAR_TAIL)
    slopes = found.reshape(2, -1)
    across = slopes[:, D:]
    slopes[:, D:] = np.where(across <= 0, np.minimum(across + D - 1, 0.0), across)
    which = int(np.argmax(slopes.max(axis=0)))
    return float(slopes.max()), which if which < D else 0


def _heights(target: Target, Z: Array) -> Array:
    values = target.attempt(Z, with_gradient=False)[0]
    return np.where(np.isfinite(values), values, -np.inf)  # +inf is arithmetic that failed
