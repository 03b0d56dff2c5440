"""Plain twins of `fastvi.models.gp.latent`."""

import itertools

import numpy as np


def rbf(c, a, x, z):
    return c * np.exp(-0.5 * np.sum(a * np.square(x[:, None] - z), axis=2))


def expectations(c, a, z, mean, variance, n_nodes=60):
    """psi_1 (N, M) and the terms of Psi_2 (N, M, M), by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n_nodes)
    weights = weights / weights.sum()
    n, q = mean.shape
    first, second = np.zeros((n, len(z))), np.zeros((n, len(z), len(z)))
    for index in itertools.product(range(n_nodes), repeat=q):
        at = list(index)
        k = rbf(c, a, mean + np.sqrt(variance) * nodes[at], z)
        weight = weights[at].prod()
        first += weight * k
        second += weight * k[:, :, None] * k[:, None]
    return first, second


def bound(c, a, noise, z, mean, variance, y, jitter=0.0):
    """Titsias and Lawrence (2010), eq. 13 to 16, by inverses."""
    first, second = expectations(c, a, z, mean, variance)
    n, t = y.shape
    kuu = rbf(c, a, z, z) + jitter * np.eye(len(z))
    total = second.sum(axis=0)
    inner = noise * kuu + total
    value = -0.5 * n * t * np.log(2 * np.pi) - 0.5 * t * (n - len(z)) * np.log(noise)
    value += 0.5 * t * (np.linalg.slogdet(kuu)[1] - np.linalg.slogdet(inner)[1])
    fit = first.T @ y
    value -= 0.5 / noise * (np.sum(y * y) - np.sum(fit * np.linalg.solve(inner, fit)))
    value -= 0.5 * t / noise * (n * c - np.trace(np.linalg.solve(kuu, total)))
    return value - 0.5 * np.sum(np.square(mean) + variance - np.log(variance) - 1)


def evidence_of_two(c, a, noise, y, n_nodes=80):
    """log p(y) of two rows y (2, T) with one latent variable each, by quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n_nodes)
    weights = weights / weights.sum()
    densities = np.zeros((n_nodes, n_nodes))
    for i, j in itertools.product(range(n_nodes), repeat=2):
        x = np.array([[nodes[i]], [nodes[j]]])
        covariance = rbf(c, a, x, x) + noise * np.eye(2)
        log = -np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(covariance)[1]
        logs = log - 0.5 * np.sum(y * np.linalg.solve(covariance, y), axis=0)
        densities[i, j] = np.exp(logs.sum())
    return float(np.log(weights @ densities @ weights))
