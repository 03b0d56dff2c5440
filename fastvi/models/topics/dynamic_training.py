"""Fits of dynamic topics: from static topics, with held-out scores and checkpoints."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi import loop
from fastvi.base.bags import Bags
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import AnyArray, Array, JsonObject
from fastvi.batches import Passes
from fastvi.checkpoints import Watching
from fastvi.models.counts import DocumentSource
from fastvi.models.topics.dynamic_ascent import ascent, first_state, totals_of
from fastvi.models.topics.dynamic_corpus import Single, SlicedCorpus
from fastvi.models.topics.dynamic_fitted import Found, found_of
from fastvi.models.topics.dynamic_model import (
    DynamicModel,
    Start,
    State,
    distances,
    empty_state,
    start_of,
)
from fastvi.models.topics.settings import Settings
from fastvi.models.topics.settling import LIMIT
from fastvi.models.topics.training import train

__all__ = ["KEEP", "DynamicFit", "DynamicSettings", "add_slice", "fit_slices"]

KEEP = 0.7  # share of the drift that a step keeps
FIRST_CHAIN_VARIANCE = 0.1  # per step, to start from
FIRST_WITH_DRIFT = 0.05
FIRST_DRIFT_VARIANCE = 0.1


@dataclass(frozen=True, eq=False)
class DynamicSettings:
    """Settings of a fit, named as in `fastvi.DynamicTopicModel`."""

    n_topics: int
    drift: bool
    chain_variance: float | None
    initial_variance: float
    max_iter: int
    tol: float
    seed: int
    n_threads: int = 1

    @property
    def first_variances(self) -> tuple[float, float]:
        """Variances of a step of chains and drift, given or to start from."""
        first = FIRST_WITH_DRIFT if self.drift else FIRST_CHAIN_VARIANCE
        given = self.chain_variance
        return first if given is None else given, FIRST_DRIFT_VARIANCE if self.drift else 0.0


class DynamicFit(NamedTuple):
    """What a fit has found, and how it went."""

    found: Found
    history: dict[str, Array]
    n_iter: int
    converged: bool


def static_topics(settings: DynamicSettings, bags: Bags) -> tuple[AnyArray, NDArray[np.float64]]:
    """Topics (V, K padded) that do not move, and their prior alpha, both by CVB0."""
    n = settings.n_topics
    chosen = Settings(
        "cvb0", np.full(n, 1.0 / n), 1.0 / n, learn_alpha=True, learn_eta=True, seed=settings.seed
    )
    source = DocumentSource(bags.indptr, bags.indices, bags.counts, bags.n_words)
    model = train(chosen, source, LIMIT, n_threads=settings.n_threads).model
    sums = model.table.sum(axis=0, dtype=np.float64)
    return model.table / np.where(sums > 0, sums, 1.0), model.alpha


def model_for(settings: DynamicSettings, bags: Bags, alpha: Array, gaps: Array) -> DynamicModel:
    """Make the model whose first slice has the frequencies of all words as its prior."""
    words = np.bincount(bags.indices, bags.counts, bags.n_words).astype(np.float64)
    stationary = FIRST_DRIFT_VARIANCE / (1.0 - KEEP**2) if settings.drift else None
    start = start_of(words, settings.n_topics, settings.initial_variance, stationary)
    keep, learns = KEEP if settings.drift else 0.0, settings.chain_variance is None
    return DynamicModel(alpha, start, gaps, keep, learns, n_threads=settings.n_threads)


def fit_slices(
    settings: DynamicSettings,
    bags: Bags,
    slices: NDArray[np.int64],
    gaps: Array,
    *,
    watching: Watching,
    verbose: bool,
    held_out: Callable[[Found], float] | None = None,
    identity: Callable[[], JsonObject],
) -> DynamicFit:
    """Fit chains of topics; a callback gets `Found`.

    Parameters
    ----------
    settings : DynamicSettings
    bags : Bags
    slices : (D,) int64 array
    gaps : (T - 1,) float64 array
    watching : Watching
    verbose : bool
    held_out : callable, optional
        Score of held-out documents.
    identity : callable
        What must be the same for a checkpoint to be resumed from.
    """
    began = time.perf_counter()
    bags = bags._replace(counts=bags.counts.astype(np.float32))
    corpus = SlicedCorpus.of(bags, slices, len(gaps) + 1)
    resumes = watching.resume and watching.checkpoint is not None
    if resumes and os.path.exists(watching.checkpoint or ""):  # its state is in the file
        model = model_for(settings, bags, np.ones(settings.n_topics), gaps)
        state = empty_state(model, corpus)
    else:
        topics, alpha = static_topics(settings, bags)
        model = model_for(settings, bags, alpha, gaps)
        state = first_state(model, corpus, topics, *settings.first_variances)

    def read(state: State) -> Found:
        current = replace(model, alpha=state.alpha)
        return found_of(current, state, totals_of(current, corpus, state))

    watch = loop.Watch(
        read=read, callback=watching.callback, held_out=held_out,
        patience=watching.patience(held_out), checkpoints=watching.checkpoints(identity),
        resume=watching.resume, verbose=verbose, total=settings.max_iter,
    )  # fmt: skip
    rng = np.random.default_rng(settings.seed)
    converged = False

    def look(state: Any, position: loop.Position, history: loop.History) -> bool:
        nonlocal converged
        _refuse_divergence(history)
        converged = _has_converged(history, settings.tol)
        return converged

    with watch, single_threaded_blas():
        batches, n_epochs = Passes(), settings.max_iter
        state, position, history = watch.begin(state, batches, rng, n_epochs)
        if len(history):
            converged = _has_converged(history, settings.tol)
        state, history = loop.run(
            ascent(model, corpus), state, batches, n_epochs=0 if converged else n_epochs, rng=rng,
            position=position, history=history, seconds=time.perf_counter() - began,
            after_epoch=look, watch=watch,
        )  # fmt: skip
    return DynamicFit(read(state), history.arrays(), len(history), converged)


def _refuse_divergence(history: loop.History) -> None:
    """Refuse to go on, or to return topics, where chains left the range of floating point."""
    bound = history.columns["chain_elbo"][-1]
    if not np.isfinite(bound):
        raise ValueError(
            f"the bound of the chains is {bound}: the fit diverged; lower chain_variance or "
            "initial_variance"
        )


def _has_converged(history: loop.History, tol: float) -> bool:
    """Whether the last two passes gained less than `tol` each on average."""
    scores = history.columns["training_score"]
    return tol > 0 and len(scores) > 2 and (scores[-1] - scores[-3]) / 2 < tol


def add_slice(
    settings: DynamicSettings, found: Found, topics: AnyArray, bags: Bags, gap: float
) -> Found:
    """Add a slice at the end, given the topics forecast for it; earlier slices stay as they are."""
    kept = KEEP**gap
    step = found.chain_variance * distances(np.array([gap]), found.chain_variance)[0]
    drift_step = found.drift_variance * (1.0 - kept**2) / (1.0 - KEEP**2)
    n_drift = len(found.drift_means)
    last = (found.drift_means[-1:], found.drift_variances[-1:])
    start = Start(
        np.ascontiguousarray(found.means[-1]),
        found.variances[-1] + np.float32(step),
        np.ascontiguousarray((kept * last[0])[0] if n_drift else last[0][:0, 0], np.float32),
        np.ascontiguousarray(
            (kept**2 * last[1] + drift_step)[0] if n_drift else last[1][:0, 0], np.float32
        ),
    )
    bags = bags._replace(counts=bags.counts.astype(np.float32))
    corpus = SlicedCorpus.of(bags, np.zeros(len(bags.indptr) - 1, np.int64), 1)
    model = DynamicModel(
        found.alpha, start, np.zeros(0), KEEP if n_drift else 0.0, False, settings.n_threads
    )
    state = first_state(model, corpus, topics, found.chain_variance, found.drift_variance)
    algorithm, rng = ascent(model, corpus), np.random.default_rng(settings.seed)
    with single_threaded_blas():
        for _ in range(settings.max_iter):
            state, _ = algorithm.step(state, None, rng)
    new = state.chains

    def both(before: Single, after: Single) -> Single:
        return np.concatenate((before, after))

    return found._replace(
        means=both(found.means, new.means),
        variances=both(found.variances, new.variances),
        drift_means=both(found.drift_means, new.drift_means),
        drift_variances=both(found.drift_variances, new.drift_variances),
        totals=np.concatenate((found.totals, totals_of(model, corpus, state))),
    )
