"""Products of independent blocks of random variables of different kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import AnyArray, Array
from fastvi.families.base import Powers, ProductForm, stored
from fastvi.families.kinds import CATEGORIES, DISCRETE, KINDS, Block, layout_of, repeated, values_of
from fastvi.families.powers import Draws

__all__ = ["Blocks", "blocks"]

LEAST_INFORMATION = 0.05  # limits steps of probabilities near 0 or 1


class _Constants(NamedTuple):
    """Arrays that kernels read, see `fastvi.kernels.blocks.prepare`."""

    constants: Array
    log_chances: Array


class DispersedBlocks(NamedTuple):
    """Blocks that are overdispersed, see `Blocks.dispersal`."""

    product: Blocks
    prepared: _Constants

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n points (n, D)."""
        return self.product._draw(n, rng, self.prepared)

    def block_log_prob(self, Z: Array) -> Array:
        """Log densities (n, B) of each block in Z (n, D), in nats; -inf outside its range."""
        return self.product._log_prob(Z, self.prepared)


class Blocks(NamedTuple):
    """A product of independent blocks, made by `blocks`.

    Attributes
    ----------
    layout : (B, 5) int64 array
        Kinds and offsets of the blocks, see `fastvi.kernels.blocks`.
    values : (P,) array
        Unconstrained parameters.

    Examples
    --------
    >>> from fastvi import families
    >>> member = families.blocks(families.gaussian(0.0, 1.0), families.poisson(3.0))
    >>> member.dim
    2
    """

    layout: NDArray[np.int64]
    values: Array

    @property
    def dim(self) -> int:
        """Length of a draw, D."""
        return int(self.layout[:, 2].sum())

    @property
    def powers(self) -> Powers:
        """What else it can do."""
        from fastvi.kernels.relaxed import RELAXED

        kinds = {int(kind) for kind in self.layout[:, 0]}
        return Powers(
            score=ProductForm(self, _same),
            dispersible=self,
            relaxed=self if kinds <= {int(kind) for kind in RELAXED} else None,
            discrete=any(KINDS[kind] in DISCRETE for kind in kinds),
        )

    def _prepared(self, log_tau: Array | None = None) -> _Constants:
        from fastvi.kernels.blocks import N_CONSTANTS, prepare

        n_blocks = len(self.layout)
        log_tau = np.zeros(n_blocks) if log_tau is None else log_tau
        found = _Constants(np.zeros((n_blocks, N_CONSTANTS)), np.zeros(len(self.values)))
        prepare(self.layout, self.values, log_tau, *found)
        return found

    def _moments(self) -> tuple[Array, Array]:
        from fastvi.kernels.blocks import moments

        mean, variance = np.empty((2, self.dim))
        moments(self.layout, *self._prepared(), mean, variance)
        return mean, variance

    @property
    def mean(self) -> Array:
        """Means, (D,); those of categorical variables are the means of category numbers."""
        return self._moments()[0]

    @property
    def cov(self) -> Array:
        """Covariance, (D, D)."""
        from fastvi.kernels.blocks import covariances

        out = np.zeros((self.dim, self.dim))
        covariances(self.layout, *self._moments(), out)
        return out

    @property
    def sd(self) -> Array:
        """Standard deviations, (D,)."""
        return np.sqrt(self._moments()[1])

    def chances(self, block: int) -> Array:
        """Probabilities (C,) of a categorical or one-hot block, or (2,) of a Bernoulli block.

        Raises
        ------
        ValueError
            If there is no such block, or it is of another kind.
        """
        if not 0 <= block < len(self.layout):
            raise ValueError(f"block is {block}; wanted a number from 0 to {len(self.layout) - 1}")
        kind, _, _, first, size = self.layout[block]
        found = self._prepared()
        if KINDS[kind] == "bernoulli":
            return np.exp(found.constants[block, 3:1:-1])
        if KINDS[kind] not in CATEGORIES:
            raise ValueError(f"block {block} is {KINDS[kind]}; wanted one with categories")
        return np.exp(found.log_chances[first : first + size])

    # Draws

    def draw(self, n: int, rng: np.random.Generator) -> Draws:
        """Draw n points, which do not depend smoothly on noise."""
        Z = self._draw(n, rng, self._prepared())
        return Draws(Z, Z)

    def _draw(self, n: int, rng: np.random.Generator, prepared: _Constants) -> Array:
        from fastvi.kernels.blocks import draw

        Z = np.empty((n, self.dim))
        draw(self.layout, *prepared, rng, Z)
        return Z

    def block_log_prob(self, Z: Array) -> Array:
        """Log densities (n, B) of each block in Z (n, D), in nats; -inf outside its range."""
        return self._log_prob(Z, self._prepared())

    def _log_prob(self, Z: Array, prepared: _Constants) -> Array:
        from fastvi.kernels.blocks import log_densities

        out = np.empty((len(Z), len(self.layout)))
        log_densities(self.layout, *prepared, np.ascontiguousarray(Z), out)
        return out

    def log_prob(self, Z: Array) -> Array:
        """Log densities (n,) of Z (n, D), in nats; -inf outside a block's range."""
        return np.asarray(self.block_log_prob(Z).sum(axis=1))

    def log_prob_of(self, draws: Draws) -> Array:
        """`log_prob` of the member's own draws."""
        return self.log_prob(draws.points)

    def dispersal(self, log_tau: Array) -> DispersedBlocks:
        """Return these blocks overdispersed by exp(log_tau), (B,)."""
        return DispersedBlocks(self, self._prepared(log_tau))

    @property
    def choices(self) -> list[Array | None]:
        """For each block, its possible values (C, width); None if they cannot be listed."""
        return [values_of(KINDS[kind], size) for kind, size in self.layout[:, [0, 4]]]

    # Score functions, see `fastvi.families.base.Product`

    @property
    def starts(self) -> NDArray[np.int64]:
        """Offsets of the blocks in a draw, (B,)."""
        return self.layout[:, 1]

    def dispersed(
        self, log_tau: Array, n: int, rng: np.random.Generator
    ) -> tuple[Array, Array, Array]:
        """Draw (n, D) from overdispersed blocks; log densities (n, B) of the blocks and of these.

        Parameters
        ----------
        log_tau : (B,) array
            Logarithms of the dispersions, 0 or more, see `fastvi.kernels.blocks.prepare`.
        """
        wide = self._prepared(log_tau)
        Z = self._draw(n, rng, wide)
        log_q = self.block_log_prob(Z)
        return Z, log_q, self._log_prob(Z, wide) if np.any(log_tau) else log_q

    def score_pullback(self, Z: Array, weights: Array, signals: Array, controlled: bool) -> Array:
        """Return the mean (P,) over draws of weights x signals x scores."""
        from fastvi.kernels.score import gather

        out = np.empty(len(self.values))
        gather(
            self.layout, *self._prepared(), Z, weights, signals, controlled, self._scratch(Z), out
        )
        return out

    def dispersion_slopes(
        self, log_tau: Array, Z: Array, weights: Array, signals: Array, controlled: bool
    ) -> Array:
        """Return minus the derivatives of the log variance of `score_pullback` by log_tau, (B,)."""
        from fastvi.kernels.score import dispersions, lengths

        squares, slopes = np.empty(len(Z)), np.empty((len(Z), len(self.layout)))
        lengths(
            self.layout, *self._prepared(), Z, weights, signals, controlled,
            self.step_units(self.values), self._scratch(Z), squares,
        )  # fmt: skip
        dispersions(self.layout, *self._prepared(log_tau), Z, slopes)
        mean = squares.mean()
        if not 0 < mean < np.inf:
            return np.zeros(len(self.layout))
        return np.asarray((squares / mean - 1.0) @ slopes / len(Z))

    def _scratch(self, Z: Array) -> Array:
        return np.empty((int(self.layout[:, 4].max()), len(Z)))

    # Relaxed draws, see `fastvi.families.powers.Relaxed`

    def relaxed(
        self, temperature: float, n: int, rng: np.random.Generator
    ) -> tuple[Array, Array, Array]:
        """Return noise, soft draws and their nearest categories, (n, D) each."""
        from fastvi.kernels import relaxed

        noise, soft, hard = np.empty((3, n, self.dim))
        relaxed.noise(self.layout, rng, noise)
        relaxed.move(self.layout, self.values, temperature, noise, soft, hard)
        return noise, soft, hard

    def relaxed_pullback(
        self, temperature: float, noise: Array, soft: Array, of_points: Array
    ) -> tuple[Array, float]:
        """Return the gradient (P,) of mean loss plus category entropy, and that entropy (nats)."""
        from fastvi.kernels import relaxed

        out = np.zeros(len(self.values))
        relaxed.pull(self.layout, self.values, temperature, noise, soft, of_points, out)
        return out, float(relaxed.entropy(self.layout, *self._prepared(), out))

    # Parameters without constraints

    def free(self) -> Array:
        """Return the unconstrained parameters, (P,)."""
        return self.values

    def from_free(self, free: Array) -> Self:
        """Return the member of this layout with these parameters."""
        return self._replace(values=free)

    def step_units(self, free: Array) -> Array:
        """Return the change of each parameter that corresponds to one standard deviation, (P,)."""
        from fastvi.kernels.blocks import GAUSSIAN, information

        found = np.empty(len(free))
        information(self.layout, *self.from_free(free)._prepared(), found)
        bounded = np.ones(len(free), bool)
        bounded[self.layout[self.layout[:, 0] == GAUSSIAN, 3]] = False
        return np.asarray(1.0 / np.sqrt(np.where(bounded, found.clip(LEAST_INFORMATION), found)))

    def divergence(self, other: Blocks) -> float:
        """Symmetrised KL divergence from a member of the same layout, in nats."""
        from fastvi.kernels.blocks import divergence

        here, there = self._prepared(), other._prepared()
        pairs = zip(here, there)
        return float(divergence(self.layout, *(array for pair in pairs for array in pair)))

    # Files

    def save(self) -> dict[str, AnyArray]:
        """Return the arrays to store in a file."""
        return self._asdict()

    @classmethod
    def load(cls, arrays: Mapping[str, AnyArray], dim: int) -> Self:
        """Make the member of dimension `dim` from a file, see `fastvi.families.base.Family`."""
        layout = stored(arrays, "layout", (-1, 5), np.int64)
        values = stored(arrays, "values", (-1,))
        if not np.array_equal(layout, layout_of(layout[:, 0], layout[:, 4])):
            raise ValueError("layout is not one of blocks")
        member = cls(layout, values)
        if member.dim != dim or layout[:, 4].sum() != len(values):
            raise ValueError(
                f"layout has {member.dim} numbers and {layout[:, 4].sum()} parameters; "
                f"wanted {dim} and {len(values)}"
            )
        return member


