"""Copulas of pairs in a vine, with flexible margins (Tran, Blei and Airoldi 2015)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from fastvi.base.typing import AnyArray, Array
from fastvi.families.base import Powers, column, stored
from fastvi.families.gaussians import antithetic, stored_scales
from fastvi.families.margins import Bent, Margins, divergence_by_draws, stored_margins
from fastvi.families.pairs import EDGE, PAIRS, density_of_normal
from fastvi.families.powers import Draws

__all__ = ["LARGEST_VINE", "PairCopula"]

LARGEST_VINE = 5  # dimensions
N_COVARIANCE = 2**15  # draws of the covariance
NAMES = tuple(PAIRS)


class PairCopula(NamedTuple):
    """A C-vine of pair copulas for two to five numbers, whose margins are bent normal ones.

    ``z_i = l_i + s_i T_i(x_i)`` with standard normal x_i, which depend on each other through
    D (D - 1) / 2 pair copulas: of the first number in `order` and each other, of the second and
    each later one given the first, and so on. With Gaussian pairs and maps T_i that are the
    identity it is a normal distribution.

    Attributes
    ----------
    location, scale : (D,) array
        Medians l, and s.
    angles : (D, D) array
        Of the pair of numbers k < i in `order`, at [i, k], see `fastvi.families.pairs`.
    shapes : (D, P) array
        Parameters of the maps, see `fastvi.kernels.margins`.
    kind : (1,) int64 array
        Which maps: a place in `fastvi.families.margins.MARGINS`.
    pairs : (D, D) int64 array
        Kinds of the pair copulas: places in `fastvi.families.pairs.PAIRS`.
    order : (D,) int64 array

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import families
    >>> member = families.copula(pairs="clayton")(np.zeros(3), np.eye(3))
    >>> type(member).__name__, member.dim
    ('PairCopula', 3)
    """

    location: Array
    scale: Array
    angles: Array
    shapes: Array
    kind: NDArray[np.int64]
    pairs: NDArray[np.int64]
    order: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        mean: Array,
        covariance: Array,
        margins: str = "sinh-arcsinh",
        pairs: str = "frank",
    ) -> Self:
        """Return a member near these moments; numbers that others depend on most come first.

        Raises
        ------
        ValueError
            If there are more than five numbers.
        """
        D, scale = len(mean), np.sqrt(np.diag(covariance))
        if D > LARGEST_VINE:
            raise ValueError(
                f"pair copulas for {D} numbers; wanted up to {LARGEST_VINE}, or "
                "fastvi.families.copula() without pairs"
            )
        correlation = covariance / np.outer(scale, scale)
        order = np.argsort(-np.abs(correlation).sum(axis=0), kind="stable")
        kinds = np.full((D, D), NAMES.index(pairs), np.int64)
        root = np.linalg.cholesky(correlation[np.ix_(order, order)])
        angles = np.zeros((D, D))
        for i in range(D):
            for k in range(i):
                left = np.sqrt(1.0 - np.square(root[i, :k]).sum())
                partial = float(np.clip(root[i, k] / left, -0.99, 0.99))
                angles[i, k] = PAIRS[NAMES[kinds[i, k]]].angle(partial)
        kind, shapes = Margins.of(margins, D)
        return cls(
            np.array(mean, np.float64), np.asarray(scale, np.float64), angles, shapes,
            np.array([kind]), kinds, order,
        )  # fmt: skip

    @property
    def dim(self) -> int:
        """Length of a draw, D."""
        return len(self.location)

    @property
    def powers(self) -> Powers:
        """What else it can do."""
        return Powers(pathwise=self, frame=self)

    @property
    def margins(self) -> Margins:
        """The maps."""
        return Margins(int(self.kind[0]), self.shapes)

    @property
    def mean(self) -> Array:
        """Means, (D,), by quadrature."""
        return self.location + self.scale * self.margins.means()

    @property
    def sd(self) -> Array:
        """Standard deviations, (D,), by quadrature."""
        return self.scale * self.margins.sds()

    @property
    def cov(self) -> Array:
        """Covariance, (D, D): variances by quadrature, correlations from 32768 fixed draws."""
        Z = self.draw(N_COVARIANCE, np.random.default_rng(0)).points
        correlation = np.atleast_2d(np.corrcoef(Z.T))
        np.fill_diagonal(correlation, 1.0)
        return np.asarray(correlation * np.outer(self.sd, self.sd))

    @property
    def centre(self) -> Array:
        """Where the member's own units begin, (D,): its mean."""
        return self.mean

    @property
    def units(self) -> Array:
        """Factors that scale standard numbers to the member, (D,)."""
        return self.sd

    def standard(self) -> Self:
        """Return the member in its own units and about its own mean."""
        return self.mapped(-self.mean / self.sd, 1.0 / self.sd)

    def mapped(self, centre: Array, units: Array) -> Self:
        """Return the member after the map x -> centre + units x."""
        return self._replace(location=centre + units * self.location, scale=units * self.scale)

    # Draws and densities

    def noise(self, n: int, rng: np.random.Generator) -> Array:
        """Draw the noise (n, D) that `at` turns into n draws."""
        return antithetic(n, self.dim, rng)

    def _chains(self, noise: Array) -> tuple[Array, list[list[Array]]]:
        """Uniform noise w (n, D), and the steps of each number's draw from w_i, in `order`.

        Each step inverts the conditional distribution given one more number; the last is u_i.
        """
        w, chains = _inside(ndtr(noise)), []
        for i in range(self.dim):
            steps = [w[:, i]]
            for k in reversed(range(i)):
                inverse = PAIRS[NAMES[self.pairs[i, k]]].inverse
                steps.append(_inside(inverse(steps[-1], w[:, k], float(self.angles[i, k]))))
            chains.append(steps)
        return w, chains

    def _bent(self, chains: list[list[Array]]) -> Bent:
        x = np.empty((len(chains[0][0]), self.dim))
        for place, steps in zip(self.order, chains):
            x[:, place] = ndtri(steps[-1])
        return self.margins.bent(x)

    def at(self, noise: Array) -> Draws:
        """Return the draws that belong to noise."""
        bent = self._bent(self._chains(noise)[1])
        return Draws(self.location + self.scale * bent.maps, noise)

    def draw(self, n: int, rng: np.random.Generator) -> Draws:
        """Draw n points, from noise in antithetic pairs."""
        return self.at(self.noise(n, rng))

    def log_prob(self, Z: Array) -> Array:
        """Log densities (n,) of Z (n, D), in nats."""
        x = self.margins.inverse((np.asarray(Z, np.float64) - self.location) / self.scale)
        return self._density(self.margins.bent(x))[0]

    def log_prob_of(self, draws: Draws) -> Array:
        """`log_prob` of the member's own draws."""
        return self._density(self._bent(self._chains(draws.noise)[1]))[0]

    def _density(self, bent: Bent) -> tuple[Array, Array]:
        """Log densities (n,), and their gradients with respect to draws (n, D)."""
        x = bent.x[:, self.order]
        w, found = _inside(ndtr(x)), []
        log_q = -0.5 * np.square(x).sum(axis=1) - 0.5 * self.dim * np.log(2.0 * np.pi)
        log_q -= np.log(bent.slopes * self.scale).sum(axis=1)
        for i in range(self.dim):
            each = []
            for k in range(i):
                pair, angle = PAIRS[NAMES[self.pairs[i, k]]], float(self.angles[i, k])
                each.append(pair.slopes(w[:, i], w[:, k], angle))
                log_q += each[-1].log_c
                w[:, i] = _inside(pair.h(w[:, i], w[:, k], angle))
            found.append(each)
        of_w = np.zeros_like(w)  # first with respect to w, then to u
        for i in reversed(range(self.dim)):
            for k in reversed(range(i)):
                step = found[i][k]
                of_w[:, k] += of_w[:, i] * step.h_v + step.of_v
                of_w[:, i] = of_w[:, i] * np.exp(step.log_c) + step.of_u
        of_x = np.empty_like(x)
        of_x[:, self.order] = of_w * density_of_normal(x) - x
        return log_q, (of_x - bent.bends) / (self.scale * bent.slopes)

    def divergence(self, other: Self) -> float:
        """Symmetrised KL divergence from another member, in nats, by 2000 draws of each."""
        return divergence_by_draws(self, other)

    # Gradients

    def free(self) -> tuple[Array, Array, Array, Array]:
        """Return the unconstrained parameters: location, log scale, angles, shapes."""
        return self.location, np.log(self.scale), self.angles, self.shapes

    def from_free(self, free: tuple[Array, Array, Array, Array]) -> Self:
        """Return the member with these unconstrained parameters."""
        location, log_scale, angles, shapes = free
        angles = np.tril(angles, -1)
        return self._replace(
            location=location, scale=np.exp(log_scale), angles=angles, shapes=shapes
        )

    def pullback(
        self, draws: Draws, of_points: Array, of_log_q: float | Array, weights: Array
    ) -> tuple[Array, Array, Array, Array]:
        """Gradient of a loss with respect to `free`, see `fastvi.families.powers.Pathwise`."""
        w, chains = self._chains(draws.noise)
        bent = self._bent(chains)
        of_z = weights[:, None] * (of_points + column(of_log_q) * self._density(bent)[1])
        of_x = of_z * self.scale * bent.slopes
        of_angles = np.zeros_like(self.angles)
        for i, (place, steps) in enumerate(zip(self.order, chains)):
            of_u = of_x[:, place] / density_of_normal(bent.x[:, place])
            for k in range(i):  # the step from steps[i - k - 1] to steps[i - k]
                pair, angle = PAIRS[NAMES[self.pairs[i, k]]], float(self.angles[i, k])
                step = pair.slopes(steps[i - k], w[:, k], angle)
                of_u = of_u * np.exp(-step.log_c)
                of_angles[i, k] = -np.sum(of_u * step.h_angle)
        lengths = np.sum(of_z * bent.maps, axis=0) * self.scale
        of_shapes = self.scale[:, None] * self.margins.pullback(bent, of_z)
        return of_z.sum(axis=0), lengths, of_angles, of_shapes

    # Files

    def save(self) -> dict[str, AnyArray]:
        """Return the arrays to store in a file."""
        return self._asdict()

    @classmethod
    def load(cls, arrays: Mapping[str, AnyArray], dim: int) -> Self:
        """Make the member of dimension `dim` from a file, see `fastvi.families.base.Family`."""
        pairs, order = (
            stored(arrays, name, shape, np.int64)
            for name, shape in (("pairs", (dim, dim)), ("order", (dim,)))
        )
        if np.any((pairs < 0) | (pairs >= len(PAIRS))):
            raise ValueError(f"pairs must be 0 to {len(PAIRS) - 1}")
        if not np.array_equal(np.sort(order), np.arange(dim)):
            raise ValueError(f"order must hold 0 to {dim - 1}, each once")
        angles = np.tril(stored(arrays, "angles", (dim, dim)), -1)
        shapes, kind = stored_margins(arrays, dim)
        location, scale = stored(arrays, "location", (dim,)), stored_scales(arrays, "scale", dim)
        return cls(location, scale, angles, shapes, kind, pairs, order)


def _inside(u: Array) -> Array:
    return np.asarray(np.clip(u, EDGE, 1.0 - EDGE))
