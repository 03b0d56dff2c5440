"""Hidden Markov models row by row, for use as data arrive."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastvi.base.typing import Array
from fastvi.kernels.chain_filter import NO_BASE, filter_step
from fastvi.models.sequences.chains import Weights
from fastvi.models.sequences.rows import Features

__all__ = ["Likelihood", "OnlineFilter"]


class Likelihood(NamedTuple):
    """Numbers from which a kernel computes the log likelihoods of a row.

    `form`, centre, factor (D,) and coefficients (K, F) of features, or a table (V, K) of logs;
    `base` says what all states have in common.
    """

    form: int
    base: int
    centre: Array
    factor: Array
    coefficients: Array
    table: Array

    @classmethod
    def of_symbols(cls, logs: Array) -> Likelihood:
        """Of log probabilities (K, V)."""
        none = np.zeros(0)
        return cls(0, NO_BASE, none, none, np.zeros((len(logs), 0)), np.ascontiguousarray(logs.T))

    @classmethod
    def of_features(cls, features: Features, base: int, coefficients: Array) -> Likelihood:
        """Of logs that are linear in features."""
        table, (form, centre, factor) = np.zeros((0, len(coefficients))), features
        return cls(form, base, centre, factor, np.ascontiguousarray(coefficients), table)


class OnlineFilter:
    """Probabilities of states given the rows so far; checks nothing, and takes microseconds.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import GaussianHMM
    >>> X = np.repeat([0.0, 5.0], 20)[:, None] + np.random.default_rng(0).normal(size=(40, 1))
    >>> online = GaussianHMM(2, random_state=0).fit(X).compiled()
    >>> probabilities, log_density = online.filter_step(X[0])
    >>> for row in X[1:]:
    ...     probabilities, log_density = online.filter_step(row, probabilities)
    >>> float(probabilities.max().round(3))
    1.0
    """

    def __init__(self, weights: Weights, likelihood: Likelihood) -> None:
        self._weights, self._likelihood = weights, likelihood
        self._begin = np.zeros(0)

    def filter_step(self, row: Array, before: Array | None = None) -> tuple[Array, float]:
        """Take one more row.

        Parameters
        ----------
        row : (n_features,) array of float64
            A row of NaN is missing; rows of Gaussian models may be partly NaN.
        before : (n_components,) array, optional
            What the last call returned; None at the beginning of a sequence.

        Returns
        -------
        probabilities : (n_components,) array
            Of the states of this row, given it and those before.
        log_density : float
            Of this row given those before, nats; their sum is `score` of the sequence.
        """
        out = np.empty(len(self._weights.start))
        log_density = filter_step(
            row, *self._likelihood, *self._weights, self._begin if before is None else before, out
        )
        return out, log_density
