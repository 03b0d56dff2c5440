"""Fitted dynamic topics: topics of slices and forecasts, proportions, scores and the bound."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base import parallel
from fastvi.base.bags import Bags
from fastvi.base.typing import AnyArray, Array
from fastvi.kernels import dynamic as kernels
from fastvi.kernels.dynamic import Chains, Move, Pairs
from fastvi.kernels.lda import score_documents
from fastvi.models.counts import chunks_of
from fastvi.models.files import Saved
from fastvi.models.topics.dynamic_ascent import chain_moments
from fastvi.models.topics.dynamic_corpus import Single, sorted_by
from fastvi.models.topics.dynamic_model import DynamicModel, Start, State, padded_alpha
from fastvi.models.topics.inference import Topics

__all__ = ["DynamicTopics", "Found", "found_of", "restored"]

MAX_ITER = 100  # passes over a new document
TOL = 1e-3  # of its counts, per topic


class Found(NamedTuple):
    """What a fit has found.

    Attributes
    ----------
    means, variances : (T, V, K padded) float32 arrays
        Of the chains of topics.
    drift_means, drift_variances : (T, V) or (0, V) float32 arrays
    start : Start
        Prior of the first slice.
    alpha : (n_topics,) float64 array
    totals : (T, K padded) float64 array
        Expected counts of topics by slice.
    chain_variance, drift_variance : float
    """

    means: Single
    variances: Single
    drift_means: Single
    drift_variances: Single
    start: Start
    alpha: Array
    totals: Array
    chain_variance: float
    drift_variance: float


def found_of(model: DynamicModel, state: State, totals: Array) -> Found:
    """Return what a state of a fit holds."""
    chains = state.chains
    return Found(
        chains.means, chains.variances, chains.drift_means, chains.drift_variances, model.start,
        model.alpha, totals, state.chain_variance, state.drift_variance,
    )  # fmt: skip


def restored(saved: Saved, n_slices: int) -> Found:
    """Return what was found, from a file, or refuse arrays that do not fit together."""
    alpha = saved.positive("found.alpha", None)
    n_words, width = saved.n_features, saved.array("found.totals", n_slices, None).shape[1]
    n_drift = len(saved.array("found.drift_means", None, n_words, dtype=np.float32))
    if n_drift not in (0, n_slices) or not len(alpha) <= width < len(alpha) + 8 or width % 8:
        raise ValueError(f"{saved.path}: the arrays of the model do not fit together")

    def single(name: str, *shape: int) -> NDArray[np.float32]:
        array: NDArray[np.float32] = saved.array(f"found.{name}", *shape, dtype=np.float32)
        if "variance" in name and np.any(array <= 0):
            raise ValueError(f"{saved.path}: {name} must hold numbers > 0")
        return array

    chains, drift = (n_slices, n_words, width), (n_drift, n_words)
    n = n_words if n_drift else 0
    mean = np.repeat(single("start.mean", n_words)[:, None], width, axis=1)
    start = Start(
        mean, single("start.variance", n_words, width), single("start.drift_mean", n),
        single("start.drift_variance", n),
    )  # fmt: skip
    totals: Array = saved.array("found.totals", n_slices, width)
    return Found(
        single("means", *chains), single("variances", *chains), single("drift_means", *drift),
        single("drift_variances", *drift), start, alpha, totals,
        float(saved.positive("found.chain_variance")), float(saved.array("found.drift_variance")),
    )  # fmt: skip


class DynamicTopics:
    """Results that follow from what a fit has found.

    Parameters
    ----------
    found : Found
    keep : float
        Share of the drift that is kept per step.
    gaps : (T - 1,) float64 array
        Distances between slices in steps.
    n_threads : int
    """

    def __init__(self, found: Found, keep: float, gaps: Array, n_threads: int = 1) -> None:
        self.found, self.keep, self.gaps, self.n_threads = found, keep, gaps, n_threads

    @property
    def n_topics(self) -> int:
        """Number of topics."""
        return len(self.found.alpha)

    @property
    def n_slices(self) -> int:
        """Number of slices."""
        return len(self.found.means)

    @cached_property
    def model(self) -> DynamicModel:
        """The model whose bound is computed."""
        found = self.found
        return DynamicModel(
            found.alpha, found.start, self.gaps, self.keep, False, n_threads=self.n_threads
        )

    def probabilities(self, t: int, after: float = 0.0) -> AnyArray:
        """Expected probabilities (V, K padded) of words in slice t, or so many steps after it."""
        found = self.found
        logs = found.means[t] + 0.5 * found.variances[t].astype(np.float64)
        if len(found.drift_means):
            kept = self.keep**after
            drift = kept * found.drift_means[t].astype(np.float64)
            logs += (drift + 0.5 * kept**2 * found.drift_variances[t])[:, None]
        return self._normalised(logs)

    def _normalised(self, logs: Array) -> AnyArray:
        weights = np.exp(logs - logs.max(axis=0))
        weights /= weights.sum(axis=0)
        weights[:, self.n_topics :] = 0.0
        single: Single = weights.astype(np.float32)
        return single

    def assigned(
        self, bags: Bags, slices: NDArray[np.int64], after: Array, other: Bags | None = None
    ) -> tuple[AnyArray, Array]:
        """Fit proportions of documents at times, given as by `Timeline.place`.

        Returns expected counts plus prior (D, K padded) and the log probability (D,) in nats that
        the proportions give to the documents `other`, if any.
        """
        places, index = np.unique(np.stack([slices, after]), axis=1, return_inverse=True)
        index = np.ravel(index).astype(np.int64)
        tables = [self.probabilities(int(t), step) for t, step in places.T]
        weights = np.stack(tables)
        order, indptr, words, counts = sorted_by(index, bags)
        doc_topic = self._infer(indptr, words, counts, index[order], weights)
        scores = np.zeros(len(order))
        if other is not None:
            theta = doc_topic / doc_topic.sum(axis=1, keepdims=True)
            _, *parts = sorted_by(index, other)
            ends = np.searchsorted(index[order], np.arange(len(tables) + 1))
            for table, start, stop in zip(tables, ends[:-1], ends[1:]):
                score_documents(*parts, table, theta, start, stop, scores)
        result, log_probabilities = np.empty_like(doc_topic), np.empty_like(scores)
        result[order], log_probabilities[order] = doc_topic, scores
        return result, log_probabilities

    def _infer(
        self,
        indptr: NDArray[np.int64],
        words: NDArray[np.int32],
        counts: Single,
        slices: NDArray[np.int64],
        weights: Single,
    ) -> Single:
        (n_slices, _, width), n_documents = weights.shape, len(slices)
        alpha = padded_alpha(self.found.alpha)
        doc_topic = np.repeat(alpha[None], n_documents, axis=0)
        g = np.zeros((len(words), width), np.uint16)
        inverse = np.ones((n_slices, width), np.float32)
        chunks, scores = chunks_of(indptr, self.n_topics), np.empty(n_documents)

        def task(i: int) -> None:
            kernels.assign(
                chunks[i], chunks[i + 1], indptr, words, counts, slices, alpha, inverse, weights,
                MAX_ITER, TOL * self.n_topics, g, doc_topic, scores,
            )  # fmt: skip

        parallel.run(task, len(chunks) - 1, self.n_threads)
        return doc_topic

    # The bound

    def bound(self, bags: Bags, slices: NDArray[np.int64], max_iter: int = MAX_ITER) -> float:
        """Variational bound on log p(documents) in nats, including the chains' part.

        For documents, that of variational Bayes under E[log(sum of exp)] <= log(zeta), as in Blei
        and Lafferty (2006).
        """
        total = self.chain_bound()
        _, indptr, words, counts = sorted_by(slices, bags)
        ends = np.searchsorted(np.sort(slices), np.arange(self.n_slices + 1))
        for t in np.unique(slices):
            first, last = indptr[ends[t]], indptr[ends[t + 1]]
            part = indptr[ends[t] : ends[t + 1] + 1] - first
            topics = self._variational(int(t), max_iter)
            total += topics.bounds(
                part, words[first:last], counts[first:last], n_threads=self.n_threads
            ).sum()
        return float(total)

    def _variational(self, t: int, max_iter: int) -> Topics:
        """Topics whose weights are exp(E[x + c]) / zeta."""
        found = self.found
        half = 0.5 * found.variances[t].astype(np.float64)
        means = found.means[t].astype(np.float64)
        if len(found.drift_means):
            means += found.drift_means[t, :, None]
            half += 0.5 * found.drift_variances[t, :, None]
        logs = means - np.logaddexp.reduce(means + half, axis=0)
        logs[:, self.n_topics :] = -np.inf
        shift = logs.max(axis=1)
        weights = np.exp(logs - shift[:, None]).astype(np.float32)
        alpha = padded_alpha(found.alpha)
        return Topics(
            weights, shift.astype(np.float32), weights, alpha, self.n_topics, False, max_iter, TOL
        )

    def chain_bound(self) -> float:
        """The chains' part of the bound, nats: minus the divergence from their prior."""
        found = self.found
        n_slices, n_words, width = found.means.shape
        none = Pairs(
            np.zeros(n_words + 1, np.int64), np.zeros(0, np.int64), np.zeros((0, width), np.float32)
        )
        shape = (n_slices, width)
        still = Move(
            np.zeros(shape, np.float32), np.zeros(len(found.drift_means), np.float32),
            np.ones(shape, np.float32),
        )  # fmt: skip
        parts = (found.means.copy(), found.variances)  # the kernel writes to means and weights
        drift = (found.drift_means.copy(), found.drift_variances)
        chains = Chains(*parts, found.variances, *drift, np.ones_like(found.means))
        return chain_moments(
            self.model, none, still, chains, found.chain_variance, found.drift_variance
        ).bound
