"""Perplexity of the training documents during a fit (`evaluate_every`)."""

from __future__ import annotations

import numpy as np

from fastvi import loop
from fastvi.base import checks
from fastvi.base.bags import Bags
from fastvi.models.topics.model import TopicParameters
from fastvi.models.topics.settings import Settings
from fastvi.models.topics.training import model_of

__all__ = ["Perplexity", "perplexity"]


def perplexity(bound: float, n_words: float) -> float:
    """Return exp(-bound per word); `bound` is that of all words, in nats."""
    with np.errstate(over="ignore"):
        return float(np.exp(-bound / n_words)) if n_words > 0 else np.nan


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

    def _after_epoch(
        self, params: TopicParameters, position: loop.Position, history: loop.History
    ) -> bool:
        """Record it if requested; return whether it has converged."""
        if position.epoch % self.every:
            return False
        known = [value for value in history.columns.get("perplexity", []) if value == value]
        found = self.of(model_of(self.settings, params).bound(self.bags.parts, self.n_threads))
        history.note("perplexity", found)
        return bool(known) and abs(known[-1] - found) < self.tol
