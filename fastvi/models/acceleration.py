"""Coordinate ascent that extrapolates from its last passes."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from fastvi.base import tree
from fastvi.base.typing import Array, Info, Tree
from fastvi.core import Algorithm, Batch, Conjugate
from fastvi.gradients.natural import difference, noise_of

__all__ = ["AcceleratedState", "accelerated", "combined"]

ENTRIES = 1 << 24  # at most, in the memory of points


class Scaled(Conjugate, Protocol):
    """A conjugate model whose parameters are dense arrays on known scales."""

    def units(self, params: Tree) -> Tree:
        """Positive numbers in the form of the parameters: changes of one unit matter equally."""
        ...


class AcceleratedState(NamedTuple):
    """Parameters to try next, and those that coordinate ascent alone has found.

    The last `n_known` rows of `points` and `updates` are earlier parameters and what one update
    makes of them, as flat arrays.
    """

    params: Tree
    found: Tree
    bound: float
    points: Array  # (memory + 1, size)
    updates: Array  # (memory + 1, size)
    n_known: int


def accelerated(model: Scaled, memory: int = 5, *, noise: bool = False) -> Algorithm:
    """Coordinate ascent with Anderson's (1965) acceleration, in which the bound never falls.

    An update is a fixed-point map. The next parameters are the combination of the last updates for
    which the same combination of their changes is shortest ("type II" in Walker and Ni 2011), in
    units that the model chooses. If the bound falls there, the pass is repeated at the last plain
    update.

    Parameters
    ----------
    model : Scaled
    memory : int
        Number of earlier passes to use; fewer if the parameters are large.
    noise : bool
        Report the noise of the gradient, as `fastvi.gradients.natural` does.

    Returns
    -------
    Algorithm
        Each batch must hold all rows. A state's `found` is what the fit has found. `info` has
        `elbo` in nats, `rate` and the last `fastvi.core.Local` as `local`.
    """

    def init(params: Tree) -> AcceleratedState:
        size = len(_flat(params))
        n_rows = 1 + max(1, min(memory, ENTRIES // size))
        empty = np.zeros((n_rows, size))
        return AcceleratedState(params, params, -np.inf, empty, empty, 0)

    def step(
        state: AcceleratedState, batch: Batch, rng: np.random.Generator
    ) -> tuple[AcceleratedState, Info]:
        params, n_known = state.params, state.n_known
        local = model.local(params, batch, None, rng, norms=noise)
        bound = local.bound + model.global_bound(params)
        if not bound >= state.bound and n_known > 1:  # an extrapolation that failed
            params, n_known = state.found, min(n_known, 1)
            local = model.local(params, batch, None, rng, norms=noise)
            bound = local.bound + model.global_bound(params)
        change = difference(model.prior, local.statistics, params)
        plain = tree.map_leaves(np.add, params, change)
        points, updates = _append(state.points, params), _append(state.updates, plain)
        if np.isfinite(state.bound):  # the start is too far away to learn from
            n_known = min(n_known + 1, len(points))
        found = plain
        if n_known > 1:
            target = combined(points[-n_known:], updates[-n_known:], _flat(model.units(plain)))
            step = tree.map_leaves(np.subtract, _shaped(target, plain), plain)
            found = tree.map_leaves(np.add, plain, model.confine(plain, step))
        info = {"elbo": bound, "rate": 1.0, "local": local}
        if noise:
            info |= noise_of(local, batch.weights)
        return AcceleratedState(found, plain, bound, points, updates, n_known), info

    return Algorithm(init, step)


def combined(points: Array, updates: Array, units: Array | float = 1.0) -> Array:
    """Combine the updates of points (n, size) so that their changes nearly cancel; (size,).

    `units` (size,) are the changes that matter equally.
    """
    changes = (updates - points) / units
    weights = np.linalg.lstsq(np.diff(changes, axis=0).T, changes[-1], rcond=1e-10)[0]
    return np.asarray(updates[-1] - weights @ np.diff(updates, axis=0))


def _append(rows: Array, params: Tree) -> Array:
    return np.concatenate((rows[1:], _flat(params)[None]))


def _flat(params: Tree) -> Array:
    return np.concatenate([np.ravel(leaf) for leaf in tree.leaves(params)])


def _shaped(values: Array, like: Any) -> Tree:
    ends = np.cumsum([leaf.size for leaf in tree.leaves(like)])[:-1]
    parts = iter(np.split(values, ends))
    return tree.map_leaves(lambda leaf: next(parts).reshape(leaf.shape), like)
