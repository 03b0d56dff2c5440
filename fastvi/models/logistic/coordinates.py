"""Unconstrained coordinates of the Gaussian q(w) of logistic regression."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fastvi.base.linear_algebra import (
    cholesky_despite_rounding,
    cholesky_from_free,
    free_from_cholesky,
    gradient_by_free,
)
from fastvi.core import Coordinates
from fastvi.models.logistic.parameters import Coefficients, Posterior

__all__ = ["logistic_coordinates"]


class Free(NamedTuple):
    """Mean of q(w), and coordinates of its precision.

    q(alpha) is not included: the bound uses the best one for q(w).
    """

    mean: NDArray[np.float64]  # (P,) or (P, K)
    precision: NDArray[np.float64]  # (P, P)


class _Model(Protocol):
    """A `fastvi.models.logistic.model.Logistic`."""

    @property
    def n_contrasts(self) -> int: ...

    def posterior(self, params: Coefficients) -> Posterior: ...

    def precisions(self, rates: NDArray[np.float64]) -> NDArray[np.float64]: ...

    def params_of(
        self, mean: NDArray[np.float64], precision: NDArray[np.float64]
    ) -> Coefficients: ...


def logistic_coordinates(model: _Model) -> Coordinates:
    """Coordinates of a `fastvi.models.logistic.model.Logistic`."""

    def free(params: Coefficients) -> Free:
        precision = params.precision + np.diag(model.precisions(params.rates))
        return Free(
            model.posterior(params).mean, free_from_cholesky(cholesky_despite_rounding(precision))
        )

    def params(free: Free) -> Coefficients:
        lower = cholesky_from_free(free.precision)
        return model.params_of(free.mean, lower @ lower.T)

    def gradient(params: Coefficients, natural: Coefficients) -> Free:
        """Apply the chain rule to the natural gradient, which is that by E[w] and -E[w w'] / 2."""
        posterior = model.posterior(params)
        learnt = model.precisions(params.rates + natural.rates) - model.precisions(params.rates)
        change = natural.precision + np.diag(learnt)
        mean = natural.precision_mean - change @ posterior.mean
        covariance = posterior.covariance
        precision = params.precision + np.diag(model.precisions(params.rates))
        slope = 0.5 * model.n_contrasts * covariance @ change @ covariance
        return Free(mean, gradient_by_free(cholesky_despite_rounding(precision), slope))

    return Coordinates(free, params, gradient)
