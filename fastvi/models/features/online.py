"""Binary features of rows as they arrive."""

from __future__ import annotations

import numpy as np

from fastvi.base.typing import AnyArray, Array, Indices
from fastvi.models.features.rows import FRESH, Decoder, Rows

__all__ = ["FeaturePredictor"]


class FeaturePredictor:
    """Probabilities of features of complete rows (n, D) of float64; nothing is checked."""

    def __init__(self, decoder: Decoder, order: Indices, centre: Array) -> None:
        self._decoder, self._order, self._centre = decoder, order, centre

    def __call__(self, X: AnyArray) -> Array:
        """Return probabilities (n, K)."""
        values, nu = X - self._centre, self._decoder.fresh(len(X))
        seen = np.ones_like(values) if self._decoder.each else np.empty((len(X), 0))
        self._decoder.block(Rows(values, seen, np.empty(0)), nu, FRESH)
        return np.ascontiguousarray(nu[self._order].T)
