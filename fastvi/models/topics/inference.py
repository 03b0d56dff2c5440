"""Inference and scores of new documents under fitted topics, without scikit-learn."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base import parallel
from fastvi.base.tables import empty_rows
from fastvi.base.typing import AnyArray, Array
from fastvi.kernels import lda as kernels
from fastvi.models.counts import Parts, chunks_of

__all__ = ["Topics", "log_likelihoods", "word_weights"]


def word_weights(
    values: AnyArray,
    column_sums: Array,
    n_topics: int,
    collapsed: bool,
    n_threads: int,
) -> tuple[AnyArray, AnyArray]:
    """Overwrite values with weights (U, K) of topics for words; return their log factors (U,)."""
    shift = np.zeros(len(values), values.dtype)
    bounds = parallel.split(np.arange(len(values) + 1), 10_000_000 / values.shape[1] / 20)

    def task(i: int) -> None:
        some = values, column_sums, n_topics, bounds[i], bounds[i + 1]
        if collapsed:
            kernels.mean_weights(*some)
        else:
            kernels.word_weights(*some, shift)

    parallel.run(task, len(bounds) - 1, n_threads)
    return values, shift


def log_likelihoods(
    weights: AnyArray, theta: AnyArray, parts: Parts, n_topics: int, n_threads: int
) -> Array:
    """Log probability (D,) of documents' words, in nats, under proportions theta (D, K).

    weights (V, K) are the words' probabilities in each topic.
    """
    indptr, indices, counts = parts
    out = np.empty(len(indptr) - 1)
    bounds = chunks_of(indptr, n_topics, passes=10)

    def task(i: int) -> None:
        kernels.score_documents(
            indptr, indices, counts, weights, theta, bounds[i], bounds[i + 1], out
        )

    parallel.run(task, len(bounds) - 1, n_threads)
    return out


def _copy(table: AnyArray) -> AnyArray:
    copy = empty_rows(table.shape, table.dtype)
    copy[:] = table
    return copy


class Topics(NamedTuple):
    """Fitted topics, ready for new documents.

    Attributes
    ----------
    weights : (V, K padded) array
        exp(E[log beta]) up to a factor per word (`shift` is its log), or E[beta] if collapsed.
    shift : (V,) array
    means : (V, K padded) array
        E[beta], to predict words.
    alpha : (K padded,) array
    n_topics : int
    collapsed : bool
    max_iter : int
    tol : float
    """

    weights: AnyArray
    shift: AnyArray
    means: AnyArray
    alpha: AnyArray
    n_topics: int
    collapsed: bool
    max_iter: int
    tol: float

    @classmethod
    def of(
        cls,
        table: AnyArray,
        alpha: Array,
        *,
        collapsed: bool,
        max_iter: int = 100,
        tol: float = 1e-3,
        n_threads: int = 1,
        sums: Array | None = None,
    ) -> Topics:
        """Make topics from a table (V, K padded), or from some rows and the `sums` of all."""
        n_topics = len(alpha)
        if sums is None:
            sums = table.sum(axis=0, dtype=np.float64)
        means, shift = word_weights(_copy(table), sums, n_topics, True, n_threads)
        weights = means
        if not collapsed:
            weights, shift = word_weights(_copy(table), sums, n_topics, False, n_threads)
        padded_alpha = np.zeros(table.shape[1], table.dtype)
        padded_alpha[:n_topics] = alpha
        return cls(weights, shift, means, padded_alpha, n_topics, collapsed, max_iter, tol)

    def infer(
        self,
        indptr: NDArray[np.int64],
        indices: NDArray[np.int32],
        counts: AnyArray,
        n_threads: int = 1,
    ) -> AnyArray:
        """Dirichlet parameters gamma (D, K padded) of documents' topic proportions."""
        gamma = np.empty((len(indptr) - 1, len(self.alpha)), self.weights.dtype)
        total_tol = self.tol * self.n_topics
        chunks = np.array([0, len(gamma)]) if n_threads == 1 else chunks_of(indptr, self.n_topics)

        def task(i: int) -> None:
            kernels.infer(
                indptr, indices, counts, self.weights, self.alpha, self.collapsed, self.max_iter,
                total_tol, chunks[i], chunks[i + 1], gamma,
            )  # fmt: skip

        parallel.run(task, len(chunks) - 1, n_threads)
        return gamma

    def bounds(
        self,
        indptr: NDArray[np.int64],
        indices: NDArray[np.int32],
        counts: AnyArray,
        n_threads: int = 1,
    ) -> Array:
        """Each document's part of the variational bound (D,), in nats; nan if collapsed."""
        out = np.full(len(indptr) - 1, np.nan)
        if self.collapsed:
            return out
        gamma = np.empty((len(out), len(self.alpha)), self.weights.dtype)
        e = np.empty_like(gamma)
        ratio = np.empty(len(indices), gamma.dtype)
        chunks = chunks_of(indptr, self.n_topics)

        def task(i: int) -> None:
            kernels.local_step(
                indptr, indices, counts, self.weights, self.shift, self.alpha, self.n_topics,
                False, self.max_iter, self.tol * self.n_topics,
                chunks[i], chunks[i + 1], gamma, e, ratio, out,
            )  # fmt: skip

        parallel.run(task, len(chunks) - 1, n_threads)
        return out

    def log_likelihoods(self, theta: AnyArray, parts: Parts, n_threads: int = 1) -> Array:
        """Log probability (D,) of documents' words under proportions theta (D, K), in nats."""
        return log_likelihoods(self.means, theta, parts, self.n_topics, n_threads)

    def completion(self, observed: Parts, scored: Parts, n_threads: int = 1) -> float:
        """Held-out log-likelihood by document completion, in nats per word.

        Proportions are fitted to one part of each document, and the result is the mean log
        probability of the words of the other (Wallach et al. 2009, section 5.1). Both parts are
        (indptr, indices, counts).
        """
        theta = self.infer(*observed, n_threads=n_threads)
        theta /= theta.sum(axis=1, keepdims=True)
        total = self.log_likelihoods(theta, scored, n_threads).sum()
        return float(total / scored[2].sum(dtype=np.float64))
