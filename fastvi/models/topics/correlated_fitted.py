"""Documents under fitted correlated topics: proportions, evidence, completion."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base import parallel
from fastvi.base.bags import Bags
from fastvi.base.typing import AnyArray, Array
from fastvi.kernels import correlated as kernels
from fastvi.models.counts import Parts
from fastvi.models.topics.correlated_model import CorrelatedParameters, chunks, square
from fastvi.models.topics.inference import log_likelihoods

__all__ = ["CorrelatedTopics", "Inferred", "single"]

MAX_ITER = 100
TOL = 1e-3  # of a step, in every log weight


def single(bags: Bags) -> Parts:
    """Return documents' arrays with counts in float32, as kernels take them."""
    return bags.indptr, bags.indices, bags.counts.astype(np.float32, copy=False)


class Inferred(NamedTuple):
    """Documents under fitted topics.

    Attributes
    ----------
    eta, variances : (D, K padded) float32 arrays
        Modes of log weights and their posterior variances.
    theta : (D, K padded) float32 array
        Topic proportions.
    evidence : (D,) array
        Approximate log probability of each document, in nats.
    """

    eta: NDArray[np.float32]
    variances: NDArray[np.float32]
    theta: NDArray[np.float32]
    evidence: Array


@dataclass(frozen=True, eq=False)
class CorrelatedTopics:
    """Fitted correlated topics, ready for new documents.

    Parameters
    ----------
    params : CorrelatedParameters
    bound : bool
        Ascend Blei and Lafferty's bound, instead of Laplace's method.
    """

    params: CorrelatedParameters
    bound: bool

    @property
    def n_topics(self) -> int:
        """Number of topics, without padding."""
        return len(self.params.covariance)

    @cached_property
    def weights(self) -> NDArray[np.float32]:
        """E[beta] by word, (V, K padded)."""
        table, n = self.params.table, self.n_topics
        weights = np.zeros_like(table)
        np.divide(
            table[:, :n], table[:, :n].sum(axis=0, dtype=np.float64), out=weights[:, :n],
            casting="same_kind",
        )  # fmt: skip
        return weights

    @cached_property
    def _precision(self) -> NDArray[np.float32]:
        return square(np.linalg.inv(self.params.covariance), self.weights.shape[1])

    def infer(
        self, parts: Parts, design: Array, n_threads: int = 1, *, finish: bool = True
    ) -> Inferred:
        """Fit documents (indptr, indices, counts) with the design's rows (D, 1 + P).

        Without `finish` there are no variances and no evidence, but it takes less time.
        """
        indptr, indices, counts = parts
        width = self.weights.shape[1]
        ones = np.zeros(width, np.float32)
        ones[: self.n_topics] = 1.0
        means = np.zeros((len(indptr) - 1, width), np.float32)
        means[:, : self.n_topics] = design @ self.params.coefficients
        eta, variances, theta = means.copy(), np.zeros_like(means), np.empty_like(means)
        g, report = np.empty((0, width), np.uint16), np.empty((len(means), 3))
        how, bounds = kernels.FULLY if finish else 0, chunks(indptr, width)
        spread = np.zeros((len(bounds), width, width), np.float32)

        def task(i: int) -> None:
            kernels.fit_documents(
                indptr, indices, counts, self.weights, ones, np.float32(0.0), self._precision,
                means, self.n_topics, MAX_ITER, np.float32(TOL), self.bound, False, how, bounds[i],
                bounds[i + 1], eta, variances, theta, g, spread[i], report,
            )  # fmt: skip

        parallel.run(task, len(bounds) - 1, n_threads)
        evidence = report[:, 2] - 0.5 * np.linalg.slogdet(self.params.covariance)[1]
        return Inferred(eta, variances, theta, evidence)

    def log_likelihoods(self, theta: AnyArray, parts: Parts, n_threads: int = 1) -> Array:
        """Log probability (D,) of documents' words under proportions theta, in nats."""
        return log_likelihoods(self.weights, theta, parts, self.n_topics, n_threads)

    def completion(
        self, observed: Parts, scored: Parts, design: Array, n_threads: int = 1
    ) -> float:
        """Held-out log-likelihood by document completion, in nats per word."""
        theta = self.infer(observed, design, n_threads, finish=False).theta
        total = self.log_likelihoods(theta, scored, n_threads).sum()
        return float(total / scored[2].sum(dtype=np.float64))
