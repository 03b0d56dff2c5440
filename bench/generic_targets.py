"""The densities for timing fits, as a user of fastvi would write them."""

import numpy as np

import fastvi
from fastvi.kernels.special import exp, log
from fastvi.kernels.thin import add_product, times

ROWS = 128  # of X, which stay in the second-level cache between logits and gradients


@fastvi.target(fastmath=True)
def logistic(z, data, grad):
    """A standard normal prior and all rows; data: X (n, D), moment X'y (D,)."""
    D, n = z.size, data.X.shape[0]
    value = 0.0
    for j in range(D):
        value += (data.moment[j] - 0.5 * z[j]) * z[j]
        grad[j] = data.moment[j] - z[j]
    beta, p, decay, pull = z.copy(), np.empty(ROWS), np.empty(ROWS), np.empty(D)
    for i in range(0, n, ROWS):
        m = min(ROWS, n - i)
        X = data.X[i : i + m]
        np.dot(X, beta, p[:m])
        for r in range(m):
            decay[r] = exp(-abs(p[r]))
        product = 1.0  # of factors from 1 to 2, so that a block needs one logarithm
        for r in range(m):
            value -= max(p[r], 0.0)
            product *= 1.0 + decay[r]
        value -= log(product)
        for r in range(m):
            p[r] = (1.0 if p[r] >= 0 else decay[r]) / (1.0 + decay[r])
        np.dot(X.T, p[:m], pull)
        for j in range(D):
            grad[j] -= pull[j]
    return value


@fastvi.target(fastmath=True)
def logistic_batched(Z, data, values, grads):
    """The same for K vectors at once, reading X only once."""
    (K, D), n = Z.shape, data.X.shape[0]
    for k in range(K):
        values[k, 0] = 0.0
        for j in range(D):
            values[k, 0] += (data.moment[j] - 0.5 * Z[k, j]) * Z[k, j]
            grads[k, j] = data.moment[j] - Z[k, j]
    columns, p = np.ascontiguousarray(Z.T), np.empty((ROWS, K))
    product, pull = np.empty(K), np.zeros((D, K))
    flat, decay = p.reshape(ROWS * K), np.empty(ROWS * K)
    for first in range(0, n, ROWS):
        m = min(ROWS, n - first)
        X = data.X[first : first + m]
        times(X, columns, p[:m])
        for i in range(m * K):  # one long loop, whatever K is
            decay[i] = exp(-abs(flat[i]))
        product[:] = 1.0
        for r in range(m):
            for k in range(K):
                values[k, 0] -= max(p[r, k], 0.0)
                product[k] *= 1.0 + decay[r * K + k]
        for i in range(m * K):
            flat[i] = (1.0 if flat[i] >= 0 else decay[i]) / (1.0 + decay[i])
        for k in range(K):
            values[k, 0] -= log(product[k])
        add_product(X.T, p[:m], pull)
    grads -= pull.T


@fastvi.target
def schools(z, data, grad):
    """Eight schools, non-centred: z = effects (J), mu, log tau; constants left out."""
    J = data.y.size
    mu, tau = z[J], np.exp(z[J + 1])
    square = (tau / 5.0) ** 2
    value = z[J + 1] - np.log1p(square) - 0.5 * (mu / 5.0) ** 2
    grad[J] = -mu / 25.0
    grad[J + 1] = 1.0 - 2.0 * square / (1.0 + square)
    for j in range(J):
        e = (data.y[j] - mu - tau * z[j]) / data.sigma[j]
        value -= 0.5 * (e * e + z[j] * z[j])
        grad[j] = e / data.sigma[j] * tau - z[j]
        grad[J] += e / data.sigma[j]
        grad[J + 1] += e / data.sigma[j] * tau * z[j]
    return value
