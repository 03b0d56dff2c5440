"""Linear systems fitted by expectation maximisation, without scikit-learn.

Shumway and Stoffer (1982), "An approach to time series smoothing and forecasting using the EM
algorithm", section 3, with inputs, missing numbers, and parameters that are kept.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve

from fastvi.base import tree
from fastvi.base.linear_algebra import cholesky_despite_rounding
from fastvi.base.typing import Array
from fastvi.core import Batch, Coordinates, Local
from fastvi.models.statespace.passes import Smoothed
from fastvi.models.statespace.rows import SequenceRows
from fastvi.models.statespace.system import Linear, smoothed

__all__ = [
    "Kept",
    "LinearModel",
    "Moments",
    "Regression",
    "moments",
    "own_squares",
    "regressed",
    "symmetric",
]

LEAST = 1e-10  # variance of the noise of rows; without noise the likelihood has no maximum
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


class Kept(NamedTuple):
    """Which parameters a fit leaves as they are, and forms of covariances."""

    mean: bool = False
    covariance: bool = False
    transition: bool = False
    noise: bool = False
    loadings: bool = False
    offsets: bool = False
    rows_noise: bool = False
    diagonal_noise: bool = False


class LinearModel:
    """Expectation maximisation of a linear system, in the form of a conjugate model.

    Its `local` returns the next parameters in place of statistics, under a prior of zeros, so a
    step of rate 1 goes there. The bound of a step is the log likelihood before it.

    Parameters
    ----------
    template : Linear
        Of the right shapes.
    kept : Kept
    constant : float
        Added to the log likelihood.
    """

    coordinates: Coordinates | None = None

    def __init__(self, template: Linear, kept: Kept, constant: float = 0.0) -> None:
        self.kept, self.constant = kept, constant
        self.prior: Linear = tree.map_leaves(np.zeros_like, template)

    def local(
        self,
        params: Linear,
        batch: Batch,
        start: Any,
        rng: np.random.Generator,
        *,
        norms: bool = False,
    ) -> Local:
        """Smooth the states, and find the parameters that maximise under them."""
        rows: SequenceRows = batch.rows
        found, densities = smoothed(params, rows)
        bound = float(densities.sum()) + self.constant
        return Local(self._maximised(params, rows, moments(found, rows)), bound, None)

    def _maximised(self, params: Linear, rows: SequenceRows, sums: Moments) -> Linear:
        k, kept = len(params.mean), self.kept
        mean, covariance = self._start(params, rows, sums.states)
        old = np.hstack((params.transition, params.inputs))
        free = np.arange(old.shape[1]) >= (k if kept.transition else 0)
        both = regressed(sums.steps, old, free) if rows.steps.any() else old
        transition, inputs = both[:, :k], both[:, k:]
        noise = params.noise
        if not kept.noise and rows.steps.any():
            noise = _states_noise(transition, inputs, rows, sums)
            noise = np.diag(np.diag(noise)) if kept.diagonal_noise else noise
        old = np.hstack((params.loadings, params.offsets))
        free = np.append(np.full(k, not kept.loadings), np.full(old.shape[1] - k, True))
        free[k] = not kept.offsets
        both = regressed(sums.rows, old, free)
        loadings, offsets = both[:, :k], both[:, k:]
        rows_noise = params.rows_noise
        if not kept.rows_noise:
            rows_noise = _rows_noise(loadings, offsets, params.rows_noise.ndim, rows, sums)
        parts = mean, covariance, transition, inputs, noise, loadings, offsets, rows_noise
        return Linear(*map(np.ascontiguousarray, parts))

    def _start(self, params: Linear, rows: SequenceRows, states: Smoothed) -> tuple[Array, Array]:
        """Mean and covariance of first states."""
        first = states.means[rows.begins]
        mean = params.mean if self.kept.mean else first.mean(axis=0)
        if self.kept.covariance:
            return mean, params.covariance
        away = first - mean
        total = away.T @ away + states.total(states.covariance, rows.begins.astype(np.float64))
        return mean, symmetric(total / len(first))

    def global_bound(self, params: Linear) -> float:
        """Return 0: parameters are points."""
        return 0.0

    def confine(self, params: Linear, step: Linear) -> Linear:
        """Return the step, which never leaves the domain."""
        return step


def _states_noise(transition: Array, inputs: Array, rows: SequenceRows, sums: Moments) -> Array:
    """Covariance of the noise of states, given the rest."""
    later = np.flatnonzero(rows.steps)
    means = sums.states.means
    rest = means[later] - means[later - 1] @ transition.T - rows.inputs[later] @ inputs.T
    half = sums.lagged @ transition.T
    spread = sums.now - half - half.T + transition @ sums.before @ transition.T
    return symmetric((rest.T @ rest + spread) / len(later))


def _rows_noise(
    loadings: Array, offsets: Array, dimensions: int, rows: SequenceRows, sums: Moments
) -> Array:
    """Variances or covariance of the noise of rows, given the rest."""
    rest = rows.X - sums.states.means @ loadings.T - rows.constant @ offsets.T
    if dimensions == 2:
        kept = rest[rows.whole]
        spread = loadings @ sums.rows.common[0] @ loadings.T
        return _at_least(symmetric((kept.T @ kept + spread) / len(kept)))
    if rows.seen is not None:
        rest *= rows.seen
    elif not rows.whole.all():
        rest = rest[rows.whole]
    squares = np.einsum("ij,ij->j", rest, rest) + own_squares(loadings, sums.rows.common)
    return np.asarray(np.maximum(squares / rows.counts, LEAST))


def _at_least(covariance: Array) -> Array:
    """The covariance, with eigenvalues that are not below `LEAST`: the best among those."""
    values, vectors = np.linalg.eigh(covariance)
    if values[0] >= LEAST:
        return covariance
    return symmetric((vectors * np.maximum(values, LEAST)) @ vectors.T)


def own_squares(coefficients: Array, matrices: Array) -> Array:
    """Quadratic forms of coefficients (D, N) with matrices (1 or D, N, N), (D,)."""
    return np.asarray(np.einsum("di,di->d", coefficients, _times(coefficients, matrices)))


def _times(coefficients: Array, matrices: Array) -> Array:
    if len(matrices) == 1:
        return np.asarray(coefficients @ matrices[0])
    return np.asarray(np.einsum("di,dij->dj", coefficients, matrices))
