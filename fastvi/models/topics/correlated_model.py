"""Correlated topics without scikit-learn: sweeps over documents, and the regression's M-step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base import parallel
from fastvi.base.typing import AnyArray, Array, Info
from fastvi.core import Batch
from fastvi.kernels import correlated as kernels
from fastvi.kernels import sparse
from fastvi.models.counts import Parts

__all__ = [
    "CorrelatedParameters",
    "CorrelatedState",
    "LogisticNormal",
    "Moments",
    "Sweeps",
    "chunks",
    "ridge",
]

CHUNK_WORK = 4_000_000  # multiplications per chunk, about 1 ms
TOL = 1e-3  # of a document's step, where it takes several
REFRESH = 3  # sweeps between computations of the documents' covariances, which change little


class CorrelatedParameters(NamedTuple):
    """What a fit of correlated topics has found.

    Attributes
    ----------
    table : (V, K padded) float32 array
        Expected counts of words in topics plus prior.
    coefficients : (1 + P, K) float64 array
        Of the regression of log weights on an intercept and P covariates.
    covariance : (K, K) float64 array
        Covariance Sigma of the log weights about the regression.
    uncertainty : (K, K) float64 array
        Mean of the documents' posterior covariances.
    """

    table: NDArray[np.float32]
    coefficients: Array
    covariance: Array
    uncertainty: Array


class CorrelatedState(NamedTuple):
    """State of a fit.

    Attributes
    ----------
    params : CorrelatedParameters
    eta, variances : (D, K padded) float32 arrays
        Log weights of documents' topics, and with Blei and Lafferty's bound their variances.
    g : (N, K padded) uint16 array
        Responsibilities in units of 1 / 65535.
    n_sweeps : int
    """

    params: CorrelatedParameters
    eta: NDArray[np.float32]
    variances: NDArray[np.float32]
    g: NDArray[np.uint16]
    n_sweeps: int


class Moments(NamedTuple):
    """Sums over documents, from which the regression of log weights follows.

    Attributes
    ----------
    gram : (1 + P, 1 + P) array
        Of the design.
    cross : (1 + P, K) array
        Of the design and log weights.
    square : (K, K) array
        Of log weights, with their posterior covariances.
    """

    gram: Array
    cross: Array
    square: Array

    @classmethod
    def of(cls, design: Array, eta: Array, spread: Array) -> Moments:
        """Make them from the design, modes (D, K) and the sum (K, K) of covariances."""
        return cls(design.T @ design, design.T @ eta, eta.T @ eta + spread)

    @property
    def n_rows(self) -> float:
        """Number of documents, or their weight."""
        return float(self.gram[0, 0])


@dataclass(frozen=True)
class LogisticNormal:
    """The prior of the log weights: a regression whose noise has an unknown covariance.

    Coefficients have the prior N(0, 1) x Sigma for each column of the design but the intercept, and
    Sigma is inverse-Wishart with `dof` degrees of freedom and scale ``dof * variance * I``.

    Adding a number to all log weights of a document changes nothing, so that one direction of
    Sigma is free. It gets the mean variance of the others: independent topics have correlation 0.
    """

    variance: float
    dof: float

    def update(self, moments: Moments) -> tuple[Array, Array]:
        """Return the most probable coefficients (1 + P, K) and covariance (K, K)."""
        gram = moments.gram + np.diag(ridge(len(moments.gram)))
        coefficients = np.asarray(np.linalg.solve(gram, moments.cross), np.float64)
        scatter = moments.square - coefficients.T @ moments.cross
        scatter += self.dof * self.variance * np.eye(len(scatter))
        weight = moments.n_rows + self.dof + len(gram) - 1
        return coefficients, centred(scatter / weight)


def ridge(width: int) -> Array:
    """The prior's precision of coefficients, of which the intercept has none."""
    precision = np.ones(width)
    precision[0] = 0.0
    return precision


