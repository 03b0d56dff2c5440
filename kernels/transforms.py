"""Maps from unconstrained numbers to constrained parameters, with logarithms of the Jacobians.

Shapes: y (m,) unconstrained, x (size,) constrained. Definitions: Stan Reference Manual, "Constraint
Transforms". In practice y stays within +-708, in which exp neither overflows nor becomes 0. Beyond
that, values are infinite or 0, which the checks of callers detect.
"""

import numpy as np

from ._jit import UNORDERED, kernel
from .transforms_vectors import (
    free_factor,
    from_zero_sum,
    length,
    log_jacobian_factor,
    pull_back_factor,
    pull_back_unit,
    to_factor,
    to_unit,
    to_zero_sum,
)

REAL, LOWER, UPPER, INTERVAL, ORDERED, POSITIVE_ORDERED, SIMPLEX, CHOLESKY_CORR = range(8)
UNIT, ZERO_SUM, CHOLESKY_COV = range(8, 11)
# Columns of a block: its kind, and where its unconstrained and constrained numbers begin and end.
KIND, FREE_START, FREE_STOP, START, STOP = range(5)


@kernel(fastmath=UNORDERED, inline="always")
def sigmoid(a):
    """1 / (1 + exp(-a)), which never overflows."""
    decay = np.exp(-abs(a))
    return (1.0 if a >= 0.0 else decay) / (1.0 + decay)


@kernel(fastmath=UNORDERED, inline="always")
def log_sigmoid_slope(a):
    """log(sigmoid(a) sigmoid(-a))."""
    return -abs(a) - 2.0 * np.log1p(np.exp(-abs(a)))


@kernel(fastmath=UNORDERED, inline="always")
def log_tanh_slope(a):
    """log(1 - tanh(a)**2)."""
    return 2.0 * (np.log(2.0) - abs(a) - np.log1p(np.exp(-2.0 * abs(a))))


@kernel(fastmath=UNORDERED, inline="always")
def constrain_number(kind, y, low, high):
    """One number of a kind that has no neighbours."""
    if kind == REAL:
        return y
    if kind == LOWER:
        return low + np.exp(y)
    if kind == UPPER:
        return high - np.exp(y)
    return low + (high - low) * sigmoid(y)


@kernel(fastmath=UNORDERED, inline="always")
def pull_back_number(kind, y, gx, low, high):
    """Gx dx / dy + the derivative of log |dx / dy|, as `constrain_number`."""
    if kind == REAL:
        return gx
    if kind == LOWER:
        return gx * np.exp(y) + 1.0
    if kind == UPPER:
        return 1.0 - gx * np.exp(y)
    up, down = sigmoid(y), sigmoid(-y)
    return gx * (high - low) * up * down + down - up


@kernel(fastmath=UNORDERED, inline="always")
def free_number(kind, x, low, high):
    """The inverse of `constrain_number`."""
    if kind == REAL:
        return x
    if kind == LOWER:
        return np.log(x - low)
    if kind == UPPER:
        return np.log(high - x)
    return np.log(x - low) - np.log(high - x)


@kernel(fastmath=UNORDERED)
def constrain_block(kind, y, x, low, high):
    """Out x; each kind's definition."""
    if kind <= INTERVAL:
        for i in range(y.size):
            x[i] = constrain_number(kind, y[i], low, high)
    elif kind in (ORDERED, POSITIVE_ORDERED):
        for i in range(y.size):
            x[i] = y[i] if i == 0 and kind == ORDERED else np.exp(y[i])
            if i > 0:
                x[i] += x[i - 1]
    elif kind == SIMPLEX:
        break_stick(y, x)
    elif kind == UNIT:
        to_unit(y, x)
    elif kind == ZERO_SUM:
        to_zero_sum(y, x)
    elif kind == CHOLESKY_COV:
        to_factor(y, x)
    else:
        fill_cholesky(y, x)


