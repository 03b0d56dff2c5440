"""Gaussians with a low-rank plus diagonal covariance."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple, Self

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from fastvi.base import checks
from fastvi.base.typing import AnyArray, Array
from fastvi.families.base import Near, Powers, column, stored
from fastvi.families.gaussians import antithetic, divergence, entropy, stored_scales
from fastvi.families.powers import Draws

__all__ = ["LowRank", "lowrank"]


class LowRank(NamedTuple):
    """``N(mean, factors factors' + diag(sd0^2))``: mean, sd0 (D,), factors (D, R).

    Ong, Nott and Smith (2018), "Gaussian variational approximation with a factor covariance
    structure".

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import families
    >>> member = families.LowRank(np.zeros(3), np.ones((3, 1)), np.full(3, 0.5))
    >>> member.dim
    3
    """

    mean: Array
    factors: Array
    sd0: Array

    @classmethod
    def of(cls, mean: Array, covariance: Array, rank: int = 1) -> Self:
        """Return a member near a Gaussian: its leading factors, and the rest of the diagonal."""
        scale = np.sqrt(np.diag(covariance))
        values, vectors = np.linalg.eigh(covariance / scale / scale[:, None])
        rank = min(rank, len(mean))
        excess = np.maximum(values[::-1][:rank] - values.min(), 0.0)
        factors = vectors[:, ::-1][:, :rank] * np.sqrt(excess)
        rest = np.maximum(1.0 - np.square(factors).sum(axis=1), 0.01)
        return cls(np.array(mean), factors * scale[:, None], np.sqrt(rest) * scale)

    @property
    def dim(self) -> int:
        """Length of a draw, D."""
        return len(self.mean)

    @property
    def centre(self) -> Array:
        """Where the member's own units begin, (D,): its mean."""
        return self.mean

    @property
    def powers(self) -> Powers:
        """What else it can do."""
        return Powers(pathwise=self, entropy=self, frame=self, gaussian=True)

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
        """Multiply rows of X (n, D) by the precision, by Woodbury's formula."""
        scaled = X / self.sd0**2
        inner = cho_solve(cho_factor(self._inner(), lower=True), self.factors.T @ scaled.T)
        return np.asarray(scaled - (self.factors @ inner).T / self.sd0**2)

    @property
    def units(self) -> Array:
        """Factors that scale standard numbers to the member, (D,)."""
        return self.sd

    def standard(self) -> LowRank:
        """Return the member in its own units and about its own mean."""
        units = self.units
        factors = self.factors / units[:, None]
        return LowRank(np.zeros(len(self.mean)), factors, self.sd0 / units)

    def mapped(self, centre: Array, units: Array) -> LowRank:
        """Return the member after the map x -> centre + units x."""
        factors = units[:, None] * self.factors
        return LowRank(centre + units * self.mean, factors, units * self.sd0)

    def noise(self, n: int, rng: np.random.Generator) -> Array:
        """Draw the noise (n, R + D) that `at` turns into n draws."""
        return antithetic(n, self.factors.shape[1] + self.dim, rng)

    def at(self, noise: Array) -> Draws:
        """Return the draws that belong to noise."""
        rank = self.factors.shape[1]
        points = self.mean + noise[:, :rank] @ self.factors.T + noise[:, rank:] * self.sd0
        return Draws(points, noise)

    def draw(self, n: int, rng: np.random.Generator) -> Draws:
        """Draw n points, in antithetic pairs."""
        return self.at(self.noise(n, rng))

    def log_prob(self, Z: Array) -> Array:
        """Log densities (n,) of Z (n, D), in nats."""
        away = Z - self.mean
        square = np.sum(away * self._solve(away), axis=1)
        return np.asarray(-0.5 * square - self.log_det - 0.5 * len(self.mean) * np.log(2 * np.pi))

    def log_prob_of(self, draws: Draws) -> Array:
        """`log_prob` of the member's own draws."""
        return self.log_prob(draws.points)

    def score(self, draws: Draws) -> Array:
        """Gradients of `log_prob` with respect to draws, (n, D)."""
        return -self._solve(draws.points - self.mean)

    def divergence(self, other: LowRank) -> float:
        """Symmetrised KL divergence from another member, in nats."""
        return divergence(self, other)

    def free(self) -> tuple[Array, Array, Array]:
        """Return the unconstrained parameters: mean, factors, log sd0."""
        return self.mean, self.factors, np.log(self.sd0)

    @classmethod
    def from_free(cls, free: tuple[Array, Array, Array]) -> Self:
        """Return the member with these unconstrained parameters."""
        return cls(free[0], free[1], np.exp(free[2]))

    def pullback(
        self, draws: Draws, of_points: Array, of_log_q: float | Array, weights: Array
    ) -> tuple[Array, Array, Array]:
        """Gradient of a loss with respect to `free`, see `fastvi.families.powers.Pathwise`."""
        slopes = of_points + column(of_log_q) * self.score(draws)
        rank = self.factors.shape[1]
        weighted = slopes * weights[:, None]
        of_sd = np.sum(weighted * draws.noise[:, rank:], axis=0) * self.sd0
        return weighted.sum(axis=0), weighted.T @ draws.noise[:, :rank], of_sd

    def entropy(self) -> float:
        """Entropy in nats."""
        return entropy(self)

    def entropy_pullback(self) -> tuple[Array, Array, Array]:
        """Return the gradient of the entropy with respect to `free`."""
        of_factors = self._solve(self.factors.T).T
        share = np.sum(of_factors * self.factors, axis=1)  # of the variance that the factors make
        return np.zeros(self.dim), of_factors, 1.0 - share

    # Files

    def save(self) -> dict[str, Array]:
        """Return the arrays to store in a file."""
        return self._asdict()

    @classmethod
    def load(cls, arrays: Mapping[str, AnyArray], dim: int) -> Self:
        """Make the member of dimension `dim` from a file, see `fastvi.families.base.Family`."""
        return cls(
            stored(arrays, "mean", (dim,)),
            stored(arrays, "factors", (dim, -1)),
            stored_scales(arrays, "sd0", dim),
        )


def lowrank(rank: int = 1) -> Near:
    """The low-rank family with `rank` factors, for the argument `family` of `fastvi.fit`.

    Raises
    ------
    ValueError
        If `rank` is below 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import families
    >>> near = families.lowrank(rank=2)
    >>> near(np.zeros(5), np.eye(5)).factors.shape
    (5, 2)
    """
    return partial(LowRank.of, rank=checks.integer(rank, "rank", 1))
