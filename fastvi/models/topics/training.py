"""Fitting topics to a corpus with a held-out score, checkpoints and resumption."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi import loop
from fastvi.base import archive, checks
from fastvi.corpus.shards import ShardedCorpus
from fastvi.models.counts import ShardedEpochs, padded
from fastvi.models.topics import solvers
from fastvi.models.topics.fitted import TopicModel
from fastvi.models.topics.held_out import HeldOut
from fastvi.models.topics.settings import IN_MEMORY, Settings

__all__ = ["CHECKPOINT", "Training", "train"]

CHECKPOINT = "lda-checkpoint"


class Training(NamedTuple):
    """A fitted model and how the fit went."""

    model: TopicModel
    seconds: float
    n_documents_seen: int


Report = Callable[[loop.Position, float], None]


class _Checkpoints:
    """Saves a fit at intervals; a file that belongs to another fit is refused."""

    def __init__(
        self, path: str | os.PathLike[str], identity: dict[str, Any], interval: float
    ) -> None:
        self.path, self.identity, self.interval = path, identity, interval
        self.due = time.monotonic() + interval

    def load(self, solver: solvers.Solver, n_epochs: int) -> tuple[loop.Position, loop.History]:
        """Put the solver where it was.

        Raises
        ------
        ValueError
            If the file is damaged, of another corpus or other settings, or has come further than
            `n_epochs` passes.
        """
        header, arrays = archive.load(self.path, CHECKPOINT)
        archive.remove_leftovers(self.path)  # a fit killed again and again would fill the disk
        try:
            self._check_identity(header["identity"])
            position = self._position(header["position"], n_epochs)
            history = loop.History()
            for name in [name for name in arrays if name.startswith("history.")]:
                history.columns[name.removeprefix("history.")] = arrays.pop(name).tolist()
            self._check_shapes(arrays, history, solver)
            solver.restore(arrays)
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"{self.path}: not a complete checkpoint ({error!r})") from None
        return position, history

    def _check_identity(self, saved: dict[str, Any]) -> None:
        for name, value in self.identity.items():
            if saved.get(name) != value:
                raise ValueError(
                    f"{self.path}: checkpoint of another fit: "
                    f"{name} was {saved.get(name)!r} and is {value!r}"
                )

    def _position(self, saved: list[int], n_epochs: int) -> loop.Position:
        epoch, step = (checks.integer(saved[i], f"{self.path}: position", 0) for i in (0, 1))
        if epoch > n_epochs or (epoch == n_epochs and step):
            raise ValueError(
                f"{self.path}: the checkpoint has come further than {n_epochs} passes "
                f"(epoch {epoch}, step {step})"
            )
        return loop.Position(epoch, step)

    def _check_shapes(
        self, arrays: dict[str, NDArray[Any]], history: loop.History, solver: solvers.Solver
    ) -> None:
        """Kernels look up rows unchecked, so that arrays must be of the sizes of this fit."""
        wanted = {name: (array.dtype, array.shape) for name, array in solver.save().items()}
        gamma = "state.gradient.0"
        if gamma in arrays:  # which coordinate ascent has from its first step on
            shape = self.identity["corpus"][0], padded(solver.settings.n_topics)
            wanted[gamma] = np.dtype(solver.settings.dtype), shape
        found = {name: (array.dtype, array.shape) for name, array in arrays.items()}
        if found != wanted or len({len(column) for column in history.columns.values()}) > 1:
            raise ValueError(f"{self.path}: the arrays of the checkpoint do not fit together")

    def save(self, solver: solvers.Solver, position: loop.Position, history: loop.History) -> None:
        """Replace the file by the state of the fit now."""
        arrays = solver.save() | {f"history.{k}": v for k, v in history.arrays().items()}
        header = {"identity": self.identity, "position": list(position)}
        archive.save(self.path, CHECKPOINT, header, arrays)
        self.due = time.monotonic() + self.interval


def train(
    settings: Settings,
    corpus: Any,
    n_epochs: int,
    *,
    n_threads: int = 1,
    held_out: HeldOut | None = None,
    report: Report | None = None,
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
    report : callable, optional
        ``report(position, score)`` after each step, with the last held-out score in nats a word.
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
    start_seconds = time.perf_counter() - began
    identity = _identity(settings, corpus)
    saver = _Checkpoints(checkpoint, identity, checkpoint_interval) if checkpoint else None
    position, history = loop.START, loop.History()
    if saver is not None and resume and os.path.exists(saver.path):
        position, history = saver.load(solver, n_epochs)
    score = float(history.columns.get("held_out", [np.nan])[-1]) if len(history) else np.nan

    def look(position: loop.Position, history: loop.History, due: bool) -> None:
        nonlocal score
        if held_out is not None and due:
            score = held_out.score(solver, n_threads)
            history.note("held_out", score)
        if report is not None:
            report(position, score)
        if saver is not None and time.monotonic() >= saver.due:
            saver.save(solver, position, history)

    def after_step(state: Any, position: loop.Position, history: loop.History) -> None:
        # powers of two in the first pass: most of the score is gained there
        due = position.epoch == 0 and position.step & (position.step - 1) == 0
        look(position, history, due)

    def after_epoch(state: Any, position: loop.Position, history: loop.History) -> None:
        look(position, history, True)

    started = len(history)
    before = history.columns["seconds"][-1] if started else 0.0
    history = solvers.fit(
        solver, n_epochs, position=position, history=history, seconds=start_seconds,
        after_step=after_step, after_epoch=after_epoch,
    )  # fmt: skip
    if saver is not None:
        saver.save(solver, loop.Position(n_epochs), history)
    model = TopicModel(
        solver.table(), solver.alpha, solver.eta, settings.collapsed,
        history=history.arrays(), tol=settings.mean_change_tol,
    )  # fmt: skip
    seconds = history.columns["seconds"][-1] - before if len(history) else 0.0
    n_documents = getattr(corpus, "n_documents", None) or corpus.n_rows
    n_seen = round((n_epochs - position.epoch) * n_documents)
    return Training(model, seconds, n_seen)


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
    return solvers.GradientFit(settings, corpus, n_threads, batches=batches)


def _identity(settings: Settings, corpus: Any) -> dict[str, Any]:
    """What must be the same for a checkpoint to be taken up."""
    if isinstance(corpus, ShardedCorpus):
        size = [corpus.n_documents, corpus.n_words, corpus.n_tokens]
        digest = zlib.crc32("\n".join(corpus.vocabulary or ()).encode())
    else:
        size = [corpus.n_rows, corpus.n_words, float(corpus.counts.sum(dtype=np.float64))]
        digest = 0
        for array in (corpus.indptr, corpus.indices, corpus.counts):
            digest = zlib.crc32(np.ascontiguousarray(array).data.cast("B"), digest)
    plain = replace(settings, alpha=settings.alpha.tolist(), eta=np.asarray(settings.eta).tolist())
    values = {name: value for name, value in vars(plain).items() if name != "dtype"}
    return {
        "corpus": size,
        "corpus digest": digest,
        "dtype": np.dtype(settings.dtype).name,
    } | values
