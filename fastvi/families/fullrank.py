"""Gaussians with a full covariance."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, solve_triangular

from fastvi.families._steps import Step, antithetic, retraction

__all__ = ["FullRank"]

Array = NDArray[np.float64]


class FullRank(NamedTuple):
    """``N(mean, root root')``, mean (D,) and root (D, D) lower triangular."""

    mean: Array
    root: Array

    @classmethod
    def of(cls, mean: Array, covariance: Array) -> Self:
        """The member with these moments."""
        return cls(np.array(mean), np.asarray(np.linalg.cholesky(covariance), np.float64))

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
        """What turns standard numbers into ones of this scale, (D, D)."""
        return self.root

    def standard(self) -> FullRank:
        """The member in its own units and about its own mean."""
        return FullRank(np.zeros(len(self.mean)), np.eye(len(self.mean)))

    def mapped(self, centre: Array, units: Array) -> FullRank:
        """What the member becomes by x -> centre + units x."""
        return FullRank(centre + units @ self.mean, units @ self.root)

    def noise(self, n: int, rng: np.random.Generator) -> Array:
        """What `draw` turns into n draws, (n, D)."""
        return antithetic(n, len(self.mean), rng)

    def draw(self, eps: Array) -> Array:
        """Draws (n, D) from noise."""
        return self.mean + eps @ self.root.T

    def log_prob(self, Z: Array) -> Array:
        """Log densities of Z (n, D), (n,) nats."""
        white = solve_triangular(self.root, (Z - self.mean).T, lower=True)
        square = np.square(white).sum(axis=0)
        return np.asarray(-0.5 * square - self.log_det - 0.5 * len(self.mean) * np.log(2 * np.pi))

    def log_prob_of(self, eps: Array) -> Array:
        """`log_prob` of the draws from noise."""
        square = np.square(eps).sum(axis=1)
        return np.asarray(-0.5 * square - self.log_det - 0.5 * len(self.mean) * np.log(2 * np.pi))

    def score(self, eps: Array) -> Array:
        """Gradients of `log_prob` with respect to draws, (n, D)."""
        return np.asarray(-solve_triangular(self.root, eps.T, lower=True, trans="T").T)

    # Natural gradients, in the frame where this is the standard normal

    def natural(self, slopes: Array, eps: Array, weights: Array, sticking: bool = True) -> Step:
        """From weighted gradients `slopes` (n, D) of the target's log density at draws.

        As in `fastvi.families.MeanField.natural`.
        """
        pulled = slopes @ self.root + eps if sticking else slopes @ self.root
        spread = (eps.T * weights) @ pulled
        return Step(weights @ pulled, 0.5 * (spread + spread.T))

    def moved(self, step: Step) -> FullRank:
        """The member that a step leads to; the covariance stays positive definite whatever it is.

        As in `fastvi.families.MeanField.moved`.
        """
        mean, spread = retraction(step)
        precision = np.eye(len(mean)) - spread + 0.5 * spread @ spread
        # A lower triangular root of the inverse, by a Cholesky factor of the reversed matrix.
        upper = cho_factor(precision[::-1, ::-1], lower=True)[0]
        frame = np.tril(upper)[::-1, ::-1]  # precision = frame frame', frame upper triangular
        root = solve_triangular(frame, np.eye(len(mean)), lower=False).T
        return FullRank(self.mean + self.root @ (root @ (root.T @ mean)), self.root @ root)

    # Plain gradients, of (mean, root with the logarithms of its diagonal)

    def free(self) -> tuple[Array, Array]:
        """Parameters without constraints."""
        free = np.tril(self.root, -1)
        np.fill_diagonal(free, np.log(np.diag(self.root)))
        return self.mean, free

    @classmethod
    def from_free(cls, free: tuple[Array, Array]) -> Self:
        """The member with these free parameters."""
        root = np.tril(free[1], -1)
        np.fill_diagonal(root, np.exp(np.diag(free[1])))
        return cls(free[0], root)

    def plain(
        self, slopes: Array, eps: Array, weights: Array, sticking: bool = True
    ) -> tuple[Array, Array]:
        """Gradient with respect to `free`, arguments as in `natural`."""
        slopes = slopes - self.score(eps) if sticking else slopes
        of_root = np.tril((slopes.T * weights) @ eps)
        diagonal = np.arange(len(self.mean))
        of_root[diagonal, diagonal] *= np.diag(self.root)
        return weights @ slopes, of_root

    # The entropy's own gradients, for estimators that take it in closed form

    def entropy_natural(self) -> Step:
        """Natural gradient of the entropy."""
        return Step(np.zeros(len(self.mean)), np.eye(len(self.mean)))

    def entropy_plain(self) -> tuple[Array, Array]:
        """Gradient of the entropy with respect to `free`."""
        return np.zeros(len(self.mean)), np.eye(len(self.mean))
