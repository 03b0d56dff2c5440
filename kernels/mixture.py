"""Gaussian mixtures: features of a block of rows, and responsibilities.

A block of B rows is laid out with its rows along the last axis, so that every loop runs over
contiguous numbers, and so that logits, coefficients @ features, and statistics, responsibilities @
features', are matrix products. Features are those of rows x in scaled coordinates, x_d = (X_d -
centre_d) factor_d, and end with x itself and 1. Shapes: n rows, D features of the data, F features
of a block, K components; centre and factor are (D,) float64.
"""

import numpy as np

from ._jit import kernel
from .special import exp, log

STRIP = 64  # rows whose values for all components stay in the first-level cache


@kernel(inline="always")
def _linear(X, centre, factor, start, stop, out):
    """Rows x and a row of ones; out: (D + 1, stop - start)."""
    n_features = X.shape[1]
    for d in range(n_features):
        row, c, f = out[d], centre[d], factor[d]
        for b in range(stop - start):
            row[b] = (X[start + b, d] - c) * f
    ones = out[n_features]
    for b in range(stop - start):
        ones[b] = 1


@kernel
def linear(X, centre, factor, start, stop, out):
    """Of rows start..stop of X (n, D): x and 1; out: (D + 1, stop - start)."""
    _linear(X, centre, factor, start, stop, out)


@kernel
def products(X, centre, factor, start, stop, out):
    """Of rows start..stop: x_i x_j, i <= j, x and 1; out: (D (D + 1) / 2 + D + 1, stop - start)."""
    n_features = X.shape[1]
    x = out[n_features * (n_features + 1) // 2 :]
    _linear(X, centre, factor, start, stop, x)
    f = 0
    for i in range(n_features):
        for j in range(i, n_features):
            first, second, row = x[i], x[j], out[f]
            for b in range(stop - start):
                row[b] = first[b] * second[b]
            f += 1


@kernel
def squares(X, centre, factor, start, stop, out):
    """Of rows start..stop: x_i**2, x and 1; out: (2 D + 1, stop - start)."""
    n_features = X.shape[1]
    x = out[n_features:]
    _linear(X, centre, factor, start, stop, x)
    for i in range(n_features):
        first, row = x[i], out[i]
        for b in range(stop - start):
            row[b] = first[b] * first[b]


@kernel
def mean_square(X, centre, factor, start, stop, out):
    """Of rows start..stop: the mean of x_i**2, x and 1; out: (D + 2, stop - start)."""
    n_features = X.shape[1]
    x = out[1:]
    _linear(X, centre, factor, start, stop, x)
    share = out.dtype.type(1.0 / n_features)
    mean = out[0]
    for b in range(stop - start):
        mean[b] = 0
    for i in range(n_features):
        first = x[i]
        for b in range(stop - start):
            mean[b] += first[b] * first[b] * share


@kernel
def subtract_squares(whitened, out):
    """Subtract the sum of squares of each column of whitened (D, B) from out (B,)."""
    for i in range(whitened.shape[0]):
        row = whitened[i]
        for b in range(whitened.shape[1]):
            out[b] -= row[b] * row[b]


@kernel
def scaled_columns(x, weights, out):
    """Out (D, B) = x (D, B) times weights (B,), column by column."""
    for i in range(x.shape[0]):
        source, row = x[i], out[i]
        for b in range(x.shape[1]):
            row[b] = source[b] * weights[b]


@kernel
def responsibilities(logits, log_norm):
    """Turn logits into responsibilities, and add the logs of their sums to what rows share.

    In and out: logits (K, B) become responsibilities, which are 0 where their products could be
    subnormal; log_norm (B,) holds what all logits of a row have in common, and then the whole.
    """
    n_components, n_rows = logits.shape
    largest = np.empty(STRIP, logits.dtype)
    total = np.empty(STRIP, logits.dtype)
    negligible = np.sqrt(np.finfo(logits.dtype).tiny)
    zero, one = logits.dtype.type(0), logits.dtype.type(1)
    for start in range(0, n_rows, STRIP):
        n = min(STRIP, n_rows - start)
        for b in range(n):
            largest[b] = logits[0, start + b]
            total[b] = 0
        for k in range(1, n_components):
            row = logits[k, start : start + n]
            for b in range(n):
                largest[b] = row[b] if row[b] > largest[b] else largest[b]
        for k in range(n_components):
            row = logits[k, start : start + n]
            for b in range(n):
                e = exp(row[b] - largest[b])
                e = e if e > negligible else zero
                row[b] = e
                total[b] += e
        for b in range(n):
            log_norm[start + b] += largest[b] + log(total[b])
            total[b] = one / total[b]
        for k in range(n_components):
            row = logits[k, start : start + n]
            for b in range(n):
                row[b] *= total[b]


@kernel
def weighted_sum(values, weights):
    """Sum of values (B,) times weights (B,), in float64."""
    total = 0.0
    for b in range(values.shape[0]):
        total += np.float64(values[b]) * np.float64(weights[b])
    return total


@kernel
def likeliest(logits, labels):
    """Out: labels (B,), the first k with the largest of logits (K, B)."""
    n_components, n_rows = logits.shape
    largest = np.empty(STRIP, logits.dtype)
    for start in range(0, n_rows, STRIP):
        n = min(STRIP, n_rows - start)
        out = labels[start : start + n]
        for b in range(n):
            largest[b] = logits[0, start + b]
            out[b] = 0
        for k in range(1, n_components):
            row = logits[k, start : start + n]
            for b in range(n):
                out[b] = k if row[b] > largest[b] else out[b]
                largest[b] = row[b] if row[b] > largest[b] else largest[b]


@kernel
def add_pair_squares(x, shift, divisor, out):
    """Add the sum over f of ((x_i x_j + shift_f) / divisor)**2 of x (D, B) to out (B,).

    f counts the D (D + 1) / 2 pairs i <= j, as in `products`.
    """
    f = -1
    for i in range(x.shape[0]):
        for j in range(i, x.shape[0]):
            f += 1
            first, second, more = x[i], x[j], shift[f]
            for b in range(x.shape[1]):
                value = (np.float64(first[b]) * second[b] + more) / divisor
                out[b] += value * value


@kernel
def statistics_norms(responsibilities, features, shift, length, out):
    """Out (B,): root of out, plus the squared norm of r (features + shift), and of r (the rest).

    responsibilities (K, B), features (F, B), shift (F,) float64; in and out: length (B,) has the
    squared norm of features not given, out that of the other parts of a row.
    """
    n_rows = features.shape[1]
    for f in range(features.shape[0]):
        row, more = features[f], shift[f]
        for b in range(n_rows):
            length[b] += (row[b] + more) * (row[b] + more)
    share = np.empty(n_rows)
    for b in range(n_rows):
        share[b] = 0.0
    for k in range(responsibilities.shape[0]):
        row = responsibilities[k]
        for b in range(n_rows):
            share[b] += np.float64(row[b]) * row[b]
    for b in range(n_rows):
        out[b] = np.sqrt(out[b] + share[b] * length[b])
