"""Stochastic variance-reduced gradients (Johnson and Zhang 2013)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastvi.base import tree
from fastvi.base.typing import AnyArray, Info, Tree
from fastvi.core import Batch, Gradient, LazyTable, RowGradient, dense
from fastvi.gradients.natural import without_noise

__all__ = ["corrected"]


class SvrgState(NamedTuple):
    """Parameters of the last snapshot, where the full gradient leads from them, and their age."""

    snapshot: object
    target: object
    age: int
    inner: object


def corrected(gradient: Gradient, everything: Callable[[], Batch], every: int) -> Gradient:
    """Correct the gradient of a batch by that of the same batch at a snapshot.

    The result is g_B(lambda) - g_B(snapshot) + g(snapshot), where g is the gradient of all rows;
    the snapshot is renewed every `every` steps. It is unbiased, and its noise vanishes as the
    parameters approach the snapshot, so a constant rate converges linearly. A step costs two local
    steps. It stores two more copies of the parameters (the snapshot and its target), and the local
    variables of all rows while it computes the full gradient. Steps may leave the domain, so pass
    `confine` to `fastvi.core.ascend`.

    Parameters
    ----------
    gradient : Gradient
        A gradient of mini-batches. Both of its calls see the same random numbers.
    everything : callable
        Returns the batch of all rows, with weight 1.
    every : int
        Steps between snapshots.

    Returns
    -------
    Gradient
        Its `info` also has `snapshot`, 1 at steps that took one and 0 otherwise.

    Raises
    ------
    ValueError
        If the noise of the gradient differs between two parameters (score functions), so that the
        difference would be noisier than either, or if `every` is below 1.
    """
    if not gradient.pathwise:
        raise ValueError(
            "SVRG needs a gradient whose noise is the same at two parameters; a score-function "
            "gradient's is not (use a reparameterized one, or control variates)"
        )
    if every < 1:
        raise ValueError(f"every is {every}; wanted a number of steps >= 1")

    def init(params: object) -> SvrgState:
        target = tree.zeros_like(params)
        return SvrgState(_copy(params), target, every, gradient.init(params))

    def take_snapshot(state: SvrgState, params: object, rng: np.random.Generator) -> SvrgState:
        snapshot = _copy(params)
        full, _, _ = gradient.estimate(gradient.init(params), snapshot, everything(), rng)
        return SvrgState(snapshot, _sum(dense(full, snapshot), snapshot), 0, state.inner)

    def estimate(
        state: SvrgState, params: object, batch: Batch, rng: np.random.Generator
    ) -> tuple[Tree, SvrgState, Info]:
        fresh = state.age >= every
        if fresh:
            state = take_snapshot(state, params, rng)
        before, _, _ = gradient.estimate(
            gradient.init(state.snapshot), state.snapshot, batch, copy.deepcopy(rng)
        )
        now, inner, info = gradient.estimate(state.inner, params, batch, rng)
        corrected = _correct(now, before, state.snapshot, state.target)
        state = state._replace(age=state.age + 1, inner=inner)
        return corrected, state, {**without_noise(info), "snapshot": float(fresh)}

    return Gradient(init, estimate)


def _copy(params: object) -> object:
    """Copy parameters; a table becomes its dense values, because it will never be stepped on."""

    def leaf(part: LazyTable | AnyArray) -> LazyTable | AnyArray:
        if isinstance(part, LazyTable):
            return LazyTable(part.dense(), np.zeros((), part.values.dtype))
        return np.array(part)

    return tree.map_leaves(leaf, params)


def _sum(gradient: object, params: object) -> object:
    """Add parameters to a gradient, in place."""

    def leaf(g: AnyArray, part: LazyTable | AnyArray) -> AnyArray:
        g += part.values if isinstance(part, LazyTable) else part
        return g

    return tree.map_leaves(leaf, gradient, params)


def _correct(now: Tree, before: Tree, snapshot: Tree, target: Tree) -> Tree:
    """Now - before + (target - snapshot).

    Rows share their decay, so only the statistics differ, and the target is the anchor.
    """
    if isinstance(now, RowGradient):
        return now._replace(values=now.values - before.values, anchor=target)
    if isinstance(now, tuple):
        parts = (_correct(*leaf) for leaf in zip(now, before, snapshot, target))
        return tree.rebuild(now, parts)
    return now - before + (target - snapshot)
