"""Moments of the chains of `fastvi.kernels.dynamic`, and their part of the bound.

The posterior is that Markov chain with given marginal variances that has the highest bound, so
that both are functions of means and variances alone. Shapes as there.
"""

import numpy as np

from ._jit import kernel
from .dynamic import BLOCK, move_off
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
def moments(
    first, last, width, n_topics, pairs, prior, move, chains, increments, drift_increments, bound
):  # fmt: skip
    """Sums over words first..last for the update of variances and for the bound.

    Takes `move` off, as `sweep` does. Adds, in float64, E[(x_t - x_t-1)^2] to increments (T, B) and
    the like to drift_increments (T,), in row 0 E[(x_0 - mean)^2] / variance; to bound (1,) counts
    times E[x + c], plus half the log determinant of the chains' covariance over the prior's.
    """
    size = increments.shape[1]
    logs = np.empty(size, np.float32)
    product = np.empty(size, np.float32)
    slopes = np.empty(size, np.float32)
    for start in range(first, last, BLOCK):
        stop = min(start + BLOCK, last)
        a, b = start * width, stop * width
        for t in range(chains.means.shape[0]):
            move_off(move.topics[t], move.scale[t], chains.means[t, a:b], chains.weights[t, a:b])
            for w in range(start, stop if chains.drift_means.shape[0] > 0 else start):
                chains.drift_means[t, w] -= move.drift[t]
        _block_moments(a, b, prior, chains, increments, product, logs, slopes)
        for w in range(start, stop):
            total = np.float32(0)
            for k in range(n_topics):
                total += logs[(w - start) * width + k]
            bound[0] += 0.5 * total
            bound[0] += _fit(w, width, pairs, chains)
            if chains.drift_means.shape[0] > 0:
                bound[0] += _drift_moments(prior, w, chains, drift_increments)


@kernel
def _block_moments(a, b, prior, chains, increments, product, logs, slopes):
    """Increments and log determinants (B,) of chains a..b; product and slopes are scratch."""
    last, m = chains.means.shape[0] - 1, b - a
    mean, variance = prior.mean[a:b], prior.variance[a:b]
    means, variances, final = chains.means[0, a:b], chains.variances[0, a:b], increments[0]
    for j in range(m):
        away = means[j] - mean[j]
        final[j] += (away * away + variances[j]) / variance[j]
    ends = chains.variances[last, a:b]
    for j in range(m):
        product[j] = ends[j] / variance[j]
    for j in range(m):
        logs[j] = 0
    for t in range(1, last + 1):
        _add_step(
            prior.steps[t], chains.means[t - 1, a:b], chains.means[t, a:b],
            chains.variances[t - 1, a:b], chains.variances[t, a:b], increments[t], product, slopes,
        )  # fmt: skip
        if t % 4 == 0 or t == last:  # before it leaves the range of float32
            _take_logs(m, product, logs)
    if last == 0:
        _take_logs(m, product, logs)


@kernel
def _add_step(step, before, means, variances, later, increments, product, slopes):
    """Add E[(x_t - x_t-1)^2] to increments (B,); multiply product by Var(x_t-1 | x_t) / step."""
    one = np.float32(1)
    for j in range(means.shape[0]):
        slopes[j] = _coupling(variances[j], later[j], step, one)
    for j in range(means.shape[0]):
        product[j] *= slopes[j]
    for j in range(means.shape[0]):
        lag = one - slopes[j]
        slopes[j] = slopes[j] * step + lag * lag * later[j]
    for j in range(means.shape[0]):
        away = means[j] - before[j]
        increments[j] += away * away + slopes[j]


@kernel
def _take_logs(m, product, logs):
    for j in range(m):
        logs[j] += log(product[j])
        product[j] = 1


@kernel
def _fit(w, width, pairs, chains):
    """The counts of a word times E[x + c], summed."""
    fit = 0.0
    for p in range(pairs.starts[w], pairs.starts[w + 1]):
        t, counts = pairs.slices[p], pairs.counts[p]
        means = chains.means[t, w * width : (w + 1) * width]
        common = np.float32(0)
        if chains.drift_means.shape[0] > 0:
            common = chains.drift_means[t, w]
        total = np.float32(0)
        for k in range(width):
            total += counts[k] * (means[k] + common)
        fit += total
    return fit


@kernel
def _drift_moments(prior, w, chains, increments):
    """Add a word's drift to increments (T,), as in `moments`; return its part of the bound."""
    means, variances = chains.drift_means, chains.drift_variances
    last = means.shape[0] - 1
    away, variance = means[0, w] - prior.drift_mean[w], prior.drift_variance[w]
    increments[0] += (away * away + variances[0, w]) / variance
    for t in range(1, last + 1):
        keep, later, step = prior.drift_keep[t], variances[t, w], prior.drift_steps[t]
        slope = _coupling(variances[t - 1, w], later, step, keep)
        rest = variances[t - 1, w] - slope * slope * later
        away, lag = means[t, w] - keep * means[t - 1, w], np.float32(1) - keep * slope
        increments[t] += away * away + keep * keep * rest + lag * lag * later
    determinant = 0.5 * log(variances[last, w] / variance)
    for t in range(1, last + 1):  # a loop of its own: see `kernel`
        keep, later, step = prior.drift_keep[t], variances[t, w], prior.drift_steps[t]
        slope = _coupling(variances[t - 1, w], later, step, keep)
        determinant += 0.5 * log((variances[t - 1, w] - slope * slope * later) / step)
    return determinant
