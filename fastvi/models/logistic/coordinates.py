"""Unconstrained coordinates of the Gaussian q(w) of logistic regression."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base.linear_algebra import (
    cholesky_despite_rounding,
    cholesky_from_free,
    free_from_cholesky,
    gradient_by_free,
)
from fastvi.core import Coordinates

__all__ = ["logistic_coordinates"]


class Free(NamedTuple):
    """Mean of q(w), and coordinates of its precision.

    q(alpha) is not included: the bound uses the best one for q(w).
    """

    mean: NDArray[np.float64]  # (P,) or (P, K)
    precision: NDArray[np.float64]  # (P, P)


def logistic_coordinates(model: Any) -> Coordinates:
    """Coordinates of a `fastvi.models.logistic.model.Logistic`."""

    def free(params: Any) -> Free:
        precision = params.precision + np.diag(model.precisions(params.rates))
        return Free(
            model.posterior(params).mean, free_from_cholesky(cholesky_despite_rounding(precision))
        )

    def params(free: Free) -> Any:
        lower = cholesky_from_free(free.precision)
        return model.params_of(free.mean, lower @ lower.T)

    def gradient(params: Any, natural: Any) -> Free:
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
