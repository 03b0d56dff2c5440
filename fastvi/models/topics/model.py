"""Latent Dirichlet allocation without scikit-learn: the conjugate model, inference and scores."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base import parallel
from fastvi.base.tables import empty_rows
from fastvi.base.typing import AnyArray, Array, DTypeLike, Tree
from fastvi.core import Batch, Coordinates, LazyTable, Local, RowStatistics
from fastvi.kernels import dirichlet
from fastvi.kernels import lda as kernels
from fastvi.kernels.responsibilities import document_norms, statistics
from fastvi.models.counts import Documents, Parts, chunks_of, confined, padded
from fastvi.models.topics.structured import drawn_weights

__all__ = ["LDA", "TopicParameters", "Topics", "topic_bound", "word_weights"]


def word_weights(
    values: AnyArray,
    column_sums: Array,
    n_topics: int,
    collapsed: bool,
    n_threads: int,
) -> tuple[AnyArray, AnyArray]:
    """Overwrite values with weights (U, K) of topics for words; return their log factors (U,)."""
    shift = np.empty(len(values), values.dtype)
    bounds = parallel.split(np.arange(len(values) + 1), 10_000_000 / values.shape[1] / 20)

    def task(i: int) -> None:
        kernels.word_weights(
            values, column_sums, n_topics, collapsed, bounds[i], bounds[i + 1], shift
        )

    parallel.run(task, len(bounds) - 1, n_threads)
    return values, shift


def topic_bound(table: AnyArray, prior: Any, n_topics: int) -> float:
    """E_q[log p(beta | eta) - log q(beta | lambda)], the topics' part of the ELBO in nats.

    table (V, K padded) holds lambda; prior broadcasts to it.
    """
    prior_columns = np.broadcast_to(prior, table.shape)
    return sum(
        float(
            kernels.dirichlet_divergence(
                np.ascontiguousarray(table[:, k]),
                np.ascontiguousarray(prior_columns[:, k]),
                len(table),
            )
        )
        for k in range(n_topics)
    )


class TopicParameters(NamedTuple):
    """Results of a fit of topics.

    Attributes
    ----------
    table : LazyTable or CountTable
        Dirichlet parameters of the topics by word (V, K padded), or expected counts plus prior in
        the collapsed form: `dense` gives all of them, `read` some rows, `column_sums` their sums.
    alpha : (n_topics,) float64 array
        Prior of topic proportions.
    eta : float or (V, 1) array
        Prior of topics.
    """

    table: Any
    alpha: Array
    eta: Any


@dataclass(frozen=True, eq=False)
class LDA:
    """The conjugate model of topics: a local step on documents, given a table of topics.

    The natural parameters are a `LazyTable` (V, K padded): row v, column k is the Dirichlet
    parameter lambda_kv of word v in topic k, or its expected count plus prior in the collapsed
    form. Learned priors are part of a fit's state, and each step makes its own model.

    Parameters
    ----------
    alpha : (n_topics,) float64 array
        Dirichlet prior of a document's topic proportions.
    eta : float or (V, 1) array
        Dirichlet prior of the topics.
    collapsed : bool
        False: the variational Bayes of Hoffman et al. (2013). True: the mini-batch form of CVB0
        (Foulds et al. 2013), whose local step uses expected counts as weights. Its statistics leave
        each token's own share out of its document's counts, as CVB0 does.
    max_iter : int
        Largest number of iterations of a document's local step.
    tol : float
        A local step ends when the mean absolute change of gamma is below it.
    structured : bool
        Draw the topics of each local step from their distribution, instead of averaging their
        logarithms (Hoffman and Blei 2015). Not in the collapsed form.
    dtype : dtype
        float32 or float64.
    n_threads : int
        Threads to use; results do not depend on it.
    """

    alpha: Array
    eta: Any
    _: KW_ONLY
    collapsed: bool = False
    max_iter: int = 100
    tol: float = 1e-3
    structured: bool = False
    dtype: DTypeLike = np.float32
    n_threads: int = 1

    @property
    def n_topics(self) -> int:
        """Number of topics, without padding."""
        return len(self.alpha)

    @cached_property
    def prior(self) -> AnyArray:
        """Values towards which rows of the table decay: eta in the dtype of the fit."""
        return np.asarray(self.eta, self.dtype)

    @cached_property
    def _alpha(self) -> AnyArray:
        """The prior alpha with padding, (K padded,)."""
        alpha = np.zeros(padded(self.n_topics), self.dtype)
        alpha[: self.n_topics] = self.alpha
        return alpha

    def local(
        self,
        params: LazyTable,
        batch: Batch,
        start: AnyArray | None,
        rng: np.random.Generator,
        *,
        norms: bool = False,
    ) -> Local:
        """Fit the topic proportions of a batch; see `fastvi.core.Conjugate`.

        The local variables are gamma (D, K padded).
        """
        documents: Documents = batch.rows
        weights, shift = self._word_weights(params, documents, rng)
        shape = (documents.n_documents, len(self._alpha))
        gamma = np.empty(shape, self.dtype) if start is None else start
        e = np.empty(shape, self.dtype)
        ratio = np.empty(len(documents.words), self.dtype)
        bounds = np.empty(documents.n_documents)
        indptr, words, counts = documents[:3]
        chunks = chunks_of(indptr, self.n_topics)

        def task(i: int) -> None:
            kernels.local_step(
                indptr, words, counts, weights, shift, self._alpha, self.n_topics, self.collapsed,
                start is not None, self.max_iter, self.tol * self.n_topics,
                chunks[i], chunks[i + 1], gamma, e, ratio, bounds,
            )  # fmt: skip

        parallel.run(task, len(chunks) - 1, self.n_threads)
        lengths = self._norms(documents, weights, e, ratio) if norms else None
        statistics = self._statistics(documents, batch.weights, weights, e, ratio)
        bound = float(bounds @ batch.weights)
        return Local(RowStatistics(documents.rows, statistics), bound, gamma, lengths)

    def _word_weights(
        self, params: LazyTable, documents: Documents, rng: np.random.Generator
    ) -> tuple[AnyArray, AnyArray]:
        values, sums = params.read(documents.rows), params.column_sums
        if self.structured:
            return drawn_weights(values, sums, self.n_topics, rng)
        return word_weights(values, sums, self.n_topics, self.collapsed, self.n_threads)

    def global_bound(self, params: LazyTable) -> float:
        """Topics' part of the ELBO, in nats."""
        return topic_bound(params.dense(), self.prior, self.n_topics)

    def confine(self, params: LazyTable, step: Tree) -> Any:
        """Clip a step so that no word's count falls below its prior."""
        return confined(params, step, self.prior)

    @property
    def coordinates(self) -> Coordinates | None:
        """Logarithms of the table (V, K padded); None in the collapsed form, which has no bound."""
        if self.collapsed:
            return None
        return Coordinates(self._logarithm, self._exponential, self._plain)

    def _logarithm(self, params: LazyTable) -> AnyArray:
        table = params.dense()
        table[:, self.n_topics :] = 1.0  # padding
        np.log(table, out=table)
        return table

    def _exponential(self, free: AnyArray) -> LazyTable:
        return LazyTable(np.exp(free), self.prior)

    def _plain(self, params: LazyTable, natural: AnyArray) -> AnyArray:
        """Gradient with respect to log lambda: lambda times the Fisher matrix times `natural`."""
        sums = natural.sum(axis=0, dtype=np.float64)
        out = np.zeros_like(natural)
        dirichlet.plain_gradient(
            params.dense(), params.column_sums, natural, sums, self.n_topics, out
        )
        return out

    def _norms(
        self, documents: Documents, weights: AnyArray, e: AnyArray, ratio: AnyArray
    ) -> Array:
        """Norm of each document's expected counts, (D,)."""
        out = np.empty(documents.n_documents)
        indptr, words, counts = documents[:3]
        chunks = chunks_of(indptr, self.n_topics, passes=10)

        def task(i: int) -> None:
            some = chunks[i], chunks[i + 1], out
            if self.collapsed:
                kernels.collapsed_norms(
                    indptr, words, counts, weights, ratio, self._alpha, e, *some
                )
            else:
                document_norms(indptr, words, weights, e, ratio, *some)

        parallel.run(task, len(chunks) - 1, self.n_threads)
        return out

    def _statistics(
        self,
        documents: Documents,
        doc_weights: AnyArray,
        weights: AnyArray,
        e: AnyArray,
        ratio: AnyArray,
    ) -> AnyArray:
        """Overwrite weights with expected counts of the batch's words in topics, (U, K padded)."""
        columns, owners, entries = documents[4:]
        chunks = chunks_of(columns, self.n_topics, passes=10)
        doc_weights = doc_weights.astype(self.dtype)

        def task(i: int) -> None:
            some = chunks[i], chunks[i + 1], weights
            if self.collapsed:
                kernels.collapsed_statistics(
                    columns, owners, entries, documents.counts, ratio, self._alpha, e, doc_weights,
                    *some,
                )  # fmt: skip
            else:
                statistics(columns, owners, entries, ratio, e, doc_weights, *some)

        parallel.run(task, len(chunks) - 1, self.n_threads)
        return weights


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
        gamma = np.empty((len(indptr) - 1, len(self.alpha)), self.weights.dtype)
        e = np.empty_like(gamma)
        ratio = np.empty(len(indices), gamma.dtype)
        out = np.empty(len(gamma))
        chunks = chunks_of(indptr, self.n_topics)

        def task(i: int) -> None:
            kernels.local_step(
                indptr, indices, counts, self.weights, self.shift, self.alpha, self.n_topics,
                self.collapsed, False, self.max_iter, self.tol * self.n_topics,
                chunks[i], chunks[i + 1], gamma, e, ratio, out,
            )  # fmt: skip

        parallel.run(task, len(chunks) - 1, n_threads)
        return out

    def log_likelihoods(
        self,
        theta: AnyArray,
        indptr: NDArray[np.int64],
        indices: NDArray[np.int32],
        counts: AnyArray,
        n_threads: int = 1,
    ) -> Array:
        """Log probability (D,) of documents' words under proportions theta (D, K), in nats."""
        out = np.empty(len(indptr) - 1)
        chunks = chunks_of(indptr, self.n_topics, passes=10)

        def task(i: int) -> None:
            kernels.score_documents(
                indptr, indices, counts, self.means, theta, chunks[i], chunks[i + 1], out
            )

        parallel.run(task, len(chunks) - 1, n_threads)
        return out

    def completion(self, observed: Parts, scored: Parts, n_threads: int = 1) -> float:
        """Held-out log-likelihood by document completion, in nats per word.

        Proportions are fitted to one part of each document, and the result is the mean log
        probability of the words of the other (Wallach et al. 2009, section 5.1). Both parts are
        (indptr, indices, counts).
        """
        theta = self.infer(*observed, n_threads=n_threads)
        theta /= theta.sum(axis=1, keepdims=True)
        total = self.log_likelihoods(theta, *scored, n_threads=n_threads).sum()
        return float(total / scored[2].sum(dtype=np.float64))
