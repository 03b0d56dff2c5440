"""Fits of correlated topics: sweeps until the documents' log weights hardly move."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastvi import loop
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import JsonObject
from fastvi.batches import Passes
from fastvi.checkpoints import Watching
from fastvi.core import Algorithm
from fastvi.models.topics.correlated_model import (
    CorrelatedParameters,
    CorrelatedState,
    Moments,
    Sweeps,
)

__all__ = ["CorrelatedTraining", "train"]

COLUMN = "moved"  # of the history


class CorrelatedTraining(NamedTuple):
    """What a fit has found, and how it went."""

    params: CorrelatedParameters
    moments: Moments
    history: loop.History
    converged: bool


def _settled(history: loop.History, tol: float) -> bool:
    """Whether the last sweep moved documents' log weights by less than tol."""
    moves = history.columns.get(COLUMN, [])
    return len(moves) > 1 and moves[-1] < tol


def train(
    sweeps: Sweeps,
    state: CorrelatedState,
    *,
    max_iter: int,
    tol: float,
    seed: int,
    seconds: float,
    watching: Watching,
    identity: Callable[[], JsonObject],
    held_out: Callable[[CorrelatedParameters], float] | None = None,
    verbose: bool = False,
) -> CorrelatedTraining:
    """Sweep from `state`, which took `seconds` to find, at most `max_iter` times."""
    watch = loop.Watch(
        read=lambda state: state.params,
        callback=watching.callback,
        held_out=held_out,
        patience=watching.patience(held_out),
        checkpoints=watching.checkpoints(identity),
        resume=watching.resume,
        verbose=verbose,
        total=max_iter,
    )
    converged = False

    def look(state: CorrelatedState, position: loop.Position, history: loop.History) -> bool:
        nonlocal converged
        converged = _settled(history, tol)
        return converged

    rng, batches = np.random.default_rng(seed), Passes()
    with watch, single_threaded_blas():
        state, position, history = watch.begin(state, batches, rng, max_iter)
        if position.step == 0:
            converged = _settled(history, tol)  # a checkpoint of a finished fit
        state, history = loop.run(
            Algorithm(lambda state: state, sweeps.step), state, batches,
            n_epochs=0 if converged else max_iter, rng=rng, position=position, history=history,
            seconds=seconds, after_epoch=look, watch=watch,
        )  # fmt: skip
    with single_threaded_blas():  # after the last checkpoint, since it writes into the state
        params, moments = sweeps.finish(state)
    return CorrelatedTraining(params, moments, history, converged)
