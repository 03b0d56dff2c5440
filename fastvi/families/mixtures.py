"""Mixtures of Gaussians with full covariances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Self

import numpy as np
from scipy.special import logsumexp

from fastvi.base.typing import AnyArray, Array
from fastvi.families.base import Powers, stored
from fastvi.families.powers import Draws

__all__ = ["GaussianMixture"]

N_DIVERGENCE = 2000  # draws of each side of `divergence`
ROUNDING = 1e-6  # that weights in a file may be off a sum of 1


class GaussianMixture(NamedTuple):
    """``sum_k w_k N(mean_k, root_k root_k')`` of K components.

    Attributes
    ----------
    log_weights : (K,) array
    means : (K, D) array
    roots : (K, D, D) array
        Lower triangular, with positive diagonals.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import families
    >>> halves = np.log([0.5, 0.5])
    >>> means = np.array([[-1.0, 0.0], [1.0, 0.0]])
    >>> member = families.GaussianMixture(halves, means, np.stack([np.eye(2), np.eye(2)]))
    >>> member.weights
    array([0.5, 0.5])
    """

    log_weights: Array
    means: Array
    roots: Array

    @classmethod
    def of(cls, mean: Array, covariance: Array) -> Self:
        """Return the mixture of one component with these moments."""
        root = np.asarray(np.linalg.cholesky(covariance), np.float64)
        return cls(np.zeros(1), np.array(mean, np.float64)[None], root[None])

    @property
    def dim(self) -> int:
        """Length of a draw, D."""
        return int(self.means.shape[1])

    @property
    def powers(self) -> Powers:
        """What else it can do."""
        return Powers(components=self)

    @property
    def n_components(self) -> int:
        """Number of components, K."""
        return len(self.log_weights)

    @property
    def weights(self) -> Array:
        """Weights of the components, (K,)."""
        return np.asarray(np.exp(self.log_weights))

    @property
    def mean(self) -> Array:
        """Means, (D,)."""
        return np.asarray(self.weights @ self.means)

    @property
    def cov(self) -> Array:
        """Covariance, (D, D)."""
        away = self.means - self.mean
        inner = np.einsum("k,kij,klj->il", self.weights, self.roots, self.roots)
        return np.asarray(inner + (away.T * self.weights) @ away)

    @property
    def sd(self) -> Array:
        """Standard deviations, (D,)."""
        return np.asarray(np.sqrt(np.diag(self.cov)))

    def at(self, means: Array, covs: Array, log_weights: Array) -> GaussianMixture:
        """Return the mixture with these components, see `fastvi.families.powers.Components`."""
        roots = np.asarray(np.linalg.cholesky(covs), np.float64)
        return GaussianMixture(log_weights - logsumexp(log_weights), means, roots)

    def kept(self, which: AnyArray) -> Self:
        """Return the mixture of some components, by number or mask."""
        log_weights = self.log_weights[which]
        normalised = log_weights - logsumexp(log_weights)
        return type(self)(normalised, self.means[which], self.roots[which])

    def with_component(self, weight: float, mean: Array, root: Array) -> Self:
        """Return the mixture with one more component, the last."""
        return type(self)(
            np.append(self.log_weights + np.log1p(-weight), np.log(weight)),
            np.append(self.means, mean[None], axis=0),
            np.append(self.roots, root[None], axis=0),
        )

    def draw(self, n: int, rng: np.random.Generator) -> Draws:
        """Draw n points, of each component as near to its share as whole numbers allow."""
        ends = np.floor(n * np.cumsum(self.weights) + rng.random())
        ends[-1] = n
        counts = np.diff(np.minimum(ends, n), prepend=0).astype(int)
        noise = rng.standard_normal((n, self.dim))
        which = np.repeat(np.arange(self.n_components), counts)
        points = self.means[which] + np.einsum("nij,nj->ni", self.roots[which], noise)
        points = points[rng.permutation(n)]
        return Draws(points, points)

    def log_prob(self, Z: Array) -> Array:
        """Log densities (n,) of Z (n, D), in nats."""
        return self.density(Z)[0]

    def log_prob_of(self, draws: Draws) -> Array:
        """`log_prob` of the member's own draws."""
        return self.log_prob(draws.points)

    def density(self, Z: Array) -> tuple[Array, Array]:
        """Log densities (n,) of Z (n, D), in nats, and their gradients (n, D)."""
        from fastvi.kernels import components

        Z = np.ascontiguousarray(Z, np.float64)
        block = components.block_of(self.n_components, self.dim)
        log_q, slopes = np.empty(len(Z)), np.empty(Z.shape)
        components.densities(Z, *map(np.ascontiguousarray, self), block, log_q, slopes)
        return log_q, slopes

    def free(self) -> tuple[Array, Array, Array]:
        """Return the unconstrained parameters: log weights, means, roots with log diagonals."""
        roots, diagonal = np.tril(self.roots, -1), np.arange(self.dim)
        roots[:, diagonal, diagonal] = np.log(self.roots[:, diagonal, diagonal])
        return self.log_weights, self.means, roots

    @classmethod
    def from_free(cls, free: tuple[Array, Array, Array]) -> Self:
        """Return the member with these unconstrained parameters."""
        roots, diagonal = np.tril(free[2], -1), np.arange(free[1].shape[1])
        roots[:, diagonal, diagonal] = np.exp(free[2][:, diagonal, diagonal])
        return cls(free[0] - logsumexp(free[0]), free[1], roots)

    def divergence(self, other: Self) -> float:
        """Symmetrised KL divergence from another member, in nats, estimated from 2000 draws each.

        The draws are the same in each call.
        """
        total = 0.0
        for a, b in ((self, other), (other, self)):
            Z = a.draw(N_DIVERGENCE, np.random.default_rng(0)).points
            total += float(np.mean(a.log_prob(Z) - b.log_prob(Z)))
        return total

    def adopted(self, found: Self) -> Self:
        """Return the member of a checkpoint, which may have another number of components.

        Raises
        ------
        ValueError
            If its arrays do not fit each other.
        """
        return type(self).load(found._asdict(), self.dim)

    # Files

    def save(self) -> dict[str, Array]:
        """Return the arrays to store in a file."""
        return self._asdict()

    @classmethod
    def load(cls, arrays: Mapping[str, AnyArray], dim: int) -> Self:
        """Make the member of dimension `dim` from a file, see `fastvi.families.base.Family`."""
        log_weights = stored(arrays, "log_weights", (-1,))
        K = len(log_weights)
        roots = stored(arrays, "roots", (K, dim, dim))
        if K == 0 or abs(logsumexp(log_weights)) > ROUNDING:
            raise ValueError("log_weights must be logarithms of weights that sum to 1")
        if np.any(np.triu(roots, 1)) or not np.all(np.diagonal(roots, axis1=1, axis2=2) > 0):
            raise ValueError("roots must be lower triangular with positive diagonals")
        return cls(log_weights, stored(arrays, "means", (K, dim)), roots)
