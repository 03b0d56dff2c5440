"""Bayesian networks of one hidden layer of ReLU, as Liu and Wang (2016) compare on UCI data.

y ~ N(f(x), 1 / gamma), weights and biases ~ N(0, 1 / lambda), gamma, lambda ~ Gamma(1, 0.1). Free
numbers: W (D, H), b (H,), v (H,), c, log gamma, log lambda.
"""

from __future__ import annotations

import math

import numpy as np

import fastvi

HIDDEN = 50
RATE = 0.1  # of the Gamma priors, whose shape is 1


@fastvi.target(fastmath=True, rows=("X", "y"))
def network(z, data, rows, weights, grad):
    """The log density, with the Jacobians of gamma and lambda and without constants."""
    D, H = data.X.shape[1], data.n_hidden
    n_weights = D * H + 2 * H + 1
    W, b, v = z[: D * H].reshape((D, H)), z[D * H : D * H + H], z[D * H + H : D * H + 2 * H]
    gW = grad[: D * H].reshape((D, H))
    gb, gv = grad[D * H : D * H + H], grad[D * H + H : D * H + 2 * H]
    log_gamma, log_lambda = z[n_weights], z[n_weights + 1]
    gamma, lam = math.exp(log_gamma), math.exp(log_lambda)
    square = 0.0
    for j in range(n_weights):
        square += z[j] * z[j]
    for j in range(n_weights):
        grad[j] = -lam * z[j]
    value = 0.5 * n_weights * log_lambda - 0.5 * lam * square
    grad[n_weights + 1] = 0.5 * n_weights - 0.5 * lam * square + 1.0 - RATE * lam
    value += log_lambda - RATE * lam + log_gamma - RATE * gamma
    grad[n_weights] = 1.0 - RATE * gamma
    hidden = np.empty(H)
    for m in range(rows.size):
        x, weight = data.X[rows[m]], weights[m]
        hidden[:] = b
        for d in range(D):
            row, factor = W[d], x[d]
            for h in range(H):
                hidden[h] += factor * row[h]
        mean = z[n_weights - 1]
        for h in range(H):
            mean += max(hidden[h], 0.0) * v[h]
        e = data.y[rows[m]] - mean
        value += weight * (0.5 * log_gamma - 0.5 * gamma * e * e)
        grad[n_weights] += weight * (0.5 - 0.5 * gamma * e * e)
        pull = weight * gamma * e
        grad[n_weights - 1] += pull
        for h in range(H):
            active = pull if hidden[h] > 0.0 else 0.0
            gv[h] += active * hidden[h]
            hidden[h] = active * v[h]
            gb[h] += hidden[h]
        for d in range(D):
            row, factor = gW[d], x[d]
            for h in range(H):
                row[h] += factor * hidden[h]
    return value


def split(folder, name, number):
    """Training and test data of a split, standardised, and y's deviation: X, y, X', y', sd."""
    with np.load(folder / f"{name}.npz") as f:
        X, y, seed = f["X"].astype(float), f["y"].astype(float), int(f["seeds"][number])
    order = np.random.RandomState(seed).permutation(len(y))
    train, test = np.split(order, [int(0.9 * len(y))])
    mean, sd = X[train].mean(axis=0), X[train].std(axis=0)
    centre, scale = y[train].mean(), y[train].std()
    X, y = (X - mean) / sd, (y - centre) / scale
    return X[train], y[train], X[test], y[test], scale


def start(n, d, rng):
    """Particles to begin with: weights by the number of inputs, gamma 1, lambda by its prior."""
    H = HIDDEN
    W = rng.normal(size=(n, d * H)) / np.sqrt(d + 1)
    v = rng.normal(size=(n, H)) / np.sqrt(H + 1)
    log_lambda = np.log(rng.gamma(1.0, 1.0 / RATE, size=(n, 1)))
    zeros = np.zeros((n, H))
    return np.concatenate((W, zeros, v, np.zeros((n, 2)), log_lambda), axis=1)


def outputs(Z, X):
    """Each particle's f(x), (n, rows)."""
    d, H = X.shape[1], HIDDEN
    W, b = Z[:, : d * H].reshape(-1, d, H), Z[:, d * H : d * H + H]
    v, c = Z[:, d * H + H : d * H + 2 * H], Z[:, d * H + 2 * H]
    hidden = np.maximum(np.matmul(X, W) + b[:, None, :], 0.0)
    return np.einsum("nrh,nh->nr", hidden, v) + c[:, None]


def scores(Z, X, y, scale):
    """Root mean square error and mean log density of y, in its own units."""
    means, gamma = outputs(Z, X), np.exp(Z[:, -2])[:, None]
    error = float(scale * np.sqrt(np.mean((means.mean(axis=0) - y) ** 2)))
    logs = 0.5 * np.log(gamma / (2 * np.pi)) - 0.5 * gamma * (means - y) ** 2
    top = logs.max(axis=0)
    density = top + np.log(np.mean(np.exp(logs - top), axis=0)) - math.log(scale)
    return error, float(density.mean())
