"""Plain twins of `kernels/transforms.py`: one vector, Stan's definitions, Jacobians as matrices."""

import numpy as np
from scipy.special import expit


def constrain(kind, y, low=-np.inf, high=np.inf):
    """The constrained numbers, flat."""
    y = np.asarray(y, float)
    if kind == "real":
        return y
    if kind == "lower":
        return low + np.exp(y)
    if kind == "upper":
        return high - np.exp(y)
    if kind == "interval":
        return low + (high - low) * expit(y)
    if kind == "ordered":
        return np.cumsum(np.concatenate([y[:1], np.exp(y[1:])]))
    if kind == "positive_ordered":
        return np.cumsum(np.exp(y))
    return simplex(y) if kind == "simplex" else cholesky_corr(y).ravel()


def simplex(y):
    """Stan Reference Manual, "Unit simplex" by stick breaking."""
    K = len(y) + 1
    x = []
    for k in range(1, K):
        z = expit(y[k - 1] + np.log(1 / (K - k)))
        x.append((1 - sum(x)) * z)
    return np.array([*x, 1 - sum(x)])


def cholesky_corr(y):
    """Stan Reference Manual, "Cholesky factors of correlation matrices"."""
    K = round((1 + np.sqrt(1 + 8 * len(y))) / 2)
    z, x = np.zeros((K, K)), np.zeros((K, K))
    z[np.tril_indices(K, -1)] = np.tanh(y)
    for i in range(K):
        for j in range(i):
            x[i, j] = z[i, j] * np.sqrt(1 - np.sum(x[i, :j] ** 2))
        x[i, i] = np.sqrt(1 - np.sum(x[i, :i] ** 2))
    return x


def essential(kind, x):
    """The entries with respect to which the density is."""
    if kind == "simplex":
        return x[:-1]
    if kind == "cholesky_corr":
        K = round(np.sqrt(len(x)))
        return x.reshape(K, K)[np.tril_indices(K, -1)]
    return x


def jacobian(kind, y, low, high, step=1e-6):
    """Matrix of d essential / d y, by central differences."""
    columns = [
        essential(kind, constrain(kind, y + step * e, low, high))
        - essential(kind, constrain(kind, y - step * e, low, high))
        for e in np.eye(len(y))
    ]
    return np.array(columns).T / (2 * step)
