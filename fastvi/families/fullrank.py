"""Gaussians with a full covariance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Self

import numpy as np
from scipy.linalg import cho_factor, solve_triangular

from fastvi.base.typing import AnyArray, Array
from fastvi.families.base import Powers, column, stored
from fastvi.families.gaussians import Step, antithetic, divergence, entropy, retraction
from fastvi.families.powers import Draws, Driver

__all__ = ["FullRank"]

LARGEST = 100  # dimension above which steps in Python with BLAS are as fast


class FullRank(NamedTuple):
    """``N(mean, root root')``, mean (D,) and root (D, D) lower triangular.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import families
    >>> member = families.FullRank(np.zeros(2), np.array([[1.0, 0.0], [0.5, 1.0]]))
    >>> member.cov
    array([[1.  , 0.5 ],
           [0.5 , 1.25]])
    """

    mean: Array
    root: Array

    @classmethod
    def of(cls, mean: Array, covariance: Array) -> Self:
        """Return the member with these moments."""
        return cls(np.array(mean), np.asarray(np.linalg.cholesky(covariance), np.float64))

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
        return Powers(
            pathwise=self, natural=self, entropy=self, frame=self, compiled=self,
            full_covariance=True, gaussian=True,
        )  # fmt: skip

    @property
    def cov(self) -> Array:
        """Covariance, (D, D)."""
        return self.root @ self.root.T

    @property
    def sd(self) -> Array:
        """Standard deviations, (D,)."""
        return np.asarray(np.sqrt(np.square(self.root).sum(axis=1)))

    @property
    def log_det(self) -> float:
        """Log determinant of the root of the covariance."""
        return float(np.log(np.diag(self.root)).sum())

    @property
    def units(self) -> Array:
        """Factors that scale standard numbers to the member, (D, D)."""
        return self.root

    def standard(self) -> FullRank:
        """Return the member in its own units and about its own mean."""
        return FullRank(np.zeros(len(self.mean)), np.eye(len(self.mean)))

    def mapped(self, centre: Array, units: Array) -> FullRank:
        """Return the member after the map x -> centre + units x."""
        return FullRank(centre + units @ self.mean, units @ self.root)

    def noise(self, n: int, rng: np.random.Generator) -> Array:
        """Draw the noise (n, D) that `at` turns into n draws."""
        return antithetic(n, self.dim, rng)

    def at(self, noise: Array) -> Draws:
        """Return the draws that belong to noise."""
        return Draws(self.mean + noise @ self.root.T, noise)

    def draw(self, n: int, rng: np.random.Generator) -> Draws:
        """Draw n points, in antithetic pairs."""
        return self.at(self.noise(n, rng))

    def log_prob(self, Z: Array) -> Array:
        """Log densities (n,) of Z (n, D), in nats."""
        white = solve_triangular(self.root, (Z - self.mean).T, lower=True)
        square = np.square(white).sum(axis=0)
        return np.asarray(-0.5 * square - self.log_det - 0.5 * len(self.mean) * np.log(2 * np.pi))

    def log_prob_of(self, draws: Draws) -> Array:
        """`log_prob` of the member's own draws."""
        square = np.square(draws.noise).sum(axis=1)
        return np.asarray(-0.5 * square - self.log_det - 0.5 * len(self.mean) * np.log(2 * np.pi))

    def score(self, draws: Draws) -> Array:
        """Gradients of `log_prob` with respect to draws, (n, D)."""
        return np.asarray(-solve_triangular(self.root, draws.noise.T, lower=True, trans="T").T)

    def divergence(self, other: FullRank) -> float:
        """Symmetrised KL divergence from another member, in nats."""
        return divergence(self, other)

    # Natural gradients, in the frame where this is the standard normal

    def natural(
        self, draws: Draws, of_points: Array, of_log_q: float | Array, weights: Array
    ) -> Step:
        """Return the natural gradient of a loss, as in `fastvi.families.MeanField.natural`."""
        pulled = of_points @ self.root - column(of_log_q) * draws.noise
        spread = (draws.noise.T * weights) @ pulled
        return Step(weights @ pulled, 0.5 * (spread + spread.T))

    def natural_entropy(self) -> Step:
        """Return the natural gradient of the entropy."""
        return Step(np.zeros(len(self.mean)), np.eye(len(self.mean)))

    def moved(self, step: Step) -> FullRank:
        """Return the member that a step leads to; any step keeps the covariance positive definite.

        As in `fastvi.families.MeanField.moved`.
        """
        mean, spread = retraction(step)
        precision = np.eye(len(mean)) - spread + 0.5 * spread @ spread
        # A lower triangular root of the inverse, from the Cholesky factor of the reversed matrix.
        upper = cho_factor(precision[::-1, ::-1], lower=True)[0]
        frame = np.tril(upper)[::-1, ::-1]  # precision = frame frame', frame upper triangular
        root = solve_triangular(frame, np.eye(len(mean)), lower=False).T
        return FullRank(self.mean + self.root @ (root @ (root.T @ mean)), self.root @ root)

    # Plain gradients, of (mean, root with the logarithms of its diagonal)

    def free(self) -> tuple[Array, Array]:
        """Return the unconstrained parameters."""
        free = np.tril(self.root, -1)
        np.fill_diagonal(free, np.log(np.diag(self.root)))
        return self.mean, free

    @classmethod
    def from_free(cls, free: tuple[Array, Array]) -> Self:
        """Return the member with these unconstrained parameters."""
        root = np.tril(free[1], -1)
        np.fill_diagonal(root, np.exp(np.diag(free[1])))
        return cls(free[0], root)

    def pullback(
        self, draws: Draws, of_points: Array, of_log_q: float | Array, weights: Array
    ) -> tuple[Array, Array]:
        """Gradient of a loss with respect to `free`, see `fastvi.families.powers.Pathwise`."""
        slopes = of_points + column(of_log_q) * self.score(draws)
        of_root = np.tril((slopes.T * weights) @ draws.noise)
        diagonal = np.arange(len(self.mean))
        of_root[diagonal, diagonal] *= np.diag(self.root)
        return weights @ slopes, of_root

    def entropy(self) -> float:
        """Entropy in nats."""
        return entropy(self)

    def entropy_pullback(self) -> tuple[Array, Array]:
        """Return the gradient of the entropy with respect to `free`."""
        return np.zeros(len(self.mean)), np.eye(len(self.mean))

    def driver(self, natural: bool) -> Driver | None:
        """Return the compiled loop over steps, for up to 100 dimensions."""
        from fastvi.kernels import drivers

        if self.dim > LARGEST:
            return None
        if natural:
            return Driver(drivers.fullrank_natural, Step)
        return Driver(drivers.fullrank_plain, None)

    # Files

    def save(self) -> dict[str, Array]:
        """Return the arrays to store in a file."""
        return self._asdict()

    @classmethod
    def load(cls, arrays: Mapping[str, AnyArray], dim: int) -> Self:
        """Make the member of dimension `dim` from a file, see `fastvi.families.base.Family`."""
        root = stored(arrays, "root", (dim, dim))
        if np.any(np.triu(root, 1)) or not np.all(np.diag(root) > 0):
            raise ValueError("root must be lower triangular with a positive diagonal")
        return cls(stored(arrays, "mean", (dim,)), root)
