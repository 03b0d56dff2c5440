"""Fits by sweeps over all documents, until they settle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from fastvi import loop
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import Info, JsonObject
from fastvi.batches import Passes
from fastvi.checkpoints import Watching
from fastvi.core import Algorithm, Batch

__all__ = ["SweptTraining", "train"]


class Swept(Protocol):
    """State of a fit, with what it has found."""

    @property
    def params(self) -> Any:
        """What has been found."""
        ...


S = TypeVar("S", bound=Swept)


class SweptTraining(NamedTuple, Generic[S]):
    """Where a fit ended, and how it went."""

    state: S
    history: loop.History
    converged: bool


def train(
    step: Callable[[S, Batch, np.random.Generator], tuple[S, Info]],
    state: S,
    *,
    max_iter: int,
    settled: Callable[[loop.History], bool],
    seed: int,
    seconds: float,
    watching: Watching,
    identity: Callable[[], JsonObject],
    held_out: Callable[[Any], float] | None = None,
    verbose: bool = False,
) -> SweptTraining[S]:
    """Sweep from `state`, which took `seconds` to find, at most `max_iter` times.

    The fit ends once its history has `settled`; `held_out` takes the state's `params`.
    """
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

    def look(state: S, position: loop.Position, history: loop.History) -> bool:
        nonlocal converged
        converged = settled(history)
        return converged

    rng, batches = np.random.default_rng(seed), Passes()
    with watch, single_threaded_blas():
        state, position, history = watch.begin(state, batches, rng, max_iter)
        if position.step == 0:
            converged = settled(history)  # a checkpoint of a finished fit
        state, history = loop.run(
            Algorithm(lambda state: state, step), state, batches,
            n_epochs=0 if converged else max_iter, rng=rng, position=position, history=history,
            seconds=seconds, after_epoch=look, watch=watch,
        )  # fmt: skip
    return SweptTraining(state, history, converged)
