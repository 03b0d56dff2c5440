"""The hierarchical Dirichlet process of topics as a conjugate model.

Corpus-wide shares of topics are sigma_k = v_k prod_{l<k} (1 - v_l) with v_k ~ Beta(1, gamma), cut
off after n_topics, and a document's proportions are theta ~ Dirichlet(alpha sigma) (Teh, Jordan,
Beal and Blei 2006). q(v_k) is a Beta distribution. In x = log sigma, log Gamma(alpha e^x + n) - log
Gamma(alpha e^x) is convex for whole numbers n, so that its mean is at least its value at E[x], the
geometric mean of Teh, Kurihara and Welling (2008). What remains is the evidence of a document whose
prior is Dirichlet(alpha exp(E[log sigma])), up to a factor that depends only on its length; the
local step of latent Dirichlet allocation bounds it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy.special import betaln, gammaln, polygamma, psi

from fastvi.base.typing import AnyArray, Array, DTypeLike
from fastvi.core import Batch, Coordinates, LazyTable, Local
from fastvi.models.counts import Documents, confined
from fastvi.models.topics.model import LDA, TopicParameters

__all__ = ["HDP", "HDPParameters", "log_shares", "mean_shares"]

BLOCK = 4096  # documents whose tables are counted at once
SMALLEST = 1e-30  # prior of a topic that no document uses; below, float32 has no normal numbers


class HDPParameters(NamedTuple):
    """Natural parameters of a hierarchical Dirichlet process.

    Attributes
    ----------
    table : LazyTable
        Dirichlet parameters of topics by word (V, K padded).
    sticks : (K - 1, 2) array
        Parameters of the Beta distributions of the v_k; the last v is 1.
    """

    table: Any
    sticks: Array


def log_shares(sticks: Array) -> Array:
    """E[log sigma], (K,), of sticks (K - 1, 2)."""
    broken, left = (psi(sticks) - psi(sticks.sum(axis=1, keepdims=True))).T
    return np.asarray(np.append(broken, 0.0) + np.append(0.0, np.cumsum(left)))


def mean_shares(sticks: Array) -> Array:
    """E[sigma], (K,), of sticks (K - 1, 2), which sum to 1."""
    broken = np.append(sticks[:, 0] / sticks.sum(axis=1), 1.0)
    return np.asarray(broken * np.append(1.0, np.cumprod(1.0 - broken[:-1])))


def _on_sticks(tables: Array) -> Array:
    """Statistics of sticks (..., K - 1, 2) from numbers of tables (..., K) of the topics."""
    later = np.cumsum(tables[..., :0:-1], axis=-1)[..., ::-1]
    return np.stack([tables[..., :-1], later], axis=-1)


@dataclass(frozen=True, eq=False)
class HDP:
    """The conjugate model of a hierarchical Dirichlet process: a local step on documents.

    Parameters
    ----------
    n_topics : int
        Number of topics at which the process is cut off, K.
    eta : float
        Dirichlet prior of the topics.
    concentration : float
        Concentration alpha of a document's proportions around the shares of topics.
    corpus_concentration : float
        Concentration gamma of the shares: the larger, the more topics.
    collapsed, max_iter, tol, dtype, n_threads
        As in `LDA`; the collapsed form has no bound.
    """

    n_topics: int
    eta: float
    concentration: float
    corpus_concentration: float
    _: KW_ONLY
    collapsed: bool = False
    max_iter: int = 100
    tol: float = 1e-3
    dtype: DTypeLike = np.float32
    n_threads: int = 1

    @cached_property
    def prior(self) -> HDPParameters:
        """Natural parameters of the prior; the table's is a number."""
        sticks = np.tile([1.0, self.corpus_concentration], (self.n_topics - 1, 1))
        return HDPParameters(np.asarray(self.eta, self.dtype), sticks)

    def documents_prior(self, sticks: Array) -> Array:
        """Return alpha exp(E[log sigma]), (K,), the prior of documents in a local step."""
        return np.maximum(self.concentration * np.exp(log_shares(sticks)), SMALLEST)

    def _lda(self, alpha: Array) -> LDA:
        return LDA(
            alpha, self.prior.table, collapsed=self.collapsed, max_iter=self.max_iter,
            tol=self.tol, dtype=self.dtype, n_threads=self.n_threads,
        )  # fmt: skip

    def start(self, table: AnyArray, n_rows: float) -> HDPParameters:
        """Return parameters from topics (V, K padded), sorted by their size."""
        sizes = table.sum(axis=0, dtype=np.float64)[: self.n_topics]
        return self.arranged(table, n_rows * sizes / sizes.sum())

    def arranged(self, table: AnyArray, tables: Array) -> HDPParameters:
        """Return parameters from topics (V, K padded) and their numbers of tables (K,), sorted."""
        order = np.argsort(-tables, kind="stable")
        table[:, : self.n_topics] = table[:, order]
        sticks = self.prior.sticks + _on_sticks(tables[order])
        return HDPParameters(LazyTable(table, self.prior.table), sticks)

    def lazy(self, params: HDPParameters) -> HDPParameters:
        """Return parameters whose table is a `LazyTable`, unlike averages of iterates."""
        if isinstance(params.table, LazyTable):
            return params
        return params._replace(table=LazyTable(params.table, self.prior.table))

    def excerpt(self, params: HDPParameters) -> Callable[[AnyArray], HDPParameters]:
        """Return what makes excerpts for local steps on documents of some words (U,)."""
        return lambda words: HDPParameters(params.table.excerpt(words), params.sticks)

    def local(
        self,
        params: HDPParameters,
        batch: Batch,
        start: AnyArray | None,
        rng: np.random.Generator,
        *,
        norms: bool = False,
    ) -> Local:
        """Fit the topic proportions of a batch; see `fastvi.core.Conjugate`.

        The local variables are gamma (D, K padded). The statistics of sticks are the expected
        numbers of tables, alpha_k (psi(gamma_k) - psi(alpha_k)) (Teh, Kurihara and Welling 2008).
        """
        documents: Documents = batch.rows
        alpha = self.documents_prior(params.sticks)
        local = self._lda(alpha).local(params.table, batch, start, rng, norms=norms)
        alpha = alpha.astype(self.dtype).astype(np.float64)  # as the kernels have it
        tables, squares = self._tables(local.variables, alpha, batch.weights)
        bound = local.bound + float(self._rest_of_bound(documents, alpha) @ batch.weights)
        lengths = local.norms
        if lengths is not None:
            lengths = np.sqrt(np.square(lengths) + squares)
        statistics = HDPParameters(local.statistics, _on_sticks(tables))
        return Local(statistics, bound, local.variables, lengths)

    def _tables(self, gamma: AnyArray, alpha: Array, doc_weights: AnyArray) -> tuple[Array, Array]:
        """Weighted numbers of tables (K,), and squared norms (D,) of documents' own statistics."""
        tables, squares = np.zeros(self.n_topics), np.empty(len(gamma))
        for i in range(0, len(gamma), BLOCK):
            some = slice(i, i + BLOCK)
            values = gamma[some, : self.n_topics].astype(np.float64)
            own = np.maximum(alpha * (psi(values) - psi(alpha)), 0.0)
            tables += doc_weights[some] @ own
            squares[some] = np.square(_on_sticks(own)).sum(axis=(1, 2))
        return tables, squares

    def _rest_of_bound(self, documents: Documents, alpha: Array) -> Array:
        """What the bounds (D,) of documents have besides those under Dirichlet(alpha)."""
        sizes = np.concatenate(([0.0], np.cumsum(documents.counts, dtype=np.float64)))
        n = np.diff(sizes[documents.indptr])
        total = alpha.sum()
        whole = gammaln(self.concentration) - gammaln(self.concentration + n)
        return np.asarray(whole + gammaln(total + n) - gammaln(total))

    def global_bound(self, params: HDPParameters) -> float:
        """Part of the ELBO that belongs to topics and sticks, in nats."""
        topics = self._lda(np.ones(self.n_topics)).global_bound(self.lazy(params).table)
        return topics + self.bound_of_sticks(params.sticks)

    def bound_of_sticks(self, sticks: Array) -> float:
        """Part of the ELBO that belongs to sticks, in nats."""
        prior = self.prior.sticks
        logs = psi(sticks) - psi(sticks.sum(axis=1, keepdims=True))
        divergence = ((prior - sticks) * logs).sum() + betaln(*sticks.T).sum()
        return float(divergence - betaln(*prior.T).sum())

    def confine(self, params: HDPParameters, step: HDPParameters) -> HDPParameters:
        """Clip a step so that neither counts of words nor of tables fall below their priors."""
        sticks = np.maximum(step.sticks, self.prior.sticks - params.sticks)
        return HDPParameters(confined(params.table, step.table, self.prior.table), sticks)

    @property
    def coordinates(self) -> Coordinates:
        """Logarithms of all parameters."""
        of_table = self._lda(np.ones(self.n_topics)).coordinates
        assert of_table is not None

        def free(params: HDPParameters) -> HDPParameters:
            return HDPParameters(of_table.free(params.table), np.log(params.sticks))

        def bound(logs: HDPParameters) -> HDPParameters:
            return HDPParameters(of_table.params(logs.table), np.exp(logs.sticks))

        def gradient(params: HDPParameters, natural: HDPParameters) -> HDPParameters:
            sticks, change = params.sticks, natural.sticks
            shared = polygamma(1, sticks.sum(axis=1)) * change.sum(axis=1)
            slopes = sticks * (polygamma(1, sticks) * change - shared[:, None])
            return HDPParameters(of_table.gradient(params.table, natural.table), slopes)

        return Coordinates(free, bound, gradient)

    def topics(self, params: HDPParameters) -> TopicParameters:
        """Return the topics with E[alpha sigma], the documents' prior given the shares."""
        alpha = self.concentration * mean_shares(params.sticks)
        return TopicParameters(self.lazy(params).table, np.maximum(alpha, SMALLEST), self.eta)
