"""Plain twins of Gaussian processes in time: dense matrices."""

import numpy as np


def covariance(terms, lag):
    """Sum of exp(-r t) p(r t) (a cos(w t) + b sin(w t)) over terms (order, r, w, a, b)."""
    t = np.abs(lag)
    total = 0.0
    for order, rate, turn, a, b in terms:
        u = rate * t
        polynomial = {1: 1.0, 2: 1.0 + u, 3: 1.0 + u + u**2 / 3.0}[order]
        total = total + np.exp(-u) * polynomial * (a * np.cos(turn * t) + b * np.sin(turn * t))
    return total


def posterior(k, linear, precision):
    """Log normaliser of the sites under N(0, k), and the posterior's mean and covariance."""
    inner = np.eye(len(k)) + k * precision
    cov = np.linalg.solve(inner, k)
    value = 0.5 * linear @ cov @ linear - 0.5 * np.linalg.slogdet(inner)[1]
    return value, cov @ linear, cov


def cvi(k, y, likelihood, values, n_steps=300, rate=0.5):
    """The bound and q's moments by damped conjugate-computation steps from empty sites."""
    linear, precision = np.zeros(len(y)), np.zeros(len(y))
    rng = np.random.default_rng(0)
    for _ in range(n_steps):
        log_z, mean, cov = posterior(k, linear, precision)
        variance = cov.diagonal()
        found = likelihood.expect(y, mean[:, None], variance[:, None].copy(), values, rng)
        sites = linear @ mean - 0.5 * precision @ (variance + mean**2)
        bound = found.value.sum() - sites + log_z
        wanted = -2.0 * found.by_variance[:, 0]
        linear = linear + rate * (found.by_mean[:, 0] + wanted * mean - linear)
        precision = precision + rate * (wanted - precision)
    return bound, mean, cov
