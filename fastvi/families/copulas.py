"""Gaussian copulas with flexible margins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from fastvi.base import checks
from fastvi.base.typing import AnyArray, Array
from fastvi.families.base import Near, Powers, column, stored
from fastvi.families.fullrank import LARGEST, FullRank
from fastvi.families.gaussians import stored_scales
from fastvi.families.lowrank import LowRank
from fastvi.families.margins import MARGINS, Bent, Margins, divergence_by_draws, stored_margins
from fastvi.families.pairs import PAIRS
from fastvi.families.powers import Draws, Driver
from fastvi.families.vines import PairCopula

__all__ = ["Copula", "FactorCopula", "copula"]


class _Fields(Protocol):
    """What all copulas have."""

    @property
    def location(self) -> Array: ...
    @property
    def shapes(self) -> Array: ...
    @property
    def kind(self) -> NDArray[np.int64]: ...
    @property
    def dim(self) -> int: ...
    @property
    def gaussian(self) -> FullRank | LowRank: ...
    @property
    def margins(self) -> Margins: ...
    @property
    def mean(self) -> Array: ...
    @property
    def sd(self) -> Array: ...

    def _asdict(self) -> dict[str, Any]: ...
    def noise(self, n: int, rng: np.random.Generator) -> Array: ...
    def at(self, noise: Array) -> Draws: ...
    def log_prob(self, Z: Array) -> Array: ...
    def log_prob_of(self, draws: Draws) -> Array: ...
    def draw(self, n: int, rng: np.random.Generator) -> Draws: ...
    def _bent(self, noise: Array) -> Bent: ...


class _Pulled(NamedTuple):
    """Gradients of a loss: with respect to v (n, D) for each draw, and to what all draws share."""

    of_v: Array
    of_location: Array
    of_lengths: Array  # (D,), of s, over s
    of_shapes: Array


class _Bending:
    """What copulas do with a Gaussian v (`gaussian`) and the maps of its coordinates."""

    __slots__ = ()

    @property
    def dim(self: _Fields) -> int:
        """Length of a draw, D."""
        return len(self.location)

    @property
    def margins(self: _Fields) -> Margins:
        """The maps."""
        return Margins(int(self.kind[0]), self.shapes)

    @property
    def mean(self: _Fields) -> Array:
        """Means, (D,), by quadrature."""
        return self.location + self.gaussian.sd * self.margins.means()

    @property
    def sd(self: _Fields) -> Array:
        """Standard deviations, (D,), by quadrature."""
        return self.gaussian.sd * self.margins.sds()

    @property
    def cov(self: _Fields) -> Array:
        """Covariance, (D, D), by quadrature."""
        scales = self.gaussian.sd
        correlation = self.gaussian.cov / np.outer(scales, scales)
        return np.outer(scales, scales) * self.margins.covariance(correlation)

    @property
    def centre(self: _Fields) -> Array:
        """Where the member's own units begin, (D,): its mean."""
        return self.mean

    @property
    def units(self: _Fields) -> Array:
        """Factors that scale standard numbers to the member, (D,)."""
        return self.sd

    def noise(self: _Fields, n: int, rng: np.random.Generator) -> Array:
        """Draw the noise (n, W) that `at` turns into n draws."""
        return self.gaussian.noise(n, rng)

    def _bent(self: _Fields, noise: Array) -> Bent:
        return self.margins.bent(self.gaussian.at(noise).points / self.gaussian.sd)

    def at(self: _Fields, noise: Array) -> Draws:
        """Return the draws that belong to noise."""
        return Draws(self.location + self.gaussian.sd * self._bent(noise).maps, noise)

    def draw(self: _Fields, n: int, rng: np.random.Generator) -> Draws:
        """Draw n points, from noise in antithetic pairs."""
        return self.at(self.noise(n, rng))

    def log_prob(self: _Fields, Z: Array) -> Array:
        """Log densities (n,) of Z (n, D), in nats."""
        scales = self.gaussian.sd
        x = self.margins.inverse((Z - self.location) / scales)
        log_slopes = np.log(self.margins.bent(x).slopes).sum(axis=1)
        return np.asarray(self.gaussian.log_prob(scales * x) - log_slopes)

    def log_prob_of(self: _Fields, draws: Draws) -> Array:
        """`log_prob` of the member's own draws."""
        of_v = self.gaussian.log_prob_of(self.gaussian.at(draws.noise))
        return np.asarray(of_v - np.log(self._bent(draws.noise).slopes).sum(axis=1))

    def divergence(self: _Fields, other: _Fields) -> float:
        """Symmetrised KL divergence from another member, in nats, by 2000 draws of each."""
        return divergence_by_draws(self, other)

    def _pulled(
        self: _Fields, draws: Draws, of_points: Array, of_log_q: float | Array, weights: Array
    ) -> _Pulled:
        """Gradients of a loss, as `fastvi.families.powers.Pathwise.pullback`."""
        scales, bent = self.gaussian.sd, self._bent(draws.noise)
        score = self.gaussian.score(self.gaussian.at(draws.noise)) - bent.bends / scales
        of_z = weights[:, None] * (of_points + column(of_log_q) * score / bent.slopes)
        lengths = np.sum(of_z * (bent.maps - bent.x * bent.slopes), axis=0) / scales
        of_shapes = scales[:, None] * self.margins.pullback(bent, of_z)
        return _Pulled(of_z * bent.slopes, of_z.sum(axis=0), lengths, of_shapes)

    def save(self: _Fields) -> dict[str, AnyArray]:
        """Return the arrays to store in a file."""
        return self._asdict()


