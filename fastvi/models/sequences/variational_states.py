"""States of hidden Markov models whose parameters have conjugate priors and posteriors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import digamma, gammaln

from fastvi.base.typing import Array
from fastvi.models.sequences.gaussian_rows import GaussianRows
from fastvi.models.sequences.partial import Moments, Quadratics
from fastvi.models.sequences.rows import FeatureRows, TableRows
from fastvi.models.sequences.variational import dirichlet_divergence, expected_logs, unchanged

__all__ = [
    "Dirichlets",
    "GammaRates",
    "NormalWisharts",
    "VariationalCategorical",
    "VariationalGaussian",
    "VariationalPoisson",
    "WishartParameters",
]


class Dirichlets(NamedTuple):
    """Concentrations (K, V) of the symbols' probabilities in each state."""

    concentrations: Array


class VariationalCategorical:
    """States that emit symbols, with Dirichlet priors (K, V)."""

    def __init__(self, prior: Array, fitted: str = "e") -> None:
        self.prior, self.fitted = Dirichlets(prior), fitted

    def expected_coefficients(self, rows: TableRows, params: Dirichlets) -> Array:
        """Return expected log probabilities (K, V)."""
        return expected_logs(params.concentrations)

    def statistics(
        self, rows: TableRows, posterior: Array, params: Dirichlets, weight: float
    ) -> Dirichlets:
        """Return expected counts of symbols."""
        if "e" not in self.fitted:
            return Dirichlets(*unchanged(params, self.prior))
        return Dirichlets(weight * rows.sums(posterior))

    def divergence(self, params: Dirichlets) -> float:
        """Return the sum over states, in nats."""
        pairs = zip(params.concentrations, self.prior.concentrations)
        return sum(dirichlet_divergence(q, p) for q, p in pairs)


class GammaRates(NamedTuple):
    """Shapes (K, D) and rates (K, D) of Gamma posteriors of mean counts."""

    shapes: Array
    rates: Array


class VariationalPoisson:
    """States that emit counts, with Gamma priors of their means."""

    def __init__(self, prior: GammaRates, fitted: str = "l") -> None:
        self.prior, self.fitted = prior, fitted

    def expected_coefficients(self, rows: FeatureRows, params: GammaRates) -> Array:
        """Return expected log means, and minus the sum of expected means."""
        logs = digamma(params.shapes) - np.log(params.rates)
        return np.column_stack((logs, -(params.shapes / params.rates).sum(axis=1)))

    def statistics(
        self, rows: FeatureRows, posterior: Array, params: GammaRates, weight: float
    ) -> GammaRates:
        """Return expected counts, and expected numbers of rows."""
        if "l" not in self.fitted:
            return GammaRates(*unchanged(params, self.prior))
        sums = weight * rows.sums(posterior)
        return GammaRates(sums[:, :-1], np.repeat(sums[:, -1:], sums.shape[1] - 1, axis=1))

    def divergence(self, params: GammaRates) -> float:
        """Return the sum over states and columns, in nats."""
        return float(gamma_divergence(*params, *self.prior).sum())


def gamma_divergence(a: Array, b: Array, prior_a: Array, prior_b: Array) -> Array:
    """Kullback-Leibler divergence of Gamma(a, rate b) from a prior, in nats."""
    found = (a - prior_a) * digamma(a) - gammaln(a) + gammaln(prior_a)
    return np.asarray(found + prior_a * np.log(b / prior_b) + a * (prior_b / b - 1.0))


class NormalWisharts(NamedTuple):
    """Natural parameters, in the coordinates of the features.

    beta (K,), beta means (K, D), dof (G,), and scale + beta means means', (G, D) if diagonal or
    spherical and else (G, D, D); G is 1 if tied, else K.
    """

    beta: Array
    sums: Array
    dof: Array
    squares: Array


