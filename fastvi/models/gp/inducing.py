"""Inducing inputs to begin with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastvi.kernels.covariance import Program
from fastvi.models.gp.covariance import Covariance

__all__ = ["distinct_rows", "greedy", "subset"]

Array = NDArray[np.float64]
MAX_ENTRIES = 1 << 23  # of the factor that `greedy` holds


def distinct_rows(x: Array) -> NDArray[np.int64]:
    """Numbers of rows (N, D) of which no two are equal, in their order."""
    _, first = np.unique(x, axis=0, return_index=True)
    return np.sort(first)


def subset(x: Array, m: int, rng: np.random.Generator) -> Array:
    """M of the rows, drawn without replacement."""
    return x[np.sort(rng.choice(len(x), m, replace=False))]


def greedy(
    covariance: Covariance, program: Program, x: Array, m: int, rng: np.random.Generator
) -> Array:
    """Rows one after the other, each where the variance given the ones before is largest.

    The greedy maximiser of det K(z, z) (Burt, Rasmussen and van der Wilk 2020, section 7.1), by a
    pivoted Cholesky factorization. Of many rows, a random part is looked at. Fewer than M where
    the rows have no variance left.
    """
    n_most = max(2 * m, MAX_ENTRIES // max(m, 1))
    if len(x) > n_most:
        x = subset(x, n_most, rng)
    x = np.ascontiguousarray(x)
    left = covariance.diagonal(program, x).copy()
    least = 1e-10 * float(left.max(initial=0.0))
    columns = covariance.scaled(program, x)
    factor = np.empty((m, len(x)))
    chosen: list[int] = []
    row = np.empty((1, len(x)))
    while len(chosen) < m:
        best = int(left.argmax())
        if left[best] <= least:
            break
        covariance.fill(program, x[best : best + 1], columns, row)
        done = factor[: len(chosen)]
        new = (row[0] - done[:, best] @ done) / np.sqrt(left[best])
        factor[len(chosen)] = new
        left -= np.square(new)
        left[best] = 0.0
        chosen.append(best)
    return x[chosen]
