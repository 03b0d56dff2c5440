"""Gaussian states of hidden Markov models."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import Array
from fastvi.models.sequences.gaussian_rows import GaussianRows
from fastvi.models.sequences.partial import Moments, Quadratics

__all__ = ["Gaussian", "Gaussians", "full", "is_positive_definite", "quadratics"]


class Gaussians(NamedTuple):
    """Means (K, D), and covariances (K,), (K, D), (K, D, D), or (D, D) if tied."""

    means: Array
    covars: Array


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


def quadratics(means: Array, covars: Array, covariance_type: str, n_mix: int = 1) -> Quadratics:
    """Log densities of Gaussians with means (C, D); one of full covariances may serve several."""
    k, d = means.shape
    if covariance_type in ("full", "tied"):
        matrices = covars if covars.ndim == 3 else covars[None]
        times = k // len(matrices)
        log_det = np.repeat(np.linalg.slogdet(matrices)[1], times)
        precisions: Array = np.repeat(np.linalg.inv(matrices), times, axis=0)
    else:
        variances = np.broadcast_to(covars.reshape(k, -1), (k, d))
        log_det, precisions = np.log(variances).sum(axis=1), 1.0 / variances
    constants = -0.5 * (log_det + d * np.log(2 * np.pi))
    return Quadratics(means, precisions, constants, n_mix)


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

    def coefficients(self, rows: object, params: Gaussians) -> Quadratics:
        """Log densities of states."""
        return quadratics(params.means, params.covars, self.covariance_type)

    def sums(self, rows: GaussianRows, posterior: Array, params: Gaussians) -> Moments:
        """Return the moments of rows by state."""
        return rows.moments(posterior, self.coefficients(rows, params))

    def maximised(self, rows: GaussianRows, moments: Moments, params: Gaussians) -> Gaussians:
        """Return the parameters that maximise the expected log density plus log prior."""
        found = moments
        unit = 1.0 / rows.factor
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