class _Full(NamedTuple):
    location: Array
    root: Array
    shapes: Array
    kind: NDArray[np.int64]
    base: Array


class Copula(_Bending, _Full):
    """A Gaussian ``v = root eps`` whose coordinates are bent: ``z_i = l_i + s_i T_i(v_i / s_i)``.

    Here s_i is the length of row i of the root. With maps T_i that are the identity it is
    ``N(location, root root')``. As in Smith, Loaiza-Maya and Nott (2020), "High-dimensional copula
    variational approximation through transformation".

    Attributes
    ----------
    location : (D,) array
        Medians l.
    root : (D, D) array
        Lower triangular.
    shapes : (D, P) array
        Parameters of the maps, see `fastvi.kernels.margins`.
    kind : (1,) int64 array
        Which maps: a place in `fastvi.families.margins.MARGINS`.
    base : (D, D) array
        Frame of `free`, lower triangular.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import families
    >>> families.FAMILIES["copula"].near(np.zeros(2), np.eye(2)).dim
    2
    """

    __slots__ = ()

    @classmethod
    def of(cls, mean: Array, covariance: Array, margins: str = "sinh-arcsinh") -> Self:
        """Return the Gaussian member with these moments."""
        root = np.asarray(np.linalg.cholesky(covariance), np.float64)
        kind, shapes = Margins.of(margins, len(root))
        return cls(np.array(mean, np.float64), root, shapes, np.array([kind]), root)

    @property
    def powers(self) -> Powers:
        """What else it can do."""
        return Powers(pathwise=self, frame=self, compiled=self)

    @property
    def gaussian(self) -> FullRank:
        """Distribution of v."""
        return FullRank(np.zeros(self.dim), self.root)

    def standard(self) -> Self:
        """Return the member in its own units and about its own mean, in its own frame."""
        units = self.sd
        root = self.root / units[:, None]
        return self._replace(location=(self.location - self.mean) / units, root=root, base=root)

    def mapped(self, centre: Array, units: Array) -> Self:
        """Return the member after the map x -> centre + units x."""
        root, base = units[:, None] * self.root, units[:, None] * self.base
        return self._replace(location=centre + units * self.location, root=root, base=base)

    def free(self) -> tuple[Array, Array, Array]:
        """Return the unconstrained parameters: location and root in the frame, and shapes."""
        inner = np.tril(solve_triangular(self.base, self.root, lower=True))
        location = solve_triangular(self.base, self.location, lower=True)
        return (*FullRank(location, inner).free(), self.shapes)

    def from_free(self, free: tuple[Array, Array, Array]) -> Self:
        """Return the member with these unconstrained parameters, in the same frame."""
        location, inner = FullRank.from_free(free[:2])
        root = np.tril(self.base @ inner)
        return self._replace(location=self.base @ location, root=root, shapes=free[2])

    def pullback(
        self, draws: Draws, of_points: Array, of_log_q: float | Array, weights: Array
    ) -> tuple[Array, Array, Array]:
        """Gradient of a loss with respect to `free`, see `fastvi.families.powers.Pathwise`."""
        found = self._pulled(draws, of_points, of_log_q, weights)
        of_root = found.of_v.T @ draws.noise + found.of_lengths[:, None] * self.root
        of_inner = np.tril(self.base.T @ np.tril(of_root))
        diagonal = np.arange(self.dim)
        of_inner[diagonal, diagonal] *= np.diag(self.root) / np.diag(self.base)
        return self.base.T @ found.of_location, of_inner, found.of_shapes

    def driver(self, natural: bool) -> Driver | None:
        """Return the compiled loop over steps, for up to 100 dimensions."""
        if natural or self.dim > LARGEST:
            return None
        return Driver(_driver(int(self.kind[0]), np.ascontiguousarray(self.base)), None)

    @classmethod
    def load(cls, arrays: Mapping[str, AnyArray], dim: int) -> Self:
        """Make the member of dimension `dim` from a file, see `fastvi.families.base.Family`."""
        location = stored(arrays, "location", (dim,))
        roots = {name: stored(arrays, name, (dim, dim)) for name in ("root", "base")}
        for name, root in roots.items():
            if np.any(np.triu(root, 1)) or not np.all(np.diag(root) > 0):
                raise ValueError(f"{name} must be lower triangular with a positive diagonal")
        shapes, kind = stored_margins(arrays, dim)
        return cls(location, roots["root"], shapes, kind, roots["base"])


