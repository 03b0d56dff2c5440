"""Passes over rows of a hidden layer of a deep Gaussian process.

Shapes: n rows, M inducing inputs, T units; products (n, T, M) are rows k (n, M) times T matrices.
"""

import numpy as np

from ._jit import kernel
from .vectors import dot


@kernel
def variances(k, products, diagonal, variance):
    """Out variance (n, T) = diagonal (n,) less the rows of k (n, M) times those of products."""
    for i in range(k.shape[0]):
        for t in range(variance.shape[1]):
            variance[i, t] = diagonal[i] - dot(k[i], products[i, t])


@kernel
def take_adjoints(slopes, products, out):
    """Out (n, M) -= 2 sum_t slopes (n, T) products, the derivative of `variances` by k."""
    for i in range(out.shape[0]):
        target = out[i]
        for t in range(slopes.shape[1]):
            factor, row = 2.0 * slopes[i, t], products[i, t]
            for j in range(target.size):
                target[j] -= factor * row[j]


@kernel
def split_by_sign(k, factors, out):
    """Out (n, M): rows of k times the roots of |factors| (n,), those of negative factors last.

    Returns how many are not negative.
    """
    first, last = 0, k.shape[0]
    for i in range(k.shape[0]):
        if factors[i] >= 0.0:
            place = first
            first += 1
        else:
            last -= 1
            place = last
        size = np.sqrt(abs(factors[i]))
        row, target = k[i], out[place]
        for j in range(row.size):
            target[j] = size * row[j]
    return first
