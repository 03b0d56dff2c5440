"""Gaussians with independent coordinates."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fastvi.families._steps import Step, antithetic, retraction

__all__ = ["MeanField"]

Array = NDArray[np.float64]


class MeanField(NamedTuple):
    """``N(mean, diag(sd^2))``, mean and sd (D,)."""

    mean: Array
    sd: Array

    @classmethod
    def of(cls, mean: Array, covariance: Array) -> Self:
        """The member nearest in KL(q || p) to a Gaussian p."""
        return cls(np.array(mean), 1.0 / np.sqrt(np.diag(np.linalg.inv(covariance))))

    @property
    def cov(self) -> Array:
        """Covariance, (D, D)."""
        return np.diag(self.sd**2)

    @property
    def log_det(self) -> float:
        """Log determinant of the root of the covariance."""
        return float(np.log(self.sd).sum())

    @property
    def units(self) -> Array:
        """What turns standard numbers into ones of this scale, (D,)."""
        return self.sd

    def standard(self) -> MeanField:
        """The member in its own units and about its own mean."""
        return MeanField(np.zeros(len(self.mean)), np.ones(len(self.mean)))

    def mapped(self, centre: Array, units: Array) -> MeanField:
        """What the member becomes by x -> centre + units x."""
        return MeanField(centre + units * self.mean, units * self.sd)

    def noise(self, n: int, rng: np.random.Generator) -> Array:
        """What `draw` turns into n draws, (n, D)."""
        return antithetic(n, len(self.mean), rng)

    def draw(self, eps: Array) -> Array:
        """Draws (n, D) from noise."""
        return self.mean + self.sd * eps

    def log_prob(self, Z: Array) -> Array:
        """Log densities of Z (n, D), (n,) nats."""
        square = np.square((Z - self.mean) / self.sd).sum(axis=1)
        return np.asarray(-0.5 * square - self.log_det - 0.5 * len(self.mean) * np.log(2 * np.pi))

    def log_prob_of(self, eps: Array) -> Array:
        """`log_prob` of the draws from noise."""
        square = np.square(eps).sum(axis=1)
        return np.asarray(-0.5 * square - self.log_det - 0.5 * len(self.mean) * np.log(2 * np.pi))

    def score(self, eps: Array) -> Array:
        """Gradients of `log_prob` with respect to draws, (n, D)."""
        return -eps / self.sd

    # Natural gradients, in the frame where this is the standard normal

    def natural(self, slopes: Array, eps: Array, weights: Array, sticking: bool = True) -> Step:
        """From weighted gradients `slopes` (n, D) of the target's log density at draws.

        The natural gradient of mean and precision, by the theorems of Bonnet and Price, as in Khan
        and Rue (2023), "The Bayesian learning rule", eq. 11 to 13. `sticking`: less the gradient of
        the member's own density, `score`.
        """
        pulled = slopes * self.sd + eps if sticking else slopes * self.sd
        return Step(weights @ pulled, weights @ (pulled * eps))

    def moved(self, step: Step) -> MeanField:
        """The member that a step leads to; precisions stay positive whatever it is.

        Precision 1 - s + s^2 / 2 in the frame (Lin, Schmidt and Khan 2020, "Handling the positive-
        definite constraint in the Bayesian learning rule", eq. 11).
        """
        mean, spread = retraction(step)
        sd = 1.0 / np.sqrt(1.0 - spread + 0.5 * spread * spread)
        return MeanField(self.mean + self.sd * (sd * sd * mean), self.sd * sd)

    # Plain gradients, of (mean, log sd)

    def free(self) -> tuple[Array, Array]:
        """Parameters without constraints."""
        return self.mean, np.log(self.sd)

    @classmethod
    def from_free(cls, free: tuple[Array, Array]) -> Self:
        """The member with these free parameters."""
        return cls(free[0], np.exp(free[1]))

    def plain(
        self, slopes: Array, eps: Array, weights: Array, sticking: bool = True
    ) -> tuple[Array, Array]:
        """Gradient with respect to `free`, arguments as in `natural`."""
        slopes = slopes - self.score(eps) if sticking else slopes
        return weights @ slopes, weights @ (slopes * eps) * self.sd

    # The entropy's own gradients, for estimators that take it in closed form

    def entropy_natural(self) -> Step:
        """Natural gradient of the entropy."""
        return Step(np.zeros(len(self.mean)), np.ones(len(self.mean)))

    def entropy_plain(self) -> tuple[Array, Array]:
        """Gradient of the entropy with respect to `free`."""
        return np.zeros(len(self.mean)), np.ones(len(self.mean))
