"""Gaussians whose covariance is low-rank plus diagonal."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from fastvi.families._steps import antithetic

__all__ = ["LowRank"]

Array = NDArray[np.float64]


class LowRank(NamedTuple):
    """``N(mean, factors factors' + diag(sd0^2))``: mean, sd0 (D,), factors (D, R).

    Ong, Nott and Smith (2018), "Gaussian variational approximation with a factor covariance
    structure".
    """

    mean: Array
    factors: Array
    sd0: Array

    @classmethod
    def of(cls, mean: Array, covariance: Array, rank: int = 1) -> Self:
        """A member near a Gaussian: its leading factors, and what they leave on the diagonal."""
        scale = np.sqrt(np.diag(covariance))
        values, vectors = np.linalg.eigh(covariance / scale / scale[:, None])
        rank = min(rank, len(mean))
        excess = np.maximum(values[::-1][:rank] - values.min(), 0.0)
        factors = vectors[:, ::-1][:, :rank] * np.sqrt(excess)
        rest = np.maximum(1.0 - np.square(factors).sum(axis=1), 0.01)
        return cls(np.array(mean), factors * scale[:, None], np.sqrt(rest) * scale)

    @property
    def cov(self) -> Array:
        """Covariance, (D, D)."""
        return self.factors @ self.factors.T + np.diag(self.sd0**2)

    @property
    def sd(self) -> Array:
        """Standard deviations, (D,)."""
        return np.asarray(np.sqrt(np.square(self.factors).sum(axis=1) + self.sd0**2))

    @property
    def log_det(self) -> float:
        """Log determinant of a root of the covariance."""
        inner = np.linalg.slogdet(self._inner())[1]
        return float(np.log(self.sd0).sum() + 0.5 * inner)

    def _inner(self) -> Array:
        """I + B' D^-2 B, (R, R)."""
        scaled = self.factors / self.sd0[:, None]
        return np.eye(self.factors.shape[1]) + scaled.T @ scaled

    def _solve(self, X: Array) -> Array:
        """Rows of X (n, D) times the precision, by Woodbury's formula."""
        scaled = X / self.sd0**2
        inner = cho_solve(cho_factor(self._inner(), lower=True), self.factors.T @ scaled.T)
        return np.asarray(scaled - (self.factors @ inner).T / self.sd0**2)

    @property
    def units(self) -> Array:
        """What turns numbers near 1 into ones of this scale, (D,)."""
        return self.sd

    def standard(self) -> LowRank:
        """The member in its own units and about its own mean."""
        units = self.units
        factors = self.factors / units[:, None]
        return LowRank(np.zeros(len(self.mean)), factors, self.sd0 / units)

    def mapped(self, centre: Array, units: Array) -> LowRank:
        """What the member becomes by x -> centre + units x."""
        factors = units[:, None] * self.factors
        return LowRank(centre + units * self.mean, factors, units * self.sd0)

    def noise(self, n: int, rng: np.random.Generator) -> Array:
        """What `draw` turns into n draws, (n, R + D)."""
        return antithetic(n, self.factors.shape[1] + len(self.mean), rng)

    def draw(self, eps: Array) -> Array:
        """Draws (n, D) from noise."""
        rank = self.factors.shape[1]
        return self.mean + eps[:, :rank] @ self.factors.T + eps[:, rank:] * self.sd0

    def log_prob(self, Z: Array) -> Array:
        """Log densities of Z (n, D), (n,) nats."""
        away = Z - self.mean
        square = np.sum(away * self._solve(away), axis=1)
        return np.asarray(-0.5 * square - self.log_det - 0.5 * len(self.mean) * np.log(2 * np.pi))

    def log_prob_of(self, eps: Array) -> Array:
        """`log_prob` of the draws from noise."""
        return self.log_prob(self.draw(eps))

    def score(self, eps: Array) -> Array:
        """Gradients of `log_prob` with respect to draws, (n, D)."""
        return -self._solve(self.draw(eps) - self.mean)

    def free(self) -> tuple[Array, Array, Array]:
        """Parameters without constraints: mean, factors, log sd0."""
        return self.mean, self.factors, np.log(self.sd0)

    @classmethod
    def from_free(cls, free: tuple[Array, Array, Array]) -> Self:
        """The member with these free parameters."""
        return cls(free[0], free[1], np.exp(free[2]))

    def plain(
        self, slopes: Array, eps: Array, weights: Array, sticking: bool = True
    ) -> tuple[Array, Array, Array]:
        """Gradient with respect to `free`, arguments as in `fastvi.families.FullRank.natural`."""
        slopes = slopes - self.score(eps) if sticking else slopes
        rank = self.factors.shape[1]
        weighted = slopes * weights[:, None]
        of_sd = np.sum(weighted * eps[:, rank:], axis=0) * self.sd0
        return weighted.sum(axis=0), weighted.T @ eps[:, :rank], of_sd
