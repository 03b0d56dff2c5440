"""Predictions of a fitted logistic regression with nothing in between."""

from __future__ import annotations

import numpy as np

from fastvi.base.typing import Array
from fastvi.models.logistic.model import Logistic
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
