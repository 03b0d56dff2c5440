"""Latent Dirichlet allocation without scikit-learn: the conjugate model that the loop fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from fastvi.base import parallel
from fastvi.base.tables import Excerpt
from fastvi.base.typing import AnyArray, Array, DTypeLike, Tree
from fastvi.core import Batch, Coordinates, LazyTable, Local, RowStatistics
from fastvi.kernels import dirichlet
from fastvi.kernels import lda as kernels
from fastvi.kernels.responsibilities import document_norms, statistics
from fastvi.models.counts import Documents, chunks_of, confined, padded
from fastvi.models.topics.inference import word_weights
from fastvi.models.topics.structured import drawn_weights

__all__ = ["LDA", "TopicParameters", "topic_bound"]


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

    def excerpt(self, params: LazyTable) -> Callable[[AnyArray], Excerpt]:
        """Return what makes excerpts for local steps on documents of some words (U,)."""
        return params.excerpt

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
        e = gamma if self.collapsed else np.empty(shape, self.dtype)
        ratio = np.empty(len(documents.words), self.dtype)
        bounds = np.full(documents.n_documents, np.nan)
        indptr, words, counts = documents[:3]
        chunks = chunks_of(indptr, self.n_topics)
        limits = self.max_iter, self.tol * self.n_topics

        def task(i: int) -> None:
            some = *limits, chunks[i], chunks[i + 1], gamma
            if self.collapsed:
                kernels.collapsed_step(indptr, words, counts, weights, self._alpha, *some, ratio)
            else:
                kernels.local_step(
                    indptr, words, counts, weights, shift, self._alpha, self.n_topics,
                    start is not None, *some, e, ratio, bounds,
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
            return drawn_weights(values, sums, self.n_topics, rng, self.n_threads)
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
