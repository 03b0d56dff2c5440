"""Plain twins of `fastvi.kernels.dynamic`, in float64 and with dense matrices."""

import numpy as np

FULL = 65535
LONGEST_RISE = 1.79


def assign(rows, slices, alpha, topics, g, follow):
    """One pass of CVB0; rows: [(word, count), ...] by document, topics (V, T, K).

    `g` and `follow` list responsibilities by entry, in units of 1 / 65535. After each entry those
    in `follow` are taken instead of those found; the largest difference is returned as well.
    """
    doc_topic, scores, worst, j = [], [], 0.0, 0
    for row, t in zip(rows, slices):
        counts = alpha + sum((c * g[j + i] / FULL for i, (_, c) in enumerate(row)), 0 * alpha)
        score, mass = 0.0, counts.sum()
        for word, c in row:
            own = min(c, 1) * g[j] / FULL
            p = np.maximum(counts - own, alpha) * topics[word, t]
            score += c * np.log(p.sum() / max(mass - 1, 1e-6))
            worst = max(worst, abs(p / p.sum() * FULL - follow[j]).max())
            counts = counts + c * (follow[j] - g[j]) / FULL
            j += 1
        doc_topic.append(counts)
        scores.append(score)
    return np.array(doc_topic), np.array(scores), worst


def precision(variance, steps, keep):
    """Precision matrix (T, T) of a chain's prior: steps and keep (T - 1,)."""
    n = len(steps) + 1
    result = np.zeros((n, n))
    result[0, 0] = 1 / variance
    for t, (step, a) in enumerate(zip(steps, keep)):
        result[t : t + 2, t : t + 2] += np.array([[a * a, -a], [-a, 1]]) / step
    return result


def rise(means, target):
    """Step towards a target, shortened where it rises too far."""
    step = target - means
    return means + step * LONGEST_RISE / max(step.max(), LONGEST_RISE)


def update_chain(n, expected, means, variances, sites, prior_mean, matrix, steps):
    """New means, variances and sites (T,) of a chain, given counts and expected counts (T,)."""
    reach = np.concatenate(([0.0], 2 / steps))
    factor = np.minimum(len(n), 1 + reach * variances)
    sites = sites + (expected - sites) / (
        1 + 0.5 * np.maximum(expected, sites) * variances**2 * factor
    )
    shift = n - expected + expected * (means - prior_mean)
    target = prior_mean + np.linalg.solve(matrix + np.diag(expected), shift)
    return rise(means, target), np.diag(np.linalg.inv(matrix + np.diag(sites))), sites


def update_drift(n, expected, means, matrix):
    """New means and variances (T,) of a drift with prior mean 0."""
    inverse = np.linalg.inv(matrix + np.diag(expected))
    target = inverse @ (n - expected + expected * means)
    return rise(means, target), np.diag(inverse)


def coupled(variances, steps, keep):
    """Covariance of neighbours (T - 1,) and log determinant of the best Markov chain."""
    before, later = variances[:-1], variances[1:]
    slope = (-steps + np.sqrt(steps**2 + 4 * keep**2 * before * later)) / (2 * keep * later)
    determinant = np.log(variances[-1]) + np.log(before - slope**2 * later).sum()
    return slope * later, determinant


def chain_bound(means, variances, prior_mean, variance, steps, keep):
    """Minus the divergence of a chain from its prior, and E[(x_t - keep x_t-1)^2] (T - 1,)."""
    covariance, determinant = coupled(variances, steps, keep)
    squares = (means[1:] - keep * means[:-1]) ** 2 + variances[1:]
    squares += keep**2 * variances[:-1] - 2 * keep * covariance
    first = ((means[0] - prior_mean) ** 2 + variances[0]) / variance
    total = first + (squares / steps).sum() - determinant
    total += np.log(variance) + np.log(steps).sum() - len(means)
    return -0.5 * total, squares
