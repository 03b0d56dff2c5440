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


def polya_likelihood(prior, means, row_weights=None):
    """Expected log-likelihood of rows of counts (n, K) under Dirichlet-multinomials of `prior`.

    Counts are known by their means: log Gamma(prior + n) is taken at the mean of n > 0, with the
    probability that a Poisson count is not zero.
    """
    positive = -np.expm1(-means)
    given_positive = np.divide(means, positive, out=np.ones_like(means), where=means > 0)
    rows = gammaln(prior.sum()) - gammaln(prior.sum() + means.sum(axis=1))
    rows = rows + (positive * (gammaln(prior + given_positive) - gammaln(prior))).sum(axis=1)
    return rows.sum() if row_weights is None else rows @ row_weights


def polya_sums(values, prior, row_weights):
    """Sums of E[psi(prior + n) - psi(prior)] and of trigamma likewise for n > 0 at its mean.

    n is a Poisson count of mean values - prior; the last entries are sums for row totals.
    """
    first, second = np.zeros((2, len(prior) + 1))
    for row, weight in zip(np.float64(values), row_weights):
        for k, (value, a) in enumerate(zip(row, prior)):
            mean = value - a
            if mean > 0:
                positive = -np.expm1(-mean)
                first[k] += weight * positive * (psi(a + mean / positive) - psi(a))
                second[k] += (
                    weight * positive * (polygamma(1, a + mean / positive) - polygamma(1, a))
                )
        first[-1] += weight * psi(row.sum())
        second[-1] += weight * polygamma(1, row.sum())
    return first, second
