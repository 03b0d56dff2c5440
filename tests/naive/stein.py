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


def direction(kind, X, scores, lengths):
    """Liu and Wang (2016), eq. 8: mean over j of k(x_j, x_i) s_j + grad_j k(x_j, x_i)."""
    n, d = X.shape
    lengths = np.broadcast_to(np.asarray(lengths, float), (d,))
    U, phi = X / lengths, np.zeros((n, d))
    for i in range(n):
        for j in range(n):
            phi[i] += kernel_value(kind, U[j], U[i]) * scores[j]
            phi[i] += kernel_slope(kind, U[j], U[i]) / lengths
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
