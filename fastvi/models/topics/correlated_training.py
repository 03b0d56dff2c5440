"""Fits of correlated topics: sweeps until the documents' log weights hardly move."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fastvi import loop
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import JsonObject
from fastvi.checkpoints import Watching
from fastvi.models.topics import sweeping
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
    training = sweeping.train(
        sweeps.step, state, max_iter=max_iter, settled=lambda history: _settled(history, tol),
        seed=seed, seconds=seconds, watching=watching, identity=identity, held_out=held_out,
        verbose=verbose,
    )  # fmt: skip
    with single_threaded_blas():  # after the last checkpoint, since it writes into the state
        params, moments = sweeps.finish(training.state)
    return CorrelatedTraining(params, moments, training.history, training.converged)


def _settled(history: loop.History, tol: float) -> bool:
    """Whether the last sweep moved documents' log weights by less than tol."""
    moves = history.columns.get(COLUMN, [])
    return len(moves) > 1 and moves[-1] < tol
