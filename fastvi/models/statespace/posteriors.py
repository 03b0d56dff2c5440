"""Posteriors of the parameters of linear systems, their scales, and steps that stay valid."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastvi.base.typing import Array
from fastvi.core import scale
from fastvi.models.statespace.system import Linear

__all__ = ["Systems", "confined", "units_of", "weighted_squares"]

HALVINGS = 30
LEAST = 0.1  # share of a rate that a step leaves


class Systems(NamedTuple):
    """Posteriors of a linear system's parameters.

    Attributes
    ----------
    mean, covariance : (K,) and (K, K) arrays
        Of first states; point estimates.
    steps, steps_covariance : (K, K + U) and (K + U, K + U) arrays
        Of the transition and coefficients of inputs; rows have the same covariance.
    steps_rates : (K,) array
        Rates of precisions of the transition's columns.
    rows, rows_covariance : (D, K + 1 + U) and (1 or D, K + 1 + U, K + 1 + U) arrays
        Of loadings and offsets; their covariance is divided by the row's noise precision.
    rows_rates : (K,) array
        Rates of precisions of the loadings' columns.
    noise_shapes, noise_rates : (D,) arrays
        Of the rows' noise precisions.
    """

    mean: Array
    covariance: Array
    steps: Array
    steps_covariance: Array
    steps_rates: Array
    rows: Array
    rows_covariance: Array
    rows_rates: Array
    noise_shapes: Array
    noise_rates: Array

    @property
    def precisions(self) -> Array:
        """E[noise precision] of rows, (D,)."""
        return self.noise_shapes / self.noise_rates

    @classmethod
    def empty(cls, d: int, k: int, u: int, many: int) -> Systems:
        """Of these shapes."""
        return cls(
            np.zeros(k), np.zeros((k, k)), np.zeros((k, k + u)), np.zeros((k + u, k + u)),
            np.zeros(k), np.zeros((d, k + 1 + u)), np.zeros((many, k + 1 + u, k + 1 + u)),
            np.zeros(k), np.zeros(d), np.zeros(d),
        )  # fmt: skip

    @property
    def n_relevant(self) -> int:
        """Number of states whose columns are more than noise in the loadings or transition."""
        k = len(self.mean)
        of_rows = self.precisions @ np.square(self.rows[:, :k])
        all_rows = weighted_squares(self.rows, self.rows_covariance, self.precisions)[:k]
        steps = np.square(self.steps[:, :k]).sum(axis=0)
        all_steps = steps + k * np.diag(self.steps_covariance)[:k]
        return int(np.sum((of_rows > 0.5 * all_rows) | (steps > 0.5 * all_steps)))

    def point(self) -> Linear:
        """The system at posterior means (of precisions, for the noise)."""
        k = len(self.mean)
        return Linear(
            self.mean, self.covariance, self.steps[:, :k], self.steps[:, k:], np.eye(k),
            self.rows[:, :k], self.rows[:, k:], 1.0 / self.precisions,
        )  # fmt: skip


def weighted_squares(rows: Array, covariances: Array, precisions: Array) -> Array:
    """Sum over features of E[noise precision * coefficient^2], (N,)."""
    widths = np.diagonal(covariances, axis1=1, axis2=2)
    total = np.broadcast_to(widths, rows.shape).sum(axis=0)
    return np.asarray(precisions @ np.square(rows) + total)


def units_of(params: Systems) -> Systems:
    """Positive numbers in the form of the posteriors: changes of one unit matter equally."""
    widths = _deviations(params.rows_covariance) / np.sqrt(params.precisions)[:, None]
    return Systems(
        np.ones_like(params.mean), _products(params.covariance) + 1e-6,
        np.broadcast_to(_deviations(params.steps_covariance), params.steps.shape),
        _products(params.steps_covariance), params.steps_rates, widths,
        _products(params.rows_covariance), params.rows_rates, params.noise_shapes,
        params.noise_rates,
    )  # fmt: skip


def confined(params: Systems, step: Systems, keeps_start: tuple[bool, bool]) -> Systems:
    """Return the step, halved until rates stay positive and covariances positive definite."""
    mean, covariance = (0.0 if kept else 1.0 for kept in keeps_start)
    step = step._replace(mean=mean * step.mean, covariance=covariance * step.covariance)
    for halvings in range(HALVINGS):
        short: Systems = scale(step, 0.5**halvings)
        if _is_inside(params, short):
            return short
    nothing: Systems = scale(step, 0.0)
    return nothing


def _is_inside(params: Systems, step: Systems) -> bool:
    pairs = (
        (params.steps_rates, step.steps_rates), (params.rows_rates, step.rows_rates),
        (params.noise_rates, step.noise_rates),
    )  # fmt: skip
    if not all(np.all(rates + change > LEAST * rates) for rates, change in pairs):
        return False
    try:
        if np.any(step.covariance):
            np.linalg.cholesky(params.covariance + step.covariance)
        np.linalg.cholesky(params.steps_covariance + step.steps_covariance)
        np.linalg.cholesky(params.rows_covariance + step.rows_covariance)
    except np.linalg.LinAlgError:
        return False
    return True


def _deviations(covariances: Array) -> Array:
    variances = np.diagonal(covariances, axis1=-2, axis2=-1)
    return np.asarray(np.sqrt(np.maximum(variances, 1e-300)))


def _products(covariances: Array) -> Array:
    deviations = _deviations(covariances)
    return np.asarray(deviations[..., :, None] * deviations[..., None, :])
