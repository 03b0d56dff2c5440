"""Rows for autoencoders: checked, in the form that networks see, and their constants."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from fastvi.base import checks
from fastvi.base.bags import Bags, bags_of_words
from fastvi.base.typing import AnyArray, Array
from fastvi.kernels.autoencoder import Data
from fastvi.kernels.networks import SparseRows

__all__ = ["Frame", "Rows", "frame_of", "rows_of"]

MOST_LEVELS = 65_536
COUNTS = ("poisson", "multinomial")


class Frame(NamedTuple):
    """How rows of X become what networks see: entries, units, and levels of categories."""

    likelihood: str
    n_features: int
    centre: Array  # (n_features,) subtracted from numbers
    scale: float  # by which numbers are divided then
    n_levels: int  # of each feature, if categorical; else of each group of entries that sum up

    @property
    def n_entries(self) -> int:
        """Number of entries of a row as networks see it."""
        return self.n_features * (self.n_levels if self.likelihood == "categorical" else 1)


class Rows(NamedTuple):
    """Rows in the form of kernels, and what each adds to its log likelihood (N,)."""

    data: Data
    constants: Array

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.constants)

    @property
    def is_sparse(self) -> bool:
        """Whether they are those of a CSR matrix."""
        return len(self.data.indptr) > 0

    def sparse(self, numbers: AnyArray) -> SparseRows:
        """Return those of these numbers in the form of sparse layers."""
        return SparseRows(numbers, self.data.indptr, self.data.indices, self.data.inputs)


def frame_of(likelihood: str, X: Any) -> Frame:
    """Return the frame of rows to fit, dense or sparse, checked by scikit-learn.

    Raises
    ------
    ValueError
        If categories are not integers from 0 to 65535.
    """
    n_features, n_levels = X.shape[1], 1
    centre, scale = np.zeros(n_features), 1.0
    if likelihood == "gaussian":
        checks.rows_to_fit(X)
        centre = X.mean(axis=0, dtype=np.float64)
        spread = float(np.sqrt(X.var(axis=0, dtype=np.float64).mean()))
        scale = spread if spread > 0 else 1.0
    elif likelihood == "categorical":
        _check_categories(X, MOST_LEVELS)
        n_levels = max(int(X.max()) + 1, 2)
    elif likelihood == "multinomial":
        n_levels = n_features
    return Frame(likelihood, n_features, centre, scale, n_levels)


def rows_of(frame: Frame, X: Any, name: str = "X") -> Rows:
    """Convert rows, dense or sparse, checked by scikit-learn.

    Raises
    ------
    ValueError
        If entries are out of the range of the likelihood.
    """
    is_sparse = hasattr(X, "indptr")
    bags = bags_of_words(X, name, np.float32) if is_sparse else None
    entries = X if bags is None else bags.counts
    if frame.likelihood == "bernoulli":
        _check_chances(entries, name)
    elif frame.likelihood in COUNTS:
        _check_counts(entries, name)
    if frame.likelihood == "categorical":
        return _one_hot(frame, X, name)
    if bags is not None:
        return _sparse_rows(frame, bags)
    if frame.likelihood == "gaussian":
        checks.new_rows(X, frame.centre, frame.scale, name)
        dense = ((X - frame.centre) / frame.scale).astype(np.float32)
        return Rows(_dense(dense), np.full(len(X), -X.shape[1] * np.log(frame.scale)))
    constants = np.zeros(len(X))
    if frame.likelihood in COUNTS:
        constants = -gammaln(X.astype(np.float64) + 1.0).sum(axis=1)
    if frame.likelihood == "multinomial":
        constants += gammaln(X.sum(axis=1, dtype=np.float64) + 1.0)
    return Rows(_dense(np.require(X, np.float32, ["C", "W", "A"])), constants)


def _check_chances(entries: AnyArray, name: str) -> None:
    if entries.size and not (entries.min() >= 0 and entries.max() <= 1):
        raise ValueError(
            f"{name} holds numbers from {entries.min():g} to {entries.max():g}; wanted numbers in "
            "[0, 1] for likelihood='bernoulli'"
        )


def _check_counts(entries: AnyArray, name: str) -> None:
    if entries.size and (entries.min() < 0 or np.any(entries != np.floor(entries))):
        raise ValueError(f"{name} must hold integers >= 0 for counts; it holds {_odd(entries):g}")


def _odd(entries: AnyArray) -> float:
    """Return the first entry that is not a count."""
    return float(entries[(entries < 0) | (entries != np.floor(entries))][0])


def _check_categories(X: AnyArray, n_levels: int, name: str = "X") -> None:
    if X.min() < 0 or X.max() >= n_levels or np.any(np.floor(X) != X):
        raise ValueError(
            f"{name} must hold integers from 0 to {n_levels - 1} for likelihood='categorical'; it "
            f"holds numbers from {X.min():g} to {X.max():g}"
        )


def _dense(dense: NDArray[np.float32]) -> Data:
    nothing = np.empty(0, np.float32)
    return Data(dense, np.empty(0, np.int64), np.empty(0, np.int32), nothing, nothing)


def _sparse_rows(frame: Frame, bags: Bags) -> Rows:
    indptr, indices, counts = bags.parts
    inputs, constants = counts, np.zeros(len(indptr) - 1)
    if frame.likelihood in COUNTS:
        inputs = np.log1p(counts)
        logs = np.concatenate([[0.0], np.cumsum(gammaln(counts.astype(np.float64) + 1.0))])
        constants = logs[indptr[:-1]] - logs[indptr[1:]]
    if frame.likelihood == "multinomial":
        sums = np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64)])
        constants += gammaln(sums[indptr[1:]] - sums[indptr[:-1]] + 1.0)
    return Rows(Data(np.empty((0, 0), np.float32), indptr, indices, counts, inputs), constants)


def _one_hot(frame: Frame, X: AnyArray, name: str) -> Rows:
    """Return rows of n_levels entries per feature, one of which is 1."""
    _check_categories(X, frame.n_levels, name)
    n, d = X.shape
    places = X.astype(np.int64) + frame.n_levels * np.arange(d)
    ones = np.ones(n * d, np.float32)
    data = Data(
        np.empty((0, 0), np.float32), np.arange(n + 1) * d, places.astype(np.int32).ravel(), ones,
        ones,
    )  # fmt: skip
    return Rows(data, np.zeros(n))
