"""Moments of the chains of `fastvi.kernels.dynamic`, and their part of the bound.

The posterior is that Markov chain with given marginal variances that has the highest bound, so
that both are functions of means and variances alone. Shapes as there.
"""

import numpy as np

from ._jit import kernel
from .dynamic import move_off
from .special import log


@kernel
def _coupling(variance, later, step, keep):
    """Regression a of x_t on x_t+1 in the Markov chain with given marginal variances that fits the
    prior x_t+1 ~ N(keep x_t, step) best; the smoother's at convergence.

    It maximises the bound: keep later a^2 + step a = keep variance.
    """
    two = variance * np.float32(2)
    root = np.sqrt(step * step + two * np.float32(2) * (keep * keep) * later)
    return two * keep / (step + root)


@kernel
def moments(first, last, n_topics, pairs, prior, move, chains, increments, drift_increments, bound):
    """Sums over words first..last for the update of variances and for the bound.

    Takes `move` off, as `sweep` does. Adds, in float64, E[(x_t - x_t-1)^2] to increments (T, K) and
    the like to drift_increments (T,), in row 0 E[(x_0 - mean)^2] / variance; to bound (1,) counts
    times E[x + c], plus half the log determinant of the chains' covariance over the prior's.
    """
    n_slices, width = chains.means.shape[1], chains.means.shape[2] // 8 * 8
    logs = np.empty(width, np.float32)
    product = np.empty(width, np.float32)
    slopes = np.empty(width, np.float32)
    starts, pair_slices, counts = pairs
    topics, drift_away, scale = move
    all_means, all_variances, _, all_drifts, drift_variances, weights = chains
    prior_means, prior_variances, steps = prior.mean, prior.variance, prior.steps
    for w in range(first, last):
        means, variances, drift = all_means[w], all_variances[w], all_drifts[w]
        mean, prior_variance = prior_means[w], prior_variances[w]
        move_off(topics, drift_away, scale, means, drift, weights[w])
        for k in range(width):
            away, variance = means[0, k] - mean[k], prior_variance[k]
            increments[0, k] += (away * away + variances[0, k]) / variance
        for k in range(width):
            product[k] = variances[n_slices - 1, k] / prior_variance[k]
        for k in range(width):
            logs[k] = 0
        for t in range(1, n_slices):
            _add_step(means, variances, t, steps[t], increments[t], product, slopes)
            if t % 4 == 0:  # before it leaves the range of float32
                _take_logs(product, logs)
        _take_logs(product, logs)
        total = np.float32(0)
        for k in range(n_topics):
            total += logs[k]
        bound[0] += 0.5 * total
        bound[0] += _fit(starts[w], starts[w + 1], pair_slices, counts, means, drift)
        if drift.shape[0] > 0:
            bound[0] += _drift_moments(prior, w, drift, drift_variances[w], drift_increments)


@kernel
def _add_step(means, variances, t, step, increments, product, slopes):
    """Add E[(x_t - x_t-1)^2] to increments (K,); multiply product by Var(x_t-1 | x_t) / step.

    `slopes` (K,) is scratch memory.
    """
    one = np.float32(1)
    for k in range(product.shape[0]):
        slopes[k] = _coupling(variances[t - 1, k], variances[t, k], step, one)
    for k in range(product.shape[0]):
        product[k] *= slopes[k]
    for k in range(product.shape[0]):
        lag = one - slopes[k]
        slopes[k] = slopes[k] * step + lag * lag * variances[t, k]
    for k in range(product.shape[0]):
        away = means[t, k] - means[t - 1, k]
        increments[k] += away * away + slopes[k]


@kernel
def _take_logs(product, logs):
    for k in range(product.shape[0]):
        logs[k] += log(product[k])
        product[k] = 1


@kernel
def _fit(first, last, slices, counts, means, drift_means):
    """The counts of a word, which has the pairs first..last, times E[x + c], summed."""
    fit = 0.0
    for p in range(first, last):
        t = slices[p]
        common = np.float32(0)
        if drift_means.shape[0] > 0:
            common = drift_means[t]
        total = np.float32(0)
        for k in range(means.shape[1]):
            total += counts[p, k] * (means[t, k] + common)
        fit += total
    return fit


@kernel
def _drift_moments(prior, w, means, variances, increments):
    """Add a word's drift to increments (T,), as in `moments`; return its part of the bound."""
    last = means.shape[0] - 1
    away, variance = means[0] - prior.drift_mean[w], prior.drift_variance[w]
    increments[0] += (away * away + variances[0]) / variance
    for t in range(1, last + 1):
        keep, later, step = prior.drift_keep[t], variances[t], prior.drift_steps[t]
        slope = _coupling(variances[t - 1], later, step, keep)
        rest = variances[t - 1] - slope * slope * later
        away, lag = means[t] - keep * means[t - 1], np.float32(1) - keep * slope
        increments[t] += away * away + keep * keep * rest + lag * lag * later
    determinant = 0.5 * log(variances[last] / variance)
    for t in range(1, last + 1):
        keep, later, step = prior.drift_keep[t], variances[t], prior.drift_steps[t]
        slope = _coupling(variances[t - 1], later, step, keep)
        rest = variances[t - 1] - slope * slope * later
        determinant += 0.5 * log(rest / step)
    return determinant
