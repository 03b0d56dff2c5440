"""Rows of sequences in the order of a stream, and what they say of states."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import Array
from fastvi.kernels import chain_emissions as kernels
from fastvi.models.sequences.stream import Stream

__all__ = ["LINEAR", "NEVER", "PRODUCTS", "SQUARES", "FeatureRows", "Features", "TableRows"]

LINEAR, SQUARES, PRODUCTS = kernels.LINEAR, kernels.SQUARES, kernels.PRODUCTS
NEVER = -1e290  # log of 0, as a coefficient
LEAST = -1e280  # log likelihoods below it are of impossible rows
SOME = 4096  # rows whose features are in memory at a time


class Features(NamedTuple):
    """What likelihoods are linear in: `form` of (x - centre) factor; centre, factor (D,)."""

    form: int
    centre: Array
    factor: Array


class FeatureRows:
    """Rows whose log likelihoods are linear in features: x, its squares or its products.

    Parameters
    ----------
    stream : Stream
    X : (n, D) array
        In missing rows any finite numbers.
    form : {LINEAR, SQUARES, PRODUCTS}
    centre, factor : (D,) arrays
        Features are those of (x - centre) factor.
    base : (n,) array, optional
        Added to the log likelihoods of all states.
    """

    def __init__(
        self,
        stream: Stream,
        X: Array,
        form: int,
        centre: Array,
        factor: Array,
        base: Array | None = None,
    ) -> None:
        self.stream, self.form, self.centre, self.factor = stream, form, centre, factor
        self.frame = Features(form, centre, factor)
        self._X, self._base = X, base
        self._arranged = stream.arranged(X)
        d = X.shape[1]
        self.n_features = {LINEAR: 0, SQUARES: d, PRODUCTS: d * (d + 1) // 2}[form] + d + 1
        self._constant = np.zeros(stream.n_groups)
        if base is not None:
            parts = np.where(stream.seen > 0, stream.arranged(base).reshape(stream.shape), 0.0)
            self._constant = parts.sum(axis=(1, 2))

    @property
    def mean(self) -> float:
        """Mean of all numbers in rows that are not missing, at least 1e-3."""
        return max(float(self._X[~self.stream.is_missing].mean()), 1e-3)

    def features(self, some: slice) -> Array:
        """Features of some rows, in the order of the data."""
        y = (self._X[some] - self.centre) * self.factor
        parts = [y, np.ones((len(y), 1))]
        if self.form == SQUARES:
            parts.insert(0, np.square(y))
        elif self.form == PRODUCTS:
            i, j = np.triu_indices(y.shape[1])
            parts.insert(0, y[:, i] * y[:, j])
        return np.hstack(parts)

    def weighed(self, coefficients: Array) -> _Weighed:
        """Return likelihoods with logs coefficients (K, F) @ features + base."""
        if coefficients.shape[1] != self.n_features:
            raise ValueError(
                f"X has {self._X.shape[1]} features; wanted as many as the states have"
            )
        return _Weighed(self, np.ascontiguousarray(coefficients))

    def sums(self, posterior: Array) -> Array:
        """Sum of the features of rows, weighted by posteriors (G, Q, K, W); (K, F)."""
        stream = self.stream
        parts = np.zeros((stream.n_groups, posterior.shape[2], self.n_features))
        stream.run(
            lambda g: kernels.feature_sums(
                self.form,
                self._arranged[g],
                self.centre,
                self.factor,
                posterior[g],
                stream.seen[g],
                parts[g],
            )
        )
        return np.asarray(parts.sum(axis=0))


class _Weighed:
    """Likelihoods of `FeatureRows`; see `fastvi.models.sequences.chains.Emissions`."""

    def __init__(self, rows: FeatureRows, coefficients: Array) -> None:
        self._rows, self._coefficients = rows, coefficients

    def write(self, group: int, out: Array, *, logs: bool) -> float:
        rows = self._rows
        total = kernels.feature_likelihoods(
            rows.form, rows._arranged[group], rows.centre, rows.factor, self._coefficients,
            rows.stream.seen[group], logs, out,
        )  # fmt: skip
        return float(total + rows._constant[group]) if total > LEAST else -np.inf

    def logs(self) -> Array:
        rows = self._rows
        found = np.empty((len(rows._X), len(self._coefficients)))
        for begin in range(0, len(found), SOME):
            some = slice(begin, begin + SOME)
            found[some] = rows.features(some) @ self._coefficients.T
        if rows._base is not None:
            found += rows._base[:, None]
        found[found < LEAST] = -np.inf
        return np.asarray(np.where(rows.stream.is_missing[:, None], 0.0, found))


class TableRows:
    """Rows that are one code each.

    Parameters
    ----------
    stream : Stream
    codes : (n,) array of int
        In missing rows 0.
    n_codes : int
    """

    def __init__(self, stream: Stream, codes: NDArray[np.int64], n_codes: int) -> None:
        self.stream, self.codes, self.n_codes = stream, codes, n_codes
        self._arranged = stream.arranged(codes)

    def weighed(self, logs: Array) -> _Looked:
        """Return likelihoods with logs (K, n_codes)."""
        return _Looked(self, logs)

    def sums(self, posterior: Array) -> Array:
        """Sum of posteriors (G, Q, K, W) by code, (K, n_codes)."""
        stream = self.stream
        parts = np.zeros((stream.n_groups, self.n_codes, posterior.shape[2]))
        stream.run(
            lambda g: kernels.table_sums(self._arranged[g], posterior[g], stream.seen[g], parts[g])
        )
        return np.asarray(parts.sum(axis=0).T)


class _Looked:
    """Likelihoods of `TableRows`."""

    def __init__(self, rows: TableRows, logs: Array) -> None:
        self._rows, self._logs = rows, logs
        self._top = np.maximum(logs.max(axis=0), -1e300)
        self._relative = np.ascontiguousarray((logs - self._top).T)

    def write(self, group: int, out: Array, *, logs: bool) -> float:
        rows = self._rows
        table = self._relative if logs else np.exp(self._relative)
        total = kernels.table_likelihoods(
            rows._arranged[group], table, self._top, rows.stream.seen[group], float(not logs), out
        )
        return float(total)

    def logs(self) -> Array:
        found = self._logs.T[self._rows.codes]
        return np.asarray(np.where(self._rows.stream.is_missing[:, None], 0.0, found))
