"""Small log densities whose posteriors are known."""

import math

import numpy as np

import fastvi


def bowl(z, grad):
    """Standard normal numbers, not normalised."""
    value = 0.0
    for j in range(z.size):
        grad[j] = -z[j]
        value -= 0.5 * z[j] * z[j]
    return value


def gaussian(z, data, grad):
    """exp(height) N(mean, precision^-1), normalised but for the height."""
    value = data.height
    for i in range(z.size):
        for j in range(z.size):
            value -= 0.5 * (z[i] - data.mean[i]) * data.precision[i, j] * (z[j] - data.mean[j])
            grad[i] -= data.precision[i, j] * (z[j] - data.mean[j])
    return value


def regression(z, data, rows, weights, grad):
    """y ~ N(X z, 1), z ~ N(0, 1): conjugate."""
    value = 0.0
    for j in range(z.size):
        value -= 0.5 * z[j] * z[j] + 0.5 * math.log(2 * math.pi)
        grad[j] -= z[j]
    for m in range(rows.size):
        i = rows[m]
        error = data.y[i]
        for j in range(z.size):
            error -= data.X[i, j] * z[j]
        value -= weights[m] * (0.5 * error * error + 0.5 * math.log(2 * math.pi))
        for j in range(z.size):
            grad[j] += weights[m] * error * data.X[i, j]
    return value


def half(z, grad):
    """No density at z[0] <= 0; Gamma(5, 1) x N(0, 1)."""
    if z[0] <= 0:
        return math.nan
    grad[0] = 4.0 / z[0] - 1.0
    grad[1] = -z[1]
    return 4.0 * math.log(z[0]) - z[0] - 0.5 * z[1] * z[1]


def nowhere(z, grad):
    grad[0] = math.nan
    return 0.0


def rosenbrock(z, grad):
    value = 0.0
    for j in range(z.size):
        grad[j] = 0.0
    for j in range(z.size - 1):
        a = z[j + 1] - z[j] * z[j]
        value -= 100.0 * a * a + (1.0 - z[j]) ** 2
        grad[j + 1] -= 200.0 * a
        grad[j] += 400.0 * a * z[j] + 2.0 * (1.0 - z[j])
    return value


def unbounded(z, grad):
    """A cubic that nothing bounds, beside a standard normal number."""
    grad[0] = 3.0 * z[0] ** 2
    grad[1] = -z[1]
    return z[0] ** 3 - 0.5 * z[1] ** 2


def plateau(z, grad):
    grad[0] = 0.0
    return 0.0


def normal_of(mean, covariance, height=0.0):
    data = {"mean": np.asarray(mean, float), "precision": np.linalg.inv(covariance)}
    return fastvi.target(gaussian, data={**data, "height": height}, dim=len(mean))


def gaussian_of_condition(dim, condition=1e4):
    """A Gaussian of height 0.7 at its mode: target, mean, covariance, log evidence."""
    rng = np.random.default_rng(dim)
    sds = condition ** np.linspace(-0.25, 0.25, dim) if dim > 1 else np.array([7.0])
    angles, _ = np.linalg.qr(rng.standard_normal((dim, dim)))
    cov, mean = (angles * sds) @ (angles * sds).T, 3.0 * rng.standard_normal(dim)
    evidence = 0.7 + 0.5 * dim * math.log(2 * math.pi) + np.log(sds).sum()
    return normal_of(mean, cov, 0.7), mean, cov, evidence
