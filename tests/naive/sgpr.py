"""Plain twins of sparse Gaussian process regression, from scikit-learn's kernels."""

import numpy as np
from scipy.stats import multivariate_normal


def split(kernel, x, z):
    """K(x, z), K(z, z), the diagonal of K(x, x) without noise, and the noise."""
    noise = float(kernel(x[:1])[0, 0] - kernel(x[:1], x[:1])[0, 0])
    return kernel(x, z), kernel(z, z), kernel.diag(x) - noise, noise


def bound(kernel, x, y, z):
    """Titsias (2009), eq. 9: log N(y | 0, Q + noise I) - tr(K - Q) / (2 noise)."""
    kxz, kzz, diagonal, noise = split(kernel, x, z)
    q = kxz @ np.linalg.solve(kzz, kxz.T)
    likelihood = multivariate_normal(np.zeros(len(x)), q + noise * np.eye(len(x)))
    return sum(
        likelihood.logpdf(target) - (diagonal - np.diag(q)).sum() / (2 * noise) for target in y.T
    )


def predict(kernel, x, y, z, new):
    """Mean and covariance of the function at new points, Titsias (2009), eq. 6."""
    kxz, kzz, _, noise = split(kernel, x, z)
    k = kernel(new, z)
    sigma = np.linalg.inv(kzz + kxz.T @ kxz / noise)
    mean = k @ sigma @ kxz.T @ y / noise
    return mean, kernel(new, new) - k @ np.linalg.solve(kzz, k.T) + k @ sigma @ k.T


def exact(kernel, x, y, new):
    """Log marginal likelihood, mean and covariance of the exact Gaussian process."""
    noisy = kernel(x)
    k = kernel(new, x)
    value = sum(multivariate_normal(np.zeros(len(x)), noisy).logpdf(target) for target in y.T)
    mean = k @ np.linalg.solve(noisy, y)
    return value, mean, kernel(new, new) - k @ np.linalg.solve(noisy, k.T)


def fitc(kernel, x, y, z):
    """Log marginal likelihood of the fully independent training conditional approximation."""
    kxz, kzz, diagonal, noise = split(kernel, x, z)
    q = kxz @ np.linalg.solve(kzz, kxz.T)
    covariance = q + np.diag(diagonal - np.diag(q)) + noise * np.eye(len(x))
    return sum(multivariate_normal(np.zeros(len(x)), covariance).logpdf(target) for target in y.T)
