"""Plain twin of multinomial logistic regression: every contrast of every column in one vector."""

import math

import numpy as np
from scipy.linalg import helmert
from scipy.special import gammaln, logsumexp, psi, softmax


def curvature(K):
    """Boehning's bound of the curvature of log-sum-exp."""
    return 0.5 * (np.eye(K) - 1 / K)


def design(x, K):
    """What makes K logits of P (K - 1) contrasts, whose K - 1 go together."""
    return np.kron(x[None], helmert(K).T)


def row_bound(x, label, expansion, mean, covariance, K):
    """E_q of the bound on log p(y | x, w) that touches at the logits `expansion`."""
    phi = design(x, K)
    a, A = phi @ mean, curvature(K)
    away = a - expansion
    square = away @ A @ away + np.trace(A @ phi @ covariance @ phi.T)
    return a[label] - logsumexp(expansion) - away @ softmax(expansion) - square / 2


def statistics_norm(x, label, logits):
    residual = np.eye(len(logits))[label] - softmax(logits) + logits / 2
    return math.sqrt(np.sum(np.outer(x, residual) ** 2) + np.sum((0.5 * np.outer(x, x)) ** 2))


def elbo(X, y, K, mean, covariance, fixed, groups, a0, b0, shapes, rates):
    """The whole bound, each expectation written out."""
    rows = (row_bound(x, t, design(x, K) @ mean, mean, covariance, K) for x, t in zip(X, y))
    total = sum(rows)
    for j, g in enumerate(np.repeat(groups, K - 1)):
        square = mean[j] ** 2 + covariance[j, j]
        if g < 0:
            alpha = fixed[j // (K - 1)]
            log_alpha = math.log(alpha)
        else:
            log_alpha, alpha = psi(shapes[g]) - math.log(rates[g]), shapes[g] / rates[g]
        total += 0.5 * (log_alpha - math.log(2 * math.pi) - alpha * square)
    for a, b in zip(shapes, rates):
        total += a0 * math.log(b0) - gammaln(a0) + (a0 - 1) * (psi(a) - math.log(b)) - b0 * a / b
        total += a - math.log(b) + gammaln(a) + (1 - a) * psi(a)  # entropy
    log_det = np.linalg.slogdet(covariance)[1]
    return total + 0.5 * (len(mean) * (1 + math.log(2 * math.pi)) + log_det)


def fit(X, y, K, fixed, groups, a0, b0, covariance, n_iter):
    """Coordinate ascent from mean 0 and a covariance; (mean (P, K), covariance, alpha, bounds)."""
    P = X.shape[1]
    mean, covariance = np.zeros(P * (K - 1)), np.kron(covariance, np.eye(K - 1))
    n_groups = max(groups) + 1
    bounds = []
    for _ in range(n_iter):
        shapes, rates = np.full(n_groups, float(a0)), np.full(n_groups, float(b0))
        for j, g in enumerate(np.repeat(groups, K - 1)):
            if g >= 0:
                shapes[g] += 0.5
                rates[g] += 0.5 * (mean[j] ** 2 + covariance[j, j])
        bounds.append(elbo(X, y, K, mean, covariance, fixed, groups, a0, b0, shapes, rates))
        alpha = np.array(
            [fixed[j] if g < 0 else shapes[g] / rates[g] for j, g in enumerate(groups)]
        )
        precision, linear = np.diag(np.repeat(alpha, K - 1)), np.zeros(len(mean))
        for x, label in zip(X, y):
            phi = design(x, K)
            a = phi @ mean
            precision += phi.T @ curvature(K) @ phi
            linear += phi.T @ (np.eye(K)[label] - softmax(a) + curvature(K) @ a)
        covariance = np.linalg.inv(precision)
        mean = covariance @ linear
    return mean.reshape(P, K - 1) @ helmert(K), covariance, alpha, bounds
