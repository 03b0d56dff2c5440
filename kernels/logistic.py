"""Bayesian logistic regression: the rows' part of the Jaakkola-Jordan bound.

Shapes: n rows of a block, P coefficients. Equations: Bishop (2006), section 10.6, after Jaakkola
and Jordan (2000), "Bayesian parameter estimation via variational methods".
"""

import numpy as np

from ._jit import kernel
from .special import exp, log

SMALL = 1e-3  # below it the series of lambda is exact in float64, and 0 / 0 is out of reach


@kernel(inline="always")
def curvature(xi):
    """Lambda(xi) = tanh(xi / 2) / (4 xi), eq. 10.150; 1/8 at 0."""
    if xi < SMALL:
        return 0.125 - xi * xi / 96.0
    decay = exp(-xi)
    return (1.0 - decay) / ((1.0 + decay) * 4.0 * xi)


@kernel
def append_one(x, start, stop, block):
    """Copy rows start..stop of x (N, D) to block (n, D + 1), whose last column becomes 1."""
    n_features = x.shape[1]
    one = block.dtype.type(1)
    for i in range(start, stop):
        row = block[i - start]
        for j in range(n_features):
            row[j] = x[i, j]
        row[n_features] = one


@kernel
def fit_rows(block, whitened, targets, weights, xi, scaled, linear):
    """Fit the local variational parameters of a block of rows; its part of the bound, in nats.

    With whitened = block @ R, R R' = E[w w'], a row's xi^2 = x' E[w w'] x (eq. 10.163) is its sum
    of squares, and its bound log sigma(xi) - xi / 2 without (y - 1/2) x' E[w], which is linear in
    the statistics.

    block (n, P), whitened (n, Q), targets (n,) y - 1/2, weights (n,); out: xi (n,) and scaled
    (n, P) = sqrt(2 weight lambda(xi)) x, whose product with itself is the expected precision (eq.
    10.157); in and out: linear (P,) += sum weight (y - 1/2) x (eq. 10.156).
    """
    n_coefficients = block.shape[1]
    n_whitened = whitened.shape[1]
    bound = 0.0
    for i in range(block.shape[0]):
        x = block[i]
        z = whitened[i]
        square = z.dtype.type(0)
        for k in range(n_whitened):
            square += z[k] * z[k]
        root = np.sqrt(np.float64(square))
        weight = np.float64(weights[i])
        xi[i] = root
        bound -= weight * (0.5 * root + log(1.0 + exp(-root)))
        factor = block.dtype.type(np.sqrt(2.0 * weight * curvature(root)))
        for j in range(n_coefficients):
            scaled[i, j] = factor * x[j]
        share = weight * targets[i]
        for j in range(n_coefficients):
            linear[j] += share * x[j]
    return bound


@kernel
def statistics_norms(block, xi, norms):
    """Out (n,) = Euclidean norm of a row's own statistics: (y - 1/2) x and 2 lambda(xi) x x'."""
    for i in range(block.shape[0]):
        x = block[i]
        square = 0.0
        for j in range(block.shape[1]):
            square += np.float64(x[j]) * np.float64(x[j])
        twice = 2.0 * curvature(np.float64(xi[i]))
        norms[i] = np.sqrt(square * (0.25 + twice * twice * square))
