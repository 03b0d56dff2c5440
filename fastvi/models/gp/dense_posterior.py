"""Posteriors of latent functions given all rows, and what they predict."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import Array
from fastvi.models.gp.approximation import Approximation
from fastvi.models.gp.evidence import Evidence
from fastvi.models.gp.multiclass import Latents, Scheme

__all__ = ["DensePosterior", "Searched"]

CHUNK_ROWS = 512


class Searched(NamedTuple):
    """One search: what it looked at, and the approximation where it ended."""

    evidence: Evidence
    theta: Array
    found: Approximation


class DensePosterior(NamedTuple):
    """Posteriors of all latent functions, which never change."""

    searched: list[Searched]
    scheme: Scheme
    link: str

    def latents(self, X: Any) -> Latents:
        """Means (n, T) and covariances (n, T, T) of the latents of each search."""
        parts = []
        with single_threaded_blas():
            for evidence, theta, found in self.searched:
                chunks = []
                for first in range(0, len(X), CHUNK_ROWS):
                    x = X[first : first + CHUNK_ROWS]
                    k = evidence.rows.crossed(theta, x)
                    chunks.append(found.latents(k, evidence.rows.diagonal(theta, x)))
                means, covariances = zip(*chunks)
                parts.append((np.concatenate(means), np.concatenate(covariances)))
        return parts

    def probabilities(self, X: Any) -> Array:
        """Probabilities of classes, (n, n_classes)."""
        return self.scheme.probabilities(self.latents(X), self.link)
