"""Posteriors of Gaussian chains whose steps are mixtures of a few quadratic forms.

All sequences follow each other; states x_t have K numbers. Row t says exp(linear_t' x - x' H x / 2)
of its state, with H by pattern. A step into row t says exp(-(x_t' P x_t - 2 x_t' B x_{t-1} +
x_{t-1}' S x_{t-1}) / 2), whose matrices are those of M kinds of steps, weighted by weights (n, M).
"""

import numpy as np

from ._jit import kernel


@kernel
def _blend(weights, kinds, out):
    """Out (K, K): sum over kinds (M, K, K) by weights (M,)."""
    n = out.shape[0]
    for i in range(n):
        for j in range(n):
            total = 0.0
            for s in range(weights.shape[0]):
                total += weights[s] * kinds[s, i, j]
            out[i, j] = total


@kernel
def _cholesky(A, out):
    """Lower factor of A (K, K); the log of its determinant, NaN if A is not positive definite."""
    log_det = 0.0
    for i in range(A.shape[0]):
        for j in range(i + 1):
            total = A[i, j]
            for k in range(j):
                total -= out[i, k] * out[j, k]
            out[i, j] = total / out[j, j] if j < i else np.sqrt(total)
        log_det += np.log(out[i, i])
    return log_det


@kernel
def _solve(lower, b):
    """Replace b (K,) by (lower lower')^-1 b."""
    n = b.shape[0]
    for i in range(n):
        total = b[i]
        for k in range(i):
            total -= lower[i, k] * b[k]
        b[i] = total / lower[i, i]
    for i in range(n - 1, -1, -1):
        total = b[i]
        for k in range(i + 1, n):
            total -= lower[k, i] * b[k]
        b[i] = total / lower[i, i]


@kernel
def forward(begins, pattern, precisions, first, weights, now, lagged, before, linear, roots, gains):
    """Eliminate states from the first on.

    first (K, K): precision of first states; now, lagged, before (M, K, K): P, B and S. In and out:
    linear (n, K), which becomes the means given the next state at 0. Out: roots (n, K, K) of the
    precisions given the next state; gains (n, K, K), by which means follow the next state. Returns
    half the log determinant of the precision of all states.
    """
    n_rows, n = linear.shape
    own, step, column, log_det = np.empty((n, n)), np.zeros((n, n)), np.empty(n), 0.0
    for t in range(n_rows):
        is_last = t == n_rows - 1 or begins[t + 1]
        if begins[t]:
            for i in range(n):
                for j in range(n):
                    own[i, j] = first[i, j]
        else:  # step holds B
            _blend(weights[t], now, own)
            for i in range(n):
                for j in range(n):
                    total = 0.0
                    for k in range(n):
                        total += step[i, k] * gains[t - 1, k, j]
                    own[i, j] -= total
                total = 0.0
                for k in range(n):
                    total += step[i, k] * linear[t - 1, k]
                linear[t, i] += total
        for i in range(n):
            for j in range(n):
                own[i, j] += precisions[pattern[t], i, j]
        if not is_last:
            _blend(weights[t + 1], before, step)
            for i in range(n):
                for j in range(n):
                    own[i, j] += step[i, j]
            _blend(weights[t + 1], lagged, step)
        log_det += _cholesky(own, roots[t])
        _solve(roots[t], linear[t])
        if not is_last:
            for j in range(n):
                for i in range(n):
                    column[i] = step[j, i]
                _solve(roots[t], column)
                for i in range(n):
                    gains[t, i, j] = column[i]
    return log_det


@kernel
def backward(begins, linear, roots, gains, covariances, cross):
    """Turn what `forward` leaves into means, in linear, and covariances (n, K, K).

    cross (n, K, K): covariances of states with those before them, [this, before]; 0 in first rows.
    """
    n_rows, n = linear.shape
    column = np.empty(n)
    for t in range(n_rows - 1, -1, -1):
        is_last = t == n_rows - 1 or begins[t + 1]
        for j in range(n):
            for i in range(n):
                column[i] = 1.0 if i == j else 0.0
            _solve(roots[t], column)
            for i in range(n):
                covariances[t, i, j] = column[i]
        if begins[t]:
            for i in range(n):
                for j in range(n):
                    cross[t, i, j] = 0.0
        if is_last:
            continue
        for i in range(n):
            for j in range(n):
                total = 0.0
                for k in range(n):
                    total += covariances[t + 1, i, k] * gains[t, j, k]
                cross[t + 1, i, j] = total
        for i in range(n):
            for j in range(n):
                total = covariances[t, i, j]
                for k in range(n):
                    total += gains[t, i, k] * cross[t + 1, k, j]
                covariances[t, i, j] = total
            total = linear[t, i]
            for k in range(n):
                total += gains[t, i, k] * linear[t + 1, k]
            linear[t, i] = total
