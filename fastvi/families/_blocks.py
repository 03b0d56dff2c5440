"""Independent blocks of typed random numbers, continuous or discrete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastvi.base import checks

__all__ = [
    "Block",
    "Blocks",
    "bernoulli",
    "beta",
    "blocks",
    "categorical",
    "gamma",
    "gaussian",
    "lognormal",
    "one_hot",
    "poisson",
]

Array = NDArray[np.float64]
# In the order of `fastvi.kernels.blocks`
KINDS = (
    "gaussian", "lognormal", "gamma", "beta", "bernoulli", "categorical", "poisson", "one_hot",
)  # fmt: skip
PAIRS, CATEGORIES = 4, ("categorical", "one_hot")
LEAST_INFORMATION = 0.05  # where a chance is near 0 or 1, a step must end somewhere


class Block(NamedTuple):
    """Independent random numbers of one kind, and their parameters (count, size), all free."""

    kind: str
    free: Array


class _Constants(NamedTuple):
    """What kernels read of a member, see `fastvi.kernels.blocks.prepare`."""

    constants: Array
    log_chances: Array


class Blocks(NamedTuple):
    """A product of independent blocks; made by `blocks`.

    Attributes
    ----------
    layout : (B, 5) int64 array
        Kinds and places of the blocks, see `fastvi.kernels.blocks`.
    values : (P,) array
        Parameters without constraints.
    """

    layout: NDArray[np.int64]
    values: Array

    @property
    def dim(self) -> int:
        """Numbers in a draw, D."""
        return int(self.layout[:, 2].sum())

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
        """Means of the numbers, (D,); of a categorical's number, as of any other."""
        return self._moments()[0]

    @property
    def cov(self) -> Array:
        """Covariance of the numbers, (D, D)."""
        from fastvi.kernels.blocks import covariances

        out = np.zeros((self.dim, self.dim))
        covariances(self.layout, *self._moments(), out)
        return out

    @property
    def sd(self) -> Array:
        """Standard deviations of the numbers, (D,)."""
        return np.sqrt(self._moments()[1])

    def chances(self, block: int) -> Array:
        """Probabilities (C,) of a categorical or one-hot block, or (2,) of a Bernoulli one.

        Raises
        ------
        ValueError
            If there is no such block, or it is of another kind.
        """
        if not 0 <= block < len(self.layout):
            raise ValueError(f"block is {block}; wanted one of {len(self.layout)} blocks, from 0")
        kind, _, _, first, size = self.layout[block]
        found = self._prepared()
        if KINDS[kind] == "bernoulli":
            return np.exp(found.constants[block, 3:1:-1])
        if KINDS[kind] not in CATEGORIES:
            raise ValueError(f"block {block} is {KINDS[kind]}; wanted one with categories")
        return np.exp(found.log_chances[first : first + size])

    # Draws

    def noise(self, n: int, rng: np.random.Generator) -> Array:
        """Draws (n, D): there is no other noise that all kinds move smoothly with."""
        from fastvi.kernels.blocks import draw

        Z = np.empty((n, self.dim))
        draw(self.layout, *self._prepared(), rng, Z)
        return Z

    def draw(self, eps: Array) -> Array:
        """What `noise` gave."""
        return eps

    def block_log_prob(self, Z: Array) -> Array:
        """Log densities (n, B) of each block's numbers in Z (n, D), nats; -inf outside."""
        return self._log_prob(Z, self._prepared())

    def _log_prob(self, Z: Array, prepared: _Constants) -> Array:
        from fastvi.kernels.blocks import log_densities

        out = np.empty((len(Z), len(self.layout)))
        log_densities(self.layout, *prepared, np.ascontiguousarray(Z), out)
        return out

    def log_prob(self, Z: Array) -> Array:
        """Log densities (n,) of Z (n, D), nats; -inf outside of a block's range."""
        return np.asarray(self.block_log_prob(Z).sum(axis=1))

    def dispersed(
        self, log_tau: Array, n: int, rng: np.random.Generator
    ) -> tuple[Array, Array, Array]:
        """Draws (n, D) of overdispersed blocks, and log densities (n, B): of these, and of those.

        Parameters
        ----------
        log_tau : (B,) array
            Logarithms of the dispersions, 0 or more, see `fastvi.kernels.blocks.prepare`.
        """
        from fastvi.kernels.blocks import draw

        wide = self._prepared(log_tau)
        Z = np.empty((n, self.dim))
        draw(self.layout, *wide, rng, Z)
        log_q = self.block_log_prob(Z)
        return Z, log_q, self._log_prob(Z, wide) if np.any(log_tau) else log_q

    # Parameters without constraints

    def free(self) -> Array:
        """Parameters without constraints, (P,)."""
        return self.values

    def from_free(self, free: Array) -> Blocks:
        """The member of this layout with these parameters."""
        return self._replace(values=free)

    def step_units(self, free: Array) -> Array:
        """How far a parameter moves for one standard deviation's worth of change, (P,)."""
        from fastvi.kernels.blocks import GAUSSIAN, information

        found = np.empty(len(free))
        information(self.layout, *self.from_free(free)._prepared(), found)
        bounded = np.ones(len(free), bool)
        bounded[self.layout[self.layout[:, 0] == GAUSSIAN, 3]] = False
        return np.asarray(1.0 / np.sqrt(np.where(bounded, found.clip(LEAST_INFORMATION), found)))

    def divergence(self, other: Blocks) -> float:
        """Symmetrised divergence from another of the same layout, nats."""
        from fastvi.kernels.blocks import divergence

        here, there = self._prepared(), other._prepared()
        pairs = zip(here, there)
        return float(divergence(self.layout, *(array for pair in pairs for array in pair)))

    def problem(self, n: int) -> str:
        """What is wrong with this as a member of n numbers that a file holds; "" if nothing."""
        layout, values = self
        if layout.dtype != np.int64 or layout.ndim != 2 or layout.shape[1] != 5:
            return f"layout is {layout.dtype} of shape {layout.shape}"
        if values.dtype != np.float64 or values.ndim != 1 or not np.all(np.isfinite(values)):
            return f"values are {values.dtype} of shape {values.shape}, or not finite"
        if not np.array_equal(layout, _layout(layout[:, 0], layout[:, 4])):
            return "layout is none of blocks"
        if self.dim != n or layout[:, 4].sum() != len(values):
            return f"layout is of {self.dim} numbers and {layout[:, 4].sum()} parameters"
        return ""


