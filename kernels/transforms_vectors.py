"""Transforms of vectors: on the unit sphere, with sum zero, and Cholesky factors of covariances.

Shapes: y (m,) unconstrained, x (size,) constrained. Definitions: Stan Reference Manual, "Constraint
Transforms".
"""

import numpy as np

from ._jit import UNORDERED, kernel


@kernel(fastmath=UNORDERED)
def length(y):
    """Euclidean length."""
    total = 0.0
    for i in range(y.size):
        total += y[i] * y[i]
    return np.sqrt(total)


@kernel(fastmath=UNORDERED)
def to_unit(y, x):
    """Out x = y / |y|."""
    size = length(y)
    for i in range(y.size):
        x[i] = y[i] / size


@kernel(fastmath=UNORDERED)
def pull_back_unit(y, x, gx, gy):
    """Out gy, with -|y|^2 / 2 as the log Jacobian."""
    size, along = length(y), 0.0
    for i in range(y.size):
        along += gx[i] * x[i]
    for i in range(y.size):
        gy[i] = (gx[i] - along * x[i]) / size - y[i]


@kernel(fastmath=UNORDERED)
def to_zero_sum(y, x):
    """Out x (size,), an orthonormal map of y (size - 1,)."""
    x[y.size] = 0.0
    for i in range(y.size):
        x[i] = y[i] / np.sqrt((i + 1.0) * (i + 2.0))
    for i in range(y.size - 2, -1, -1):
        x[i] += x[i + 1]
    for i in range(y.size):
        x[i + 1] -= y[i] * np.sqrt((i + 1.0) / (i + 2.0))


@kernel(fastmath=UNORDERED)
def from_zero_sum(x, y):
    """Out y: the transposed map, which is the inverse as well."""
    for i in range(y.size):
        y[i] = x[i]
    for i in range(1, y.size):
        y[i] += y[i - 1]
    for i in range(y.size):
        y[i] = (y[i] - (i + 1.0) * x[i + 1]) / np.sqrt((i + 1.0) * (i + 2.0))


@kernel(fastmath=UNORDERED)
def to_factor(y, x):
    """Out x: a lower triangle in rows, whose diagonal is exp of the free numbers."""
    size = int(np.sqrt(x.size) + 0.5)
    at = 0
    for i in range(size):
        for j in range(size):
            x[i * size + j] = 0.0
            if j <= i:
                x[i * size + j] = y[at] if j < i else np.exp(y[at])
                at += 1


@kernel(fastmath=UNORDERED)
def log_jacobian_factor(y, size):
    """Sum of the diagonal's free numbers."""
    total, at = 0.0, -1
    for i in range(int(np.sqrt(size) + 0.5)):
        at += i + 1
        total += y[at]
    return total


@kernel(fastmath=UNORDERED)
def pull_back_factor(x, gx, gy):
    """Out gy, with the gradient of the log Jacobian."""
    size = int(np.sqrt(x.size) + 0.5)
    at = 0
    for i in range(size):
        for j in range(i + 1):
            entry = i * size + j
            gy[at] = gx[entry] if j < i else gx[entry] * x[entry] + 1.0
            at += 1


@kernel(fastmath=UNORDERED)
def free_factor(x, y):
    """Out y, the inverse of `to_factor`."""
    size = int(np.sqrt(x.size) + 0.5)
    at = 0
    for i in range(size):
        for j in range(i + 1):
            y[at] = x[i * size + j] if j < i else np.log(x[i * size + j])
            at += 1