class _WithFactors(NamedTuple):
    location: Array
    factors: Array
    sd0: Array
    shapes: Array
    kind: NDArray[np.int64]


class FactorCopula(_Bending, _WithFactors):
    """As `Copula`, of a Gaussian ``v = factors eps + sd0 eps'`` with R factors.

    Attributes
    ----------
    location : (D,) array
    factors : (D, R) array
    sd0 : (D,) array
    shapes, kind : arrays
        As in `Copula`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import families
    >>> member = families.copula(rank=1)(np.zeros(3), np.eye(3))
    >>> type(member).__name__, member.factors.shape
    ('FactorCopula', (3, 1))
    """

    __slots__ = ()

    @classmethod
    def of(
        cls, mean: Array, covariance: Array, margins: str = "sinh-arcsinh", rank: int = 1
    ) -> Self:
        """Return a Gaussian member near these moments, as `fastvi.families.LowRank.of`."""
        near = LowRank.of(mean, covariance, rank)
        kind, shapes = Margins.of(margins, near.dim)
        return cls(near.mean, near.factors, near.sd0, shapes, np.array([kind]))

    @property
    def powers(self) -> Powers:
        """What else it can do."""
        return Powers(pathwise=self, frame=self)

    @property
    def gaussian(self) -> LowRank:
        """Distribution of v."""
        return LowRank(np.zeros(self.dim), self.factors, self.sd0)

    def standard(self) -> Self:
        """Return the member in its own units and about its own mean."""
        return self.mapped(-self.mean / self.sd, 1.0 / self.sd)

    def mapped(self, centre: Array, units: Array) -> Self:
        """Return the member after the map x -> centre + units x."""
        location, factors = centre + units * self.location, units[:, None] * self.factors
        return self._replace(location=location, factors=factors, sd0=units * self.sd0)

    def free(self) -> tuple[Array, Array, Array, Array]:
        """Return the unconstrained parameters: location, factors, log sd0, shapes."""
        return self.location, self.factors, np.log(self.sd0), self.shapes

    def from_free(self, free: tuple[Array, Array, Array, Array]) -> Self:
        """Return the member with these unconstrained parameters."""
        location, factors, log_sd0, shapes = free
        return self._replace(location=location, factors=factors, sd0=np.exp(log_sd0), shapes=shapes)

    def pullback(
        self, draws: Draws, of_points: Array, of_log_q: float | Array, weights: Array
    ) -> tuple[Array, Array, Array, Array]:
        """Gradient of a loss with respect to `free`, see `fastvi.families.powers.Pathwise`."""
        found, rank = self._pulled(draws, of_points, of_log_q, weights), self.factors.shape[1]
        of_factors = found.of_v.T @ draws.noise[:, :rank] + found.of_lengths[:, None] * self.factors
        of_sd = np.sum(found.of_v * draws.noise[:, rank:], axis=0) + found.of_lengths * self.sd0
        return found.of_location, of_factors, of_sd * self.sd0, found.of_shapes

    @classmethod
    def load(cls, arrays: Mapping[str, AnyArray], dim: int) -> Self:
        """Make the member of dimension `dim` from a file, see `fastvi.families.base.Family`."""
        location, factors = stored(arrays, "location", (dim,)), stored(arrays, "factors", (dim, -1))
        sd0 = stored_scales(arrays, "sd0", dim)
        return cls(location, factors, sd0, *stored_margins(arrays, dim))


