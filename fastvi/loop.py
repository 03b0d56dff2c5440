"""The loop that drives all fits: steps over batches, their history, and observers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import numpy as np

from fastvi.base import tree
from fastvi.base.progress import Bar, compiling_announced, describe
from fastvi.base.typing import Info, Tree
from fastvi.batches import Batches
from fastvi.checkpoints import Checkpoints
from fastvi.core import EACH_STEP, Algorithm, Batch
from fastvi.history import START, FitState, History, Position

__all__ = ["START", "FitState", "History", "Hook", "Position", "Watch", "run"]

T = TypeVar("T")

logger = logging.getLogger("fastvi")


def _numbers(batch: Batch, info: Info) -> dict[str, float]:
    """Return the numbers that a step reports, and the size of its batch if it has one."""
    numbers = {k: float(v) for k, v in info.items() if isinstance(v, (int, float, np.number))}
    size = len(batch.weights)
    return {**numbers, "batch_size": size} if size else numbers


def _record(
    history: History, epoch: int, before: float, seconds: float, batch: Batch, info: Info
) -> int:
    """Add the report of a step, or of all steps that it stands for, to the history; return their
    number.

    Seconds are spread evenly over the steps. Without rows each step is an epoch, so that the
    history does not depend on how many are made at once.
    """
    each = info.get(EACH_STEP)
    if each is None:
        history.append(epoch=epoch, seconds=seconds, **_numbers(batch, info))
        return 1
    n = len(next(iter(each.values())))
    elapsed = np.linspace(before, seconds, n + 1)[1:]
    epochs = len(history) + np.arange(n) if batch.rows is None else epoch
    history.extend(n, epoch=epochs, seconds=elapsed, **_numbers(batch, info), **each)
    return n


Hook = Callable[[Any, Position, History], bool | None]


class Watch(AbstractContextManager["Watch"]):
    """Observers of a fit, which do not change it: scores, logs, bar, callback, checkpoints.

    A driver enters it, loads a checkpoint with `begin`, and passes it to `run`::

        with watch:
            state, position, history = watch.begin(state, batches, rng, n_epochs)
            run(..., position=position, history=history, watch=watch)

    On exit without an error, held-out rows are scored, unless the best pass is kept, and the last
    state is saved, unless that has just been done.

    Parameters
    ----------
    read : callable, optional
        ``read(state)`` returns the parameters found so far.
    callback : callable, optional
        ``callback(FitState)`` after each step and each pass; True stops the fit.
    held_out : callable, optional
        ``held_out(params)`` returns the score of held-out rows, which goes into the history's
        column of that name after each pass; its time is not part of `seconds`.
    patience : int, optional
        Stop after so many passes without a better score of held-out rows, and let `run` return the
        state after the best pass, of which this keeps a copy.
    early : bool
        Score also after steps 1, 2, 4, 8 ... of the first pass, which gains the most.
    checkpoints : Checkpoints, optional
    resume : bool
        Continue from the file of `checkpoints`, if it exists.
    verbose : bool
        Show a bar.
    total : int, optional
        Length of the bar.
    unit : {"passes", "steps"}
        What the bar counts.
    log_passes : bool
        Log a line per pass; False for fits in which each step is a pass.
    """

    def __init__(
        self,
        *,
        read: Callable[[Tree], Tree] | None = None,
        callback: Callable[[FitState], bool | None] | None = None,
        held_out: Callable[[Tree], float] | None = None,
        patience: int | None = None,
        early: bool = False,
        checkpoints: Checkpoints | None = None,
        resume: bool = False,
        verbose: bool = False,
        total: int | None = None,
        unit: str = "passes",
        log_passes: bool = True,
    ) -> None:
        self.read = read if read is not None else lambda state: state
        self.callback, self.held_out, self.early = callback, held_out, early
        self.patience = patience
        self._best: Any = None  # state after the best pass
        self.checkpoints, self.resume = checkpoints, resume
        self.bar = Bar(total, unit) if verbose else None
        self.log_passes = log_passes
        self.stopped = False  # whether the callback or held-out scores stopped the fit
        looks = callback is not None or checkpoints is not None or verbose or early
        self._looks_at_passes = not looks  # alone
        self._sources: tuple[Batches, np.random.Generator] | None = None  # batches and generator
        self._last: tuple[Any, Position, History] | None = None
        self._saved: Position | None = None  # the last save, if still current
        self._announced = compiling_announced(verbose)

    def __enter__(self) -> Watch:
        """Announce compilation of kernels, if there is a bar."""
        self._announced.__enter__()
        return self

    def begin(
        self, state: T, batches: Batches, rng: np.random.Generator, n_epochs: int
    ) -> tuple[T, Position, History]:
        """Return where to start: at a checkpoint when resuming, else at the beginning."""
        self._sources = batches, rng
        if self.checkpoints is not None:
            self.checkpoints.identity["early_stopping"] = self.patience is not None
        if self.checkpoints is None or not self.resume or not self.checkpoints.exists():
            return state, START, History()
        form: Any = state if self.patience is None else (state, state)
        found, position, history = self.checkpoints.load(form, batches, rng, n_epochs)
        state = found
        if self.patience is not None:
            state, best = found
            self._best = best if history.pass_scores(position.epoch) else None
            self.stopped = self._out_of_patience(position, history)
        logger.info("resumed after %d steps, in pass %d", len(history), position.epoch + 1)
        return state, position, history

    def after_step(self, state: object, position: Position, history: History) -> bool:
        """Observe a step; return whether the callback stops the fit."""
        if self._looks_at_passes:
            self._last, self._saved = (state, position, history), None
            return False
        due = self.early and position.epoch == 0 and position.step & (position.step - 1) == 0
        return self._look(state, position, history, due)

    def after_epoch(self, state: object, position: Position, history: History) -> bool:
        """Observe a pass; return whether the callback or held-out scores stop the fit."""
        stop = self._look(state, position, history, True)
        if self.patience is not None and self._out_of_patience(position, history):
            best = history.best_pass() + 1
            logger.info("stopped early: held-out scores were best after pass %d", best)
            stop = self.stopped = True
        if self.log_passes and logger.isEnabledFor(logging.INFO):
            row = history.last()
            logger.info(
                "pass %d: %s, %.2f s", position.epoch, describe(row), row.get("seconds", np.nan)
            )
        return stop

    def _look(self, state: object, position: Position, history: History, score: bool) -> bool:
        self._last, self._saved = (state, position, history), None
        if score:
            self._score(state, history)
            self._keep_best(state, position, history)
        if self.bar is not None:
            passes = self.bar.unit == "passes"
            self.bar.show(position.epoch if passes else len(history), history.last())
        if self.checkpoints is not None and self.checkpoints.due():
            self._save()
        if self.callback is not None:
            self.stopped = bool(self.callback(self._seen(state, position, history)))
        return self.stopped

    def _seen(self, state: object, position: Position, history: History) -> FitState:
        values = history.last()
        values.pop("epoch", None)
        seconds = values.pop("seconds", 0.0)
        return FitState(
            position.epoch, position.step, len(history), seconds, values, self.read(state)
        )

    def _score(self, state: object, history: History) -> None:
        if self.held_out is not None and len(history):
            history.note("held_out", self.held_out(self.read(state)))

    def _keep_best(self, state: object, position: Position, history: History) -> None:
        """Copy the state if this was the best pass so far, as later steps write into it."""
        scores = history.pass_scores(position.epoch)
        if self.patience is None or position.step or not scores:
            return
        if history.best_pass(position.epoch) == position.epoch - 1:
            self._best = tree.copy(state)

    def _out_of_patience(self, position: Position, history: History) -> bool:
        if self.patience is None or not history.pass_scores(position.epoch):
            return False
        return position.epoch - 1 - history.best_pass(position.epoch) >= self.patience

    def best(self, state: Tree) -> Any:
        """Return the state after the best pass, or `state` if that is not kept."""
        return state if self._best is None else self._best

    def _save(self) -> None:
        assert self.checkpoints is not None
        assert self._last is not None
        assert self._sources is not None
        state, position, history = self._last
        batches, rng = self._sources
        kept = state if self.patience is None else (state, self.best(state))
        self.checkpoints.save(kept, batches, rng, position, history)
        self._saved = position
        logger.debug("saved a checkpoint after %d steps", len(history))

    def __exit__(self, error: object, *_: object) -> None:
        self._announced.__exit__(None, None, None)
        if self.bar is not None:
            self.bar.close()
        if error is not None or self._last is None:
            return
        state, _, history = self._last
        if self.held_out and self._best is None and "held_out" not in history.last():
            self._score(state, history)
            self._saved = None
        if self.checkpoints is not None and self._saved is None:
            self._save()


def run(
    algorithm: Algorithm,
    state: T,
    batches: Batches,
    *,
    n_epochs: int,
    rng: np.random.Generator,
    position: Position = START,
    history: History | None = None,
    seconds: float = 0.0,
    max_steps: int | None = None,
    after_step: Hook | None = None,
    after_epoch: Hook | None = None,
    watch: Watch | None = None,
) -> tuple[T, History]:
    """Step through batches until all epochs are done or a hook stops the fit.

    Parameters
    ----------
    algorithm : Algorithm
        Its `step` may write into `state`.
    state : object
        From ``algorithm.init`` or from a checkpoint.
    batches : Batches
        The batches of each epoch.
    n_epochs : int
        Number of epochs, counted from the beginning of the fit.
    rng : numpy.random.Generator
        Passed to the steps.
    position : Position
        The first step to make.
    history : History, optional
        A history to continue.
    seconds : float
        Time spent before the first step, counted if there is no history.
    max_steps : int, optional
        Stop once the history has this many steps.
    after_step, after_epoch : callable, optional
        ``hook(state, position, history)`` with the position of the next step; True stops.
    watch : Watch, optional
        Observers, called after these.

    Returns
    -------
    (state, history)
        The last state, or the best one if `watch` stops early.
    """
    if watch is not None and watch.stopped:  # a checkpoint of a fit that had stopped
        n_epochs = position.epoch
    history = History() if history is None else history
    step_hooks = _both(after_step, watch.after_step if watch is not None else None)
    epoch_hooks = _both(after_epoch, watch.after_epoch if watch is not None else None)
    limit = np.inf if max_steps is None else max_steps
    for epoch in range(position.epoch, n_epochs):
        step = skip = position.step if epoch == position.epoch else 0
        if len(history) >= limit:
            break
        before = time.perf_counter()
        for batch in batches.epoch(epoch, skip):
            state, info = algorithm.step(state, batch, rng)
            batches.observe(batch, info)
            if len(history):  # hooks may have added to it
                seconds = history.columns["seconds"][-1]
            began, seconds = seconds, seconds + time.perf_counter() - before
            step += _record(history, epoch, began, seconds, batch, info)
            stop = False
            for hook in step_hooks:
                stop = hook(state, Position(epoch, step), history) or stop
            if stop or len(history) >= limit:
                return _best(watch, state), history
            before = time.perf_counter()
        if algorithm.after_epoch is not None:
            before = time.perf_counter()
            state = algorithm.after_epoch(state)
            if len(history):
                history.columns["seconds"][-1] += time.perf_counter() - before
        stop = False
        for hook in epoch_hooks:
            stop = hook(state, Position(epoch + 1), history) or stop
        if stop:
            break
    return _best(watch, state), history


def _best(watch: Watch | None, state: Tree) -> Any:
    return state if watch is None else watch.best(state)


def _both(*hooks: Hook | None) -> list[Hook]:
    return [hook for hook in hooks if hook is not None]
