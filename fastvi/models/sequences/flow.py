"""Steps on sub-chains of sequences that arrive one batch after another."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi import loop, optimizers
from fastvi.base import tree
from fastvi.base.typing import Tree
from fastvi.batches import ShuffledEpochs, Source
from fastvi.core import Conjugate, Optimizer
from fastvi.models.plan import Plan, plan
from fastvi.models.sequences.model import Rows
from fastvi.models.sequences.stream import Stream

__all__ = ["Flow", "advanced", "begun"]


class Flow(NamedTuple):
    """What goes from one batch of sequences to the next.

    Attributes
    ----------
    model : Conjugate
    plan : Plan
    state : tree
        Of the plan's algorithm.
    template : Rows
        A row, by which those of later batches are measured.
    seed, epoch : int
        Of the order of sub-chains.
    history : loop.History
    """

    model: Conjugate
    plan: Plan
    state: Tree
    template: Rows
    seed: int
    epoch: int
    history: loop.History

    def read(self) -> Any:
        """Return the parameters so far."""
        return self.plan.read(self.state)


def begun(
    model: Conjugate,
    params: Tree,
    rows: Rows,
    source: Source,
    optimizer: Optimizer | str | float | None,
    seed: int,
    batch_size: int | None,
    seen: float,
) -> Flow:
    """Begin at some parameters, which were learned from `seen` times as many rows as these."""
    size = source.n_rows if batch_size is None else batch_size
    if optimizer is None and seen > 0:
        optimizer = optimizers.robbins_monro(delay=max(10.0, seen * source.n_rows / size))
    chosen = plan(model, source, batch_size=size, optimizer=optimizer, seed=seed)
    one = Stream(np.array([1]), np.zeros(1, bool))
    template = rows.part(one, np.array([int(np.argmin(rows.stream.is_missing))]))
    state = chosen.algorithm.init(chosen.begin(params))
    return Flow(model, chosen, state, template, seed, 0, loop.History())


def advanced(
    flow: Flow, source: Source, population: float, batch_size: int | None
) -> tuple[Flow, dict[str, NDArray[np.float64]]]:
    """Take a step on each batch of sub-chains, and return what follows, and the history.

    population : rows that the sub-chains stand for.
    """
    n = source.n_rows
    size = n if batch_size is None else batch_size
    stands_for = n * population / source.all().stream.n_rows
    batches = ShuffledEpochs(source, size, flow.seed, stands_for)
    history = loop.History({name: list(column) for name, column in flow.history.columns.items()})
    state, history = loop.run(
        flow.plan.algorithm, tree.copy(flow.state), batches, n_epochs=flow.epoch + 1,
        rng=np.random.default_rng([flow.seed, flow.epoch]), position=loop.Position(flow.epoch),
        history=history,
    )  # fmt: skip
    return flow._replace(state=state, epoch=flow.epoch + 1, history=history), history.arrays()
