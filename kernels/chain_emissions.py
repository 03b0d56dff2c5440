"""What rows of a hidden chain say of their states, and what states say of their rows.

Rows are in the order of `chains`: strip q of a group has the rows q W to (q + 1) W. Likelihoods are
relative to the largest of all states, or logs of that. Shapes: Q strips, K states, W rows of a
strip, D features of the data, F of a strip. Where seen (Q, W) is 0 a row is missing, and all states
have likelihood 1; where counted (Q, W) is 0, a row adds nothing to sums.
"""

import numpy as np

from ._jit import kernel
from .special import exp

LINEAR, SQUARES, PRODUCTS = 0, 1, 2
FEW = 16  # features, up to which plain loops are faster than BLAS


@kernel
def _features(form, X, centre, factor, first, out):
    """Features of rows first to first + W of X: x and 1, after their squares or products (F, W)."""
    n_features, width = X.shape[1], out.shape[1]
    linear = out.shape[0] - n_features - 1
    for d in range(n_features):
        row, c, scale = out[linear + d], centre[d], factor[d]
        for b in range(width):
            row[b] = (X[first + b, d] - c) * scale
    ones = out[out.shape[0] - 1]
    for b in range(width):
        ones[b] = 1
    if form == LINEAR:
        return
    f = 0
    for i in range(n_features):
        for j in range(i, n_features if form == PRODUCTS else i + 1):
            row, one, other = out[f], out[linear + i], out[linear + j]
            for b in range(width):
                row[b] = one[b] * other[b]
            f += 1


@kernel
def _relative(logits, seen, counted, top, logs):
    """Divide by the largest of states, in logs or not; returns the sum of logs of the largest.

    In and out: logits (K, W); top (W,) is scratch.
    """
    n_states, n_rows = logits.shape
    first = logits[0]
    for c in range(n_rows):
        top[c] = first[c]
    for k in range(1, n_states - 1, 2):
        row, other = logits[k], logits[k + 1]
        for c in range(n_rows):
            a, b, t = row[c], other[c], top[c]
            larger = a if a > b else b
            top[c] = larger if larger > t else t
    if n_states % 2 == 0:
        row = logits[n_states - 1]
        for c in range(n_rows):
            a, t = row[c], top[c]
            top[c] = a if a > t else t
    for c in range(n_rows):
        top[c] = top[c] if top[c] > -1e300 else -1e300
    for k in range(n_states):
        row = logits[k]
        if logs:
            for c in range(n_rows):
                log, there = row[c] - top[c], seen[c]  # read before the choice: LLVM's vectors
                row[c] = log if there > 0 else 0.0
        else:
            for c in range(n_rows):
                log, there = row[c] - top[c], seen[c]
                row[c] = exp(log if there > 0 else 0.0)
    total = 0.0
    for c in range(n_rows):
        total += top[c] if counted[c] > 0 else 0.0
    return total


@kernel
def _logits(coefficients, features, out):
    """Products coefficients (K, F) @ features (F, W); BLAS is slow at few features, the last is 1.

    Two features at a time, so that out (K, W) is read and written half as often.
    """
    n_features, width = features.shape
    if n_features > FEW:
        np.dot(coefficients, features, out)
        return
    for k in range(out.shape[0]):
        row, weights, last = out[k], coefficients[k], n_features - 1
        for c in range(width):
            row[c] = weights[last]
        for f in range(0, last - 1, 2):
            one, other, a, b = features[f], features[f + 1], weights[f], weights[f + 1]
            for c in range(width):
                row[c] += a * one[c] + b * other[c]
        if last % 2:
            one, a = features[last - 1], weights[last - 1]
            for c in range(width):
                row[c] += a * one[c]


@kernel
def feature_likelihoods(form, X, centre, factor, coefficients, seen, counted, logs, out):
    """Of logits coefficients (K, F) @ features; X (Q W, D), out (Q, K, W)."""
    n_strips, _, width = out.shape
    features, top = np.empty((coefficients.shape[1], width)), np.empty(width)
    total = 0.0
    for q in range(n_strips):
        _features(form, X, centre, factor, q * width, features)
        _logits(coefficients, features, out[q])
        total += _relative(out[q], seen[q], counted[q], top, logs)
    return total


@kernel
def table_likelihoods(codes, table, top, seen, counted, nothing, out):
    """Of rows of a table (V, K) of relative likelihoods or logs; top (V,), codes (Q W,).

    `nothing` stands for missing rows.
    """
    n_strips, n_states, width = out.shape
    total = 0.0
    for q in range(n_strips):
        for c in range(width):
            code = codes[q * width + c]
            if seen[q, c] > 0:
                for k in range(n_states):
                    out[q, k, c] = table[code, k]
            else:
                for k in range(n_states):
                    out[q, k, c] = nothing
        for c in range(width):
            total += top[codes[q * width + c]] if counted[q, c] > 0 else 0.0
    return total


@kernel
def given_likelihoods(logs_of_rows, seen, counted, logs, out):
    """Of log likelihoods logs_of_rows (Q W, K)."""
    n_strips, n_states, width = out.shape
    top = np.empty(width)
    total = 0.0
    for q in range(n_strips):
        for c in range(width):
            for k in range(n_states):
                out[q, k, c] = logs_of_rows[q * width + c, k]
        total += _relative(out[q], seen[q], counted[q], top, logs)
    return total


@kernel
def feature_sums(form, X, centre, factor, posterior, counted, out):
    """Add features of counted rows weighted by posterior (Q, K, W) to out (K, F)."""
    n_strips, n_states, width = posterior.shape
    features, product = np.empty((out.shape[1], width)), np.empty(out.shape)
    for q in range(n_strips):
        _features(form, X, centre, factor, q * width, features)
        weights = counted[q]
        for f in range(features.shape[0]):
            row = features[f]
            for c in range(width):
                row[c] *= weights[c]
        np.dot(posterior[q], features.T, product)
        for k in range(n_states):
            for f in range(out.shape[1]):
                out[k, f] += product[k, f]


@kernel
def table_sums(codes, posterior, counted, out):
    """Add posteriors (Q, K, W) of counted rows to the rows of out (V, K) of their codes."""
    n_strips, n_states, width = posterior.shape
    for q in range(n_strips):
        for c in range(width):
            if counted[q, c] > 0:
                row = out[codes[q * width + c]]
                for k in range(n_states):
                    row[k] += posterior[q, k, c]
