"""Latent inputs of rows, whose q(w) a network reads off inputs and targets.

Salimbeni, Dutordoir, Hensman and Deisenroth (2019), "Deep Gaussian processes with
importance-weighted variational inference". Shapes: n rows, Q latent inputs with prior N(0, I).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastvi.base.typing import Array
from fastvi.models.gp.recognition import Network, Read, fitted, read

__all__ = ["Recognition", "initial_network"]

LOG_SD = float(np.log(0.5))  # of q(w) at the start
SHARE = 0.7  # standard deviation of its means at the start


class Recognition(NamedTuple):
    """What is fixed about the network, and where it starts."""

    y_units: Array  # (2, T), means and scales of targets
    start: Network

    @property
    def n_latents(self) -> int:
        """Q."""
        return len(self.start.second_bias) // 2

    def read(self, network: Network, x: Array, y: Array) -> Read:
        """Return q(w) of rows with standardised inputs x (n, D) and targets y (n,) or (n, T)."""
        return read(network, np.concatenate((x, _standardised(y, self.y_units)), axis=1))


def _standardised(y: Array, units: Array) -> Array:
    """Targets (n, T) of variance 1, 0 where missing."""
    return np.asarray(np.nan_to_num((y.reshape(len(y), -1) - units[0]) / units[1]))


def initial_network(
    x: Array, y: Array, n_latents: int, n_hidden: int, rng: np.random.Generator
) -> Recognition:
    """A network whose means follow what is left of the targets after their regression on x.

    Latent inputs beyond the number of targets follow random functions.
    """
    targets = y.reshape(len(y), -1)
    scale = np.nanstd(targets, axis=0)
    units = np.stack((np.nanmean(targets, axis=0), np.where(scale > 0, scale, 1.0)))
    known = _standardised(y, units)
    wanted = rng.normal(size=(len(x), n_latents))
    n = min(n_latents, known.shape[1])
    wanted[:, :n] = known[:, :n]
    basis = np.concatenate((x, np.ones((len(x), 1))), axis=1)
    wanted -= basis @ np.linalg.lstsq(basis, wanted, rcond=None)[0]
    wanted *= SHARE / np.maximum(wanted.std(axis=0), 1e-12)
    inputs = np.concatenate((x, known), axis=1)
    return Recognition(units, fitted(inputs, wanted, LOG_SD, n_hidden, rng))