def _layout(kinds: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The layout of blocks one after another; of no kind there is, or of no size, it is empty."""
    kinds, sizes = np.asarray(kinds, np.int64), np.asarray(sizes, np.int64)
    known = (kinds >= 0) & (kinds < len(KINDS))
    fixed = np.where(kinds < PAIRS, 2, 1)
    has_categories = np.isin(kinds, [KINDS.index(kind) for kind in CATEGORIES])
    if not np.all(known & (has_categories | (sizes == fixed)) & (sizes > 0)):
        return np.empty((0, 5), np.int64)
    widths = np.where(kinds == KINDS.index("one_hot"), sizes, 1)
    columns = kinds, np.cumsum(widths) - widths, widths, np.cumsum(sizes) - sizes, sizes
    return np.ascontiguousarray(np.stack(columns, axis=1))


# Constructors


def gaussian(mean: ArrayLike = 0.0, sd: ArrayLike = 1.0) -> Block:
    """Normal numbers, one for each of the broadcast arguments."""
    centre, spread = _numbers(mean=mean, sd=sd)
    return Block("gaussian", np.stack((centre, np.log(_above(spread, "sd"))), axis=1))


def lognormal(mean: ArrayLike = 0.0, sd: ArrayLike = 1.0) -> Block:
    """Numbers whose logarithms are normal, with such means and standard deviations."""
    return gaussian(mean, sd)._replace(kind="lognormal")


def gamma(shape: ArrayLike = 2.0, rate: ArrayLike = 2.0) -> Block:
    """Gamma numbers, of mean shape / rate."""
    a, b = _numbers(shape=shape, rate=rate)
    log_shape = np.log(_above(a, "shape"))
    return Block("gamma", np.stack((log_shape, log_shape - np.log(_above(b, "rate"))), axis=1))


def beta(a: ArrayLike = 1.0, b: ArrayLike = 1.0) -> Block:
    """Beta numbers, of mean a / (a + b)."""
    first, second = _numbers(a=a, b=b)
    logit = np.log(_above(first, "a")) - np.log(_above(second, "b"))
    return Block("beta", np.stack((logit, np.log(first + second)), axis=1))


def bernoulli(p: ArrayLike = 0.5) -> Block:
    """Numbers that are 1 with chance p, and else 0."""
    (chance,) = _numbers(p=p)
    if not np.all((chance > 0) & (chance < 1)):
        raise ValueError(f"p is {chance.tolist()}; wanted numbers between 0 and 1")
    return Block("bernoulli", (np.log(chance) - np.log1p(-chance))[:, None])


def poisson(rate: ArrayLike = 1.0) -> Block:
    """Counts of such means."""
    (mean,) = _numbers(rate=rate)
    return Block("poisson", np.log(_above(mean, "rate"))[:, None])


def categorical(p: ArrayLike) -> Block:
    """Category numbers 0, 1, ..., C - 1 with chances p: (C,), or (count, C) of several."""
    chances = np.atleast_2d(np.asarray(p, np.float64))
    if chances.ndim != 2 or 0 in chances.shape or not np.all(np.isfinite(chances) & (chances > 0)):
        raise ValueError(f"p has shape {chances.shape}; wanted positive chances, (C,) or (n, C)")
    total = chances.sum(axis=1, keepdims=True)
    if not np.allclose(total, 1.0, rtol=0, atol=1e-6):
        raise ValueError(f"p sums to {total.ravel().tolist()}; wanted chances that sum to 1")
    logits = np.log(chances)
    return Block("categorical", logits - logits.mean(axis=1, keepdims=True))


def one_hot(p: ArrayLike) -> Block:
    """Categories as C numbers of which one is 1 and the others 0; p as in `categorical`."""
    return categorical(p)._replace(kind="one_hot")


_MAKERS: dict[str, Any] = {
    "gaussian": gaussian, "lognormal": lognormal, "gamma": gamma, "beta": beta,
    "bernoulli": bernoulli, "poisson": poisson,
}  # fmt: skip


def blocks(*parts: Block, **counts: int | Sequence[int]) -> Blocks:
    """A mean-field family of typed numbers, in the order given.

    Parameters
    ----------
    *parts : Block
        From `gaussian`, `lognormal`, `gamma`, `beta`, `bernoulli`, `categorical`, `poisson` and
        `one_hot` of this module, with the parameters to begin with.
    **counts : int or sequence of int
        How many of a kind, which begin as N(0, 1), its exponential, Gamma(2, 2), uniform, even
        chances or a rate of 1; for ``categorical`` and ``one_hot`` the numbers of categories.

    Returns
    -------
    Blocks

    Raises
    ------
    ValueError
        If there are none, a kind is unknown or a number is below 1.

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
            raise ValueError(f"{part!r} is no block; wanted gaussian(...), gamma(...) and so on")
    for kind, count in counts.items():
        if kind in CATEGORIES:
            found += [_even(kind, c) for c in np.atleast_1d(np.asarray(count)).tolist()]
        elif kind in _MAKERS:
            shape = np.ones(checks.integer(count, kind, 1))
            made = _MAKERS[kind]()
            found.append(made._replace(free=shape[:, None] * made.free))
        else:
            raise ValueError(f"there are no blocks {kind!r}; wanted " + ", ".join(KINDS))
    if not found:
        raise ValueError("blocks() of nothing; wanted at least one number, such as gaussian=1")
    kinds = np.concatenate([np.full(len(p.free), KINDS.index(p.kind)) for p in found])
    sizes = np.concatenate([np.full(len(p.free), p.free.shape[1]) for p in found])
    return Blocks(_layout(kinds, sizes), np.concatenate([p.free.ravel() for p in found]))


def _even(kind: str, n_categories: Any) -> Block:
    n = checks.integer(n_categories, kind, 1)
    return Block(kind, np.zeros((1, n)))


def _numbers(**arguments: ArrayLike) -> list[Array]:
    """Arguments of one length, finite."""
    arrays = [np.atleast_1d(np.asarray(value, np.float64)) for value in arguments.values()]
    for name, array in zip(arguments, arrays):
        if array.ndim > 1 or not np.all(np.isfinite(array)):
            raise ValueError(f"{name} has shape {array.shape}; wanted finite numbers in a row")
    lengths = {len(array) for array in arrays} - {1}
    if len(lengths) > 1:
        shapes = ", ".join(f"{name} {len(array)}" for name, array in zip(arguments, arrays))
        raise ValueError(f"lengths differ: {shapes}; wanted one length")
    return [np.array(array) for array in np.broadcast_arrays(*arrays)]


def _above(array: Array, name: str) -> Array:
    if not np.all(array > 0):
        raise ValueError(f"{name} is {array.tolist()}; wanted numbers > 0")
    return array
