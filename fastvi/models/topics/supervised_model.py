"""Supervised topics without scikit-learn: sweeps over documents.

See `fastvi.kernels.supervised` for the bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fastvi.base import parallel
from fastvi.base.typing import AnyArray, Array, Info
from fastvi.core import Batch
from fastvi.kernels import supervised as kernels
from fastvi.kernels.responsibilities import statistics
from fastvi.models.counts import Documents, chunks_of
from fastvi.models.topics.inference import word_weights
from fastvi.models.topics.model import topic_bound
from fastvi.models.topics.supervised_responses import Response, SupervisedParameters

__all__ = ["Supervised", "SupervisedParameters", "SupervisedState"]


class SupervisedState(NamedTuple):
    """State of a fit.

    Attributes
    ----------
    params : SupervisedParameters
    u : (D, K padded) array
        Log weights of topics in documents.
    means : (D, K padded) float64 array
        Expected shares of topics among documents' words.
    """

    params: SupervisedParameters
    u: AnyArray
    means: Array


@dataclass(frozen=True, eq=False)
class Supervised:
    """Coordinate ascent on documents, topics and the regression in turn.

    Parameters
    ----------
    documents : Documents
        All of them.
    response : Response
    alpha : (n_topics,) array
        Dirichlet prior of proportions.
    eta : float
        Dirichlet prior of topics.
    max_iter : int
        Iterations on a document per sweep.
    tol : float
        They end when no expected share moves by more.
    n_threads : int
        Results do not depend on it.
    """

    documents: Documents
    response: Response
    alpha: Array
    eta: float
    max_iter: int
    tol: float
    n_threads: int = 1

    @property
    def lengths(self) -> Array:
        """Numbers of words of documents, (D,)."""
        sums = np.concatenate(([0.0], np.cumsum(self.documents.counts, dtype=np.float64)))
        return np.asarray(np.diff(sums[self.documents.indptr]))

    def begin(self, table: AnyArray, doc_topic: AnyArray) -> SupervisedState:
        """Return the state with given topics (V, K padded) and documents' counts plus prior."""
        k, width = len(self.alpha), table.shape[1]
        means = np.zeros((len(doc_topic), width))
        means[:, :k] = np.maximum(doc_topic[:, :k] - self.alpha, 0.0)
        means /= np.maximum(means.sum(axis=1, keepdims=True), 1e-300)
        u = np.zeros(means.shape, table.dtype)
        u[:, :k] = np.log(np.maximum(doc_topic[:, :k], 1e-3))
        params = SupervisedParameters(table, *self.response.start(width))
        found = self.response.update(params, means, self.lengths, self.n_threads)
        return SupervisedState(SupervisedParameters(table, *found), u, means)

    def step(
        self, state: SupervisedState, batch: Batch, rng: np.random.Generator
    ) -> tuple[SupervisedState, Info]:
        """Take a sweep; the batch is ignored. The bound is that before topics are updated."""
        (table, coefficients, variance), u, means = state
        documents, k = self.documents, len(self.alpha)
        sums = table.sum(axis=0, dtype=np.float64)
        weights, shift = word_weights(table[documents.rows], sums, k, False, self.n_threads)
        h, ratio = np.empty_like(u), np.empty(len(documents.words), u.dtype)
        report = self._fit_documents(state, weights, shift, h, ratio)
        self._count(ratio, h, weights)
        bound = float(report[:, 0].sum()) + topic_bound(table, np.asarray(self.eta), k)
        table = np.zeros_like(table)
        table[:, :k] = self.eta
        table[documents.rows] += weights
        moved = float(report[:, 1].mean())
        info = {"elbo": bound + self.response.log_prior(coefficients), "moved": moved}
        params = SupervisedParameters(table, coefficients, variance)
        found = self.response.update(params, means, self.lengths, self.n_threads)
        return SupervisedState(SupervisedParameters(table, *found), u, means), info

    def _fit_documents(
        self, state: SupervisedState, weights: AnyArray, shift: AnyArray, h: AnyArray,
        ratio: AnyArray,
    ) -> Array:  # fmt: skip
        """Fit documents, in place; return their bounds and moves (D, 2)."""
        (_, coefficients, variance), u, means = state
        indptr, words, counts = self.documents[:3]
        alpha = np.zeros(u.shape[1], u.dtype)
        alpha[: len(self.alpha)] = self.alpha
        tops = coefficients.max(axis=1)
        curvature = self.response.curvature(coefficients, variance)
        report, chunks = np.empty((len(u), 2)), chunks_of(indptr, len(self.alpha))

        def task(i: int) -> None:
            kernels.supervised_step(
                indptr, words, counts, weights, shift, alpha, len(self.alpha),
                self.response.targets, coefficients, tops, float(variance[0]),
                self.response.weight, curvature, self.max_iter, self.tol,
                chunks[i], chunks[i + 1], u, h, ratio, means, report,
            )  # fmt: skip

        parallel.run(task, len(chunks) - 1, self.n_threads)
        return report

    def _count(self, ratio: AnyArray, h: AnyArray, weights: AnyArray) -> None:
        """Turn weights into expected counts of words in topics."""
        columns, owners, entries = self.documents[4:]
        chunks = chunks_of(columns, len(self.alpha), passes=10)
        ones = np.ones(len(h), h.dtype)

        def task(i: int) -> None:
            statistics(columns, owners, entries, ratio, h, ones, chunks[i], chunks[i + 1], weights)

        parallel.run(task, len(chunks) - 1, self.n_threads)
