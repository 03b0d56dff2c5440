"""Where fits begin whose families can bend over several modes: over all modes that are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import logsumexp

from fastvi.base.typing import Array
from fastvi.posteriors.importance import near_modes
from fastvi.posteriors.modes import Mode
from fastvi.targets.base import Target
from fastvi.targets.failures import quiet

__all__ = ["moments_over"]

DEEPEST = 4.0  # nats that the density may fall one standard deviation away; a Gaussian's 0.5
HALVINGS = 60  # of a standard deviation


def moments_over(target: Target, modes: Sequence[Mode]) -> tuple[Array, Array] | None:
    """Mean and covariance of the modes that matter, weighted by evidence; None if only one does.

    Where curvature says nothing about the width of a mode, such as along a ring, the width is that
    at which the density falls.
    """
    near = [(mode, mode.cov) for mode in near_modes(modes) if mode.cov is not None]
    if len(near) < 2:
        return None
    logs = np.array([mode.log_evidence for mode, _ in near])
    weights, places = np.exp(logs - logsumexp(logs)), np.array([mode.place for mode, _ in near])
    with quiet():
        covs = np.array([_as_wide_as_it_is(target, mode, cov) for mode, cov in near])
    mean = weights @ places
    away = places - mean
    return mean, np.einsum("k,kij->ij", weights, covs) + (away.T * weights) @ away


def _as_wide_as_it_is(target: Target, mode: Mode, cov: Array) -> Array:
    """The covariance, narrower along axes at whose ends the density is far below the mode's."""
    variances, axes = np.linalg.eigh(cov)
    sds = np.sqrt(np.maximum(variances, np.finfo(float).tiny))
    for _ in range(HALVINGS):
        ends = np.concatenate(
            (mode.place + sds[:, None] * axes.T, mode.place - sds[:, None] * axes.T)
        )
        values = target.attempt(ends, with_gradient=False)[0].reshape(2, -1)
        falls = mode.log_prob - np.where(np.isfinite(values), values, -np.inf).max(axis=0)
        if not np.any(falls > DEEPEST):
            break
        sds = np.where(falls > DEEPEST, 0.5 * sds, sds)
    return np.asarray((axes * np.square(sds)) @ axes.T)
