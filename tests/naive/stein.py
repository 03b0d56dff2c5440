"""Plain twins of Stein variational gradients: sums over pairs of particles, as in the papers."""

import math

import numpy as np


def kernel_value(kind, u, v):
    """k(u, v) of particles in the kernel's units."""
    s = float(np.sum((np.asarray(u, float) - np.asarray(v, float)) ** 2))
    return math.exp(-0.5 * s) if kind == "rbf" else (1.0 + s) ** -0.5


def kernel_slope(kind, u, v):
    """Gradient of k(u, v) by u."""
    u, v = np.asarray(u, float), np.asarray(v, float)
    k = kernel_value(kind, u, v)
    return -(u - v) * (k if kind == "rbf" else k**3)


def direction(kind, X, scores, lengths, at=None):
    """Liu and Wang (2016), eq. 8: mean over j of k(x_j, x_i) s_j + grad_j k(x_j, x_i).

    Of the particles `at`, by default all.
    """
    n, d = X.shape
    lengths = np.broadcast_to(np.asarray(lengths, float), (d,))
    at = range(n) if at is None else at
    U, phi = X / lengths, np.zeros((len(at), d))
    for to, i in enumerate(at):
        for j in range(n):
            phi[to] += kernel_value(kind, U[j], U[i]) * scores[j]
            phi[to] += kernel_slope(kind, U[j], U[i]) / lengths
    return phi / n


def median_length(X):
    """Length l of exp(-s / (2 l^2)) with 2 l^2 = median squared distance / log n."""
    n = len(X)
    squares = [np.sum((X[i] - X[j]) ** 2) for i in range(n) for j in range(i)]
    return math.sqrt(np.median(squares) / (2.0 * math.log(n)))


def pairs(kind, U, values, slopes):
    """K values and F slopes, F = -2 k'(s)."""
    n = len(U)
    K = np.array([[kernel_value(kind, U[i], U[j]) for j in range(n)] for i in range(n)])
    F = K if kind == "rbf" else K**3
    return K @ values, F @ slopes


def matrix_direction(X, scores, Q, length):
    """Wang et al. (2019), eq. 11: mean over j of Q^-1 k(x_j, x_i) s_j + Q^-1 grad_j k(x_j, x_i).

    With k = exp(-|x - x'|_Q^2 / (2 length^2)).
    """
    n, d = X.shape
    phi = np.zeros((n, d))
    for i in range(n):
        for j in range(n):
            away = X[j] - X[i]
            k = math.exp(-0.5 * (away @ Q @ away) / length**2)
            phi[i] += k * scores[j] - k * (Q @ away) / length**2
    return phi @ np.linalg.inv(Q) / n


def newton_direction(X, scores, curvatures, Q, length):
    """Detommaso et al. (2018), eq. 15-17 with blocks H_ii, in the kernel of `matrix_direction`.

    The solutions are averaged by the kernel instead of summed.
    """
    n, d = X.shape
    K, slopes = np.empty((n, n)), np.empty((n, n, d))  # k(x_j, x_i), its gradient by x_i
    for i in range(n):
        for j in range(n):
            away = X[i] - X[j]
            K[i, j] = math.exp(-0.5 * (away @ Q @ away) / length**2)
            slopes[i, j] = -K[i, j] * (Q @ away) / length**2
    alpha = np.empty((n, d))
    for i in range(n):
        H = sum(
            K[i, j] ** 2 * curvatures[j] + np.outer(slopes[i, j], slopes[i, j]) for j in range(n)
        )
        phi = sum(K[i, j] * scores[j] - slopes[i, j] for j in range(n))
        alpha[i] = np.linalg.solve(H, phi)
    return K @ alpha / K.sum(axis=1)[:, None]


def sliced_direction(X, scores, slices, lengths):
    """Gong et al. (2021), eq. 15: coordinate r by the kernel of projections on the slice g_r."""
    n, d = X.shape
    phi = np.zeros((n, d))
    for r in range(d):
        a = X @ slices[r]
        for i in range(n):
            for j in range(n):
                t = (a[i] - a[j]) / lengths[r]
                k = math.exp(-0.5 * t * t)
                phi[i, r] += k * scores[j, r] + slices[r, r] * k * t / lengths[r]
    return phi / n


def sliced_discrepancy(X, scores, r, g, length):
    """Gong et al. (2021), eq. 9 as a V-statistic times n^2, for the axis r and the slice g."""
    a, total = X @ g / length, 0.0
    for i in range(len(X)):
        for j in range(len(X)):
            t, c = a[i] - a[j], g[r] / length
            k = math.exp(-0.5 * t * t)
            total += scores[i, r] * scores[j, r] * k + c * t * k * (scores[i, r] - scores[j, r])
            total += c * c * (1.0 - t * t) * k
    return total


def network_scores(Z, X, y, factor, n_hidden, rate):
    """Gradients of `networks.network` at particles Z, rows X (m, d), y (m,), each times factor."""
    d, H = X.shape[1], n_hidden
    grads = np.empty_like(Z)
    for z, grad in zip(Z, grads):
        W, b, v = z[: d * H].reshape(d, H), z[d * H : d * H + H], z[d * H + H : d * H + 2 * H]
        gamma, lam, weights = math.exp(z[-2]), math.exp(z[-1]), z[:-2]
        before = X @ W + b
        hidden = np.maximum(before, 0.0)
        e = y - hidden @ v - z[-3]
        pull = factor * gamma * e
        back = (before > 0) * np.outer(pull, v)
        parts = (X.T @ back).reshape(-1), back.sum(axis=0), hidden.T @ pull, [pull.sum()]
        grad[:-2] = np.concatenate(parts) - lam * weights
        grad[-2] = factor * np.sum(0.5 - 0.5 * gamma * e**2) + 1.0 - rate * gamma
        grad[-1] = 0.5 * len(weights) - 0.5 * lam * weights @ weights + 1.0 - rate * lam
    return grads


def svgd_network(Z, X, y, n_iter, batch_size, n_hidden, rate, step, decay, rng):
    """Liu and Wang (2016), algorithm 1, with the running mean of squares of their code."""
    Z, square = Z.copy(), np.zeros_like(Z)
    n = len(Z)
    for _ in range(n_iter):
        rows = rng.choice(len(y), batch_size, replace=False)
        scores = network_scores(Z, X[rows], y[rows], len(y) / batch_size, n_hidden, rate)
        squares = np.square(Z[:, None, :] - Z[None]).sum(axis=2)
        h = np.median(squares[np.triu_indices(n, 1)]) / math.log(n)
        K = np.exp(-squares / h)
        phi = (K @ scores + (2.0 / h) * (Z * K.sum(axis=1)[:, None] - K @ Z)) / n
        square = decay * square + (1.0 - decay) * phi**2
        Z += step * phi / (np.sqrt(square) + 1e-8)
    return Z