def _driver(kind: int, base: Array) -> Callable[..., int]:
    """The compiled loop over steps in a frame."""
    from fastvi.kernels import copulas

    def run(address, table, noise, power, rate, params, work, sums, trace, t, moments):  # type: ignore[no-untyped-def]
        space = copulas.space_of(len(base), len(work.eps))
        return copulas.copula_plain(
            address, table, noise, power, rate, params, work, sums, trace, t, moments, kind, base,
            space,
        )  # fmt: skip

    return run


def copula(
    margins: str = "sinh-arcsinh", rank: int | None = None, pairs: str | None = None
) -> Near:
    """A copula, for the argument `family` of `fastvi.fit`.

    Parameters
    ----------
    margins : {"sinh-arcsinh", "yeo-johnson", "spline"}
        Maps that bend each coordinate: skewness and tails by two parameters, skewness by one, or a
        spline with 13.
    rank : int, optional
        Number of factors of the Gaussian; by default its covariance is full.
    pairs : {"gaussian", "frank", "clayton", "upper-clayton"}, optional
        Build the dependence of two to five numbers from that of pairs (Tran, Blei and Airoldi
        2015) instead of a Gaussian: one without tails, or with a tail below or above.

    Raises
    ------
    ValueError
        If an argument is out of its range, or `rank` and `pairs` are both given.

    Examples
    --------
    >>> import math
    >>> import fastvi
    >>> @fastvi.target(dim=1)
    ... def skewed(z):  # logarithm of a Gamma variable of shape 2
    ...     return 2.0 * z[0] - math.exp(z[0])
    >>> posterior = fastvi.fit(skewed, fastvi.families.copula("spline"), random_state=0)
    >>> posterior.mean.round(2)
    array([0.42])
    """
    margins = checks.choice(margins, "margins", tuple(MARGINS))
    if pairs is not None:
        if rank is not None:
            raise ValueError(f"rank={rank} with pairs={pairs!r}; wanted None for one of them")
        checks.choice(pairs, "pairs", tuple(PAIRS))
        return partial(PairCopula.of, margins=margins, pairs=pairs)
    if rank is None:
        return partial(Copula.of, margins=margins)
    return partial(FactorCopula.of, margins=margins, rank=checks.integer(rank, "rank", 1))