def _same(product: Blocks) -> Blocks:
    return product


def blocks(*parts: Block, **counts: int | Sequence[int]) -> Blocks:
    """A mean-field family of variables of different kinds, in the given order.

    Parameters
    ----------
    *parts : Block
        From `gaussian`, `lognormal`, `gamma`, `beta`, `bernoulli`, `categorical`, `poisson` and
        `one_hot` of this module, with initial parameters.
    **counts : int or sequence of int
        Number of variables of a kind, which start as N(0, 1), its exponential, Gamma(2, 2),
        uniform, with equal probabilities or with a rate of 1; for ``categorical`` and ``one_hot``
        the numbers of categories.

    Returns
    -------
    Blocks

    Raises
    ------
    ValueError
        If there are no blocks, a kind is unknown or a number is below 1.

    Examples
    --------
    >>> from fastvi.families import blocks, gamma
    >>> q = blocks(gamma(shape=3.0, rate=[1.0, 2.0]), gaussian=2, categorical=(4, 3))
    >>> q.dim
    6
    >>> q.mean[:2].round(6).tolist()
    [3.0, 1.5]
    """
    found = list(parts)
    for part in found:
        if not isinstance(part, Block):
            raise ValueError(f"{part!r} is not a block; wanted gaussian(...), gamma(...) and so on")
    for kind, count in counts.items():
        found += repeated(kind, count)
    if not found:
        raise ValueError("blocks() got no blocks; wanted at least one, such as gaussian=1")
    kinds = np.concatenate([np.full(len(p.free), KINDS.index(p.kind)) for p in found])
    sizes = np.concatenate([np.full(len(p.free), p.free.shape[1]) for p in found])
    return Blocks(layout_of(kinds, sizes), np.concatenate([p.free.ravel() for p in found]))
