"""Streaming variational Bayes (Broderick et al. 2013): yesterday's posterior is today's prior."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastvi.base import tree
from fastvi.core import Algorithm, Batch, Conjugate, LazyTable, add
from fastvi.gradients.natural import difference

__all__ = ["StreamingState", "streaming"]


class StreamingState(NamedTuple):
    """The posterior so far, and how many batches it has seen."""

    params: Any
    n_batches: int


def streaming(
    model: Conjugate, *, max_iter: int = 20, tol: float = 1e-3, memory: float = 1.0
) -> Algorithm:
    """Coordinate ascent on one batch after another, each from the posterior of those before.

    "Streaming variational Bayes", eq. 3, with the conjugate family's sums of natural parameters.
    The number of rows need not be known, and what was seen once weighs as much as what is new.
    Drive it by `fastvi.batches.Stream` with ``population_size="batch"``. A step takes a copy of the
    parameters. For models whose statistics are sums over rows alone.

    Parameters
    ----------
    model : Conjugate
        Its `prior` is that of the first batch.
    max_iter : int
        Largest number of rounds a batch.
    tol : float
        A batch is done where a round moves the parameters by less than this share of their way
        from the posterior before it.
    memory : float
        Share in (0, 1] of what was learnt that is kept at each batch: below 1, rows of long ago
        fade, and the posterior follows a population that drifts.

    Returns
    -------
    Algorithm
        Its `init` takes the parameters of the first local step, which it owns from then on; its
        `info` has `local_bound` in nats and `rounds`.

    Raises
    ------
    ValueError
        If `max_iter` is below 1, `tol` below 0, or `memory` not in (0, 1]; at the first step if the
        model's statistics are not sums over rows alone.
    """
    if max_iter < 1:
        raise ValueError(f"max_iter is {max_iter}; wanted a number of rounds >= 1")
    if not tol >= 0:
        raise ValueError(f"tol is {tol}; wanted a number >= 0")
    if not 0 < memory <= 1:
        raise ValueError(f"memory is {memory}; wanted a number in (0, 1]")

    def step(
        state: StreamingState, batch: Batch, rng: np.random.Generator
    ) -> tuple[StreamingState, dict[str, Any]]:
        params, prior = state.params, model.prior
        if state.n_batches:
            prior = tree.map_leaves(_faded(memory), params, model.prior)
        rounds, moved = 0, np.inf
        while rounds < max_iter and moved > tol:
            before = tree.map_leaves(_dense, params)
            local = model.local(params, batch, None, rng)
            if local.common:
                raise ValueError(
                    f"{type(model).__name__} has statistics that are not sums over rows, which "
                    "would be added again with each batch; wanted another model, or mini-batches"
                )
            params = add(params, difference(prior, local.statistics, params))
            now = tree.map_leaves(_dense, params)
            way = _distance(now, prior)
            moved = _distance(now, before) / way if way > 0 else 0.0
            rounds += 1
        info = {"local_bound": local.bound, "rounds": rounds, "rate": 1.0}
        return StreamingState(params, state.n_batches + 1), {**info, "local": local}

    return Algorithm(lambda params: StreamingState(params, 0), step)


def _dense(leaf: Any) -> Any:
    return leaf.dense() if isinstance(leaf, LazyTable) else np.array(leaf)


def _faded(memory: float) -> Any:
    def leaf(posterior: Any, prior: Any) -> Any:
        values = _dense(posterior)
        return values if memory == 1 else prior + memory * (values - prior)

    return leaf


def _distance(a: Any, b: Any) -> float:
    squares = tree.map_leaves(lambda x, y: np.square(x - y, dtype=np.float64).sum(), a, b)
    return float(np.sqrt(sum(tree.leaves(squares))))