@kernel(fastmath=UNORDERED)
def break_stick(y, x):
    """Simplex (size,) from y (size - 1,): y = 0 is the middle."""
    stick = 1.0
    for i in range(y.size):
        a = y[i] - np.log(float(y.size - i))
        x[i] = stick * sigmoid(a)
        stick = stick * sigmoid(-a)
    x[y.size] = stick


@kernel(fastmath=UNORDERED)
def fill_cholesky(y, x):
    """Lower factor (size, size), flat, of a correlation matrix; y row by row."""
    size = int(np.sqrt(x.size) + 0.5)
    at = 0
    for i in range(size):
        remaining = 1.0
        for j in range(i):
            x[i * size + j] = np.tanh(y[at]) * np.sqrt(remaining)
            remaining = remaining * np.exp(log_tanh_slope(y[at]))
            at += 1
        x[i * size + i] = np.sqrt(remaining)
        for j in range(i + 1, size):
            x[i * size + j] = 0.0


@kernel(fastmath=UNORDERED)
def log_jacobian_block(kind, y, size, low, high):
    """Log |dx / dy| of a block, x of so many numbers."""
    total = 0.0
    if kind in (LOWER, UPPER, POSITIVE_ORDERED, ORDERED):
        for i in range(1 if kind == ORDERED else 0, y.size):
            total += y[i]
    elif kind == INTERVAL:
        for i in range(y.size):
            total += np.log(high - low) + log_sigmoid_slope(y[i])
    elif kind == SIMPLEX:
        stick = 0.0
        for i in range(y.size):
            a = y[i] - np.log(float(y.size - i))
            total += stick + log_sigmoid_slope(a)
            stick -= np.log1p(np.exp(-abs(a))) + max(a, 0.0)
    elif kind == UNIT:
        total = -0.5 * length(y) ** 2
    elif kind == CHOLESKY_COV:
        total = log_jacobian_factor(y, size)
    elif kind == CHOLESKY_CORR:
        at = 0
        for i in range(int(np.sqrt(size) + 0.5)):
            remaining = 0.0
            for _ in range(i):
                slope = log_tanh_slope(y[at])
                total += slope + 0.5 * remaining
                remaining += slope
                at += 1
    return total


@kernel(fastmath=UNORDERED)
def pull_back_block(kind, y, x, gx, gy, low, high):
    """Out gy = (dx / dy)' gx + the gradient of the log Jacobian."""
    if kind <= INTERVAL:
        for i in range(y.size):
            gy[i] = pull_back_number(kind, y[i], gx[i], low, high)
    elif kind in (ORDERED, POSITIVE_ORDERED):
        above = 0.0
        for i in range(y.size - 1, -1, -1):
            above = above + gx[i]
            gy[i] = above if i == 0 and kind == ORDERED else above * np.exp(y[i]) + 1.0
    elif kind == SIMPLEX:
        pull_back_stick(y, x, gx, gy)
    elif kind == UNIT:
        pull_back_unit(y, x, gx, gy)
    elif kind == ZERO_SUM:
        from_zero_sum(gx, gy)
    elif kind == CHOLESKY_COV:
        pull_back_factor(x, gx, gy)
    else:
        pull_back_cholesky(y, x, gx, gy)


@kernel(fastmath=UNORDERED)
def pull_back_stick(y, x, gx, gy):
    """`pull_back_block` of `break_stick`: backwards, by the derivative in log(stick)."""
    by_stick = gx[y.size] * x[y.size]
    for i in range(y.size - 1, -1, -1):
        a = y[i] - np.log(float(y.size - i))
        up, down = sigmoid(a), sigmoid(-a)
        share = gx[i] * x[i]
        gy[i] = share * down - by_stick * up + down - up
        by_stick = by_stick + share + 1.0


