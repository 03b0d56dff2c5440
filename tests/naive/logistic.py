"""Plain twins of Bayesian logistic regression: one row at a time, and the bound by definition."""

import math

import numpy as np
from scipy.special import gammaln, psi


def curvature(xi):
    return math.tanh(xi / 2) / (4 * xi) if xi > 1e-8 else 0.125


def fit_rows(block, second_moment, targets, weights):
    """(xi, sqrt(2 weight lambda) x, sum weight target x, bound but for its linear term)."""
    xi, scaled, linear, bound = [], [], np.zeros(block.shape[1]), 0.0
    for x, target, weight in zip(block.astype(np.float64), targets, weights):
        root = math.sqrt(x @ second_moment @ x)
        xi.append(root)
        scaled.append(math.sqrt(2 * weight * curvature(root)) * x)
        linear += weight * target * x
        bound -= weight * (root / 2 + math.log1p(math.exp(-root)))
    return np.array(xi), np.array(scaled), linear, bound


def statistics_norm(x, target, xi):
    return math.sqrt(np.sum((target * x) ** 2) + np.sum((2 * curvature(xi) * np.outer(x, x)) ** 2))


def row_bound(x, y, xi, mean, covariance):
    """E_q of the bound on log p(y | x, w), Bishop (2006), eq. 10.151-10.152."""
    a = x @ mean
    square = x @ (covariance + np.outer(mean, mean)) @ x
    sigmoid = -math.log1p(math.exp(-xi))
    return a * y - (a + xi) / 2 + sigmoid - curvature(xi) * (square - xi**2)


def elbo(X, y, xi, mean, covariance, fixed, groups, a0, b0, shapes, rates):
    """The whole bound, each expectation written out."""
    P = len(mean)
    total = sum(row_bound(x, t, z, mean, covariance) for x, t, z in zip(X, y, xi))
    for j in range(P):
        square = mean[j] ** 2 + covariance[j, j]
        if groups[j] < 0:
            log_alpha, alpha = math.log(fixed[j]), fixed[j]
        else:
            a, b = shapes[groups[j]], rates[groups[j]]
            log_alpha, alpha = psi(a) - math.log(b), a / b
        total += 0.5 * (log_alpha - math.log(2 * math.pi) - alpha * square)
    for a, b in zip(shapes, rates):
        total += a0 * math.log(b0) - gammaln(a0) + (a0 - 1) * (psi(a) - math.log(b)) - b0 * a / b
        total += a - math.log(b) + gammaln(a) + (1 - a) * psi(a)  # entropy
    sign, log_det = np.linalg.slogdet(covariance)
    assert sign > 0
    return total + 0.5 * (P * (1 + math.log(2 * math.pi)) + log_det)


def fit(X, y, fixed, groups, a0, b0, covariance, n_iter):
    """Coordinate ascent from mean 0 and a covariance; (mean, covariance, alpha, bounds)."""
    n, P = X.shape
    n_groups = max(groups) + 1
    mean = np.zeros(P)
    bounds = []
    for _ in range(n_iter):
        shapes, rates = np.full(n_groups, float(a0)), np.full(n_groups, float(b0))
        for j, g in enumerate(groups):
            if g >= 0:
                shapes[g] += 0.5
                rates[g] += 0.5 * (mean[j] ** 2 + covariance[j, j])
        moment = covariance + np.outer(mean, mean)
        xi = [math.sqrt(x @ moment @ x) for x in X]
        bounds.append(elbo(X, y, xi, mean, covariance, fixed, groups, a0, b0, shapes, rates))
        alpha = np.array(
            [fixed[j] if g < 0 else shapes[g] / rates[g] for j, g in enumerate(groups)]
        )
        precision = np.diag(alpha)
        linear = np.zeros(P)
        for i in range(n):
            precision += 2 * curvature(xi[i]) * np.outer(X[i], X[i])
            linear += (y[i] - 0.5) * X[i]
        covariance = np.linalg.inv(precision)
        mean = covariance @ linear
    return mean, covariance, alpha, bounds
