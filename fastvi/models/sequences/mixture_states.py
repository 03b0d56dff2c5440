"""Gaussian mixtures as states of hidden Markov models."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastvi.base.typing import Array
from fastvi.models.sequences.gaussian_rows import GaussianRows
from fastvi.models.sequences.gaussian_states import is_positive_definite, quadratics
from fastvi.models.sequences.partial import Moments, Quadratics
from fastvi.models.sequences.rows import NEVER

__all__ = ["GaussianMixture", "MixturePriors", "Mixtures"]

LEAST = 1e-8  # of variances, over those of all rows; smaller ones are lost to rounding


class Mixtures(NamedTuple):
    """Weights (K, M), means (K, M, D), and covariances.

    (K, M) if spherical, (K, M, D) if diagonal, (K, M, D, D) if full, and (K, D, D) if tied.
    """

    weights: Array
    means: Array
    covars: Array


class MixturePriors(NamedTuple):
    """Dirichlet (K, M), normal (K, M, D) and (K, M), and, in the shapes of the covariances and of
    their counts, inverse Wishart or inverse gamma priors, as hmmlearn's.
    """

    weights: Array
    means: Array
    means_weight: Array
    covars: Array
    covars_weight: Array


class GaussianMixture:
    """States that are mixtures of M Gaussians, fitted by (penalised) maximum likelihood.

    Parameters
    ----------
    covariance_type : {"spherical", "diag", "full", "tied"}
        "tied" shares a covariance between the components of a state.
    priors : MixturePriors
    fitted : str
        "w", "m" and "c" if weights, means and covariances are fitted.
    """

    def __init__(self, covariance_type: str, priors: MixturePriors, fitted: str = "wmc") -> None:
        self.covariance_type, self.priors, self.fitted = covariance_type, priors, fitted

    def coefficients(self, rows: object, params: Mixtures) -> Quadratics:
        """Log densities of components, with the logs of their weights."""
        k, m, d = params.means.shape
        covars = params.covars
        if self.covariance_type != "tied":
            covars = covars.reshape(k * m, *covars.shape[2:])
        kind = "full" if self.covariance_type == "tied" else self.covariance_type
        found = quadratics(params.means.reshape(k * m, d), covars, kind, m)
        weights = params.weights.ravel()
        with np.errstate(divide="ignore"):
            logs = np.where(weights > 0, np.log(weights), NEVER)
        return found._replace(constants=found.constants + logs)

    def sums(self, rows: GaussianRows, posterior: Array, params: Mixtures) -> Moments:
        """Return the moments of rows by state."""
        return rows.moments(posterior, self.coefficients(rows, params))

    def maximised(self, rows: GaussianRows, moments: Moments, params: Mixtures) -> Mixtures:
        """Return the parameters that maximise the expected log density plus log prior."""
        found = moments
        (k, m, d), priors = params.means.shape, self.priors
        counts, unit = found.counts.reshape(k, m), 1.0 / rows.factor
        weights, means, covars = params
        if "w" in self.fitted:
            shares = np.maximum(counts + priors.weights - 1.0, 0.0)
            total = shares.sum(axis=1, keepdims=True)
            weights = np.where(total > 0, shares / np.where(total > 0, total, 1.0), weights)
        if "m" in self.fitted:
            sums = (found.sums * unit + found.counts[:, None] * rows.centre).reshape(k, m, d)
            total = (priors.means_weight + counts)[:, :, None]
            new = priors.means_weight[:, :, None] * priors.means + sums
            means = np.where(total > 0, new / np.where(total > 0, total, 1.0), means)
        if "c" in self.fitted:
            centred = (means.reshape(k * m, d) - rows.centre) * rows.factor
            scatter = self._scatter(found, centred, means, unit)
            new = self._covars(scatter, counts)
            covars = np.where(self._usable(new, unit), new, covars)
        return Mixtures(weights, means, covars)

    def _scatter(self, found: Moments, centred: Array, means: Array, unit: Array) -> Array:
        """Squares or products about the new means, with those of the means about their prior."""
        away = means - self.priors.means
        about = found.about(centred)
        about = about.reshape(*means.shape[:2], *about.shape[1:])
        weight = self.priors.means_weight
        if about.ndim == 3:
            return np.asarray(about * np.square(unit) + weight[..., None] * np.square(away))
        own = weight[..., None, None] * away[..., :, None] * away[..., None, :]
        return np.asarray(about * np.outer(unit, unit) + own)

    def _covars(self, scatter: Array, counts: Array) -> Array:
        """Modes under the priors; NaN where there is nothing to go by."""
        prior, weight, d = self.priors.covars, self.priors.covars_weight, scatter.shape[-1]
        if self.covariance_type == "full":
            above, below = prior + scatter, (counts + weight + d + 2.0)[..., None, None]
        elif self.covariance_type == "tied":
            above = prior + scatter.sum(axis=1)
            below = (counts.sum(axis=1) + counts.shape[1] + weight + d + 1.0)[:, None, None]
        elif self.covariance_type == "diag":
            above, below = scatter + 2.0 * weight, counts[..., None] + 3.0 + 2.0 * prior
        else:
            above = scatter.sum(axis=-1) + 2.0 * weight
            below = d * (counts + 1.0) + 2.0 * (prior + 1.0)
        return np.asarray(above / np.where(below > 0, below, np.nan))

    def _usable(self, covars: Array, unit: Array) -> Array:
        """Where new covariances can be used, (..., 1, 1) of full ones; elsewhere old ones stay."""
        least = LEAST * np.square(unit)
        if self.covariance_type in ("full", "tied"):
            variances = np.diagonal(covars, axis1=-2, axis2=-1)
            found = is_positive_definite(covars) & (variances > least).all(axis=-1)
            return np.asarray(found[..., None, None])
        with np.errstate(invalid="ignore"):
            return np.asarray(covars > (least if self.covariance_type == "diag" else least.max()))
