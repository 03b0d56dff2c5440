"""Bias and spread of the regression of topics on covariates, by a parametric bootstrap.

Topics are estimated from the same documents as the regression, and log weights are approximated at
their modes. Both move coefficients, by more than their standard errors in large corpora. Documents
simulated from a fit show by how much: the fit is repeated on them, from the topics with which they
were made.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from fastvi.base.typing import AnyArray, Array
from fastvi.checkpoints import Watching
from fastvi.models.counts import Parts
from fastvi.models.topics.correlated_model import CorrelatedParameters, Sweeps
from fastvi.models.topics.correlated_start import LEAST
from fastvi.models.topics.correlated_training import train

__all__ = ["Refits", "refits", "simulated"]


class Refits(NamedTuple):
    """What fits to simulated documents have found.

    Attributes
    ----------
    coefficients : (n, 1 + P, K) array
    covariances : (n, K, K) array
    """

    coefficients: Array
    covariances: Array

    def correct(self, params: CorrelatedParameters) -> CorrelatedParameters:
        """Take their mean error out of the coefficients, and their mean factor out of Sigma."""
        coefficients = 2.0 * params.coefficients - self.coefficients.mean(axis=0)
        factor = np.trace(params.covariance) / np.trace(self.covariances.mean(axis=0))
        return params._replace(coefficients=coefficients, covariance=factor * params.covariance)

    def inflation(self, expected: Array) -> float:
        """Factor of the variances `expected` (P, K) of slopes, at least 1.

        It includes the noise of the mean error of so few fits.
        """
        n = len(self.coefficients)
        spread = self.coefficients[:, 1:].var(axis=0, ddof=1).sum()
        return float(max(spread / expected.sum(), 1.0) * (1.0 + 1.0 / n))


def simulated(
    topics: AnyArray, means: Array, covariance: Array, lengths: Array, rng: np.random.Generator
) -> tuple[Parts, Array]:
    """Return documents drawn from the model, as CSR arrays, and their tokens by topic (D, K).

    Parameters
    ----------
    topics : (K, V) array
        Probabilities of words.
    means : (D, K) array
        Of log weights.
    covariance : (K, K) array
    lengths : (D,) array
        Tokens of documents.
    rng : Generator
    """
    (n_documents, n_topics), n_words = means.shape, topics.shape[1]
    eta = means + rng.standard_normal(means.shape) @ np.linalg.cholesky(covariance).T
    theta = np.exp(eta - eta.max(axis=1, keepdims=True))
    theta /= theta.sum(axis=1, keepdims=True)
    tokens = rng.multinomial(np.rint(lengths).astype(np.int64), theta)
    places = []
    for k in range(n_topics):
        edges = np.cumsum(topics[k], dtype=np.float64)
        rows = np.repeat(np.arange(n_documents), tokens[:, k])
        words = np.searchsorted(edges[:-1], edges[-1] * rng.random(len(rows)), "right")
        places.append(rows * n_words + words)
    found, counts = np.unique(np.concatenate(places), return_counts=True)
    indptr = np.searchsorted(found, n_words * np.arange(n_documents + 1)).astype(np.int64)
    indices = (found % n_words).astype(np.int32)
    return (indptr, indices, counts.astype(np.float32)), tokens.astype(np.float64)


def refits(
    sweeps: Sweeps, params: CorrelatedParameters, n: int, *, max_iter: int, tol: float, seed: int
) -> Refits:
    """Fit n corpora that are simulated from `params`, with the covariates of the documents."""
    n_topics = len(params.covariance)
    topics = params.table[:, :n_topics].T
    means = sweeps.design @ params.coefficients
    indptr, _, counts = sweeps.documents
    sums = np.concatenate(([0.0], np.cumsum(counts, dtype=np.float64)))
    lengths = np.diff(sums[indptr])
    found = []
    for i in range(n):
        rng = np.random.default_rng([seed, i])
        documents, tokens = simulated(topics, means, params.covariance, lengths, rng)
        again = replace(sweeps, documents=documents)
        state = again.begin(params.table.copy(), np.log(tokens + LEAST))
        found.append(
            train(
                again, state, max_iter=max_iter, tol=tol, seed=seed, seconds=0.0,
                watching=Watching(), identity=dict,
            ).params
        )  # fmt: skip
    return Refits(
        np.array([one.coefficients for one in found]), np.array([one.covariance for one in found])
    )
