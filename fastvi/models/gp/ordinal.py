"""Levels that a latent function plus noise crosses: ordinal regression."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

from fastvi.base.typing import Array
from fastvi.models.gp.likelihood import Likelihood, Values

__all__ = ["Ordinal"]

MOST = 1000  # the highest level


class Ordinal(Likelihood):
    """The target is the number of cut points below f plus N(0, 1): 0, 1, ..., L - 1.

    Chu and Ghahramani (2005), "Gaussian processes for ordinal regression". Its own parameters are
    the first cut point and the logarithms of the gaps, (L - 1,).
    """

    name = "ordinal"
    n_latents = 1

    @staticmethod
    def cuts(own: Array) -> Array:
        """The cut points, which rise."""
        return np.asarray(np.cumsum(np.concatenate((own[:1], np.exp(own[1:])))))

    @staticmethod
    def start_for(y: Array) -> Array:
        """Parameters for which a latent of 0 and variance 1 has the levels' frequencies."""
        if len(np.unique(y)) < 2:
            raise ValueError(f"y holds level {y[0]:g} only; wanted at least two levels")
        counts = np.bincount(y.astype(np.int64)) + 0.5
        cuts = np.sqrt(2.0) * ndtri(np.cumsum(counts)[:-1] / counts.sum())
        return np.concatenate((cuts[:1], np.log(np.diff(cuts))))

    def check(self, y: Array) -> None:
        """See `Likelihood`."""
        if not np.all((y >= 0) & (y == np.floor(y)) & (y <= MOST)):
            raise ValueError(f"y must hold levels 0, 1, ... {MOST} where likelihood is 'ordinal'")

    def probabilities(self, mean: Array, variance: Array, values: Values) -> Array:
        """See `Likelihood`."""
        z = (self.cuts(values.own) - mean) / np.sqrt(1.0 + variance)
        below = np.column_stack((np.zeros(len(mean)), ndtr(z), np.ones(len(mean))))
        return np.asarray(np.diff(below, axis=1))

    def predict(self, mean: Array, variance: Array, values: Values) -> tuple[Array, Array]:
        """See `Likelihood`; of the level as a number."""
        p = self.probabilities(mean, variance, values)
        level = np.arange(p.shape[1])
        first = p @ level
        return first, p @ np.square(level) - np.square(first)

    def sample(self, f: Array, values: Values, rng: np.random.RandomState) -> Array:
        """See `Likelihood`."""
        noisy = f + rng.standard_normal(f.shape)
        return np.asarray(np.searchsorted(self.cuts(values.own), noisy), np.float64)
