"""Fitting topics to a corpus with a held-out score, checkpoints and resumption."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fastvi import loop
from fastvi.checkpoints import Checkpoints, described, digest
from fastvi.corpus.shards import ShardedCorpus
from fastvi.models.counts import ShardedEpochs
from fastvi.models.topics import solvers
from fastvi.models.topics.fitted import TopicModel
from fastvi.models.topics.held_out import HeldOut
from fastvi.models.topics.settings import IN_MEMORY, Settings

__all__ = ["Training", "train"]


class Training(NamedTuple):
    """A fitted model and how the fit went."""

    model: TopicModel
    seconds: float
    n_documents_seen: int


def train(
    settings: Settings,
    corpus: Any,
    n_epochs: int,
    *,
    n_threads: int = 1,
    held_out: HeldOut | None = None,
    callback: Callable[[loop.FitState], bool | None] | None = None,
    verbose: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_interval: float = 60.0,
    resume: bool = False,
) -> Training:
    """Fit topics.

    Parameters
    ----------
    settings : Settings
    corpus : DocumentSource or ShardedCorpus
        The training documents.
    n_epochs : int
        Passes over them.
    n_threads : int
        Results do not depend on it.
    held_out : HeldOut, optional
        Scored after each pass, and in the middle of the first ones.
    callback : callable, optional
        ``callback(FitState)`` after each step and each pass, where True stops the fit; `params` are
        `TopicParameters`.
    verbose : bool
        Show a bar.
    checkpoint : path, optional
        Saved to at intervals of `checkpoint_interval` seconds and at the end of the fit.
    resume : bool
        Go on from `checkpoint` if there is such a file.

    Raises
    ------
    ValueError
        If the checkpoint is damaged, of another fit, or has come further than `n_epochs`.
    """
    began = time.perf_counter()
    solver = _solver(settings, corpus, n_threads)
    state = solver.start()
    start_seconds = time.perf_counter() - began
    score = None
    if held_out is not None:
        score = partial(held_out.score, collapsed=settings.collapsed, n_threads=n_threads)
    saver = None
    if checkpoint is not None:
        saver = Checkpoints(checkpoint, _identity(settings, corpus), checkpoint_interval)
    n_documents = getattr(corpus, "n_documents", None) or corpus.n_rows
    watch = loop.Watch(
        read=solver.read, callback=callback, held_out=score, early=True, checkpoints=saver,
        resume=resume, verbose=verbose, unit="steps",
        total=n_epochs * settings.steps_per_pass(n_documents),
    )  # fmt: skip
    rng = solver.rng()
    with watch:
        state, position, history = watch.begin(state, solver.batches, rng, n_epochs)
        before = history.columns["seconds"][-1] if len(history) else 0.0
        state, history = solvers.fit(
            solver, n_epochs, state, rng=rng, position=position, history=history,
            seconds=start_seconds, watch=watch,
        )  # fmt: skip
    found = solver.read(state)
    model = TopicModel(
        found.table.dense(), found.alpha, found.eta, settings.collapsed,
        history=history.arrays(), tol=settings.mean_change_tol,
    )  # fmt: skip
    seconds = history.columns["seconds"][-1] - before if len(history) else 0.0
    return Training(model, seconds, round((n_epochs - position.epoch) * n_documents))


def _solver(settings: Settings, corpus: Any, n_threads: int) -> solvers.Solver:
    if not isinstance(corpus, ShardedCorpus):
        return solvers.make_solver(settings, corpus, n_threads)
    if settings.solver in IN_MEMORY:
        raise ValueError(
            f"solver {settings.solver!r} needs the corpus in memory; "
            "wanted 'scvb0' or 'svi' for one that is streamed from disk"
        )
    marker = np.full(corpus.n_words, -1, np.int32)
    batch_size = settings.batch_size_for(corpus.n_documents)
    batches = ShardedEpochs(corpus, batch_size, settings.seed, marker)
    return solvers.make_solver(settings, corpus, n_threads, batches=batches)


def _identity(settings: Settings, corpus: Any) -> dict[str, Any]:
    """What must be the same for a checkpoint to be taken up."""
    if isinstance(corpus, ShardedCorpus):
        size = [corpus.n_documents, corpus.n_words, corpus.n_tokens]
        words = f"{zlib.crc32(chr(10).join(corpus.vocabulary or ()).encode()):08x}"
    else:
        size = [corpus.n_rows, corpus.n_words, float(corpus.counts.sum(dtype=np.float64))]
        words = digest(corpus.indptr, corpus.indices, corpus.counts)
    plain = replace(settings, alpha=settings.alpha.tolist(), dtype=np.dtype(settings.dtype).name)
    tools = ("eta", "optimizer", "variance_reduction")
    values = vars(plain) | {name: described(getattr(plain, name)) for name in tools}
    return {"corpus": size, "corpus digest": words} | values
