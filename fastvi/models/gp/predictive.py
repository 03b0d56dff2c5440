"""Predictive distributions of targets, given moments of one latent function."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm

from fastvi.base.typing import Array
from fastvi.models.gp.predictor import Predictive

__all__ = ["AtTimes", "intervals", "log_densities"]

N_DRAWS = 4000
N_NODES = 60
NARROW = 1e-24  # a variance at which an expectation is the value at the mean
N_NEWTON = 30


class AtTimes(NamedTuple):
    """Means and variances of f at n rows (n, 1), and what targets there take."""

    predictive: Predictive
    mean: Array
    variance: Array


def intervals(at: AtTimes, coverage: float) -> tuple[Array, Array]:
    """Central intervals of targets, (n,) each."""
    tail = 0.5 * (1.0 - coverage)
    predictive = at.predictive
    if predictive.likelihood.is_conjugate:
        mean, variance = predictive.targets(at.mean, at.variance)
        width = -norm.ppf(tail) * np.sqrt(variance)
        return mean - width, mean + width
    rng = np.random.RandomState(0)
    levels = norm.ppf((np.arange(N_DRAWS) + 0.5) / N_DRAWS)
    mean, root = at.mean[:, 0], np.sqrt(at.variance[:, 0])
    lower, upper = np.empty(len(mean)), np.empty(len(mean))
    for i in range(len(mean)):
        y = predictive.sample(mean[i] + root[i] * levels, rng)
        lower[i], upper[i] = np.quantile(y, [tail, 1.0 - tail])
    return lower, upper


def log_densities(at: AtTimes, y: Array) -> Array:
    """Log E[p(y | f)] of each row, (n,)."""
    predictive = at.predictive
    if predictive.likelihood.is_conjugate:
        mean, variance = predictive.targets(at.mean, at.variance)
        return np.asarray(norm.logpdf(y, mean, np.sqrt(variance)))
    scale = float(np.ravel(predictive.y_scale)[0])
    y = (y - float(np.ravel(predictive.y_mean)[0])) / scale
    mean, variance = at.mean[:, 0], np.maximum(at.variance[:, 0], NARROW)
    centre, spread = _tilted(predictive, y, mean, variance)
    nodes, weights = np.polynomial.hermite_e.hermegauss(N_NODES)
    logs = np.empty((N_NODES, len(y)))
    for row, node, weight in zip(logs, nodes, weights):
        f = centre + np.sqrt(spread) * node
        row[:] = np.log(weight) + 0.5 * node**2 + 0.5 * np.log(spread / variance)
        row += _log_density(predictive, y, f) - 0.5 * np.square(f - mean) / variance
    return np.asarray(logsumexp(logs, axis=0) - 0.5 * np.log(2.0 * np.pi) - np.log(scale))


def _log_density(predictive: Predictive, y: Array, f: Array) -> Array:
    """Log p(y | f)."""
    narrow = np.full((len(f), 1), NARROW)
    rng = np.random.default_rng(0)
    likelihood = predictive.likelihood
    return likelihood.expect(y, f[:, None], narrow, predictive.values, rng).value


def _tilted(predictive: Predictive, y: Array, mean: Array, variance: Array) -> tuple[Array, Array]:
    """Means and variances of Gaussians like p(f) p(y | f), around which quadrature is exact."""
    centre, spread, rng = mean, variance, np.random.default_rng(0)
    for _ in range(N_NEWTON):
        found = predictive.likelihood.expect(
            y, centre[:, None], spread[:, None], predictive.values, rng
        )
        precision = np.maximum(-2.0 * found.by_variance[:, 0], 0.0)
        spread = 1.0 / (1.0 / variance + precision)
        ahead = found.by_mean[:, 0] - (centre - mean) / variance
        centre = centre + spread * ahead
    return centre, spread
