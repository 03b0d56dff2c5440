"""Rows of sequences whose states are Gaussians, or mixtures of them."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from fastvi.base.typing import Array
from fastvi.kernels import chain_mixtures as kernels
from fastvi.models.sequences.overlay import Emissions, Overlaid
from fastvi.models.sequences.partial import Gaps, Moments, Quadratics, gaps_of
from fastvi.models.sequences.rows import LEAST, PRODUCTS, SQUARES, FeatureRows, Features, Weighed
from fastvi.models.sequences.stream import Stream

__all__ = ["GaussianRows", "arranged", "form_of", "gaussian_coefficients"]


def form_of(covariance_type: str) -> int:
    """Return the features that these covariances need."""
    form: int = PRODUCTS if covariance_type in ("full", "tied") else SQUARES
    return form


def arranged(stream: Stream, X: Array, covariance_type: str) -> GaussianRows:
    """Rows (n, D) with the features that these covariances need, about their mean."""
    if not stream.is_missing.any():
        centre = np.einsum("ij->j", X) / len(X)  # several times as fast as mean and std
        away = X - centre
        scale = np.sqrt(np.einsum("ij,ij->j", away, away) / len(X))
    else:
        there = ~np.isnan(X)
        n = np.maximum(there.sum(axis=0), 1)
        centre = np.where(there, X, 0.0).sum(axis=0) / n
        scale = np.sqrt(np.square(np.where(there, X - centre, 0.0)).sum(axis=0) / n)
    factor = 1.0 / np.where(scale > 0, scale, 1.0)
    return GaussianRows(stream, X, Features(form_of(covariance_type), centre, factor))


def gaussian_coefficients(features: Features, parts: Quadratics) -> Array:
    """Coefficients (C, F) of log densities in features, whose form is that of the precisions."""
    m, p, constants, _ = parts.scaled(features.centre, features.factor)
    if features.form == SQUARES:
        linear, quadratic = p * m, -0.5 * p
    else:
        linear = np.einsum("kij,kj->ki", p, m)
        i, j = np.triu_indices(m.shape[1])
        quadratic = np.where(i == j, -0.5, -1.0) * p[:, i, j]
    constants = constants - 0.5 * (linear * m).sum(axis=1)
    return np.hstack((quadratic, linear, constants[:, None]))


class GaussianRows(FeatureRows):
    """Rows that may be partly NaN, which `stream` then takes as missing."""

    @cached_property
    def _partly(self) -> NDArray[np.int64]:
        """Rows with some numbers, but not all."""
        rows = np.flatnonzero(self.stream.is_missing)
        return np.asarray(rows[~np.isnan(self._given[rows]).all(axis=1)])

    @cached_property
    def _gaps(self) -> Gaps:
        y = (self._given[self._partly] - self.centre) * self.factor
        return gaps_of(y, 1.0 / self.factor, self.form == PRODUCTS)

    def weighed(self, parts: Any) -> Emissions:
        """Return likelihoods of states with these `Quadratics`."""
        coefficients = self.checked(gaussian_coefficients(self.frame, parts))
        found: Emissions = Weighed(self, coefficients)
        if parts.n_mix > 1:
            found = _Mixed(self, coefficients, parts.n_mix)
        if not len(self._partly):
            return found
        logits = self._gaps.logits(parts.scaled(self.centre, self.factor))
        return Overlaid(found, self.stream, self._partly, _mixed(logits, parts.n_mix))

    def moments(self, posterior: Array, parts: Quadratics) -> Moments:
        """Sums of rows in the coordinates of their features, by components (C,)."""
        sums, d = self._sums(posterior, parts), len(self.centre)
        counts, linear = sums[:, -1], sums[:, -1 - d : -1]
        if self.form == SQUARES:
            found = Moments(counts, linear, sums[:, :d])
        else:
            i, j = np.triu_indices(d)
            products = np.empty((len(sums), d, d))
            products[:, i, j] = products[:, j, i] = sums[:, : len(i)]
            found = Moments(counts, linear, products)
        if not len(self._partly):
            return found
        parts = parts.scaled(self.centre, self.factor)
        shares = self.stream.at(posterior, self._partly)
        shares = shares * self.stream.inside[self._partly, None]
        if parts.n_mix > 1:
            logits = self._gaps.logits(parts)
            within = np.exp(logits - np.repeat(_mixed(logits, parts.n_mix), parts.n_mix, axis=1))
            shares = np.repeat(shares, parts.n_mix, axis=1) * within
        return found.plus(self._gaps.moments(parts, shares))

    def _sums(self, posterior: Array, parts: Quadratics) -> Array:
        """Sums of features of complete rows, (C, F)."""
        if parts.n_mix == 1:
            return self.sums(posterior)
        coefficients = np.ascontiguousarray(gaussian_coefficients(self.frame, parts))
        stream, (form, centre, factor) = self.stream, self.frame
        found = np.zeros((stream.n_groups, *coefficients.shape))
        stream.run(
            lambda g: kernels.mixture_sums(
                form, self.arranged[g], centre, factor, coefficients, posterior[g],
                stream.counted[g], found[g],
            )
        )  # fmt: skip
        return np.asarray(found.sum(axis=0))


class _Mixed(Weighed):
    """Likelihoods of states that are mixtures."""

    def __init__(self, rows: FeatureRows, coefficients: Array, n_mix: int) -> None:
        super().__init__(rows, coefficients)
        self._n_mix = n_mix

    def write(self, group: int, out: Array, *, logs: bool) -> float:
        stream, (form, centre, factor) = self._rows.stream, self._rows.frame
        total = kernels.mixture_likelihoods(
            form, self._rows.arranged[group], centre, factor, self._coefficients,
            stream.seen[group], stream.counted[group], logs, out,
        )  # fmt: skip
        return float(total) if total > LEAST else -np.inf

    def logs(self) -> Array:
        rows = self._rows
        found = _mixed(rows.logits(self._coefficients), self._n_mix)
        found[found < LEAST] = -np.inf
        return np.asarray(np.where(rows.stream.is_missing[:, None], 0.0, found))


def _mixed(logits: Array, n_mix: int) -> Array:
    """Log likelihoods of states (n, K), from those of components (n, K M)."""
    if n_mix == 1:
        return logits
    return np.asarray(logsumexp(logits.reshape(len(logits), -1, n_mix), axis=2))