@kernel(fastmath=UNORDERED)
def pull_back_cholesky(y, x, gx, gy):
    """`pull_back_block` of `fill_cholesky`: row by row, backwards by the log of what remains."""
    size = int(np.sqrt(x.size) + 0.5)
    start = 0
    for i in range(size):
        remaining = 0.0
        for j in range(i):  # kept in gy until the way back
            gy[start + j] = remaining
            remaining = remaining + log_tanh_slope(y[start + j])
        by_remaining = 0.5 * gx[i * size + i] * x[i * size + i]
        for j in range(i - 1, -1, -1):
            at, entry = start + j, i * size + j
            remaining = gy[at]
            tanh, slope = np.tanh(y[at]), np.exp(log_tanh_slope(y[at]))
            gy[at] = gx[entry] * np.exp(0.5 * remaining) * slope - 2.0 * tanh * (by_remaining + 1.0)
            by_remaining = by_remaining + 0.5 * gx[entry] * x[entry] + 0.5
        start += i


@kernel(fastmath=UNORDERED)
def free_block(kind, x, y, low, high):
    """Out y, the inverse of `constrain_block`; NaN or infinity for x out of range."""
    if kind <= INTERVAL:
        for i in range(y.size):
            y[i] = free_number(kind, x[i], low, high)
    elif kind in (ORDERED, POSITIVE_ORDERED):
        for i in range(x.size):
            step = x[i] - x[i - 1] if i > 0 else x[i]
            y[i] = step if i == 0 and kind == ORDERED else np.log(step)
    elif kind == SIMPLEX:
        stick = x[y.size]
        for i in range(y.size - 1, -1, -1):
            y[i] = np.log(x[i]) - np.log(stick) + np.log(float(y.size - i))
            stick = stick + x[i]
    elif kind == UNIT:
        for i in range(x.size):
            y[i] = x[i]
    elif kind == ZERO_SUM:
        from_zero_sum(x, y)
    elif kind == CHOLESKY_COV:
        free_factor(x, y)
    else:
        size = int(np.sqrt(x.size) + 0.5)
        at = 0
        for i in range(size):
            remaining = 1.0
            for j in range(i):
                entry = x[i * size + j]
                y[at] = np.arctanh(entry / np.sqrt(remaining))
                remaining = remaining - entry * entry
                at += 1


@kernel
def constrain(blocks, bounds, Z, X, log_jacobian):
    """Out X (k, n_constrained) and log |dx / dz| (k,); blocks (b, 5), bounds (b, 2), Z (k, n)."""
    for s in range(Z.shape[0]):
        total = 0.0
        for b in range(blocks.shape[0]):
            kind, low, high = blocks[b, KIND], bounds[b, 0], bounds[b, 1]
            y = Z[s, blocks[b, FREE_START] : blocks[b, FREE_STOP]]
            x = X[s, blocks[b, START] : blocks[b, STOP]]
            constrain_block(kind, y, x, low, high)
            total = total + log_jacobian_block(kind, y, x.size, low, high)
        log_jacobian[s] = total


@kernel
def pull_back(blocks, bounds, Z, X, GX, GZ):
    """Out GZ (k, n): gradients with respect to Z from those with respect to X, plus Jacobian's."""
    for s in range(Z.shape[0]):
        for b in range(blocks.shape[0]):
            free = slice(blocks[b, FREE_START], blocks[b, FREE_STOP])
            full = slice(blocks[b, START], blocks[b, STOP])
            kind, low, high = blocks[b, KIND], bounds[b, 0], bounds[b, 1]
            pull_back_block(kind, Z[s, free], X[s, full], GX[s, full], GZ[s, free], low, high)


@kernel
def free(blocks, bounds, X, Z):
    """Out Z (k, n), the inverse of `constrain`."""
    for s in range(X.shape[0]):
        for b in range(blocks.shape[0]):
            x = X[s, blocks[b, START] : blocks[b, STOP]]
            y = Z[s, blocks[b, FREE_START] : blocks[b, FREE_STOP]]
            free_block(blocks[b, KIND], x, y, bounds[b, 0], bounds[b, 1])
