"""Linear systems with posteriors over their parameters, without scikit-learn.

Beal (2003), "Variational algorithms for approximate Bayesian inference", chapter 5: the noise of
states is standard normal, the posterior of states is exact given that of parameters, and columns
of the transition and of the loadings have precisions of their own, here with Gamma posteriors.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import gammaln, psi

from fastvi.base import tree
from fastvi.base.linear_algebra import cholesky_despite_rounding
from fastvi.base.typing import Array
from fastvi.core import Batch, Coordinates, Local
from fastvi.kernels.kalman import Rows
from fastvi.models.statespace.moments import Regression, moments, own_squares, symmetric
from fastvi.models.statespace.passes import Smoothed, smooth_rows
from fastvi.models.statespace.posteriors import Systems, confined, units_of, weighted_squares
from fastvi.models.statespace.rows import SequenceRows
from fastvi.models.statespace.system import (
    LOG_2PI,
    Linear,
    by_pattern,
    chain_of,
    drift_of,
    lower_root,
    stacked_roots,
)  # fmt: skip

__all__ = ["Priors", "VariationalLinear"]


class Priors(NamedTuple):
    """Shapes and rates of Gamma priors of the rows' noise precisions and of the precisions of
    columns, and the precision of coefficients of inputs and offsets.
    """

    noise_shape: float = 1e-3
    noise_rate: float = 1e-3
    column_shape: float = 1e-3
    column_rate: float = 1e-3
    inputs: float = 1e-3


class VariationalLinear:
    """The variational posterior of a linear system, in the form of a conjugate model.

    Its `local` returns the next posteriors in place of statistics, under a prior of zeros, so a
    step of rate 1 goes there; the bound, at the posterior of states that is best for the present
    ones, never falls.

    Parameters
    ----------
    priors : Priors
    keeps_start : tuple of bool
        Whether mean and covariance of first states stay as they are.
    constant : float
        Added to the bound.
    """

    coordinates: Coordinates | None = None

    def __init__(
        self,
        priors: Priors,
        keeps_start: tuple[bool, bool] = (False, False),
        constant: float = 0.0,
    ) -> None:
        self.priors, self.keeps_start, self.constant = priors, keeps_start, constant
        self.prior: Any = None  # of the form of the parameters, which `begin` makes

    def begin(self, start: Linear, rows: SequenceRows) -> Systems:
        """Return posteriors around a system whose noise of states is standard normal."""
        steps = np.hstack((start.transition, start.inputs))
        of_rows = np.hstack((start.loadings, start.offsets))
        n, k, d = max(len(rows.X), 1), len(start.mean), rows.n_features
        many = 1 if rows.seen is None else d
        shapes = self.priors.noise_shape + 0.5 * rows.counts
        shared = self.priors.column_rate + 0.5 * (np.square(steps[:, :k]).sum(axis=0) + k / n)
        noise = 1.0 / start.rows_noise
        own = np.square(of_rows[:, :k]).T @ noise + d / n
        found = Systems(
            start.mean, start.covariance, steps, np.eye(steps.shape[1]) / n, shared, of_rows,
            np.tile(np.eye(of_rows.shape[1]) / n, (many, 1, 1)),
            self.priors.column_rate + 0.5 * own, shapes, shapes * start.rows_noise,
        )  # fmt: skip
        self.prior = tree.map_leaves(np.zeros_like, found)
        return found

    def local(
        self,
        params: Systems,
        batch: Batch,
        start: Any,
        rng: np.random.Generator,
        *,
        norms: bool = False,
    ) -> Local:
        """Smooth the states, and find the posteriors that are best given theirs."""
        rows: SequenceRows = batch.rows
        found, bound = self.smoothed(params, rows)
        return Local(self._updated(params, rows, found), bound + self.constant, None)

    def smoothed(self, params: Systems, rows: SequenceRows) -> tuple[Smoothed, float]:
        """The posterior of states, and the log of its norm, in nats."""
        k, means = len(params.mean), params.point()
        scale = np.sqrt(params.precisions)
        loadings = scale[:, None] * means.loadings
        there = rows.patterns.astype(np.float64)
        widths = _widths(params.rows_covariance, there)
        spread = len(params.steps) * params.steps_covariance
        seen = there[rows.pattern] if len(there) > 1 else 1.0
        rest = (rows.X - rows.constant @ means.offsets.T) * scale * seen
        goes_on = (~rows.ends)[:, None].astype(np.float64)
        ahead = np.zeros_like(rows.inputs)  # inputs of the next row
        ahead[:-1] = rows.inputs[1:]
        linear = rest @ loadings - by_pattern(rows.constant, widths[:, :k, k:], rows)
        linear -= goes_on * (ahead @ spread[:k, k:].T)
        roots = _roots(there[:, :, None] * loadings, widths[:, :k, :k], spread[:k, :k])
        said = Rows(
            rows.begins, rows.pattern + len(there) * rows.ends, roots,
            roots.swapaxes(1, 2) @ roots, linear, drift_of(means, rows),
        )  # fmt: skip
        found = smooth_rows(chain_of(means), said)
        states = found.filtered.means
        rest -= states @ loadings.T * seen
        z, r = np.hstack((states, rows.constant)), np.hstack((states, ahead)) * goes_on
        away = np.sum(np.square(rest)) + np.sum(by_pattern(z, widths, rows) * z)
        away += np.sum((r @ spread) * r)
        logs = psi(params.noise_shapes) - np.log(params.noise_rates) - LOG_2PI
        total = found.filtered.log_norms.sum() - 0.5 * away + 0.5 * rows.counts @ logs
        return found, float(total)

    def _updated(self, params: Systems, rows: SequenceRows, found: Smoothed) -> Systems:
        k, priors, sums = len(params.mean), self.priors, moments(found, rows)
        shape = priors.column_shape + 0.5 * k
        precision = np.full(params.steps.shape[1], priors.inputs)
        precision[:k] = shape / params.steps_rates
        steps, steps_covariance = _posterior(sums.steps, precision)
        squares = np.square(steps).sum(axis=0) + k * np.diag(steps_covariance[0])
        steps_rates = priors.column_rate + 0.5 * squares[:k]
        precision = np.full(params.rows.shape[1], priors.inputs)
        precision[:k] = self._rows_shape(params) / params.rows_rates
        of_rows, rows_covariance = _posterior(sums.rows, precision)
        shapes = priors.noise_shape + 0.5 * rows.counts
        rest = rows.X - found.means @ of_rows[:, :k].T - rows.constant @ of_rows[:, k:].T
        rest *= rows.mask
        squares = np.einsum("ij,ij->j", rest, rest) + np.square(of_rows) @ precision
        squares += own_squares(of_rows[:, :k], sums.rows.common)
        rates = priors.noise_rate + 0.5 * squares
        squares = weighted_squares(of_rows, rows_covariance, shapes / rates)
        mean, covariance = self._start(params, rows, found)
        return Systems(
            mean, covariance, steps, steps_covariance[0], steps_rates, of_rows, rows_covariance,
            priors.column_rate + 0.5 * squares[:k], shapes, rates,
        )  # fmt: skip

    def _rows_shape(self, params: Systems) -> float:
        return self.priors.column_shape + 0.5 * len(params.rows)

    def _start(self, params: Systems, rows: SequenceRows, found: Smoothed) -> tuple[Array, Array]:
        first = found.means[rows.begins]
        mean = params.mean if self.keeps_start[0] else first.mean(axis=0)
        if self.keeps_start[1]:
            return mean, params.covariance
        away = first - mean
        total = away.T @ away + found.total(found.covariance, rows.begins.astype(np.float64))
        return mean, symmetric(total / len(first))

    def global_bound(self, params: Systems) -> float:
        """Minus the Kullback-Leibler divergence of the parameters' posterior, in nats."""
        priors, k = self.priors, len(params.mean)
        shape = priors.column_shape + 0.5 * k
        squares = np.square(params.steps).sum(axis=0) + k * np.diag(params.steps_covariance)
        logs, means = _gamma(shape, params.steps_rates)
        steps = 0.5 * (k * logs.sum() - means @ squares[:k] - priors.inputs * squares[k:].sum())
        steps += 0.5 * k * np.linalg.slogdet(params.steps_covariance)[1]
        n_inputs = params.steps.shape[1] - k
        steps += 0.5 * k * (params.steps.shape[1] + n_inputs * np.log(priors.inputs))
        steps -= _gamma_divergence(
            shape, params.steps_rates, priors.column_shape, priors.column_rate
        )
        d, n = params.rows.shape
        shape = self._rows_shape(params)
        logs, means = _gamma(shape, params.rows_rates)
        squares = weighted_squares(params.rows, params.rows_covariance, params.precisions)
        rows = 0.5 * (d * logs.sum() - means @ squares[:k] - priors.inputs * squares[k:].sum())
        rows += 0.5 * np.broadcast_to(np.linalg.slogdet(params.rows_covariance)[1], d).sum()
        rows += 0.5 * d * (n + (n - k) * np.log(priors.inputs))
        rows -= _gamma_divergence(shape, params.rows_rates, priors.column_shape, priors.column_rate)
        rows -= _gamma_divergence(
            params.noise_shapes, params.noise_rates, priors.noise_shape, priors.noise_rate
        )
        return float(steps + rows)

    def confine(self, params: Systems, step: Systems) -> Systems:
        """Return the step, shortened until it stays in the domain."""
        return confined(params, step, self.keeps_start)

    def units(self, params: Systems) -> Systems:
        """See `fastvi.models.acceleration`."""
        return units_of(params)


