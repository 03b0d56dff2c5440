"""Where a fit of correlated topics starts: topics and proportions of CVB0."""

from __future__ import annotations

import numpy as np

from fastvi.base.typing import AnyArray, Array
from fastvi.models.counts import DocumentSource
from fastvi.models.topics import base, collapsed, solvers
from fastvi.models.topics.settings import Settings

__all__ = ["uncorrelated"]

PASSES = 50  # of CVB0, with learned priors
LEAST = 0.1  # tokens added to a document's counts of topics before their logarithms are taken


def uncorrelated(
    source: DocumentSource, n_topics: int, topic_prior: float | None, seed: int, n_threads: int
) -> tuple[AnyArray, Array, float]:
    """Return topics (V, K padded), log weights (D, K) and the topics' prior, learned if None."""
    settings = Settings(
        "cvb0",
        alpha=np.full(n_topics, 1.0 / n_topics),
        eta=1.0 / n_topics if topic_prior is None else topic_prior,
        learn_alpha=True,
        learn_eta=topic_prior is None,
        seed=seed,
    )
    state, _ = base.fit(solvers.make_solver(settings, source, n_threads), PASSES)
    counts = state.doc_topic[0][:, :n_topics].astype(np.float64)
    return collapsed.topics(state), np.log(counts + LEAST), float(state.eta)
