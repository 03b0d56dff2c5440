"""Empirical Bayes for Dirichlet priors by Newton's method (Minka 2000, "Estimating a Dirichlet
distribution"; Blei, Ng and Jordan 2003, appendix A.4).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import polygamma, psi

from fastvi.base import parallel
from fastvi.base.typing import AnyArray, Array
from fastvi.kernels.dirichlet import digamma_sums, polya_sums

__all__ = ["column_sums", "dirichlet", "polya", "symmetric_dirichlet", "symmetric_polya"]

LARGEST_CHANGE = 2.0  # factor by which one Newton step may change a parameter
# Smaller priors only risk underflow, larger ones overflow; the likelihood has its maximum at
# infinity if all rows are alike.
SMALLEST, LARGEST = 1e-6, 1e4


def _over_rows(
    add: Callable[..., None], values: AnyArray, n_columns: int, n_threads: int
) -> tuple[Array, Array]:
    """Two sums (n_columns + 1,) over rows, to which `add(start, stop, first, second)` adds."""
    bounds = parallel.split(np.arange(len(values) + 1), max(1.0, 200_000 / values.shape[1]))
    first = np.zeros((len(bounds) - 1, n_columns + 1))
    second = np.zeros_like(first)
    parallel.run(
        lambda i: add(bounds[i], bounds[i + 1], first[i], second[i]), len(first), n_threads
    )
    return first.sum(axis=0), second.sum(axis=0)


def column_sums(
    values: AnyArray, n_columns: int, n_threads: int, row_weights: AnyArray | None = None
) -> tuple[Array, Array]:
    """Sums of digamma and trigamma over rows, (n_columns + 1,) each, the last of row totals."""
    weights = np.ones(len(values)) if row_weights is None else row_weights

    def add(start: int, stop: int, first: Array, second: Array) -> None:
        digamma_sums(values, n_columns, weights, start, stop, first, second)

    return _over_rows(add, values, n_columns, n_threads)


def _count_sums(
    counts: AnyArray, prior: Array, n_threads: int, row_weights: AnyArray | None = None
) -> tuple[Array, Array]:
    """The same for expected counts plus prior (n_columns,), minus the values without counts."""
    weights = np.ones(len(counts)) if row_weights is None else row_weights

    def add(start: int, stop: int, first: Array, second: Array) -> None:
        polya_sums(counts, prior, weights, start, stop, first, second)

    return _over_rows(add, counts, len(prior), n_threads)


def _newton(prior: Array, slope: Array, curvature: Array, shared: float) -> Array:
    """One step in log(prior) for a Hessian ``diag(curvature) + shared``, within a factor.

    The step always ascends: it ignores the part of the Hessian that is not concave.
    """
    first = prior * slope
    second = np.minimum(prior**2 * curvature + first, -np.abs(first) - np.finfo(float).tiny)
    step = -first / second
    coupling = 1.0 + shared * (prior**2 / second).sum()
    if coupling > 0.0:
        step -= prior / second * (shared * (prior * step).sum() / coupling)
    limit = np.log(LARGEST_CHANGE)
    return np.clip(prior * np.exp(np.clip(step, -limit, limit)), SMALLEST, LARGEST)


def dirichlet(prior: Array, mean_log: Array, max_iter: int = 100, tol: float = 1e-9) -> Array:
    """Dirichlet parameter (K,) that maximises the likelihood of mean log proportions (K,)."""
    for _ in range(max_iter):
        total = prior.sum()
        slope = psi(total) - psi(prior) + mean_log
        new = _newton(prior, slope, -polygamma(1, prior), float(polygamma(1, total)))
        if np.max(np.abs(new - prior) / prior) < tol:
            return new
        prior = new
    return prior


def symmetric_dirichlet(
    prior: float, mean_log: float, size: int, max_iter: int = 100, tol: float = 1e-9
) -> float:
    """Return the parameter shared by `size` components, given the mean of their mean logs."""
    for _ in range(max_iter):
        slope = psi(size * prior) - psi(prior) + mean_log
        curvature = size * polygamma(1, size * prior) - polygamma(1, prior)
        new = _scalar_newton(prior, slope, curvature)
        if abs(new - prior) < tol * prior:
            return new
        prior = new
    return prior


def _scalar_newton(prior: float, slope: float, curvature: float) -> float:
    """One Newton step in log(prior), in which the objective is closer to a parabola."""
    first = prior * slope
    second = first + prior**2 * curvature
    step = -first / second if second < 0 else np.sign(first)
    limit = np.log(LARGEST_CHANGE)
    new = prior * np.exp(np.clip(step, -limit, limit))
    return float(np.clip(new, SMALLEST, LARGEST))


def polya(
    prior: Array,
    counts: AnyArray,
    n_threads: int = 1,
    row_weights: AnyArray | None = None,
) -> Array:
    """One Newton step on the Polya (Dirichlet-multinomial) likelihood of expected counts.

    `counts` (D, K padded) has the prior (K,) added.
    """
    n = float(len(counts) if row_weights is None else np.sum(row_weights))
    first, second = _count_sums(counts, prior, n_threads, row_weights)
    total = prior.sum()
    slope = first[:-1] + (n * psi(total) - first[-1])
    return _newton(prior, slope, second[:-1], float(n * polygamma(1, total) - second[-1]))


def symmetric_polya(
    prior: float, counts: AnyArray, totals: Array, n_topics: int, n_threads: int = 1
) -> float:
    """One Newton step for the prior of topics (V, K padded), from expected counts plus prior.

    `totals` (n_topics,) are the column sums, including the prior.
    """
    size = len(counts)
    first, second = _count_sums(counts, np.full(n_topics, prior), n_threads)
    whole = size * prior
    slope = first[:-1].sum() + size * (n_topics * psi(whole) - psi(totals).sum())
    curvature = second[:-1].sum() + size**2 * (
        n_topics * polygamma(1, whole) - polygamma(1, totals).sum()
    )
    return _scalar_newton(prior, float(slope), float(curvature))
