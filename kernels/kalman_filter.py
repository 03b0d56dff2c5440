"""Filtered states of a linear system, one row at a time."""

import math

import numpy as np

from ._jit import kernel
from .kalman_steps import measure, predict


@kernel
def _whiten(noise, loadings, rest, there, n_there, lower, own):
    """Divide loadings and rest of what is there by the root of its noise; the log det of that.

    noise (D, D), or (1, D) if it is diagonal; there (D,) the features that are not missing; lower,
    of the shape of noise, scratch; rest in and out; own (D, K) out.
    """
    n_states, log_det = own.shape[1], 0.0
    for a in range(n_there):
        i, n_before = there[a], a
        if noise.shape[0] == 1:
            n_before, pivot = 0, math.sqrt(noise[0, i])
        else:
            for b in range(a + 1):
                total = noise[i, there[b]]
                for c in range(b):
                    total -= lower[a, c] * lower[b, c]
                lower[a, b] = math.sqrt(total) if a == b else total / lower[b, b]
            pivot = lower[a, a]
        log_det += 2.0 * math.log(pivot)
        total = rest[i]
        for b in range(n_before):
            total -= lower[a, b] * rest[b]
        rest[a] = total / pivot
        for k in range(n_states):
            total = loadings[i, k]
            for b in range(n_before):
                total -= lower[a, b] * own[b, k]
            own[a, k] = total / pivot
    return log_det


@kernel
def filter_step(
    row, mean, root, transition, noise, loadings, offset, rows_noise, moved, ahead, after
):
    """Take one more row (D,) whose numbers may be NaN; the log density of the others, nats.

    mean (K,) and root (K, K) before the row. Out: moved (K,) and
    after (K, K), the filtered mean and a root of its covariance; ahead (K, K), a lower root of the
    covariance predicted for the next row.
    """
    n_features, n = loadings.shape
    there, rest, n_there = np.empty(n_features, np.int64), np.empty(n_features), 0
    for d in range(n_features):
        total = row[d] - offset[d]
        for k in range(n):
            total -= loadings[d, k] * mean[k]
        rest[d] = total
    for d in range(n_features):
        if row[d] == row[d]:
            there[n_there] = d
            n_there += 1
    own, lower, weighed = np.empty((n_features, n)), np.empty(rows_noise.shape), np.empty(n)
    log_det = _whiten(rows_noise, loadings, rest, there, n_there, lower, own)
    own = own[:n_there]
    update, step = np.empty((n, n)), np.zeros(n)
    precision, spread = np.empty((n, n)), np.empty((n, n))
    for i in range(n):
        for j in range(n):
            total = 0.0
            for d in range(n_there):
                total += own[d, i] * own[d, j]
            precision[i, j] = total
            total = 0.0
            for k in range(n):
                total += noise[i, k] * noise[j, k]
            spread[i, j] = total
    log_det += measure(root, own, precision, np.empty((n + n_there, n)), after, update)
    for d in range(n_there):
        for k in range(n):
            weighed[k] = own[d, k] * rest[d]
        for i in range(n):
            total = 0.0
            for k in range(n):
                total += update[i, k] * weighed[k]
            step[i] += total
    log_density = -0.5 * (log_det + n_there * math.log(2.0 * math.pi))
    for i in range(n):
        total = mean[i]
        for k in range(i + 1):
            total += root[i, k] * step[k]
        moved[i] = total
    for i in range(n):
        log_density -= 0.5 * step[i] * step[i]
    for d in range(n_there):
        total = rest[d]
        for i in range(n):
            total -= own[d, i] * (moved[i] - mean[i])
        log_density -= 0.5 * total * total
    predict(after, transition, noise, spread, np.empty((2 * n, n)), ahead)
    return log_density
