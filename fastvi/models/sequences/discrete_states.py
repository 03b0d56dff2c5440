"""Discrete states of hidden Markov models: categories and counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln

from fastvi.base.typing import Array
from fastvi.models.sequences.rows import LINEAR, NEVER, FeatureRows, Features, TableRows
from fastvi.models.sequences.stream import Stream

__all__ = ["Categorical", "Multinomial", "Poisson", "Probabilities", "Rates"]


class Probabilities(NamedTuple):
    """Probabilities of categories in each state, (K, V)."""

    probabilities: Array


class Rates(NamedTuple):
    """Means of counts in each state, (K, D)."""

    rates: Array


class Categorical:
    """States that emit one of V symbols; `prior` holds concentrations of a Dirichlet."""

    def __init__(self, prior: Array | float = 1.0, fitted: str = "e") -> None:
        self.prior, self.fitted = prior, fitted

    def coefficients(self, rows: TableRows | None, params: Probabilities) -> Array:
        """Return log probabilities (K, V)."""
        with np.errstate(divide="ignore"):
            return np.log(params.probabilities)

    def sums(self, rows: TableRows, posterior: Array, params: Probabilities) -> Array:
        """Return numbers of symbols by state."""
        return rows.sums(posterior)

    def maximised(self, rows: TableRows, sums: Array, params: Probabilities) -> Probabilities:
        """Return shares of symbols."""
        if "e" not in self.fitted:
            return params
        return shared(sums + self.prior - 1, params)


class Multinomial:
    """States that emit counts of V symbols."""

    def __init__(self, fitted: str = "e") -> None:
        self.fitted = fitted

    def coefficients(self, rows: FeatureRows | None, params: Probabilities) -> Array:
        """Return log probabilities, and a constant of 0."""
        logs = _finite_logs(params.probabilities)
        return np.column_stack((logs, np.zeros(len(logs))))

    def sums(self, rows: FeatureRows, posterior: Array, params: Probabilities) -> Array:
        """Return numbers of symbols by state, and of rows."""
        return rows.sums(posterior)

    def maximised(self, rows: FeatureRows, sums: Array, params: Probabilities) -> Probabilities:
        """Return shares of symbols."""
        if "e" not in self.fitted:
            return params
        return shared(sums[:, :-1], params)


class Poisson:
    """States that emit independent counts, whose rates have Gamma(prior, weight) priors."""

    def __init__(
        self, prior: Array | float = 0.0, weight: Array | float = 0.0, fitted: str = "l"
    ) -> None:
        self.prior, self.weight, self.fitted = prior, weight, fitted

    def coefficients(self, rows: FeatureRows | None, params: Rates) -> Array:
        """Return log rates, and minus the sum of rates."""
        logs = _finite_logs(params.rates)
        return np.column_stack((logs, -params.rates.sum(axis=1)))

    def sums(self, rows: FeatureRows, posterior: Array, params: Rates) -> Array:
        """Return counts by state, and numbers of rows."""
        return rows.sums(posterior)

    def maximised(self, rows: FeatureRows, sums: Array, params: Rates) -> Rates:
        """Return mean counts."""
        if "l" not in self.fitted:
            return params
        total = self.weight + sums[:, -1:]
        rates = (self.prior + sums[:, :-1]) / np.where(total > 0, total, 1.0)
        return Rates(np.where(total > 0, rates, params.rates))


def plain_features(d: int) -> Features:
    """Counts as they are."""
    return Features(LINEAR, np.zeros(d), np.ones(d))


def _finite_logs(values: Array) -> Array:
    """Logs, and for 0 a number that may be multiplied by a count of 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.where(values > 0, np.log(values), NEVER))


def count_rows(stream: Stream, X: Array, base_of: Callable[[Array], Array]) -> FeatureRows:
    """Rows of counts (n, D), with what their log likelihoods have in common in all states."""
    return FeatureRows(stream, X, plain_features(X.shape[1]), base_of)


def poisson_base(X: Array) -> Array:
    """Return minus the sum of log factorials of each row."""
    return np.asarray(-gammaln(X + 1).sum(axis=1))


def multinomial_base(X: Array) -> Array:
    """Return the log of the number of orders of each row's counts."""
    return np.asarray(gammaln(X.sum(axis=1) + 1) - gammaln(X + 1).sum(axis=1))


def shared(counts: Array, params: Probabilities) -> Probabilities:
    """Return shares of counts (K, V); states without counts stay as they are."""
    counts = np.maximum(counts, 0.0)
    total = counts.sum(axis=1, keepdims=True)
    shares = counts / np.where(total > 0, total, 1.0)
    return Probabilities(np.where(total > 0, shares, params.probabilities))
