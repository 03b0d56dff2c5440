"""Kinds of random variables in blocks, continuous or discrete."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastvi.base import checks
from fastvi.base.typing import Array

__all__ = [
    "CATEGORIES",
    "DISCRETE",
    "KINDS",
    "Block",
    "bernoulli",
    "beta",
    "categorical",
    "gamma",
    "gaussian",
    "layout_of",
    "lognormal",
    "one_hot",
    "poisson",
    "repeated",
    "values_of",
]

# In the order of `fastvi.kernels.blocks`
KINDS = (
    "gaussian", "lognormal", "gamma", "beta", "bernoulli", "categorical", "poisson", "one_hot",
)  # fmt: skip
PAIRS, CATEGORIES = 4, ("categorical", "one_hot")
DISCRETE = ("bernoulli", "categorical", "poisson", "one_hot")


class Block(NamedTuple):
    """Independent variables of one kind, with unconstrained parameters (count, size).

    Examples
    --------
    >>> from fastvi import families
    >>> block = families.gamma([2.0, 4.0], 2.0)
    >>> block.kind, block.free.shape
    ('gamma', (2, 2))
    """

    kind: str
    free: Array


def layout_of(kinds: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the layout of consecutive blocks; empty if a kind is unknown or a size is 0."""
    kinds, sizes = np.asarray(kinds, np.int64), np.asarray(sizes, np.int64)
    known = (kinds >= 0) & (kinds < len(KINDS))
    fixed = np.where(kinds < PAIRS, 2, 1)
    has_categories = np.isin(kinds, [KINDS.index(kind) for kind in CATEGORIES])
    if not np.all(known & (has_categories | (sizes == fixed)) & (sizes > 0)):
        return np.empty((0, 5), np.int64)
    widths = np.where(kinds == KINDS.index("one_hot"), sizes, 1)
    columns = kinds, np.cumsum(widths) - widths, widths, np.cumsum(sizes) - sizes, sizes
    return np.ascontiguousarray(np.stack(columns, axis=1))


def gaussian(mean: ArrayLike = 0.0, sd: ArrayLike = 1.0) -> Block:
    """Normal variables, one per entry of the broadcast arguments.

    Examples
    --------
    >>> from fastvi import families
    >>> families.blocks(families.gaussian([0.0, 1.0], 2.0)).sd
    array([2., 2.])
    """
    centre, spread = _numbers(mean=mean, sd=sd)
    return Block("gaussian", np.stack((centre, np.log(_above(spread, "sd"))), axis=1))


def lognormal(mean: ArrayLike = 0.0, sd: ArrayLike = 1.0) -> Block:
    """Log-normal variables, with the means and standard deviations of their logarithms.

    Examples
    --------
    >>> from fastvi import families
    >>> families.blocks(families.lognormal(0.0, 1.0)).mean.round(3)
    array([1.649])
    """
    return gaussian(mean, sd)._replace(kind="lognormal")


def gamma(shape: ArrayLike = 2.0, rate: ArrayLike = 2.0) -> Block:
    """Gamma variables with mean shape / rate.

    Examples
    --------
    >>> from fastvi import families
    >>> families.blocks(families.gamma(4.0, 2.0)).mean.round(3)
    array([2.])
    """
    a, b = _numbers(shape=shape, rate=rate)
    log_shape = np.log(_above(a, "shape"))
    return Block("gamma", np.stack((log_shape, log_shape - np.log(_above(b, "rate"))), axis=1))


def beta(a: ArrayLike = 1.0, b: ArrayLike = 1.0) -> Block:
    """Beta variables with mean a / (a + b).

    Examples
    --------
    >>> from fastvi import families
    >>> families.blocks(families.beta(2.0, 6.0)).mean.round(3)
    array([0.25])
    """
    first, second = _numbers(a=a, b=b)
    logit = np.log(_above(first, "a")) - np.log(_above(second, "b"))
    return Block("beta", np.stack((logit, np.log(first + second)), axis=1))


