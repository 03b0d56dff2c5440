"""Sums over many Dirichlet parameters that the updates of their priors need."""

import numpy as np

import numpy as np

from ._jit import kernel
from .special import digamma, exp, trigamma


@kernel
def digamma_sums(values, n_columns, row_weights, start, stop, first, second):
    """Add weighted sums over rows start..stop of digamma and trigamma of each column.

    values (n, K), row_weights (n,); in and out: first (n_columns + 1,), second (n_columns + 1,)
    float64: sums of digamma(values) and of trigamma(values) for each column; the last entries are
    those of the row totals.
    """
    for i in range(start, stop):
        row = values[i]
        weight = row_weights[i]
        total = 0.0
        for k in range(n_columns):
            total += row[k]
            first[k] += weight * digamma(row[k])
            second[k] += weight * trigamma(row[k])
        first[n_columns] += weight * digamma(total)
        second[n_columns] += weight * trigamma(total)


@kernel
def polya_sums(values, prior, row_weights, start, stop, first, second):
    """Add weighted sums over rows start..stop that the Polya likelihood's derivatives need.

    Counts n are known by their means x only, and psi(prior + n) is far from linear near n = 0. As
    in Teh, Kurihara and Welling (2008), "Collapsed variational inference for HDP", zero is set
    apart: E[psi(prior + n) - psi(prior)] = p (psi(prior + x / p) - psi(prior)), p = P(n > 0),
    here that of a Poisson count.

    values (n, K) = x + prior, prior (n_columns,) float64, row_weights (n,); in and out, float64:
    first (n_columns + 1,), the sums of that, with psi(row totals) last; second likewise with
    trigamma.
    """
    n_columns = prior.shape[0]
    zero = np.empty((2, n_columns))
    for k in range(n_columns):
        zero[0, k] = digamma(prior[k])
        zero[1, k] = trigamma(prior[k])
    for i in range(start, stop):
        row = values[i]
        weight = row_weights[i]
        total = 0.0
        for k in range(n_columns):
            total += row[k]
            x = max(np.float64(row[k]) - prior[k], 0.0)
            p = x - 0.5 * x * x if x < 1e-4 else 1.0 - exp(-x)
            shifted = prior[k] + (x / p if x > 0.0 else 1.0)
            first[k] += weight * p * (digamma(shifted) - zero[0, k])
            second[k] += weight * p * (trigamma(shifted) - zero[1, k])
        first[n_columns] += weight * digamma(total)
        second[n_columns] += weight * trigamma(total)


@kernel
def polya_sums(values, prior, n_columns, row_weights, start, stop, first, second):
    """Like `digamma_sums`, for expected counts plus prior (n, K) with prior (K,).

    An expected count below 1 is the mean of counts 0 and 1, and digamma is far from linear
    between them: psi(n + a) is interpolated there, or priors would be learned much too large.
    """
    one = values.dtype.type(1)
    at_zero = np.empty(n_columns, values.dtype)
    at_zero_slope = np.empty(n_columns, values.dtype)
    for k in range(n_columns):
        at_zero[k] = digamma(prior[k])
        at_zero_slope[k] = trigamma(prior[k])
    for i in range(start, stop):
        row = values[i]
        weight = row_weights[i]
        total = 0.0
        for k in range(n_columns):
            a = prior[k]
            x = row[k]
            count = max(x - a, one - one)
            share = min(count, one)
            x = a + max(count, one)
            total += row[k]
            first[k] += weight * (at_zero[k] + share * (digamma(x) - at_zero[k]))
            second[k] += weight * (at_zero_slope[k] + share * (trigamma(x) - at_zero_slope[k]))
        first[n_columns] += weight * digamma(total)
        second[n_columns] += weight * trigamma(total)
