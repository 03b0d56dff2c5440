"""Plain twins of expectation propagation: one site at a time, and integrals by brute force."""

import numpy as np

GRID = np.linspace(-1.0, 1.0, 4001)


def tilted(log_density, mean, variance, power=1.0, low=None, high=None):
    """Log Z, mean and variance of N(mean, variance) times a density to a power."""
    sd = np.sqrt(variance)
    low = mean - 12 * sd if low is None else low
    high = mean + 12 * sd + variance if high is None else high
    f = 0.5 * (low + high) + 0.5 * (high - low) * GRID
    log_p = power * log_density(f) - 0.5 * (f - mean) ** 2 / variance
    top = log_p.max()
    p = np.exp(log_p - top)
    total = p.sum()
    log_z = top + np.log(total * (f[1] - f[0])) - 0.5 * np.log(2 * np.pi * variance)
    centre = p @ f / total
    return log_z, centre, p @ (f - centre) ** 2 / total


def regression(log_density, X, signs, precisions, n_sweeps=60, power=1.0):
    """Mean, covariance and log evidence of EP with one site per row, updated one by one.

    Prior N(0, diag(1 / precisions)); rows have the likelihood ``log_density(sign * x' w)``.
    """
    n = len(X)
    tau, nu = np.zeros(n), np.zeros(n)
    for sweep in range(n_sweeps + 1):
        log_z = 0.0
        for i in range(n):
            covariance = np.linalg.inv(np.diag(precisions) + (X.T * tau) @ X)
            mean = covariance @ (X.T @ nu)
            v, m = X[i] @ covariance @ X[i], X[i] @ mean
            cavity = 1 / (1 / v - power * tau[i])
            centre = cavity * (m / v - power * nu[i])
            z, a, b = tilted(lambda f, s=signs[i]: log_density(s * f), centre, cavity, power)
            site = gaussian_site(centre, cavity, power * tau[i], power * nu[i])
            log_z += (z - site) / power
            if sweep < n_sweeps:
                tau[i], nu[i] = (1 / b - 1 / cavity) / power, (a / b - centre / cavity) / power
    precision = np.diag(precisions) + (X.T * tau) @ X
    covariance = np.linalg.inv(precision)
    mean = covariance @ (X.T @ nu)
    log_z += 0.5 * mean @ precision @ mean - 0.5 * np.linalg.slogdet(precision)[1]
    return mean, covariance, log_z + 0.5 * np.log(precisions).sum()


def gaussian_site(mean, variance, precision, shift):
    """Log of the mean of exp(-precision f^2 / 2 + shift f) over N(mean, variance)."""
    total = 1 / variance + precision
    value = 0.5 * ((mean / variance + shift) ** 2 / total - mean**2 / variance)
    return value - 0.5 * np.log(variance * total)
