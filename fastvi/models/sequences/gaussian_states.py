"""Gaussian states of hidden Markov models."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import Array
from fastvi.models.sequences.rows import PRODUCTS, SQUARES, FeatureRows, Features
from fastvi.models.sequences.stream import Stream

__all__ = [
    "Gaussian",
    "Gaussians",
    "Moments",
    "arranged",
    "full",
    "gaussian_coefficients",
    "is_positive_definite",
    "moments",
]


class Gaussians(NamedTuple):
    """Means (K, D), and covariances (K,), (K, D), (K, D, D), or (D, D) if tied."""

    means: Array
    covars: Array


class Moments(NamedTuple):
    """Sums over rows, weighted by posteriors, about a centre and in units of scale.

    counts (K,), sums (K, D), and squares (K, D), or products (K, D, D).
    """

    counts: Array
    sums: Array
    squares: Array

    def about(self, means: Array) -> Array:
        """Return the squares about other means (K, D) than 0."""
        if self.squares.ndim == 2:
            crossed = means * self.sums
            return self.squares - 2 * crossed + self.counts[:, None] * np.square(means)
        crossed = self.sums[:, :, None] * means[:, None, :]
        own = means[:, :, None] * means[:, None, :]
        return np.asarray(
            self.squares - crossed - crossed.transpose(0, 2, 1)
            + self.counts[:, None, None] * own
        )  # fmt: skip


def arranged(stream: Stream, X: Array, covariance_type: str) -> FeatureRows:
    """Rows (n, D) with the features that these covariances need, about their mean."""
    complete = not stream.is_missing.any()
    seen = X if complete else X[~stream.is_missing]
    centre = np.einsum("ij->j", seen) / len(seen)  # several times as fast as mean and std
    away = seen - centre
    scale = np.sqrt(np.einsum("ij,ij->j", away, away) / len(seen))
    factor = 1.0 / np.where(scale > 0, scale, 1.0)
    filled = X if complete else np.where(stream.is_missing[:, None], centre, X)
    return FeatureRows(stream, filled, form_of(covariance_type), centre, factor)


def form_of(covariance_type: str) -> int:
    """Return the features that these covariances need."""
    form: int = PRODUCTS if covariance_type in ("full", "tied") else SQUARES
    return form


def moments(rows: FeatureRows, posterior: Array) -> Moments:
    """Return sums of rows in the coordinates of their features."""
    sums, d = rows.sums(posterior), len(rows.centre)
    counts, linear = sums[:, -1], sums[:, -1 - d : -1]
    if rows.form == SQUARES:
        return Moments(counts, linear, sums[:, :d])
    i, j = np.triu_indices(d)
    products = np.empty((len(sums), d, d))
    products[:, i, j] = products[:, j, i] = sums[:, : len(i)]
    return Moments(counts, linear, products)


def gaussian_coefficients(
    features: Features, means: Array, precisions: Array, constants: Array
) -> Array:
    """Coefficients (K, F) of constants (K,) - (x - means)' precisions (x - means) / 2.

    precisions (K, D) or (K, D, D), as the form of the features is.
    """
    unit = 1.0 / features.factor
    m = (means - features.centre) * features.factor
    if features.form == SQUARES:
        p = precisions * np.square(unit)
        linear, quadratic = p * m, -0.5 * p
    else:
        p = precisions * np.outer(unit, unit)
        linear = np.einsum("kij,kj->ki", p, m)
        i, j = np.triu_indices(len(unit))
        quadratic = np.where(i == j, -0.5, -1.0) * p[:, i, j]
    constants = constants - 0.5 * (linear * m).sum(axis=1)
    return np.hstack((quadratic, linear, constants[:, None]))


def full(covars: Array, covariance_type: str, n_states: int, n_features: int) -> Array:
    """Return covariances as matrices (K, D, D)."""
    eye = np.eye(n_features)
    if covariance_type == "tied":
        return np.tile(covars, (n_states, 1, 1))
    if covariance_type == "full":
        return covars
    if covariance_type == "spherical":
        return np.asarray(covars.reshape(n_states, -1)[:, :1, None] * eye)
    return np.asarray(covars[:, :, None] * eye)


class Gaussian:
    """Gaussian states, fitted by (penalised) maximum likelihood as hmmlearn does.

    Parameters
    ----------
    covariance_type : {"spherical", "diag", "full", "tied"}
    means_prior, means_weight, covars_prior, covars_weight : float or array
        Normal and inverse gamma, or inverse Wishart, priors.
    fitted : str
        "m" if means are fitted, "c" if covariances are.
    """

    def __init__(
        self,
        covariance_type: str,
        means_prior: Array | float = 0.0,
        means_weight: Array | float = 0.0,
        covars_prior: Array | float = 1e-2,
        covars_weight: float = 1.0,
        fitted: str = "mc",
    ) -> None:
        self.covariance_type, self.fitted = covariance_type, fitted
        self.means_prior, self.means_weight = means_prior, means_weight
        self.covars_prior, self.covars_weight = covars_prior, covars_weight

    def arranged(self, stream: Stream, X: Array) -> FeatureRows:
        """Rows in the order of the stream."""
        return arranged(stream, X, self.covariance_type)

    def coefficients(self, rows: FeatureRows, params: Gaussians) -> Array:
        """Coefficients of log densities in the features of rows."""
        return self.coefficients_of(rows.frame, params)

    def coefficients_of(self, features: Features, params: Gaussians) -> Array:
        """Coefficients of log densities in features."""
        k, d = params.means.shape
        covars = params.covars
        if self.covariance_type in ("full", "tied"):
            matrices = covars if covars.ndim == 3 else covars[None]
            log_det = np.linalg.slogdet(matrices)[1]
            precisions: Array = np.tile(np.linalg.inv(matrices), (k // len(matrices), 1, 1))
        else:
            variances = np.broadcast_to(covars.reshape(k, -1), (k, d))
            log_det, precisions = np.log(variances).sum(axis=1), 1.0 / variances
        constants = np.broadcast_to(-0.5 * (log_det + d * np.log(2 * np.pi)), (k,))
        return gaussian_coefficients(features, params.means, precisions, constants)

    def maximised(self, rows: FeatureRows, posterior: Array, params: Gaussians) -> Gaussians:
        """Return the parameters that maximise the expected log density plus log prior."""
        found, unit = moments(rows, posterior), 1.0 / rows.factor
        means = params.means
        if "m" in self.fitted:
            sums = found.sums * unit + found.counts[:, None] * rows.centre
            weight = np.asarray(self.means_weight, float).reshape(-1, 1)
            prior = np.asarray(self.means_prior, float)
            total = weight + found.counts[:, None]
            found_means = (weight * prior + sums) / np.where(total > 0, total, 1.0)
            means = np.where(total > 0, found_means, means)
        if "c" not in self.fitted:
            return Gaussians(means, params.covars)
        scatter = found.about((means - rows.centre) * rows.factor)
        covars = self._covars(scatter, found.counts, means, unit)
        if self.covariance_type in ("full", "tied"):  # one that would be singular stays
            usable = is_positive_definite(covars)[..., None, None]
            covars = np.where(usable, covars, params.covars)
        return Gaussians(means, covars)

    def _covars(self, scatter: Array, counts: Array, means: Array, unit: Array) -> Array:
        away = means - np.asarray(self.means_prior, float)
        weight = np.asarray(self.means_weight, float)
        if self.covariance_type in ("spherical", "diag"):
            total = scatter * np.square(unit) + weight.reshape(-1, 1) * np.square(away)
            share = max(self.covars_weight - 1, 0) + counts[:, None]
            covars = (self.covars_prior + total) / np.maximum(share, 1e-5)
            is_spherical = self.covariance_type == "spherical"
            return np.asarray(covars.mean(axis=1) if is_spherical else covars)
        own = weight.reshape(-1, 1, 1) * away[:, :, None] * away[:, None, :]
        total = scatter * np.outer(unit, unit) + own
        surplus = max(self.covars_weight - means.shape[1], 0.0)
        if self.covariance_type == "tied":
            return np.asarray((self.covars_prior + total.sum(axis=0)) / (surplus + counts.sum()))
        share = surplus + counts[:, None, None]
        return np.asarray((self.covars_prior + total) / np.where(share > 0, share, np.nan))


def is_positive_definite(matrices: Array) -> NDArray[np.bool_]:
    """Whether matrices (..., D, D) are; judged as correlations, whatever the columns' scales."""
    variances = np.diagonal(matrices, axis1=-2, axis2=-1)
    found = np.asarray(np.isfinite(matrices).all(axis=(-2, -1)) & (variances > 0).all(axis=-1))
    scale = np.sqrt(np.where(found[..., None], variances, 1.0))
    safe = np.where(found[..., None, None], matrices, 0.0)
    correlations = safe / scale[..., :, None] / scale[..., None, :]
    least = np.linalg.eigvalsh(correlations)[..., 0]
    return np.asarray(found & (least > matrices.shape[-1] * np.finfo(np.float64).eps))