def bernoulli(p: ArrayLike = 0.5) -> Block:
    """Variables that are 1 with probability p and 0 otherwise.

    Examples
    --------
    >>> from fastvi import families
    >>> member = families.blocks(families.bernoulli([0.1, 0.9]))
    >>> member.mean.round(3)
    array([0.1, 0.9])
    """
    (chance,) = _numbers(p=p)
    if not np.all((chance > 0) & (chance < 1)):
        raise ValueError(f"p is {chance.tolist()}; wanted numbers between 0 and 1")
    return Block("bernoulli", (np.log(chance) - np.log1p(-chance))[:, None])


def poisson(rate: ArrayLike = 1.0) -> Block:
    """Poisson counts with these means.

    Examples
    --------
    >>> from fastvi import families
    >>> families.blocks(families.poisson([1.0, 5.0])).mean.round(3)
    array([1., 5.])
    """
    (mean,) = _numbers(rate=rate)
    return Block("poisson", np.log(_above(mean, "rate"))[:, None])


def categorical(p: ArrayLike) -> Block:
    """Category numbers 0, 1, ..., C - 1 with probabilities p: (C,), or (count, C) for several.

    Examples
    --------
    >>> from fastvi import families
    >>> families.blocks(families.categorical([0.2, 0.3, 0.5])).dim
    1
    """
    chances = np.atleast_2d(np.asarray(p, np.float64))
    if chances.ndim != 2 or 0 in chances.shape or not np.all(np.isfinite(chances) & (chances > 0)):
        raise ValueError(
            f"p has shape {chances.shape}; wanted positive probabilities, (C,) or (n, C)"
        )
    total = chances.sum(axis=1, keepdims=True)
    if not np.allclose(total, 1.0, rtol=0, atol=1e-6):
        raise ValueError(f"p sums to {total.ravel().tolist()}; wanted probabilities that sum to 1")
    logits = np.log(chances)
    return Block("categorical", logits - logits.mean(axis=1, keepdims=True))


def one_hot(p: ArrayLike) -> Block:
    """One-hot categories: C numbers, one of them 1 and the others 0; p as in `categorical`.

    Examples
    --------
    >>> from fastvi import families
    >>> families.blocks(families.one_hot([0.2, 0.3, 0.5])).dim
    3
    """
    return categorical(p)._replace(kind="one_hot")


_MAKERS: dict[str, Callable[[], Block]] = {
    "gaussian": gaussian, "lognormal": lognormal, "gamma": gamma, "beta": beta,
    "bernoulli": bernoulli, "poisson": poisson,
}  # fmt: skip


def repeated(kind: str, count: int | Sequence[int]) -> list[Block]:
    """Initial blocks of a kind for `fastvi.families.blocks`, by count or categories."""
    if kind in CATEGORIES:
        sizes = (checks.integer(n, kind, 1) for n in np.atleast_1d(np.asarray(count)).tolist())
        return [Block(kind, np.zeros((1, size))) for size in sizes]
    if kind not in _MAKERS:
        raise ValueError(f"there are no blocks {kind!r}; wanted " + ", ".join(KINDS))
    shape = np.ones(checks.integer(count, kind, 1))
    made = _MAKERS[kind]()
    return [made._replace(free=shape[:, None] * made.free)]


def values_of(kind: str, size: int) -> Array | None:
    """Return the possible values (C, width) of a variable; None if they cannot be listed."""
    if kind == "bernoulli":
        return np.array([[0.0], [1.0]])
    if kind == "categorical":
        return np.arange(float(size))[:, None]
    return np.eye(size) if kind == "one_hot" else None


def _numbers(**arguments: ArrayLike) -> list[Array]:
    """Return finite arguments of the same length."""
    arrays = [np.atleast_1d(np.asarray(value, np.float64)) for value in arguments.values()]
    for name, array in zip(arguments, arrays):
        if array.ndim > 1 or not np.all(np.isfinite(array)):
            raise ValueError(f"{name} has shape {array.shape}; wanted finite numbers (n,)")
    lengths = {len(array) for array in arrays} - {1}
    if len(lengths) > 1:
        shapes = ", ".join(f"{name} {len(array)}" for name, array in zip(arguments, arrays))
        raise ValueError(f"lengths differ: {shapes}; wanted the same length")
    return [np.array(array) for array in np.broadcast_arrays(*arrays)]


def _above(array: Array, name: str) -> Array:
    if not np.all(array > 0):
        raise ValueError(f"{name} is {array.tolist()}; wanted numbers > 0")
    return array
