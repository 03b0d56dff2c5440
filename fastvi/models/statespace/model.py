"""Linear systems fitted by expectation maximisation, without scikit-learn.

Shumway and Stoffer (1982), "An approach to time series smoothing and forecasting using the EM
algorithm", section 3, with inputs, missing numbers, and parameters that are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastvi.base import tree
from fastvi.base.typing import Array
from fastvi.core import Batch, Coordinates, Local
from fastvi.models.statespace.completed import completed
from fastvi.models.statespace.moments import Moments, moments, own_squares, regressed, symmetric
from fastvi.models.statespace.passes import Smoothed
from fastvi.models.statespace.rows import SequenceRows
from fastvi.models.statespace.system import Linear, smoothed

__all__ = ["Kept", "LinearModel"]

LEAST = 1e-10  # variance of the noise of rows; without noise the likelihood has no maximum
LEAST_SHARE, HALVINGS = 0.1, 30  # of variances, that an extrapolation leaves
VARIANCES = ("covariance", "noise", "rows_noise")


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
        if rows.seen is None or params.rows_noise.ndim == 1:
            return Local(self._maximised(params, rows, moments(found, rows)), bound, None)
        whole = completed(params, rows, found)
        sums = moments(found, whole.rows)
        sums.rows.cross[:, : len(params.mean)] += whole.cross
        return Local(self._maximised(params, whole.rows, sums, whole.squares), bound, None)

    def _maximised(
        self,
        params: Linear,
        rows: SequenceRows,
        sums: Moments,
        spread: Callable[[Array], Array] | None = None,
    ) -> Linear:
        """The system of largest expected log density.

        `spread` has what covariances add to the sum of squared residuals at loadings, where this
        is not `sums.rows.common` between them.
        """
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
            rows_noise = _rows_noise(loadings, offsets, params.rows_noise.ndim, rows, sums, spread)
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
        """Return the step, shortened where covariances would not stay positive definite."""
        parts = {name: _confined(getattr(params, name), getattr(step, name)) for name in VARIANCES}
        if parts["rows_noise"].any():  # not below what a step leaves
            noise = params.rows_noise + parts["rows_noise"]
            noise = np.maximum(noise, LEAST) if noise.ndim == 1 else _at_least(noise)
            parts["rows_noise"] = noise - params.rows_noise
        return step._replace(**parts)

    def units(self, params: Linear) -> Linear:
        """See `fastvi.models.acceleration`."""
        rows = np.sqrt(_variances(params.rows_noise))
        own = np.sqrt(np.diag(params.noise))
        said = np.sqrt(np.square(params.loadings / rows[:, None]).sum(axis=0))
        states = np.where(own > 0, own, 1.0 / np.where(said > 0, said, 1.0))
        first = np.sqrt(np.diag(params.covariance)) + states
        noise = rows if params.rows_noise.ndim == 1 else np.outer(rows, rows)
        return Linear(
            first, np.outer(first, first), np.outer(states, 1.0 / states),
            _repeated(states, params.inputs.shape[1]), np.outer(states, states),
            np.outer(rows, 1.0 / states), _repeated(rows, params.offsets.shape[1]),
            noise if params.rows_noise.ndim == 2 else np.square(rows),
        )  # fmt: skip


def _variances(noise: Array) -> Array:
    return noise if noise.ndim == 1 else np.diag(noise)


def _repeated(column: Array, n: int) -> Array:
    return np.repeat(column[:, None], n, axis=1)


def _confined(covariance: Array, step: Array) -> Array:
    """The step of a covariance or of variances, halved until a tenth of them would be left."""
    if not step.any():
        return step
    for halvings in range(HALVINGS):
        short = 0.5**halvings * step
        if covariance.ndim == 1:
            if np.all(short > (LEAST_SHARE - 1.0) * covariance):
                return short
        elif _is_definite((1.0 - LEAST_SHARE) * covariance + short):
            return short
    return np.zeros_like(step)


def _is_definite(matrix: Array) -> bool:
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return False
    return True


def _states_noise(transition: Array, inputs: Array, rows: SequenceRows, sums: Moments) -> Array:
    """Covariance of the noise of states, given the rest."""
    later = np.flatnonzero(rows.steps)
    means = sums.states.means
    rest = means[later] - means[later - 1] @ transition.T - rows.inputs[later] @ inputs.T
    half = sums.lagged @ transition.T
    spread = sums.now - half - half.T + transition @ sums.before @ transition.T
    return symmetric((rest.T @ rest + spread) / len(later))


def _rows_noise(
    loadings: Array,
    offsets: Array,
    dimensions: int,
    rows: SequenceRows,
    sums: Moments,
    spread: Callable[[Array], Array] | None,
) -> Array:
    """Variances or covariance of the noise of rows, given the rest."""
    rest = rows.X - sums.states.means @ loadings.T - rows.constant @ offsets.T
    if dimensions == 2:
        kept = rest[rows.whole]
        own = spread(loadings) if spread else loadings @ sums.rows.common[0] @ loadings.T
        return _at_least(symmetric((kept.T @ kept + own) / len(kept)))
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
