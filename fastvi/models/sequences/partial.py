"""Gaussian rows of which some numbers are missing: marginals and conditional moments."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import Array

__all__ = ["Gaps", "Moments", "Quadratics", "gaps_of"]

LOG_2PI = float(np.log(2 * np.pi))


class Quadratics(NamedTuple):
    """Components with log densities constants - (x - means)' precisions (x - means) / 2.

    means (C, D), precisions (C, D) or (C, D, D), constants (C,); each state has n_mix of them. In
    variational inference these are expected log densities.
    """

    means: Array
    precisions: Array
    constants: Array
    n_mix: int = 1

    def scaled(self, centre: Array, factor: Array) -> Quadratics:
        """The same in coordinates (x - centre) factor; constants stay those of x."""
        unit = 1.0 / factor
        units = np.square(unit) if self.precisions.ndim == 2 else np.outer(unit, unit)
        return self._replace(
            means=(self.means - centre) * factor, precisions=self.precisions * units
        )


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

    def plus(self, other: Moments) -> Moments:
        """Sums over the rows of both."""
        return Moments(*(np.add(*pair) for pair in zip(self, other)))


class Gaps(Protocol):
    """Rows with missing numbers, in the coordinates of features."""

    def logits(self, parts: Quadratics) -> Array:
        """Return log densities of what is there, (n, C)."""

    def moments(self, parts: Quadratics, weights: Array) -> Moments:
        """Return expected sums given what is there and the component, by weights (n, C)."""


def gaps_of(y: Array, unit: Array, crossed: bool) -> Gaps:
    """Rows y (n, D) with NaN; unit (D,) is that of the coordinates, `crossed` asks for products."""
    return _Crossed(y, unit) if crossed else _Apart(y, unit)


class _Apart:
    """Where coordinates are independent given the component."""

    def __init__(self, y: Array, unit: Array) -> None:
        self._there = ~np.isnan(y)
        self._y, self._unit = np.where(self._there, y, 0.0), unit

    def logits(self, parts: Quadratics) -> Array:
        means, p, constants, _ = parts
        hidden = 0.5 * (LOG_2PI - np.log(p)) + np.log(self._unit)
        found = constants + ~self._there @ hidden.T
        for d in range(self._y.shape[1]):
            away = np.where(self._there[:, d, None], self._y[:, d, None] - means[:, d], 0.0)
            found -= 0.5 * p[:, d] * np.square(away)
        return np.asarray(found)

    def moments(self, parts: Quadratics, weights: Array) -> Moments:
        means, p, *_ = parts
        hidden = weights.T @ ~self._there
        sums = weights.T @ self._y + hidden * means
        squares = weights.T @ np.square(self._y) + hidden * (np.square(means) + 1.0 / p)
        return Moments(weights.sum(axis=0), sums, squares)


class _Crossed:
    """Where they are not: rows are grouped by what they lack."""

    def __init__(self, y: Array, unit: Array) -> None:
        hidden = np.isnan(y)
        patterns, which = np.unique(hidden, axis=0, return_inverse=True)
        order = np.argsort(which.ravel(), kind="stable")
        ends = np.cumsum(np.bincount(which.ravel(), minlength=len(patterns)))[:-1]
        self._groups = list(zip(patterns, np.split(order, ends)))
        self._y, self._log_unit = y, np.log(unit)

    def logits(self, parts: Quadratics) -> Array:
        found = np.empty((len(self._y), len(parts.means)))
        for hidden, rows in self._groups:
            there = ~hidden
            _, _, rest = _conditional(parts.precisions, hidden)
            log_det = np.linalg.slogdet(parts.precisions[:, hidden][:, :, hidden])[1]
            away = self._y[rows][:, None, there] - parts.means[:, there]
            distance = np.einsum("nci,cij,ncj->nc", away, rest, away, optimize=True)
            constants = parts.constants + 0.5 * (hidden.sum() * LOG_2PI - log_det)
            found[rows] = constants + self._log_unit[hidden].sum() - 0.5 * distance
        return found

    def moments(self, parts: Quadratics, weights: Array) -> Moments:
        c, d = parts.means.shape
        total = Moments(np.zeros(c), np.zeros((c, d)), np.zeros((c, d, d)))
        for hidden, rows in self._groups:
            found = _expected(parts, hidden, self._y[rows][:, ~hidden], weights[rows])
            total = total.plus(found)
        return total


def _conditional(precisions: Array, hidden: NDArray[np.bool_]) -> tuple[Array, Array, Array]:
    """Covariances of what is hidden, minus its slopes on the rest, and precisions of the rest."""
    rows = precisions[:, hidden]
    across, there = rows[:, :, ~hidden], precisions[:, ~hidden][:, :, ~hidden]
    covariance = np.asarray(np.linalg.inv(rows[:, :, hidden]), np.float64)
    gain = covariance @ across
    return covariance, gain, there - across.transpose(0, 2, 1) @ gain


def _expected(parts: Quadratics, hidden: NDArray[np.bool_], y: Array, weights: Array) -> Moments:
    """Sums of whole rows and of their products, given what is there of them: y (n, D there)."""
    (c, d), there = parts.means.shape, ~hidden
    covariance, gain, _ = _conditional(parts.precisions, hidden)
    counts, sums = weights.sum(axis=0), weights.T @ y
    products = (weights.T @ (y[:, :, None] * y[:, None]).reshape(len(y), -1)).reshape(
        c, y.shape[1], y.shape[1]
    )
    slopes, base, spread = np.zeros((c, d, y.shape[1])), np.zeros((c, d)), np.zeros((c, d, d))
    slopes[:, there], slopes[:, hidden] = np.eye(y.shape[1]), -gain
    base[:, hidden] = parts.means[:, hidden]
    base[:, hidden] += np.einsum("cij,cj->ci", gain, parts.means[:, there])
    spread[np.ix_(np.arange(c), hidden, hidden)] = covariance
    moved = np.einsum("cij,cj->ci", slopes, sums)
    crossed = moved[:, :, None] * base[:, None]
    own = counts[:, None, None] * (spread + base[:, :, None] * base[:, None])
    squares = own + crossed + crossed.transpose(0, 2, 1)
    squares += slopes @ products @ slopes.transpose(0, 2, 1)
    return Moments(counts, counts[:, None] * base + moved, squares)
