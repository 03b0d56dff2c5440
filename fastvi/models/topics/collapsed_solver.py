"""Solvers that sweep over all entries of a corpus in memory: CVB0 and CVB, with learned priors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastvi.base.typing import AnyArray
from fastvi.batches import Passes
from fastvi.core import Algorithm, Batch
from fastvi.models.topics import collapsed, priors
from fastvi.models.topics.base import Solver
from fastvi.models.topics.inference import word_weights
from fastvi.models.topics.model import TopicParameters
from fastvi.models.topics.settings import Settings

__all__ = ["collapsed_solver"]

LEARN_AFTER = 3  # passes before priors are learned; the first counts say little about them


def collapsed_solver(
    settings: Settings,
    source: Any,
    n_threads: int,
    first_table: Callable[[], AnyArray],
) -> Solver:
    """Make the solver "cvb0" or "cvb", which starts from ``first_table()``."""
    rng = np.random.default_rng(settings.seed)
    grid = collapsed.make_grid(source.indptr, source.indices, source.counts, source.n_words, rng)
    passes = collapsed.passes(grid, n_threads)

    def init(table: AnyArray) -> collapsed.State:
        sums = table.sum(axis=0, dtype=np.float64)
        weights, _ = word_weights(table, sums, settings.n_topics, True, n_threads)
        return collapsed.initial_state(
            grid,
            weights.astype(np.float32, copy=False),
            settings.alpha,
            settings.eta,
            n_threads,
            n_moments=2 if settings.solver == "cvb" else 1,
        )

    def step(
        state: collapsed.State, batch: Batch, rng: np.random.Generator
    ) -> tuple[collapsed.State, dict[str, float]]:
        state, info = passes.step(state, batch, rng)
        return _with_learned_priors(settings, state, n_threads), info

    def read(state: collapsed.State) -> TopicParameters:
        table = collapsed.CountTable(state, settings.dtype)
        return TopicParameters(table, state.alpha, state.eta)

    return Solver(settings, Algorithm(init, step), Passes(), first_table, read)


def _with_learned_priors(
    settings: Settings, state: collapsed.State, n_threads: int
) -> collapsed.State:
    """Newton steps on the priors once the counts are meaningful."""
    if state.n_passes < LEARN_AFTER or not (settings.learn_alpha or settings.learn_eta):
        return state
    alpha, eta = state.alpha, state.eta
    n = len(alpha)
    if settings.learn_alpha:
        alpha = priors.polya(alpha, state.doc_topic[0], n_threads)
    if settings.learn_eta:
        totals = state.totals[0, :n]
        eta = priors.symmetric_polya(eta, state.word_topic[0], totals, n, n_threads)
    return collapsed.with_priors(state, alpha, eta)