def _posterior(sums: Regression, precision: Array) -> tuple[Array, Array]:
    """Means (D, N) and covariances (1 or D, N, N) of coefficients with prior precisions (N,)."""
    lower = np.stack([cholesky_despite_rounding(g + np.diag(precision)) for g in sums.gram])
    inverse = np.linalg.inv(lower)
    covariance = inverse.swapaxes(1, 2) @ inverse
    if len(covariance) == 1:
        return sums.cross @ covariance[0], covariance
    return np.asarray(np.einsum("dj,djk->dk", sums.cross, covariance)), covariance


def _widths(covariances: Array, there: Array) -> Array:
    """Sums of covariances (1 or D, N, N) of what is there (P, D), (P, N, N)."""
    if len(covariances) == 1:
        return np.asarray(there.sum(axis=1)[:, None, None] * covariances[0])
    return np.asarray(np.tensordot(there, covariances, 1))


def _roots(loadings: Array, widths: Array, spread: Array) -> Array:
    """Roots of what patterns say (2 P, m, K): before another row of a sequence, and at its end."""
    k = loadings.shape[2]
    own = np.stack([lower_root(width).T for width in widths])
    ahead = np.broadcast_to(lower_root(spread).T, (len(loadings), k, k))
    before = np.concatenate((loadings, own, ahead), axis=1)
    last = np.concatenate((loadings, own, np.zeros_like(ahead)), axis=1)
    return stacked_roots(np.concatenate((before, last)))


def _gamma(shape: float, rates: Array) -> tuple[Array, Array]:
    """E[log x] and E[x] of Gamma distributions."""
    return psi(shape) - np.log(rates), shape / rates


def _gamma_divergence(shape: Any, rates: Array, shape_0: float, rate_0: float) -> float:
    """Sum of Kullback-Leibler divergences of Gamma distributions from one, in nats."""
    found = (shape - shape_0) * psi(shape) - gammaln(shape) + gammaln(shape_0)
    found = found + shape_0 * (np.log(rates) - np.log(rate_0)) + shape * (rate_0 - rates) / rates
    return float(np.sum(found))
