"""Sums over many Dirichlet parameters, for updates of their priors."""

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
        for k in range(n_columns):  # apart: see `kernel`
            total += row[k]
        for k in range(n_columns):
            first[k] += weight * digamma(row[k])
            second[k] += weight * trigamma(row[k])
        first[n_columns] += weight * digamma(total)
        second[n_columns] += weight * trigamma(total)


@kernel
def polya_sums(values, prior, row_weights, start, stop, first, second):
    """Add weighted sums over rows start..stop that the Polya likelihood's derivatives need.

    A count n is known by its mean x only, and psi(prior + n) is far from linear near n = 0: as if
    counts were means, priors would be learned much too large. So zero is set apart, as in Teh,
    Kurihara and Welling (2008), "Collapsed variational inference for HDP":
    E[psi(prior + n) - psi(prior)] = p (psi(prior + x / p) - psi(prior)) with p = P(n > 0), here
    1 - exp(-x) as for a Poisson count.

    values (n, K) = x + prior, prior (n_columns,), row_weights (n,); in and out, float64: first
    (n_columns + 1,), the sums of that, last those of psi(row totals); second likewise, trigamma.
    """
    n_columns = prior.shape[0]
    one = values.dtype.type(1)
    half = values.dtype.type(0.5)
    small = values.dtype.type(1e-3)
    a = np.empty(n_columns, values.dtype)
    at_zero = np.empty((2, n_columns), values.dtype)
    for k in range(n_columns):
        a[k] = prior[k]
        at_zero[0, k] = digamma(a[k])
        at_zero[1, k] = trigamma(a[k])
    for i in range(start, stop):
        row = values[i]
        weight = row_weights[i]
        total = 0.0
        for k in range(n_columns):  # apart: see `kernel`
            total += row[k]
        for k in range(n_columns):
            x = max(row[k] - a[k], one - one)
            series = x - half * x * x
            p = series if x < small else one - exp(-x)
            y = a[k] + (one + half * x if x < small else x / p)
            first[k] += weight * p * (digamma(y) - at_zero[0, k])
            second[k] += weight * p * (trigamma(y) - at_zero[1, k])
        first[n_columns] += weight * digamma(total)
        second[n_columns] += weight * trigamma(total)


@kernel
def plain_gradient(table, sums, natural, natural_sums, n_columns, out):
    """Out (n, K) = table * (trigamma(table) natural - trigamma(sums) natural_sums).

    The Fisher matrix of each column's Dirichlet times a natural gradient (n, K), as a gradient with
    respect to log table (n, K). sums, natural_sums (K,) float64 are those of columns.
    """
    common = np.empty(n_columns, table.dtype)
    for k in range(n_columns):
        common[k] = trigamma(sums[k]) * natural_sums[k]
    for i in range(table.shape[0]):
        for k in range(n_columns):
            x = table[i, k]
            out[i, k] = x * (trigamma(x) * natural[i, k] - common[k])
