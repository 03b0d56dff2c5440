"""Gaussians to draw around: wider, heavier, or stretched along one coordinate at a time."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
from scipy.linalg.lapack import dtrtrs
from scipy.special import gammaln

from fastvi.base.typing import Array

__all__ = ["Bell", "log_sum"]

LOWEST = float(np.finfo(float).min)

FACTORS = (2.0, 4.0)  # by which coordinates are stretched
SCALES = 2.0 ** (0.5 * np.arange(1, 13))  # of the wide Gaussians
DEGREES = 5.0  # of freedom of the Student distributions


def log_sum(logs: Array) -> Array:
    """Logarithms of the sums of exponentials over the first axis; SciPy takes longer to begin."""
    largest = np.maximum(logs.max(axis=0), LOWEST)
    return np.asarray(largest + np.log(np.exp(logs - largest).sum(axis=0)))


class Bell(NamedTuple):
    """A Gaussian to draw around: mean (D,), lower triangular root (D, D), and what follows.

    `lines` (D, D) holds in row j how all coordinates move with coordinate j, on average; `sd` (D,).
    """

    mean: Array
    root: Array
    sd: Array
    lines: Array

    @classmethod
    def of(cls, mean: Array, cov: Array) -> Self:
        """Return the Gaussian with these moments; without correlations if `cov` is singular."""
        variance = np.diag(cov)
        try:
            root = np.asarray(np.linalg.cholesky(cov))
        except np.linalg.LinAlgError:
            root, cov = np.diag(np.sqrt(variance)), np.diag(variance)
        return cls(np.array(mean), root, np.sqrt(variance), cov / variance[:, None])

    @property
    def log_norm(self) -> float:
        """Log density at the mean."""
        return float(-np.log(np.diag(self.root)).sum() - 0.5 * len(self.mean) * np.log(2 * np.pi))

    def squares(self, Z: Array) -> Array:
        """Squared distances (n,) of Z from the mean, in the Gaussian's own units."""
        white = dtrtrs(self.root, (Z - self.mean).T, lower=1)[0]
        return np.asarray(np.einsum("dn,dn->n", white, white))

    def draw(self, n: int, rng: np.random.Generator, scale: float | Array = 1.0) -> Array:
        """Draw n points, with deviations times `scale`."""
        deviations = rng.standard_normal((n, len(self.mean))) @ self.root.T
        return np.asarray(self.mean + np.reshape(scale, (-1, 1)) * deviations)

    # One coordinate stretched along its line

    def draw_stretched(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n points, each with one coordinate stretched; all of them in turn."""
        Z, D = self.draw(n, rng), len(self.mean)
        cells = np.floor((np.arange(n) + rng.random(n)) * (2 * D / max(n, 1))).astype(int)
        which, factor = cells % D, np.take(FACTORS, cells // D)
        away = (factor - 1.0) * (Z[np.arange(n), which] - self.mean[which])
        return np.asarray(Z + away[:, None] * self.lines[which])

    def log_stretched(self, Z: Array, squares: Array) -> Array:
        """Log densities of `draw_stretched`: only the marginal of that coordinate changes."""
        halves = 0.5 * np.square((Z - self.mean) / self.sd)
        largest = halves.max(axis=1) * (1.0 - FACTORS[-1] ** -2)
        total = np.zeros(len(Z))
        for factor in FACTORS:
            gains = halves * (1.0 - factor**-2)
            gains -= largest[:, None]
            total += np.exp(gains, out=gains).sum(axis=1) / factor
        size = len(FACTORS) * Z.shape[1]
        return np.asarray(self.log_norm - 0.5 * squares + largest + np.log(total / size))

    # Wider in all directions

    def draw_student(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n points of a Student distribution."""
        return self.draw(n, rng, np.sqrt(DEGREES / rng.chisquare(DEGREES, n)))

    def log_student(self, squares: Array) -> Array:
        """Log densities of `draw_student`."""
        D = len(self.mean)
        constant = gammaln(0.5 * (DEGREES + D)) - gammaln(0.5 * DEGREES)
        constant += self.log_norm + 0.5 * D * np.log(2.0 / DEGREES)
        return np.asarray(constant - 0.5 * (DEGREES + D) * np.log1p(squares / DEGREES))

    def draw_wide(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n points of wider Gaussians, of each in turn."""
        cells = np.floor((np.arange(n) + rng.random(n)) * (len(SCALES) / max(n, 1))).astype(int)
        return self.draw(n, rng, SCALES[cells])

    def log_wide(self, squares: Array) -> Array:
        """Log densities of `draw_wide`."""
        each = (
            -0.5 * squares / np.square(SCALES)[:, None] - len(self.mean) * np.log(SCALES)[:, None]
        )
        return np.asarray(self.log_norm + log_sum(each) - np.log(len(SCALES)))
