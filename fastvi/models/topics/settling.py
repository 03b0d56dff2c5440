"""Passes until topics gain little from another one (``max_iter="auto"``)."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from fastvi import loop
from fastvi.base import checks
from fastvi.models.counts import CountSource
from fastvi.models.topics.held_out import HeldOut
from fastvi.models.topics.model import TopicParameters

__all__ = ["COLUMN", "GAIN", "LIMIT", "Settling", "passes_of"]

LIMIT = 100  # passes
GAIN = 0.002  # nats per word and pass
COLUMN = "training_score"  # of the history
N_DOCUMENTS = 128
N_ITERATIONS = 8  # of a document's proportions, which need not be exact

logger = logging.getLogger("fastvi")


def passes_of(given: Any, name: str) -> tuple[int, bool]:
    """Return the largest number of passes, and whether to stop when they gain little."""
    if isinstance(given, str) and given == "auto":
        return LIMIT, True
    if isinstance(given, str):
        raise ValueError(f"{name} is {given!r}; wanted an integer >= 1, or 'auto'")
    return checks.integer(given, name, 1), False


class Settling:
    """Scores the same training documents after each pass, to see when topics have settled.

    The score is their log-likelihood under proportions fitted to them, in nats per word. Topics
    have settled when the last two passes gained less than `GAIN` each on average.

    Parameters
    ----------
    source : CountSource
        Its first mini-batch of 128 documents is scored.
    seed : int
    collapsed : bool
    n_threads : int
    """

    def __init__(self, source: CountSource, seed: int, collapsed: bool, n_threads: int) -> None:
        documents = next(iter(source.epochs(N_DOCUMENTS, seed).epoch(0))).rows
        words = documents.rows[documents.words]
        shape = (documents.n_documents, source.n_words)
        counts = csr_array((documents.counts, words, documents.indptr), shape=shape)
        self.documents = HeldOut.pairs(counts, counts)
        self.collapsed, self.n_threads = collapsed, n_threads

    def score(self, params: TopicParameters, history: loop.History) -> bool:
        """Record the score after a pass; return whether topics have settled."""
        score = self.documents.score(params, self.collapsed, self.n_threads, N_ITERATIONS)
        history.note(COLUMN, score)
        settled = self.settled(history)
        if settled:
            logger.info("settled: two passes gained less than %g nats per word on average", GAIN)
        return settled

    @staticmethod
    def settled(history: loop.History) -> bool:
        """Whether topics had settled after the last pass of a history."""
        scores = [value for value in history.columns.get(COLUMN, []) if not np.isnan(value)]
        return len(scores) > 2 and (scores[-1] - scores[-3]) / 2 < GAIN
