"""Plain twin of `fastvi.kernels.structured`: mean field of rows, by dense algebra."""

import numpy as np
from scipy.special import logsumexp, softmax


def start(parts, a, s):
    """Chances of the parts given an observation of z, exactly."""
    logits = []
    for constant, slope, A in zip(*parts):
        P = A + np.diag(np.exp(-2 * s))
        h = slope + np.exp(-2 * s) * a
        logits.append(constant + 0.5 * h @ np.linalg.solve(P, h) - 0.5 * np.linalg.slogdet(P)[1])
    return softmax(logits)


def mean_field(parts, a, s):
    """Shares (C,), mean (J,) and covariance (J, J) of a row's q, and its bound without a."""
    constants, slopes, precisions = parts
    shares, p = start(parts, a, s), np.exp(-2 * s)
    before = np.zeros(len(shares))
    while np.abs(shares - before).max() > 1e-14:
        covariance = np.linalg.inv(np.diag(p) + np.einsum("c,cij", shares, precisions))
        mean = covariance @ (p * a + shares @ slopes)
        second = covariance + np.outer(mean, mean)
        logits = constants + slopes @ mean - 0.5 * np.einsum("cij,ij->c", precisions, second)
        before, shares = shares, softmax(logits)
    value = logsumexp(logits) + 0.5 * np.linalg.slogdet(covariance)[1] + 0.5 * len(mean)
    return shares, mean, covariance, value


def draws(mean, covariance, eps):
    """Of noise (K, J), by the root of the covariance that the kernel has."""
    lower = np.linalg.cholesky(np.linalg.inv(covariance))
    return mean + np.linalg.solve(lower.T, eps.T).T
