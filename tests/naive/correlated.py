"""Plain twins of `fastvi.kernels.correlated`, in float64 and without padding."""

import numpy as np
from scipy.special import logsumexp, softmax

FULL = 65535


def log_joint(eta, mean, precision, weights, counts):
    """Log p(words, eta) but for constants; weights (n, K) of a document's words."""
    rest = eta - mean
    likelihood = counts @ np.log(weights @ softmax(eta))
    return likelihood - 0.5 * rest @ precision @ rest


def slope(eta, mean, precision, weights, counts):
    """Gradient of `log_joint`."""
    theta = softmax(eta)
    phi = theta * weights
    phi /= phi.sum(axis=1, keepdims=True)
    return counts @ phi - counts.sum() * theta - precision @ (eta - mean)


def complete_curvature(theta, precision, n):
    """Negative Hessian if words' topics were known."""
    return precision + n * (np.diag(theta) - np.outer(theta, theta))


def curvature(eta, precision, weights, counts):
    """Negative Hessian of `log_joint`."""
    theta = softmax(eta)
    phi = theta * weights
    phi /= phi.sum(axis=1, keepdims=True)
    known = complete_curvature(theta, precision, counts.sum())
    return known - np.diag(counts @ phi) + (phi.T * counts) @ phi


def newton_step(eta, mean, precision, weights, counts):
    """The step of Laplace's method, before it is clipped."""
    known = complete_curvature(softmax(eta), precision, counts.sum())
    return np.linalg.solve(known, slope(eta, mean, precision, weights, counts))


def laplace(mean, precision, weights, counts, n_steps=500):
    """Mode, its covariance, and the approximate log evidence."""
    eta = mean.copy()
    for _ in range(n_steps):
        step = newton_step(eta, mean, precision, weights, counts)
        eta = eta + step * min(1.0, 2.0 / max(abs(step).max(), 1e-9))
    found = curvature(eta, precision, weights, counts)
    determinants = np.linalg.slogdet(precision)[1] - np.linalg.slogdet(found)[1]
    evidence = log_joint(eta, mean, precision, weights, counts) + 0.5 * determinants
    return eta, np.linalg.inv(found), evidence


def bound(eta, covariance, mean, precision, weights, counts):
    """Blei and Lafferty's bound on the evidence of a document for q = N(eta, covariance)."""
    n, rest = counts.sum(), eta - mean
    words = counts @ np.log(weights @ np.exp(eta))
    normaliser = n * logsumexp(eta + 0.5 * np.diag(covariance))
    entropy = np.linalg.slogdet(covariance)[1] + np.linalg.slogdet(precision)[1] + len(eta)
    divergence = rest @ precision @ rest + np.sum(precision * covariance) - entropy
    return words - normaliser - 0.5 * divergence


def maximum_of_bound(mean, precision, weights, counts, n_steps=500):
    """Mean and covariance that maximise it, and its value."""
    eta, covariance, n = mean.copy(), np.zeros_like(precision), counts.sum()
    for _ in range(n_steps):
        theta = softmax(eta + 0.5 * np.diag(covariance))
        phi = softmax(eta) * weights
        phi /= phi.sum(axis=1, keepdims=True)
        change = counts @ phi - n * theta - precision @ (eta - mean)
        eta = eta + np.linalg.solve(precision + n * np.diag(theta), change)
        theta = softmax(eta + 0.5 * np.diag(covariance))
        covariance = np.linalg.inv(precision + n * np.diag(theta))
    return eta, covariance, bound(eta, covariance, mean, precision, weights, counts)


def sweep(documents, table, inverse_totals, least, precision, means, eta, g):
    """One sweep of Laplace's method over documents [(words, counts, entries)].

    Changes eta (D, K) and g (N, K), in units of 1 / FULL; returns the sum of the documents'
    covariances and the log-likelihood.
    """
    spread, likelihood = np.zeros_like(precision), 0.0
    for d, (words, counts, entries) in enumerate(documents):
        own = np.minimum(counts, 1)[:, None] * g[entries] / FULL
        weights = np.maximum(table[words] - own, least) * inverse_totals
        step = newton_step(eta[d], means[d], precision, weights, counts)
        eta[d] += step * min(1.0, 2.0 / max(abs(step).max(), 1e-9))
        phi = softmax(eta[d]) * weights
        likelihood += counts @ np.log(phi.sum(axis=1))
        g[entries] = np.floor(phi / phi.sum(axis=1, keepdims=True) * FULL + 0.5)
        found = complete_curvature(softmax(eta[d]), precision, counts.sum())
        spread += np.linalg.inv(found)
    return spread, likelihood


def recount(words, counts, g, prior, n_words):
    """Expected counts of words plus prior, (V, K)."""
    table = np.full((n_words, g.shape[1]), prior)
    np.add.at(table, words, counts[:, None] * g / FULL)
    return table
