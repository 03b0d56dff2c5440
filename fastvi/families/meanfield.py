"""Gaussians with independent coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Self

import numpy as np

from fastvi.base.typing import AnyArray, Array
from fastvi.families.base import Powers, ProductForm, column, stored
from fastvi.families.gaussians import (
    Step,
    antithetic,
    divergence,
    entropy,
    retraction,
    stored_scales,
)
from fastvi.families.kinds import gaussian
from fastvi.families.powers import Draws, Driver
from fastvi.families.products import Blocks, blocks

__all__ = ["MeanField"]


class MeanField(NamedTuple):
    """``N(mean, diag(sd^2))``, mean and sd (D,).

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import families
    >>> member = families.MeanField(np.zeros(2), np.array([1.0, 2.0]))
    >>> families.sample(member, 3, random_state=0).shape
    (3, 2)
    """

    mean: Array
    sd: Array

    @classmethod
    def of(cls, mean: Array, covariance: Array) -> Self:
        """Return the member that minimises KL(q || p) for a Gaussian p."""
        return cls(np.array(mean), 1.0 / np.sqrt(np.diag(np.linalg.inv(covariance))))

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
        form = ProductForm(blocks(gaussian(self.mean, self.sd)), self.from_blocks)
        return Powers(
            pathwise=self, natural=self, entropy=self, frame=self, compiled=self, score=form,
            independent=self, gaussian=True,
        )  # fmt: skip

    @classmethod
    def from_blocks(cls, product: Blocks) -> Self:
        """Return the member that equals a product of Gaussian blocks."""
        pairs = product.values.reshape(-1, 2)
        return cls(pairs[:, 0].copy(), np.exp(pairs[:, 1]))

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
        """Factors that scale standard numbers to the member, (D,)."""
        return self.sd

    def standard(self) -> MeanField:
        """Return the member in its own units and about its own mean."""
        return MeanField(np.zeros(len(self.mean)), np.ones(len(self.mean)))

    def mapped(self, centre: Array, units: Array) -> MeanField:
        """Return the member after the map x -> centre + units x."""
        return MeanField(centre + units * self.mean, units * self.sd)

    def noise(self, n: int, rng: np.random.Generator) -> Array:
        """Draw the noise (n, D) that `at` turns into n draws."""
        return antithetic(n, self.dim, rng)

    def at(self, noise: Array) -> Draws:
        """Return the draws that belong to noise."""
        return Draws(self.mean + self.sd * noise, noise)

    def draw(self, n: int, rng: np.random.Generator) -> Draws:
        """Draw n points, in antithetic pairs."""
        return self.at(self.noise(n, rng))

    def log_prob(self, Z: Array) -> Array:
        """Log densities (n,) of Z (n, D), in nats."""
        square = np.square((Z - self.mean) / self.sd).sum(axis=1)
        return np.asarray(-0.5 * square - self.log_det - 0.5 * len(self.mean) * np.log(2 * np.pi))

    def log_prob_of(self, draws: Draws) -> Array:
        """`log_prob` of the member's own draws."""
        square = np.square(draws.noise).sum(axis=1)
        return np.asarray(-0.5 * square - self.log_det - 0.5 * len(self.mean) * np.log(2 * np.pi))

    def score(self, draws: Draws) -> Array:
        """Gradients of `log_prob` with respect to draws, (n, D)."""
        return -draws.noise / self.sd

    def divergence(self, other: MeanField) -> float:
        """Symmetrised KL divergence from another member, in nats."""
        return divergence(self, other)

    # Natural gradients, in the frame where this is the standard normal

    def natural(
        self, draws: Draws, of_points: Array, of_log_q: float | Array, weights: Array
    ) -> Step:
        """Return the natural gradient of a loss; arguments as in `fastvi.families.powers.Pathwise`.

        It is that of mean and precision, by the theorems of Bonnet and Price, as in Khan and Rue
        (2023), "The Bayesian learning rule", eq. 11 to 13.
        """
        pulled = of_points * self.sd - column(of_log_q) * draws.noise
        return Step(weights @ pulled, weights @ (pulled * draws.noise))

    def natural_entropy(self) -> Step:
        """Return the natural gradient of the entropy."""
        return Step(np.zeros(len(self.mean)), np.ones(len(self.mean)))

    def moved(self, step: Step) -> MeanField:
        """Return the member that a step leads to; any step keeps precisions positive.

        The precision becomes 1 - s + s^2 / 2 in the frame (Lin, Schmidt and Khan 2020, "Handling
        the positive- definite constraint in the Bayesian learning rule", eq. 11).
        """
        mean, spread = retraction(step)
        sd = 1.0 / np.sqrt(1.0 - spread + 0.5 * spread * spread)
        return MeanField(self.mean + self.sd * (sd * sd * mean), self.sd * sd)

    # Plain gradients, of (mean, log sd)

    def free(self) -> tuple[Array, Array]:
        """Return the unconstrained parameters."""
        return self.mean, np.log(self.sd)

    @classmethod
    def from_free(cls, free: tuple[Array, Array]) -> Self:
        """Return the member with these unconstrained parameters."""
        return cls(free[0], np.exp(free[1]))

    def pullback(
        self, draws: Draws, of_points: Array, of_log_q: float | Array, weights: Array
    ) -> tuple[Array, Array]:
        """Gradient of a loss with respect to `free`, see `fastvi.families.powers.Pathwise`."""
        slopes = of_points + column(of_log_q) * self.score(draws)
        return weights @ slopes, weights @ (slopes * draws.noise) * self.sd

    def entropy(self) -> float:
        """Entropy in nats."""
        return entropy(self)

    def entropy_pullback(self) -> tuple[Array, Array]:
        """Return the gradient of the entropy with respect to `free`."""
        return np.zeros(len(self.mean)), np.ones(len(self.mean))

    def driver(self, natural: bool) -> Driver:
        """Return the compiled loop over steps."""
        from fastvi.kernels import drivers

        if natural:
            return Driver(drivers.meanfield_natural, Step)
        return Driver(drivers.meanfield_plain, None)

    # Files

    def save(self) -> dict[str, Array]:
        """Return the arrays to store in a file."""
        return self._asdict()

    @classmethod
    def load(cls, arrays: Mapping[str, AnyArray], dim: int) -> Self:
        """Make the member of dimension `dim` from a file, see `fastvi.families.base.Family`."""
        return cls(stored(arrays, "mean", (dim,)), stored_scales(arrays, "sd", dim))
