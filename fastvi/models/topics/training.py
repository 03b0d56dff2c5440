"""Fits of topics to a corpus, with held-out scores, callbacks and checkpoints."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fastvi import loop
from fastvi.checkpoints import Watching, described
from fastvi.cluster.active import identity
from fastvi.models.counts import CountSource
from fastvi.models.topics import base, solvers
from fastvi.models.topics.fitted import MAX_ITER, TopicModel
from fastvi.models.topics.held_out import HeldOut
from fastvi.models.topics.model import TopicParameters
from fastvi.models.topics.settings import Settings
from fastvi.models.topics.settling import Settling

__all__ = ["Training", "model_of", "train"]


class Training(NamedTuple):
    """A fitted model, and how the fit went."""

    model: TopicModel
    seconds: float
    n_documents_seen: int
    n_epochs: int
    converged: bool


def train(
    settings: Settings,
    source: CountSource,
    n_epochs: int,
    *,
    until_settled: bool = False,
    n_threads: int = 1,
    held_out: HeldOut | None = None,
    early: bool = False,
    after_epoch: loop.Hook | None = None,
    watching: Watching = Watching(),  # noqa: B008  never changes
    verbose: bool = False,
) -> Training:
    """Fit topics.

    Parameters
    ----------
    settings : Settings
    source : CountSource
        The training documents.
    n_epochs : int
        Largest number of passes over them.
    until_settled : bool
        Stop once a pass gains little; see `fastvi.models.topics.settling`.
    n_threads : int
        Number of threads; results do not depend on it.
    held_out : HeldOut, optional
        Documents to score after each pass.
    early : bool
        Score also during the first pass.
    after_epoch : callable, optional
        ``after_epoch(params, position, history)`` after each pass, with `TopicParameters`; True
        stops the fit.
    watching : Watching
        Callbacks get `TopicParameters`.
    verbose : bool
        Show a bar.

    Raises
    ------
    ValueError
        If the checkpoint is damaged, belongs to another fit, or is beyond `n_epochs`.
    """
    began = time.perf_counter()
    solver = solvers.make_solver(settings, source, n_threads)
    state = solver.start()
    start_seconds = time.perf_counter() - began
    score = None
    if held_out is not None:
        score = partial(held_out.score, collapsed=settings.collapsed, n_threads=n_threads)
    watch = loop.Watch(
        read=solver.read, callback=watching.callback, held_out=score, early=early,
        patience=watching.patience(score),
        checkpoints=watching.checkpoints(lambda: _identity(settings, source)),
        resume=watching.resume, verbose=verbose, unit="steps",
        total=None if until_settled else n_epochs * settings.steps_per_pass(source.n_rows),
    )  # fmt: skip
    settling = None
    if until_settled:
        settling = Settling(source, settings.seed, settings.collapsed, n_threads)
    converged = False

    def look(state: Any, position: loop.Position, history: loop.History) -> bool:
        nonlocal converged
        if settling is None and after_epoch is None:
            return False
        found = solver.read(state)
        settled = settling is not None and settling.score(found, history)
        converged = bool(after_epoch and after_epoch(found, position, history)) or settled
        return converged

    rng = solver.rng()
    with watch:
        state, position, history = watch.begin(state, solver.batches, rng, n_epochs)
        before = history.columns["seconds"][-1] if len(history) else 0.0
        if until_settled and position.step == 0:
            converged = Settling.settled(history)  # a checkpoint of a finished fit
        state, history = base.fit(
            solver, 0 if converged else n_epochs, state, rng=rng, position=position,
            history=history, seconds=start_seconds, after_epoch=look, watch=watch,
        )  # fmt: skip
    model = replace(model_of(settings, solver.read(state)), history=history.arrays())
    seconds = history.columns["seconds"][-1] - before if len(history) else 0.0
    n_passes = int(history.columns["epoch"][-1]) + 1 if len(history) else 0
    n_seen = max(n_passes - position.epoch, 0) * source.n_rows
    return Training(model, seconds, n_seen, n_passes, converged)


def model_of(settings: Settings, found: TopicParameters) -> TopicModel:
    """Return the model for parameters that a fit has found."""
    return TopicModel(
        found.table.dense(), found.alpha, found.eta, settings.collapsed,
        max_iter=settings.max_doc_update_iter or MAX_ITER, tol=settings.mean_change_tol,
    )  # fmt: skip


def _identity(settings: Settings, source: CountSource) -> dict[str, Any]:
    """Return what must be the same for a checkpoint to be resumed from."""
    plain = replace(settings, alpha=settings.alpha.tolist(), dtype=np.dtype(settings.dtype).name)
    tools = ("eta", "optimizer", "variance_reduction")
    values = vars(plain) | {name: described(getattr(plain, name)) for name in tools}
    return source.identity() | values | identity()
