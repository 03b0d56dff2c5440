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
    for w in range(first, last):
        means, variances = chains.means[w], chains.variances[w]
        move_off(chains, w, move)
        for k in range(width):
            away, variance = means[0, k] - prior.mean[w, k], prior.variance[w, k]
            increments[0, k] += (away * away + variances[0, k]) / variance
            product[k] = variances[n_slices - 1, k] / variance
            logs[k] = 0
        for t in range(1, n_slices):
            _add_step(means, variances, t, prior.steps[t], increments[t], product)
            if t % 4 == 0:  # before it leaves the range of float32
                _take_logs(product, logs)
        _take_logs(product, logs)
        total = np.float32(0)
        for k in range(n_topics):
            total += logs[k]
        bound[0] += 0.5 * total + _fit(pairs, w, chains)
        if chains.drift_means.shape[1] > 0:
            bound[0] += _drift_moments(prior, w, chains, drift_increments)


@kernel
def _add_step(means, variances, t, step, increments, product):
    """Add E[(x_t - x_t-1)^2] to increments (K,); multiply product by Var(x_t-1 | x_t) / step."""
    one = np.float32(1)
    for k in range(product.shape[0]):
        later = variances[t, k]
        slope = _coupling(variances[t - 1, k], later, step, one)
        away, lag = means[t, k] - means[t - 1, k], one - slope
        increments[k] += away * away + slope * step + lag * lag * later
        product[k] *= slope


@kernel
def _take_logs(product, logs):
    for k in range(product.shape[0]):
        logs[k] += log(product[k])
        product[k] = 1


@kernel
def _fit(pairs, w, chains):
    """A word's counts times E[x + c], summed."""
    fit = 0.0
    for p in range(pairs.starts[w], pairs.starts[w + 1]):
        means, counts = chains.means[w, pairs.slices[p]], pairs.counts[p]
        common = np.float32(0)
        if chains.drift_means.shape[1] > 0:
            common = chains.drift_means[w, pairs.slices[p]]
        total = np.float32(0)
        for k in range(means.shape[0]):
            total += counts[k] * (means[k] + common)
        fit += total
    return fit


@kernel
def _drift_moments(prior, w, chains, increments):
    """Add a word's drift to increments (T,), as in `moments`; return its part of the bound."""
    means, variances = chains.drift_means[w], chains.drift_variances[w]
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
