"""Uncertainty of the regression of topics on covariates, and what it says of proportions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastvi.base.typing import Array
from fastvi.models.files import Saved
from fastvi.models.topics.correlated_model import CorrelatedParameters, Moments, ridge
from fastvi.models.topics.correlated_simulated import Refits
from fastvi.models.topics.covariates import Column, Covariates, values_of

__all__ = ["Effect", "Regression"]

LEAST_INFORMATION = 0.01  # share of a direction's information that documents are taken to hold
DOUBT = 1 / 3  # standard error of a correction, over its size: it is that of the fit, not the truth
N_DRAWS = 256  # pairs, of log weights about their mean


class Effect(NamedTuple):
    """Expected topic proportions at values of a covariate, the others at their means.

    Attributes
    ----------
    values : list of float or of str
    proportions, standard_errors : (n_values, n_components) arrays
    """

    values: list[Any]
    proportions: Array
    standard_errors: Array


class Regression(NamedTuple):
    """The fitted regression of log weights on covariates.

    Attributes
    ----------
    covariates : Covariates
    coefficients, covariance, uncertainty : arrays
        As in `CorrelatedParameters`.
    gram : (1 + P, 1 + P) array
        Second moments of the design plus the prior's precision.
    means : (1 + P,) array
        Means of the design's columns.
    inflation : array
        Factor of variances, for what they leave out.
    correction : (1 + P, K) array
        What was taken out of the coefficients as bias.
    """

    covariates: Covariates
    coefficients: Array
    covariance: Array
    uncertainty: Array
    gram: Array
    means: Array
    inflation: Array
    correction: Array

    @classmethod
    def of(cls, params: CorrelatedParameters, covariates: Covariates, design: Array) -> Regression:
        """Make it from the design matrix (D, 1 + P) of a fit."""
        gram = design.T @ design + np.diag(ridge(design.shape[1]))
        nothing = np.zeros_like(params.coefficients)
        return cls(covariates, *params[1:], gram, design.mean(axis=0), np.ones(()), nothing)

    @classmethod
    def restored(cls, saved: Saved, covariates: Covariates, n_topics: int) -> Regression:
        """Read it from a file, where it is named "regression"."""
        k, width = n_topics, 1 + len(covariates.names)
        shapes = (width, k), (k, k), (k, k), (width, width), (width,), (), (width, k)
        arrays = saved.tree("regression", tuple(np.zeros(shape) for shape in shapes))
        return cls(covariates, *arrays)

    def corrected(self, params: CorrelatedParameters, refits: Refits) -> Regression:
        """Return it without the bias, and with the spread, of fits to simulated documents."""
        better = refits.correct(params)
        regression = self._replace(coefficients=better.coefficients, covariance=better.covariance)
        inverse = np.linalg.inv(self.gram)
        sampling = inverse - (inverse * ridge(len(inverse))) @ inverse  # the prior does not vary
        expected = np.outer(np.diag(sampling)[1:], np.diag(regression.noise()))
        return regression._replace(
            inflation=np.array(refits.inflation(expected)),
            correction=params.coefficients - better.coefficients,
        )

    def moved(
        self, before: CorrelatedParameters, after: CorrelatedParameters, moments: Moments
    ) -> Regression:
        """Return it after a step of a stream, corrected as it was."""
        factor = np.trace(self.covariance) / np.trace(before.covariance)
        return self._replace(
            coefficients=self.coefficients + after.coefficients - before.coefficients,
            covariance=factor * after.covariance,
            uncertainty=after.uncertainty,
            gram=moments.gram + np.diag(ridge(len(moments.gram))),
            means=moments.gram[0] / moments.n_rows,
        )

    def noise(self) -> Array:
        """Return the covariance (K, K) of a document's noise, if its log weights are inferred.

        A document tells as much about its mean as one with known log weights and the covariance
        Sigma (Sigma - V)^-1 Sigma would, where V is its posterior covariance (Louis 1982). V is
        that of the mean document.
        """
        sigma, spread = self.covariance, self.uncertainty
        n = len(sigma)
        centre = np.eye(n) - 1.0 / n
        values, vectors = np.linalg.eigh(centre @ sigma @ centre)
        root = vectors[:, 1:] * np.sqrt(values[1:])  # the free direction is left out
        half = vectors[:, 1:] / np.sqrt(values[1:])
        shares, turns = np.linalg.eigh(np.eye(n - 1) - half.T @ spread @ half)
        turned = root @ turns
        shares = np.maximum(shares, LEAST_INFORMATION)
        return np.asarray(self.inflation * ((turned / shares) @ turned.T))

    def in_units(self) -> tuple[Array, Array]:
        """Return coefficients (K, P) in units of the covariates, and the intercept (K,)."""
        slopes = self.coefficients[1:] / self.covariates.scales[:, None]
        return slopes.T, self.coefficients[0] - self.covariates.centres @ slopes

    def standard_errors(self) -> Array:
        """Return standard errors of the coefficients, (K, P)."""
        scales = self.covariates.scales
        design = np.diag(np.linalg.inv(self.gram))[1:] / scales**2
        doubt = (DOUBT * self.correction[1:] / scales[:, None]).T
        return np.sqrt(np.outer(np.diag(self.noise()), design) + doubt**2)

    def effect(self, name: str | int, values: Sequence[Any] | None) -> Effect:
        """Return expected proportions at values of a column; see `Effect`."""
        column, place = self.covariates.where(name)
        if values is None:
            values = _values(column)
        given = values_of(values, "values")
        rows = np.tile(self.means, (len(given), 1))
        rows[:, place] = column.design(given, "values")
        noise = self.noise()
        inverse = np.linalg.inv(self.gram)
        proportions, errors = np.empty((2, len(rows), len(noise)))
        for i, row in enumerate(rows):
            proportions[i], slope = self._expected(row @ self.coefficients)
            spread = float(row @ inverse @ row) * np.sum((slope @ noise) * slope, axis=1)
            doubt = slope @ (DOUBT * row @ self.correction)
            errors[i] = np.sqrt(np.maximum(spread, 0.0) + doubt**2)
        return Effect(list(values), proportions, errors)

    def average(self) -> Array:
        """Return the expected proportions (K,) at the means of all covariates."""
        return self._expected(self.means @ self.coefficients)[0]

    def _expected(self, mean: Array) -> tuple[Array, Array]:
        """Return E[softmax(eta)] (K,), eta ~ N(mean, Sigma), and its slope (K, K) by the mean."""
        root = np.linalg.cholesky(self.covariance)
        draws = np.random.default_rng(0).standard_normal((N_DRAWS, len(mean))) @ root.T
        eta = mean + np.concatenate([draws, -draws])
        theta = np.exp(eta - eta.max(axis=1, keepdims=True))
        theta /= theta.sum(axis=1, keepdims=True)
        expected = theta.mean(axis=0)
        return expected, np.diag(expected) - theta.T @ theta / len(theta)


def _values(column: Column) -> list[Any]:
    """Values to look at: the levels, or the mean and two standard deviations either side."""
    if column.levels:
        return list(column.levels)
    return [column.centre + step * column.scale for step in (-2.0, -1.0, 0.0, 1.0, 2.0)]
