"""Plain twins of `fastvi.kernels.dirichlet`, and the likelihoods that the priors maximise."""

import numpy as np
from scipy.special import gammaln, polygamma, psi


def digamma_sums(values, row_weights):
    """Weighted sums of digamma and trigamma of columns (K,) and of row totals, (K + 1,) each."""
    first, second = np.zeros((2, values.shape[1] + 1))
    for row, weight in zip(np.float64(values), row_weights):
        for k, value in enumerate([*row, row.sum()]):
            first[k] += weight * psi(value)
            second[k] += weight * polygamma(1, value)
    return first, second


def dirichlet_likelihood(prior, mean_log):
    """Mean log density of proportions whose mean logs are `mean_log` (K,), but for a constant."""
    return gammaln(prior.sum()) - gammaln(prior).sum() + ((prior - 1) * mean_log).sum()


def polya_likelihood(prior, counts, row_weights=None):
    """Log-likelihood of rows of counts (n, K) under Dirichlet-multinomials of prior (K,)."""
    rows = gammaln(prior.sum()) - gammaln(prior.sum() + counts.sum(axis=1))
    rows = rows + (gammaln(prior + counts) - gammaln(prior)).sum(axis=1)
    return rows.sum() if row_weights is None else rows @ row_weights
