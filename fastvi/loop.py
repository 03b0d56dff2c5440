"""The only loop: batches in, steps out, a history of what happened."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.batches import Batches
from fastvi.core import Algorithm, Batch

__all__ = ["History", "Position", "run"]


class Position(NamedTuple):
    """Where a fit stands: the next step is number `step` of epoch `epoch`, both from 0."""

    epoch: int = 0
    step: int = 0


START = Position()


class History:
    """What each step reported, as columns; `seconds` is the time spent in steps so far."""

    def __init__(self) -> None:
        self.columns: dict[str, list[float]] = {}

    def append(self, **values: float) -> None:
        """Add a row; columns that it lacks, or that are new, are filled with nan."""
        length = len(self)
        for name in values:
            self.columns.setdefault(name, [np.nan] * length)
        for name, column in self.columns.items():
            column.append(float(values.get(name, np.nan)))

    def extend(self, length: int, **values: Any) -> None:
        """Add as many rows, of arrays (length,) or of numbers that are the same in all of them."""
        before = len(self)
        for name in values:
            self.columns.setdefault(name, [np.nan] * before)
        for name, column in self.columns.items():
            array = np.broadcast_to(np.asarray(values.get(name, np.nan), np.float64), length)
            column.extend(array.tolist())

    def note(self, name: str, value: float) -> None:
        """Add to the last row what was found out since."""
        self.columns.setdefault(name, [np.nan] * len(self))[-1] = float(value)

    def __len__(self) -> int:
        return max(map(len, self.columns.values()), default=0)

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """The columns as float64 arrays of one length."""
        return {name: np.array(column) for name, column in self.columns.items()}


def _numbers(batch: Batch, info: dict[str, Any]) -> dict[str, float]:
    """What can be traced of a step, and the size of its batch where it has one."""
    numbers = {k: float(v) for k, v in info.items() if isinstance(v, (int, float, np.number))}
    size = len(batch.weights)
    return {**numbers, "batch_size": size} if size else numbers


def _record(
    history: History, epoch: int, before: float, seconds: float, batch: Batch, info: dict[str, Any]
) -> int:
    """Add what a step, or a block of them, reports to the history; how many steps it was.

    The seconds of a block are spread evenly over its steps; without rows each is an epoch, so that
    the history does not depend on how long blocks are.
    """
    block = info.get("block")
    if block is None:
        history.append(epoch=epoch, seconds=seconds, **_numbers(batch, info))
        return 1
    n = len(next(iter(block.values())))
    elapsed = np.linspace(before, seconds, n + 1)[1:]
    epochs = len(history) + np.arange(n) if batch.rows is None else epoch
    history.extend(n, epoch=epochs, seconds=elapsed, **_numbers(batch, info), **block)
    return n


Hook = Callable[[Any, Position, History], bool | None]


def run(
    algorithm: Algorithm,
    state: Any,
    batches: Batches,
    *,
    n_epochs: int,
    rng: np.random.Generator,
    position: Position = START,
    history: History | None = None,
    seconds: float = 0.0,
    after_step: Hook | None = None,
    after_epoch: Hook | None = None,
) -> tuple[Any, History]:
    """Step through batches until the epochs are over or a hook says stop.

    Parameters
    ----------
    algorithm : Algorithm
        Its `step` may write into `state`.
    state : object
        From ``algorithm.init`` or from a checkpoint.
    batches : Batches
        The plan of batches.
    n_epochs : int
        Number of epochs counted from the very first.
    rng : numpy.random.Generator
        Handed to the steps.
    position : Position
        The step to begin with.
    history : History, optional
        To be continued.
    seconds : float
        Time spent before the first step, to be counted where there is no history.
    after_step, after_epoch : callable, optional
        ``hook(state, position, history)`` with the position of the next step; True stops.

    Returns
    -------
    (state, history)
    """
    history = History() if history is None else history
    for epoch in range(position.epoch, n_epochs):
        skip = position.step if epoch == position.epoch else 0
        step = skip
        before = time.perf_counter()
        for batch in batches.epoch(epoch, skip):
            state, info = algorithm.step(state, batch, rng)
            batches.observe(batch, info)
            if len(history):  # which hooks may have added to
                seconds = history.columns["seconds"][-1]
            began, seconds = seconds, seconds + time.perf_counter() - before
            step += _record(history, epoch, began, seconds, batch, info)
            if after_step is not None and after_step(state, Position(epoch, step), history):
                return state, history
            before = time.perf_counter()
        if algorithm.after_epoch is not None:
            before = time.perf_counter()
            state = algorithm.after_epoch(state)
            if len(history):
                history.columns["seconds"][-1] += time.perf_counter() - before
        if after_epoch is not None and after_epoch(state, Position(epoch + 1), history):
            break
    return state, history
