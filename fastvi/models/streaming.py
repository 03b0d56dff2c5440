"""Streaming variational Bayes (Broderick et al. 2013): the last posterior is the next prior."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from fastvi import loop
from fastvi.base import tree
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import AnyArray, Info, Tree
from fastvi.batches import Batches
from fastvi.core import Algorithm, Batch, Conjugate, RowGradient, RowStatistics, add
from fastvi.gradients.natural import squared_norm_of
from fastvi.models.plan import Plan

__all__ = ["StreamingState", "going_on", "one_more_pass", "streaming"]

FADING = 1.5  # share of what was learned that a batch replaces, over its share of all rows
ROUNDS = 3  # rounds on a batch of a stream; more gain little


class StreamingState(NamedTuple):
    """The posterior so far, and the numbers of batches and rows it has seen."""

    params: Tree
    n_batches: int = 0
    n_rows: int = 0


def streaming(
    model: Conjugate, *, max_iter: int = 20, tol: float = 1e-3, memory: float | None = 1.0
) -> Algorithm:
    """Coordinate ascent on successive batches, each from the posterior of the previous ones.

    "Streaming variational Bayes", eq. 3, with the sums of natural parameters of a conjugate family.
    The number of rows need not be known, and old rows count as much as new ones. Drive it with
    `fastvi.batches.Stream` and ``population_size="batch"``. A step on a batch that touches few rows
    of a `LazyTable` costs no more than these. The model's statistics must be sums over rows.

    Parameters
    ----------
    model : Conjugate
        Its `prior` is that of the first batch.
    max_iter : int
        Largest number of rounds per batch.
    tol : float
        A batch is finished when a round changes its statistics by less than this share of their
        norm.
    memory : float, optional
        Share in (0, 1] of what was learned that is kept at each batch. Below 1, old rows fade, and
        the posterior follows a drifting population. With None, a batch of n rows after N others
        replaces the share 1.5 n / (N + n) of what was learned (at most all of it), so that early
        rows, whose local variables were fitted under poor parameters, count less and less.

    Returns
    -------
    Algorithm
        Its `init` takes the parameters of the first local step, which it then owns. A state
        ``StreamingState(params, n_batches, n_rows)`` continues from a posterior. `info` has
        `local_elbo` in nats, `rounds`, and as `rate` the batch's share of all rows.

    Raises
    ------
    ValueError
        If `max_iter` is below 1, `tol` below 0, or `memory` not in (0, 1]; at the first step, if
        the model's statistics are not sums over rows.
    """
    if max_iter < 1:
        raise ValueError(f"max_iter is {max_iter}; wanted a number of rounds >= 1")
    if not tol >= 0:
        raise ValueError(f"tol is {tol}; wanted a number >= 0")
    if memory is not None and not 0 < memory <= 1:
        raise ValueError(f"memory is {memory}; wanted a number in (0, 1], or None")

    def step(
        state: StreamingState, batch: Batch, rng: np.random.Generator
    ) -> tuple[StreamingState, Info]:
        params, n_rows = state.params, state.n_rows + len(batch.weights)
        share = len(batch.weights) / n_rows
        lost = min(FADING * share, 1.0) if memory is None else 1.0 - memory
        if not state.n_batches:
            lost = 1.0  # the first parameters were not learned from any rows
        last, rounds, moved = None, 0, np.inf
        while rounds < max_iter and moved > tol:
            local = model.local(params, batch, None, rng)
            if local.common:
                raise ValueError(
                    f"{type(model).__name__} has statistics that are not sums over rows, which "
                    "would be added again with each batch; wanted another model, or mini-batches"
                )
            if last is None:
                params = add(params, _news(model.prior, local.statistics, params, lost))
            else:
                change = _changes(model.prior, local.statistics, last)
                params = add(params, change)
                moved = np.sqrt(_norm(change) / max(_norm(last), np.finfo(float).tiny))
            last, rounds = local.statistics, rounds + 1
        info = {"local_elbo": local.bound, "rounds": rounds, "rate": share, "local": local}
        return StreamingState(params, state.n_batches + 1, n_rows), info

    return Algorithm(StreamingState, step)


def going_on(model: Conjugate, batches: Batches, n_seen: int) -> Plan:
    """Return a plan for batches after `n_seen` rows, or from scratch; each row has weight 1."""
    algorithm = streaming(model, max_iter=ROUNDS, memory=None)
    n_batches = 1 if n_seen else 0
    return Plan(
        algorithm._replace(init=lambda params: StreamingState(params, n_batches, n_seen)),
        batches,
        begin=lambda params: params,
        read=lambda state: state.params,
        for_model=lambda other: going_on(other, batches, n_seen),
    )


def _news(prior: Any, statistics: Tree, params: Tree, lost: float) -> Tree:
    """Statistics of a batch, minus the share of what was learned that they replace."""
    if isinstance(statistics, RowStatistics):
        return RowGradient(statistics.rows, statistics.values, prior, coefficient=lost)
    if isinstance(params, tuple):
        parts = zip(prior, statistics, params)
        return tree.rebuild(params, (_news(*part, lost) for part in parts))
    return statistics + lost * (prior - params)


def _changes(prior: Any, statistics: Tree, last: Tree) -> Tree:
    """Change of the statistics in another round."""
    if isinstance(statistics, RowStatistics):
        values = statistics.values - last.values
        return RowGradient(statistics.rows, values, prior, coefficient=0.0)
    if isinstance(statistics, tuple):
        parts = zip(prior, statistics, last)
        return tree.rebuild(statistics, (_changes(*part) for part in parts))
    return statistics - last


def _norm(parts: Any) -> float:
    """Squared norm of statistics, or of their changes."""
    if isinstance(parts, RowGradient):
        return squared_norm_of(parts.values)
    if isinstance(parts, tuple) and not isinstance(parts, RowStatistics):
        return sum(map(_norm, parts))
    return squared_norm_of(parts)


def one_more_pass(
    algorithm: Algorithm, state: Tree, batches: Batches, seed: int, before: Mapping[str, AnyArray]
) -> tuple[Tree, loop.History]:
    """Take a stream's new rows once, by steps recorded behind those `before`.

    Random numbers are those of the pass, so that they do not depend on how calls came about.
    """
    history = loop.History()
    history.columns = {key: column.tolist() for key, column in before.items()}
    epoch = int(history.columns["epoch"][-1]) + 1 if len(history) else 0
    with single_threaded_blas():
        return loop.run(
            algorithm, state, batches, n_epochs=epoch + 1,
            rng=np.random.default_rng([seed, epoch]), position=loop.Position(epoch),
            history=history,
        )  # fmt: skip
