"""Rows of sequences in the order of a stream, and what they say of states."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import Array
from fastvi.kernels import chain_emissions as kernels
from fastvi.models.sequences.model import Growth
from fastvi.models.sequences.overlay import Emissions
from fastvi.models.sequences.stream import Stream

__all__ = [
    "LEAST",
    "LINEAR",
    "NEVER",
    "PRODUCTS",
    "SQUARES",
    "FeatureRows",
    "Features",
    "TableRows",
    "Weighed",
]

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
        Missing rows hold anything.
    frame : Features
    base_of : callable, optional
        From rows (n, D) to what is added to the log likelihoods of all states, (n,).
    """

    def __init__(
        self,
        stream: Stream,
        X: Array,
        frame: Features,
        base_of: Callable[[Array], Array] | None = None,
    ) -> None:
        self.stream, self.frame, self._base_of = stream, frame, base_of
        self.growth: Growth | None = None
        self.form, self.centre, self.factor = frame
        has_gaps = stream.is_missing.any()
        self._given = X
        self._X = np.where(stream.is_missing[:, None], frame.centre, X) if has_gaps else X
        self._base = None if base_of is None else base_of(self._X)
        d = X.shape[1]
        self.n_features = {LINEAR: 0, SQUARES: d, PRODUCTS: d * (d + 1) // 2}[self.form] + d + 1

    def of(self, stream: Stream, X: Array) -> Self:
        """Other rows in the same coordinates."""
        return type(self)(stream, X, self.frame, self._base_of)

    def part(self, stream: Stream, rows: NDArray[np.int64]) -> Self:
        """Some of these rows, as another stream."""
        return self.of(stream, self._given[rows])

    @cached_property
    def arranged(self) -> Array:
        """Rows in the order of the stream, (G, Q W, D)."""
        return self.stream.arranged(self._X)

    @cached_property
    def constant(self) -> Array:
        """Sums of what is added to all states, over rows of each group that count."""
        if self._base is None:
            return np.zeros(self.stream.n_groups)
        base, counted = self.stream.arranged(self._base), self.stream.counted
        return np.asarray(np.where(counted > 0, base.reshape(counted.shape), 0.0).sum(axis=(1, 2)))

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

    def logits(self, coefficients: Array) -> Array:
        """Log likelihoods with these coefficients (C, F), without their base, (n, C)."""
        found = np.empty((len(self._X), len(coefficients)))
        for begin in range(0, len(found), SOME):
            some = slice(begin, begin + SOME)
            found[some] = self.features(some) @ coefficients.T
        return found

    def checked(self, coefficients: Array) -> Array:
        """Coefficients (C, F), if they are as many as there are features."""
        if coefficients.shape[1] != self.n_features:
            raise ValueError(
                f"X has {self._X.shape[1]} features; wanted as many as the states have"
            )
        return np.ascontiguousarray(coefficients)

    def weighed(self, coefficients: Any) -> Emissions:
        """Return likelihoods with logs coefficients (K, F) @ features + base."""
        return Weighed(self, self.checked(coefficients))

    def sums(self, posterior: Array) -> Array:
        """Sum of the features of rows that count, weighted by posteriors (G, Q, K, W); (K, F)."""
        stream, (form, centre, factor) = self.stream, self.frame
        parts = np.zeros((stream.n_groups, posterior.shape[2], self.n_features))
        stream.run(
            lambda g: kernels.feature_sums(
                form, self.arranged[g], centre, factor, posterior[g], stream.counted[g], parts[g]
            )
        )
        return np.asarray(parts.sum(axis=0))


class Weighed:
    """Likelihoods of `FeatureRows`; see `fastvi.models.sequences.overlay.Emissions`."""

    def __init__(self, rows: FeatureRows, coefficients: Array) -> None:
        self._rows, self._coefficients = rows, coefficients

    def write(self, group: int, out: Array, *, logs: bool) -> float:
        """Write likelihoods, or their logs."""
        rows, stream = self._rows, self._rows.stream
        total = kernels.feature_likelihoods(
            *_of_group(rows, group), self._coefficients, stream.seen[group], stream.counted[group],
            logs, out,
        )  # fmt: skip
        return float(total + rows.constant[group]) if total > LEAST else -np.inf

    def logs(self) -> Array:
        """Return logs, (n, K)."""
        rows = self._rows
        found = rows.logits(self._coefficients)
        if rows._base is not None:
            found += rows._base[:, None]
        found[found < LEAST] = -np.inf
        return np.asarray(np.where(rows.stream.is_missing[:, None], 0.0, found))


def _of_group(rows: FeatureRows, group: int) -> tuple[int, Array, Array, Array]:
    """What kernels take of a group: form, rows, centre and factor."""
    form, centre, factor = rows.frame
    return form, rows.arranged[group], centre, factor


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
        self.growth: Growth | None = None

    def of(self, stream: Stream, X: Array) -> TableRows:
        """Other rows (n, 1) with as many codes."""
        codes = np.where(stream.is_missing, 0, X[:, 0]).astype(np.int64)
        return TableRows(stream, codes, self.n_codes)

    def part(self, stream: Stream, rows: NDArray[np.int64]) -> TableRows:
        """Some of these rows, as another stream."""
        return TableRows(stream, self.codes[rows], self.n_codes)

    @cached_property
    def arranged(self) -> NDArray[np.int64]:
        """Codes in the order of the stream, (G, Q W)."""
        return self.stream.arranged(self.codes)

    def weighed(self, logs: Array) -> _Looked:
        """Return likelihoods with logs (K, n_codes)."""
        return _Looked(self, logs)

    def sums(self, posterior: Array) -> Array:
        """Sum of posteriors (G, Q, K, W) of rows that count by code, (K, n_codes)."""
        stream = self.stream
        parts = np.zeros((stream.n_groups, self.n_codes, posterior.shape[2]))
        stream.run(
            lambda g: kernels.table_sums(
                self.arranged[g], posterior[g], stream.counted[g], parts[g]
            )
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
            rows.arranged[group], table, self._top, rows.stream.seen[group],
            rows.stream.counted[group], float(not logs), out,
        )  # fmt: skip
        return float(total)

    def logs(self) -> Array:
        found = self._logs.T[self._rows.codes]
        return np.asarray(np.where(self._rows.stream.is_missing[:, None], 0.0, found))
