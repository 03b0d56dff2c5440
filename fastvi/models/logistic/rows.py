"""Rows of logistic regression: dense arrays, or CSR arrays that are made dense block by block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse, sparray, spmatrix

from fastvi.base import checks
from fastvi.base.typing import AnyArray
from fastvi.batches import InMemory

__all__ = [
    "Features",
    "LabelledRows",
    "Rows",
    "arrays",
    "blocks",
    "canonical",
    "check",
    "dense",
    "mean_squares",
    "reach",
]

Features: TypeAlias = AnyArray | csr_array  # (n, D)
DENSE_ENTRIES = 1 << 20  # of the blocks in which sparse rows are made dense


class Rows(NamedTuple):
    """A block of data: features (n, D), targets (n,) and weights (n,).

    Targets are y - 1/2 with y in {0, 1}, or numbers of more than two classes. A row of weight w
    counts as w rows.
    """

    features: Features
    targets: AnyArray
    weights: NDArray[np.float64]


class LabelledRows(InMemory):
    """Rows in memory; for two classes `norms` bounds their statistics, for importance sampling.

    `intercept` says that the model adds a column of ones, which they include. `weights` (n_rows,)
    are 1 by default. If its logits are 0, a row's statistics have the norms ``sizes[0] * |x|`` and
    ``sizes[1] * |x|^2``.
    """

    def __init__(
        self,
        features: Features,
        targets: AnyArray,
        intercept: bool = False,
        weights: NDArray[np.float64] | None = None,
        sizes: tuple[float, float] = (0.5, 0.25),
    ) -> None:
        weights = np.ones(len(targets)) if weights is None else weights
        self.rows, self.n_rows = Rows(features, targets, weights), len(targets)
        self.intercept, self.sizes = intercept, sizes

    @property
    def norms(self) -> NDArray[np.float64]:
        """Norm of each row's statistics if its logits are 0, (n_rows,)."""
        parts = [
            np.einsum("ij,ij->i", block, block, dtype=np.float64)
            for block in blocks(self.rows.features)
        ]
        length = np.sqrt(np.concatenate(parts) + self.intercept)
        linear, quadratic = self.sizes
        return np.asarray(self.rows.weights * length * np.hypot(linear, quadratic * length))


def canonical(X: Features | spmatrix | sparray) -> Features:
    """Return a CSR array without duplicates; dense arrays as they are."""
    if not issparse(X):
        return X
    X = csr_array(X)
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    return X


def check(X: Features) -> None:
    """Refuse rows whose squares overflow, as `fastvi.base.checks.rows_to_fit`."""
    values = X if isinstance(X, np.ndarray) else X.data[:, None]
    if values.size:
        checks.rows_to_fit(values)


def arrays(X: Features) -> tuple[AnyArray, ...]:
    """The arrays that hold the rows."""
    if isinstance(X, np.ndarray):
        return (X,)
    return X.data, X.indices, X.indptr, np.array(X.shape)


def dense(features: Features, start: int, stop: int) -> AnyArray:
    """Rows start..stop as a dense array."""
    part = features[start:stop]
    return part if isinstance(part, np.ndarray) else np.asarray(part.toarray())


def blocks(features: Features) -> Iterator[AnyArray]:
    """Yield all rows as dense arrays; those that are dense already at once."""
    n, n_columns = features.shape
    size = max(1, DENSE_ENTRIES // n_columns) if issparse(features) else n
    for start in range(0, n, size):
        yield dense(features, start, start + size)


def reach(features: Features) -> NDArray[np.float64]:
    """Largest absolute value of each column, (D,)."""
    most = abs(features).max(axis=0)
    return np.asarray(most.toarray() if issparse(most) else most, np.float64).reshape(-1)


def mean_squares(X: Features, weights: NDArray[np.float64], intercept: bool) -> NDArray[np.float64]:
    """Weighted means of squared columns, including that of an intercept, (n_coefficients,)."""
    shares = weights / weights.sum()
    squares, start = np.zeros(X.shape[1]), 0
    for block in blocks(X):
        part = shares[start : start + len(block)]
        squares += np.einsum("i,ij,ij->j", part, block, block, dtype=np.float64)
        start += len(block)
    return np.append(squares, 1.0) if intercept else squares