class WishartParameters(NamedTuple):
    """The same as usually given, in the units of the data: scale is (K,), (K, D), (K, D, D) or
    (D, D), by the covariance type.
    """

    beta: Array
    means: Array
    dof: Array
    scale: Array


class VariationalGaussian:
    """Gaussian states with Normal-Wishart priors.

    Diagonal precisions have independent Gamma(dof / 2, scale / 2) distributions, and a spherical
    one has Gamma(D dof / 2, D scale / 2).

    Parameters
    ----------
    covariance_type : {"spherical", "diag", "full", "tied"}
    prior : WishartParameters
    centre, factor : (D,) arrays
        Coordinates of the features, (x - centre) factor.
    fitted : str
        "m" if means are fitted, "c" if covariances are.
    """

    def __init__(
        self,
        covariance_type: str,
        prior: WishartParameters,
        centre: Array,
        factor: Array,
        fitted: str = "mc",
    ) -> None:
        self.covariance_type, self.fitted = covariance_type, fitted
        self.centre, self.factor = centre, factor
        self.prior = self.natural(prior)

    # Natural parameters

    def natural(self, given: WishartParameters) -> NormalWisharts:
        """Return natural parameters."""
        means = (given.means - self.centre) * self.factor
        squares = self._in_units(given.scale) + self._outer(given.beta, means)
        dof = np.atleast_1d(np.asarray(given.dof, np.float64))
        return NormalWisharts(given.beta, given.beta[:, None] * means, dof, squares)

    def usual(self, params: NormalWisharts) -> WishartParameters:
        """Return the parameters in the units of the data."""
        means, scale = self._means_and_scale(params)
        unit = 1.0 / self.factor
        dof = params.dof
        if self.covariance_type in ("full", "tied"):
            scale = scale * np.outer(unit, unit)
            if self.covariance_type == "tied":
                scale, dof = scale[0], dof[0]
        else:
            scale = scale * np.square(unit)
            if self.covariance_type == "spherical":
                scale = scale.mean(axis=1)
        return WishartParameters(params.beta, self.centre + means * unit, np.asarray(dof), scale)

    def _in_units(self, scale: Array) -> Array:
        """A scale in the coordinates of the features, (G, D) or (G, D, D)."""
        if self.covariance_type in ("full", "tied"):
            matrices = scale if scale.ndim == 3 else scale[None]
            return np.asarray(matrices * np.outer(self.factor, self.factor))
        columns = scale[:, None] if scale.ndim == 1 else scale
        return np.asarray(columns * np.square(self.factor))

    def _outer(self, beta: Array, means: Array) -> Array:
        """Beta means means', of all states together if they are tied."""
        if self.covariance_type not in ("full", "tied"):
            return np.asarray(beta[:, None] * np.square(means))
        each = beta[:, None, None] * means[:, :, None] * means[:, None, :]
        return np.asarray(each.sum(axis=0, keepdims=True) if self._is_tied else each)

    @property
    def _is_tied(self) -> bool:
        return self.covariance_type == "tied"

    def _means_and_scale(self, params: NormalWisharts) -> tuple[Array, Array]:
        """Means (K, D), and scales (G, D) or (G, D, D), in the coordinates of the features."""
        means = params.sums / params.beta[:, None]
        scale = params.squares - self._outer(params.beta, means)
        if self.covariance_type == "spherical":
            weights = np.square(self.factor)
            scale = (scale / weights).mean(axis=1, keepdims=True) * weights
        return means, np.asarray(scale)

    # What the model asks for

    def expected_coefficients(self, rows: object, params: NormalWisharts) -> Quadratics:
        """Return expected log densities."""
        k, d = params.sums.shape
        given = self.usual(params)
        log_det, precisions = self._expectations(given, k, d)
        constants = 0.5 * (log_det - d / params.beta - d * np.log(2 * np.pi))
        return Quadratics(given.means, precisions, constants)

    def _expectations(self, given: WishartParameters, k: int, d: int) -> tuple[Array, Array]:
        """E[log |precision|] (K,), and E[precision] in the form of the rows."""
        dof = np.broadcast_to(given.dof, (k,))
        if self.covariance_type in ("full", "tied"):
            scale = np.broadcast_to(given.scale, (k, d, d))
            halves = 0.5 * (dof[:, None] - np.arange(d))
            log_det = digamma(halves).sum(axis=1) + d * np.log(2) - np.linalg.slogdet(scale)[1]
            return log_det, dof[:, None, None] * np.linalg.inv(scale)
        scale = np.broadcast_to(given.scale.reshape(k, -1), (k, d))
        size = d if self.covariance_type == "spherical" else 1
        logs = digamma(0.5 * size * dof)[:, None] - np.log(0.5 * size * scale)
        return np.asarray(logs.sum(axis=1)), np.asarray(dof[:, None] / scale)

    def statistics(
        self, rows: GaussianRows, posterior: Array, params: NormalWisharts, weight: float
    ) -> NormalWisharts:
        """Return numbers, sums and squares of rows in the coordinates of the features."""
        found = rows.moments(posterior, self.expected_coefficients(rows, params))
        found = Moments(*(weight * part for part in found))
        counts, squares = found.counts, found.squares
        same: NormalWisharts = unchanged(params, self.prior)
        if self._is_tied:
            counts, squares = counts.sum(keepdims=True), squares.sum(axis=0, keepdims=True)
        means = (found.counts, found.sums) if "m" in self.fitted else (same.beta, same.sums)
        widths = (counts, squares) if "c" in self.fitted else (same.dof, same.squares)
        return NormalWisharts(*means, *widths)

    def divergence(self, params: NormalWisharts) -> float:
        """Return the sum over states, in nats."""
        q, p = self.usual(params), self.usual(self.prior)
        k, d = params.sums.shape
        log_det, precisions = self._expectations(q, k, d)
        away = q.means - p.means
        if precisions.ndim == 3:
            distance = np.einsum("ki,kij,kj->k", away, precisions, away)
        else:
            distance = (precisions * np.square(away)).sum(axis=1)
        ratio = p.beta / q.beta
        means = 0.5 * (d * (ratio - 1.0 - np.log(ratio)) + p.beta * distance)
        return float(means.sum() + self._width_divergence(q, p, log_det, precisions).sum())

    def _width_divergence(
        self, q: WishartParameters, p: WishartParameters, log_det: Array, precisions: Array
    ) -> Array:
        """Of the precisions, one number for each of them."""
        k, d = q.means.shape
        if self.covariance_type in ("diag", "spherical"):
            size = d if self.covariance_type == "spherical" else 1
            a, b = 0.5 * size * q.dof, 0.5 * size * q.scale
            prior_a, prior_b = 0.5 * size * p.dof, 0.5 * size * p.scale
            if self.covariance_type == "diag":
                a, prior_a = a[:, None], prior_a[:, None]
            return gamma_divergence(a, b, prior_a, prior_b)
        trace = np.einsum("kij,kji->k", np.broadcast_to(p.scale, (k, d, d)), precisions)
        dof, prior_dof = np.broadcast_to(q.dof, (k,)), np.broadcast_to(p.dof, (k,))
        found = 0.5 * (dof - prior_dof) * log_det - 0.5 * d * dof + 0.5 * trace
        found = found + _log_partition(prior_dof, p.scale) - _log_partition(dof, q.scale)
        return np.asarray(found[:1] if self._is_tied else found)


def _log_partition(dof: Array, scale: Array) -> Array:
    """Log of the norm of a Wishart density (Bishop 2006, eq. B.79), without powers of pi."""
    d = scale.shape[-1]
    halves = 0.5 * (dof[:, None] - np.arange(d))
    log_det = np.linalg.slogdet(scale)[1]
    return np.asarray(0.5 * dof * (d * np.log(2) - log_det) + gammaln(halves).sum(axis=1))
