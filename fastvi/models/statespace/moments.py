"""Sums over smoothed states that steps of linear systems need, and regressions on them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve

from fastvi.base.linear_algebra import cholesky_despite_rounding
from fastvi.base.typing import Array
from fastvi.models.statespace.passes import Smoothed
from fastvi.models.statespace.rows import SequenceRows

__all__ = ["Moments", "Regression", "moments", "own_squares", "regressed", "symmetric"]

SOME = 4096  # rows whose squares are in memory at a time


class Regression(NamedTuple):
    """Sums over rows of a regression of D numbers on N: E[z z'] (1 or D, N, N) and y E[z'] (D, N).

    `common` (N, N) is the part of each E[z z'] that comes from covariances.
    """

    gram: Array
    cross: Array
    common: Array


class Moments(NamedTuple):
    """What a step needs to know of smoothed states.

    Attributes
    ----------
    states : Smoothed
    rows : Regression
        Of rows on states, 1 and inputs; `common` by feature, (1 or D, K, K).
    steps : Regression
        Of states on the states before and inputs.
    now, lagged, before : (K, K) arrays
        Sums of covariances of states with a state before them, of both, and of the latter.
    """

    states: Smoothed
    rows: Regression
    steps: Regression
    now: Array
    lagged: Array
    before: Array


def moments(found: Smoothed, rows: SequenceRows) -> Moments:
    """Sum what states are expected to be."""
    k, means = found.means.shape[1], found.means
    z = np.hstack((means, rows.constant))
    spread, gram = _spread(found, rows), _grams(z, rows)
    gram[:, :k, :k] += spread
    of_rows = Regression(gram, rows.X.T @ z, spread)
    inside = rows.steps.astype(np.float64)
    later = np.flatnonzero(rows.steps)
    regressors = np.hstack((means[later - 1], rows.inputs[later]))
    now = found.total(found.covariance, inside)
    is_before: Array = np.where(rows.ends, 0.0, 1.0)
    before, lagged = found.total(found.covariance, is_before), found.total(found.cross, is_before)
    gram, cross = regressors.T @ regressors, means[later].T @ regressors
    gram[:k, :k] += before
    cross[:, :k] += lagged
    return Moments(found, of_rows, Regression(gram[None], cross, before), now, lagged, before)


def _grams(z: Array, rows: SequenceRows) -> Array:
    """Sums of z z' over rows that are there, (1, N, N), or by feature, (D, N, N)."""
    if rows.seen is None:
        kept = z if rows.whole.all() else z[rows.whole]
        return np.asarray((kept.T @ kept)[None])
    n = z.shape[1]
    found = np.zeros((rows.n_features, n * n))
    for begin in range(0, len(z), SOME):
        part = z[begin : begin + SOME]
        squares = (part[:, :, None] * part[:, None, :]).reshape(len(part), -1)
        found += rows.seen[begin : begin + SOME].T @ squares
    return found.reshape(-1, n, n)


def _spread(found: Smoothed, rows: SequenceRows) -> Array:
    """Sums of covariances over rows that are there, (1, K, K), or by feature, (D, K, K)."""
    if rows.seen is None:
        return found.total(found.covariance, rows.whole.astype(np.float64))[None]
    counts = [np.bincount(found.own, seen, len(found.covariance)) for seen in rows.seen.T]
    return np.asarray(np.tensordot(np.array(counts), found.covariance, 1))


def regressed(sums: Regression, old: Array, free: NDArray[np.bool_]) -> Array:
    """Coefficients (D, N) that fit best; those not free, (N,) of bool, stay as they are in old."""
    if not free.any():
        return old
    found = old.copy()
    cross = sums.cross[:, free]
    if not free.all():
        cross = cross - _times(old[:, ~free], sums.gram[:, ~free][:, :, free])
    for d, gram in enumerate(sums.gram[:, free][:, :, free]):
        which = slice(d, d + 1) if len(sums.gram) > 1 else slice(None)
        lower = cholesky_despite_rounding(gram)
        found[which, free] = cho_solve((lower, True), cross[which].T).T
    return found


def symmetric(matrix: Array) -> Array:
    """Remove what rounding has left."""
    return np.asarray(0.5 * (matrix + matrix.T))


def own_squares(coefficients: Array, matrices: Array) -> Array:
    """Quadratic forms of coefficients (D, N) with matrices (1 or D, N, N), (D,)."""
    return np.asarray(np.einsum("di,di->d", coefficients, _times(coefficients, matrices)))


def _times(coefficients: Array, matrices: Array) -> Array:
    if len(matrices) == 1:
        return np.asarray(coefficients @ matrices[0])
    return np.asarray(np.einsum("di,dij->dj", coefficients, matrices))
