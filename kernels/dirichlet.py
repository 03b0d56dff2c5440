"""Sums over many Dirichlet parameters that the updates of their priors need."""

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
