"""Regressions of numbers and labels on documents' shares of topics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from scipy.optimize import minimize

from fastvi.base import parallel
from fastvi.base.typing import AnyArray, Array
from fastvi.kernels import supervised as kernels

__all__ = ["Labels", "Numbers", "Response", "SupervisedParameters", "label_logits", "refitted"]

LEAST_VARIANCE = 1e-6  # of a number about its regression, in units of the numbers' variance
SEARCH = 10  # iterations per sweep on the labels' coefficients
REFITS = 30  # times as many in the last regression
SETTLED = 1e-3  # relative change of coefficients that ends it


class SupervisedParameters(NamedTuple):
    """What a fit of supervised topics has found.

    Attributes
    ----------
    table : (V, K padded) array
        Dirichlet parameters of topics.
    coefficients : (C, K padded) float64 array
        Of labels, or with C = 1 of standardised numbers.
    variance : (1,) float64 array
        Of standardised numbers about their regression; 0 for labels.
    """

    table: AnyArray
    coefficients: Array
    variance: Array


class Response(Protocol):
    """What is known about documents, and its regression on their shares of topics.

    `targets` (D,) float64 are standardised numbers, or numbers of labels.
    """

    targets: Array
    weight: float

    def start(self, width: int) -> tuple[Array, Array]:
        """Return coefficients (C, K padded) and variance (1,) to start from."""
        ...

    def update(
        self, params: SupervisedParameters, means: Array, lengths: Array, n_threads: int
    ) -> tuple[Array, Array]:
        """Return better coefficients and variance, for expected shares of documents."""
        ...

    def curvature(self, coefficients: Array, variance: Array) -> float:
        """Largest curvature of a document's response, relative to the entropy of its words."""
        ...

    def log_prior(self, coefficients: Array) -> float:
        """Log density of coefficients, in nats."""
        ...


def _normal(coefficients: Array, prior_variance: float, n_topics: int) -> float:
    inner = coefficients[:, :n_topics]
    logs = inner.size * np.log(2 * np.pi * prior_variance)
    return float(-0.5 * (np.square(inner).sum() / prior_variance + logs))


@dataclass(eq=False)
class Numbers:
    """Standardised numbers, Gaussian about a linear regression.

    Parameters
    ----------
    targets : (D,) array
    n_topics : int
    prior_variance : float
        Of coefficients.
    weight : float
        Of a document's response.
    """

    targets: Array
    n_topics: int
    prior_variance: float
    weight: float

    def start(self, width: int) -> tuple[Array, Array]:
        """Return no effect, and the variance of the numbers."""
        return np.zeros((1, width)), np.ones(1)

    def update(
        self, params: SupervisedParameters, means: Array, lengths: Array, n_threads: int
    ) -> tuple[Array, Array]:
        """Return the most probable coefficients, and the variance that is best with them."""
        used = lengths > 0
        m, y, n = means[used, : self.n_topics], self.targets[used], lengths[used]
        squares = (m * (1 - 1 / n)[:, None]).T @ m + np.diag((m / n[:, None]).sum(axis=0))
        scale = self.weight / float(params.variance[0])
        matrix = scale * squares + np.eye(self.n_topics) / self.prior_variance
        b = np.linalg.solve(matrix, scale * (m.T @ y))
        rest = np.square(y).sum() - 2 * b @ (m.T @ y) + b @ squares @ b
        coefficients = np.zeros_like(params.coefficients)
        coefficients[0, : self.n_topics] = b
        return coefficients, np.array([max(rest / max(len(y), 1), LEAST_VARIANCE)])

    def curvature(self, coefficients: Array, variance: Array) -> float:
        """See `Response`."""
        spread = float(np.ptp(coefficients[0, : self.n_topics]))
        return self.weight * spread**2 / (4 * float(variance[0]))

    def log_prior(self, coefficients: Array) -> float:
        """See `Response`."""
        return _normal(coefficients, self.prior_variance, self.n_topics)


@dataclass(eq=False)
class Labels:
    """Labels, whose probabilities are a softmax of linear functions; parameters as in `Numbers`.

    `n_labels` is their number, C.
    """

    targets: Array
    n_topics: int
    prior_variance: float
    weight: float
    n_labels: int

    def start(self, width: int) -> tuple[Array, Array]:
        """Return no effect."""
        return np.zeros((self.n_labels, width)), np.zeros(1)

    def value(
        self, coefficients: Array, means: Array, lengths: Array, n_threads: int
    ) -> tuple[float, Array]:
        """Return the bound on the log probability of coefficients and labels, and its gradient."""
        labels, tops = self.targets.astype(np.int64), coefficients.max(axis=1)
        bounds = parallel.split(np.arange(len(labels) + 1), 4e6 / coefficients.size)
        values = np.empty(len(bounds) - 1)
        gradients = np.zeros((len(values), *coefficients.shape))

        def task(i: int) -> None:
            values[i] = kernels.label_gradient(
                means, lengths, labels, coefficients, tops, bounds[i], bounds[i + 1], gradients[i]
            )

        parallel.run(task, len(values), n_threads)
        total = self.weight * float(values.sum()) + self.log_prior(coefficients)
        gradient = self.weight * gradients.sum(axis=0) - coefficients / self.prior_variance
        return total, gradient

    def update(
        self, params: SupervisedParameters, means: Array, lengths: Array, n_threads: int
    ) -> tuple[Array, Array]:
        """Return coefficients after some steps of L-BFGS."""
        shape = params.coefficients.shape

        def loss(flat: Array) -> tuple[float, Array]:
            value, gradient = self.value(flat.reshape(shape), means, lengths, n_threads)
            return -value, -gradient.ravel()

        found = minimize(
            loss, params.coefficients.ravel(), jac=True, method="L-BFGS-B",
            options={"maxiter": SEARCH},
        )  # fmt: skip
        return np.asarray(found.x).reshape(shape), np.zeros(1)

    def curvature(self, coefficients: Array, variance: Array) -> float:
        """See `Response`."""
        spread = np.ptp(coefficients[:, : self.n_topics], axis=1).max()
        return self.weight * float(spread) ** 2 / 4

    def log_prior(self, coefficients: Array) -> float:
        """See `Response`."""
        return _normal(coefficients, self.prior_variance, self.n_topics)


def refitted(
    response: Response, params: SupervisedParameters, means: Array, lengths: Array, n_threads: int
) -> SupervisedParameters:
    """Return the regression that suits shares which were found without the responses.

    Shares that were found with them, as in a fit, suit them better than those of new documents.
    """
    coefficients, variance = response.start(means.shape[1])
    for _ in range(REFITS):
        before = coefficients
        params = params._replace(coefficients=coefficients, variance=variance)
        coefficients, variance = response.update(params, means, lengths, n_threads)
        if np.abs(coefficients - before).max() <= SETTLED * np.abs(coefficients).max():
            break
    return params._replace(coefficients=coefficients, variance=variance)


def label_logits(coefficients: Array, shares: AnyArray) -> Array:
    """Log probabilities (D, C) of labels for shares (D, K) of topics."""
    logits = shares @ coefficients[:, : shares.shape[1]].T
    logits -= logits.max(axis=1, keepdims=True)
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))
