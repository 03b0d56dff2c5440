"""Perplexity of the training documents during a fit (`evaluate_every`)."""

from __future__ import annotations

import numpy as np

from fastvi import loop
from fastvi.base import checks
from fastvi.base.bags import Bags
from fastvi.models.counts import Parts
from fastvi.models.topics.fitted import TopicModel
from fastvi.models.topics.inference import Topics
from fastvi.models.topics.model import TopicParameters
from fastvi.models.topics.settings import Settings
from fastvi.models.topics.structured import drawn_weights
from fastvi.models.topics.training import model_of

__all__ = ["Perplexity", "perplexity", "structured_bound"]

N_DRAWS = 8  # of the topics, for the structured bound


def perplexity(bound: float, n_words: float) -> float:
    """Return exp(-bound per word); `bound` is that of all words, in nats."""
    with np.errstate(over="ignore"):
        return float(np.exp(-bound / n_words)) if n_words > 0 else np.nan


def structured_bound(
    model: TopicModel, parts: Parts, rng: np.random.Generator, n_draws: int, n_threads: int = 1
) -> float:
    """Estimate without bias the bound of Hoffman and Blei (2015), in nats.

    It is above `model.bound`: documents' proportions are fitted to each draw of the topics from
    Dirichlet(table), instead of to all of them at once.
    """
    table, n_topics = model.table, model.n_topics
    sums = table.sum(axis=0, dtype=np.float64)
    topics = Topics.of(table, model.alpha, collapsed=False, max_iter=model.max_iter, tol=model.tol)
    total = 0.0
    for _ in range(n_draws):
        weights, shift = drawn_weights(table.copy(), sums, n_topics, rng, n_threads)
        drawn = topics._replace(weights=weights, shift=shift)
        total += float(drawn.bounds(*parts, n_threads=n_threads).sum())
    return total / n_draws + model.topics_bound


class Perplexity:
    """Perplexity of documents after every so many passes, until it changes little.

    Parameters
    ----------
    bags : Bags
        The training documents.
    settings : Settings
    every : int
        Passes between two computations; none if not positive.
    tol : float
        The fit has converged when the perplexity changes by less.
    n_threads : int
    """

    def __init__(
        self, bags: Bags, settings: Settings, every: int, tol: float, n_threads: int
    ) -> None:
        self.every = checks.integer(every, "evaluate_every", -(10**9))
        self.tol = checks.number(tol, "perp_tol", 0.0)
        self.bags, self.settings, self.n_threads = bags, settings, n_threads

    @property
    def hook(self) -> loop.Hook | None:
        """What the fit calls after each pass, if anything."""
        return self._after_epoch if self.every > 0 else None

    def of(self, bound: float) -> float:
        """Perplexity of the documents, of which `bound` is the evidence lower bound."""
        return perplexity(bound, self.bags.counts.sum(dtype=np.float64))

    def bound(self, model: TopicModel) -> float:
        """Evidence lower bound of the documents in nats, the structured one if that is fitted."""
        parts, n_threads = self.bags.parts, self.n_threads
        if not self.settings.structured:
            return model.bound(parts, n_threads)
        rng = np.random.default_rng([self.settings.seed, 1])  # the same draws after each pass
        return structured_bound(model, parts, rng, N_DRAWS, n_threads)

    def _after_epoch(
        self, params: TopicParameters, position: loop.Position, history: loop.History
    ) -> bool:
        """Record it if requested; return whether it has converged."""
        if position.epoch % self.every:
            return False
        known = [value for value in history.columns.get("perplexity", []) if value == value]
        found = self.of(self.bound(model_of(self.settings, params)))
        history.note("perplexity", found)
        return bool(known) and abs(known[-1] - found) < self.tol
