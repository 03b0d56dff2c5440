"""Predictions of a fitted logistic regression with nothing in between."""

from __future__ import annotations

import numpy as np

from fastvi.base.typing import Array
from fastvi.models.logistic.links import log_mean_probit
from fastvi.models.logistic.model import Logistic
from fastvi.models.logistic.multinomial import quadrature_rules
from fastvi.models.logistic.parameters import Posterior

__all__ = ["LogisticPredictor"]


class LogisticPredictor:
    """Probabilities of labels, from arrays that are not checked.

    Made by ``BayesianLogisticRegression.compiled()``.
    """

    def __init__(self, model: Logistic, posterior: Posterior) -> None:
        whitener = np.column_stack((posterior.root, posterior.mean))
        n_features = len(whitener) - model.intercept
        self._slopes = np.ascontiguousarray(whitener[:n_features])
        self._start = whitener[n_features:].sum(axis=0)
        self._n_coefficients, self._model = len(whitener), model

    def __call__(self, x: Array) -> Array:
        """Probabilities of the labels at x (n, n_features), (n, n_classes).

        Parameters
        ----------
        x : (n, n_features) float64 array
        """
        whitened = x @ self._slopes
        whitened += self._start
        spread, mean = whitened[:, : self._n_coefficients], whitened[:, self._n_coefficients :]
        variance = np.einsum("ij,ij->i", spread, spread)
        return np.exp(self._model.log_proba_of(mean, variance))

    def arrays(self) -> dict[str, Array]:
        """What the C library takes: also the nodes and weights of `log_mean_softmax`, and how many
        classes there are and whether the link is probit.
        """
        probit = self._model.log_mean is log_mean_probit
        n_means = self._slopes.shape[1] - self._n_coefficients
        return {
            "slopes": self._slopes, "start": self._start, "rules": quadrature_rules(),
            "form": np.array([max(2, n_means), probit], np.float64),
        }  # fmt: skip