def centred(covariance: Array) -> Array:
    """Return a covariance (K, K) whose free direction has the mean variance of the others."""
    n = len(covariance)
    if n == 1:
        return covariance
    means = covariance.mean(axis=0)
    inner = covariance - means - means[:, None] + means.mean()
    return np.asarray(0.5 * (inner + inner.T) + np.trace(inner) / (n * (n - 1)))


def chunks(indptr: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Return boundaries of chunks of documents, whose cost is that of entries and of a matrix."""
    work = width * indptr + (width**3 // 3 + 100) * np.arange(len(indptr))
    return parallel.split(work, max(CHUNK_WORK, work[-1] / 64))


def square(matrix: AnyArray, width: int) -> NDArray[np.float32]:
    """Return a matrix (K, K) with the identity in the padding."""
    out = np.eye(width, dtype=np.float32)
    out[: len(matrix), : len(matrix)] = matrix
    return out


@dataclass(frozen=True, eq=False)
class Sweeps:
    """Sweeps over all documents; see `fastvi.kernels.correlated`.

    Parameters
    ----------
    documents : Parts
        CSR arrays; counts are float32.
    n_words : int
    design : (D, 1 + P) array
        Ones, and the covariates.
    prior : LogisticNormal
    topic_prior : float
        Dirichlet prior of topics.
    bound : bool
        Ascend Blei and Lafferty's bound, instead of Laplace's method.
    n_threads : int
        Results do not depend on it.
    """

    documents: Parts
    n_words: int
    design: Array
    prior: LogisticNormal
    topic_prior: float
    bound: bool = False
    n_threads: int = 1

    @cached_property
    def _transposed(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First entries of words (V + 1,), and their entries (N,)."""
        indptr, indices, _ = self.documents
        columns = np.empty(self.n_words + 1, np.int64)
        owners, entries = np.empty(len(indices), np.int32), np.empty(len(indices), np.int64)
        sparse.transpose(indptr, indices, columns, owners, entries)
        return columns, entries

    def begin(self, table: NDArray[np.float32], eta: Array) -> CorrelatedState:
        """Return the state with given topics (V, K padded) and log weights (D, K)."""
        (n_documents, n_topics), width = eta.shape, table.shape[1]
        eta = eta - eta.mean(axis=1, keepdims=True)
        start = np.zeros((n_documents, width), np.float32)
        start[:, :n_topics] = eta
        g = np.zeros((len(self.documents[1]), width), np.uint16)
        nothing = np.zeros((n_topics, n_topics))
        coefficients, covariance = self.prior.update(Moments.of(self.design, eta, nothing))
        params = CorrelatedParameters(table, coefficients, covariance, nothing)
        state = CorrelatedState(params, start, np.zeros_like(start), g, 0)
        return self._sweep(state, n_steps=0)[0]

    def step(
        self, state: CorrelatedState, batch: Batch, rng: np.random.Generator
    ) -> tuple[CorrelatedState, Info]:
        """Take a sweep; the batch is ignored."""
        state, info = self._sweep(state, n_steps=1)
        return state._replace(n_sweeps=state.n_sweeps + 1), info

    def finish(self, state: CorrelatedState) -> tuple[CorrelatedParameters, Moments]:
        """Return what a fit has found, with uncertainty in full, and the moments.

        This writes into the state, which may not be used afterwards.
        """
        spread = self._documents(state, 0, kernels.FULLY)[1]
        params = state.params._replace(uncertainty=spread / len(state.eta))
        return params, self.moments(state, spread)

    def moments(self, state: CorrelatedState, spread: Array) -> Moments:
        """Return those of the documents, with the sum (K, K) of their covariances."""
        eta = state.eta[:, : len(spread)].astype(np.float64)
        return Moments.of(self.design, eta, spread)

    def unassigned(self, params: CorrelatedParameters) -> CorrelatedState:
        """Return the state of documents that `params` have not seen."""
        width = params.table.shape[1]
        eta = np.zeros((len(self.design), width), np.float32)
        eta[:, : len(params.covariance)] = self.design @ params.coefficients
        g = np.zeros((len(self.documents[1]), width), np.uint16)
        return CorrelatedState(params, eta, np.zeros_like(eta), g, 0)

    def assign(self, state: CorrelatedState, n_steps: int) -> tuple[CorrelatedState, Moments]:
        """Fit the documents, whose counts plus prior become the topics of the state returned."""
        params = state.params
        spread = self._documents(state, n_steps, kernels.KNOWN)[1]
        table = np.empty_like(params.table)
        self._recount(state.g, len(spread), table)
        params = params._replace(table=table, uncertainty=spread / len(state.eta))
        return state._replace(params=params), self.moments(state, spread)

    def _sweep(self, state: CorrelatedState, n_steps: int) -> tuple[CorrelatedState, Info]:
        table, *_, uncertainty = state.params
        n_documents, n_topics = len(state.eta), len(uncertainty)
        refresh = state.n_sweeps < REFRESH or state.n_sweeps % REFRESH == 0
        report, spread = self._documents(state, n_steps, kernels.KNOWN if refresh else 0)
        self._recount(state.g, n_topics, table)
        if refresh:
            uncertainty = spread / n_documents
        found = self.prior.update(self.moments(state, uncertainty * n_documents))
        params = CorrelatedParameters(table, *found, uncertainty)
        likelihood, moved = report[:, :2].sum(axis=0)
        n_tokens = max(self.documents[2].sum(dtype=np.float64), 1.0)
        info = {"log_likelihood": likelihood / n_tokens, "moved": moved / n_documents}
        return state._replace(params=params), info

    def _documents(self, state: CorrelatedState, n_steps: int, finish: int) -> tuple[Array, Array]:
        """Take steps on all documents; the kernel's report (D, 3), and the sum of covariances."""
        table, coefficients, covariance, _ = state.params
        indptr, indices, counts = self.documents
        n_topics, width = len(covariance), table.shape[1]
        inverse_totals = np.zeros(width, np.float32)
        inverse_totals[:n_topics] = 1.0 / table[:, :n_topics].sum(axis=0, dtype=np.float64)
        means = np.zeros_like(state.eta)
        means[:, :n_topics] = self.design @ coefficients
        precision = square(np.linalg.inv(covariance), width)
        bounds = chunks(indptr, width)
        spread = np.zeros((len(bounds) - 1, width, width), np.float32)
        theta, report = np.empty_like(means), np.empty((len(means), 3))

        def task(i: int) -> None:
            kernels.fit_documents(
                indptr, indices, counts, table, inverse_totals, np.float32(self.topic_prior),
                precision, means, n_topics, n_steps, np.float32(TOL), self.bound, True, finish,
                bounds[i], bounds[i + 1], state.eta, state.variances, theta, state.g,
                spread[i], report,
            )  # fmt: skip

        parallel.run(task, len(bounds) - 1, self.n_threads)
        total = spread.sum(axis=0, dtype=np.float64)[:n_topics, :n_topics]
        return report, np.triu(total) + np.triu(total, 1).T

    def _recount(
        self, g: NDArray[np.uint16], n_topics: int, table: NDArray[np.float32]
    ) -> AnyArray:
        """Overwrite the table with expected counts plus prior."""
        columns, entries = self._transposed
        counts = self.documents[2]
        bounds = parallel.split(columns + np.arange(len(columns)), CHUNK_WORK / table.shape[1])

        def task(i: int) -> None:
            kernels.recount(
                columns, entries, counts, g, np.float32(self.topic_prior), n_topics,
                bounds[i], bounds[i + 1], table,
            )  # fmt: skip

        parallel.run(task, len(bounds) - 1, self.n_threads)
        return table
