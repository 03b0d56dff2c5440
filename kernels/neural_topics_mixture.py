"""The mixture form of neural topic models: p(word) = sum_k theta_k beta_k, as in LDA.

Topics are expected counts of words plus a prior eta, and move by stochastic natural gradients
(Hoffman et al. 2013, eq. 24), with the assignments of words summed out. The shares of topics in
tokens come from theta at the mode of p(z | words), to which Newton's method goes from the encoder's
mean, and each token leaves its own share out of its topics' counts, as in CVB0: by draws from the
encoder's q, or with its own share, topics become worse than those from which they start.

All counts decay at each step, so that they are kept as a factor `scale` times a table of which a
step moves only the rows of the batch's words. Shapes as in `neural_topics`.
"""

from typing import NamedTuple

import numpy as np

from ._jit import kernel
from ._subnormals import flush_subnormals, restore_subnormals
from .networks import ONE, ZERO
from .neural_topics import (
    HALF,
    divergence,
    encoder_gradient,
    encoder_step,
    infer_batch,
    posterior_slopes,
    prior_means,
    row_softmax,
)
from .responsibilities import responsibility_sums
from .special import log

SMALLEST = 1e-3  # scale at which the table is multiplied by it
TINY = np.float32(1e-30)
LONGEST = np.float32(2.0)  # step of Newton's method in a coordinate


class Topics(NamedTuple):
    """Counts of words in topics are scale[0] table."""

    table: np.ndarray  # (V, Kp) float32
    scale: np.ndarray  # (1,) float64
    sums: np.ndarray  # (Kp,) float64, of the counts by topic
    beta: np.ndarray  # (U, Kp) float32, scratch: chances of the batch's words
    stats: np.ndarray  # (U, Kp) float32, scratch: expected counts
    inverse: np.ndarray  # (3, Kp) float32, scratch
    ratio: np.ndarray  # (M,) float32, scratch: counts over their chances
    z: np.ndarray  # (n, K) float32, scratch
    tokens: np.ndarray  # (n,) float32, scratch


@kernel
def chances(words, n_words, topics, eta):
    """Out beta: chances of words in topics, and in inverse[0] those per count."""
    width, n_topics = topics.table.shape[1] // 8 * 8, topics.z.shape[1]
    table, beta, inverse = topics.table, topics.beta, topics.inverse[0]
    scale = np.float32(topics.scale[0])
    for k in range(width):
        n = topics.sums[k] + table.shape[0] * eta
        inverse[k] = np.float32(1.0 / n) if k < n_topics else ZERO
    for a in range(n_words):
        w = words[a]
        for k in range(width):
            beta[a, k] = (scale * table[w, k] + eta) * inverse[k]


@kernel
def likelihood(data, rows, topics, work):
    """Sum of log p(words); out: slopes by z in pull, ratios of entries, and tokens of rows."""
    theta, pull, ratio, at, total = work.theta, work.pull, topics.ratio, 0, 0.0
    mode = flush_subnormals()  # proportions of topics, times chances of words
    for i in range(rows.size):
        first, last, n_tokens = data.indptr[rows[i]], data.indptr[rows[i] + 1], ZERO
        counts, end = data.counts[first:last], at + last - first
        responsibility_sums(
            work.slots[at:end], counts, topics.beta, theta[i], ratio[at:end], pull[i]
        )
        for p in range(counts.size):
            n_tokens += counts[p]
        for p in range(counts.size):
            total += counts[p] * log(counts[p] / ratio[at + p])
        topics.tokens[i], at = n_tokens, end
        for k in range(theta.shape[1]):
            pull[i, k] = theta[i, k] * (pull[i, k] - n_tokens)
    restore_subnormals(mode)
    return total


@kernel
def count(data, rows, counting, topics, work):
    """Out: slopes by z in pull, as in `likelihood`, whose ratios are given, but with the shares of
    a token by the counts of all others; if `counting`, expected counts are added to `stats`.
    """
    width, at = topics.beta.shape[1] // 8 * 8, 0
    beta, stats, theta, pull = topics.beta, topics.stats, work.theta, work.pull
    inverse, mixed, others = topics.inverse[0], topics.inverse[1], topics.inverse[2]
    mode = flush_subnormals()
    for i in range(rows.size):
        for k in range(width):
            mixed[k] = theta[i, k] * inverse[k]
        for k in range(width):
            pull[i, k] = -topics.tokens[i] * theta[i, k]
        for p in range(data.indptr[rows[i]], data.indptr[rows[i] + 1]):
            slot, left, n = work.slots[at], TINY, data.counts[p]
            rest = topics.ratio[at] / n
            for k in range(width):
                others[k] = theta[i, k] * beta[slot, k] * (ONE - min(mixed[k] * rest, HALF))
            for k in range(width):
                left += others[k]
            share, at = n / left, at + 1
            for k in range(width):
                pull[i, k] += share * others[k]
            if counting:
                for k in range(width):
                    stats[slot, k] += share * others[k]
    restore_subnormals(mode)


@kernel
def topics_step(words, n_words, topics, keep, gain):
    """Counts become `keep` of themselves and `gain` times those expected in the batch."""
    width, table, stats = topics.table.shape[1] // 8 * 8, topics.table, topics.stats
    after = keep * topics.scale[0]
    factor, more = np.float32(1.0 / max(after, 1e-30)), np.float32(gain)
    for k in range(width):
        topics.sums[k] *= keep
    for a in range(n_words):
        w = words[a]
        for k in range(width):
            stats[a, k] *= more
        for k in range(width):
            table[w, k] += factor * stats[a, k]
        for k in range(width):
            topics.sums[k] += stats[a, k]
    topics.scale[0] = after
    if after < SMALLEST:
        rescale(topics)


@kernel
def rescale(topics):
    """Set the scale to 1, and the sums to those of the table."""
    scale = np.float32(topics.scale[0])
    for k in range(topics.sums.size):
        topics.sums[k] = 0.0
    for w in range(topics.table.shape[0]):
        for k in range(topics.sums.size):
            topics.table[w, k] *= scale
        for k in range(topics.sums.size):
            topics.sums[k] += topics.table[w, k]
    topics.scale[0] = 1.0


@kernel
def refine(data, rows, n_words, topics, prior, n_steps, work):
    """Out: expected counts in `stats`, at modes to which Newton's method goes from `topics.z`."""
    z, stats = topics.z, topics.stats
    for a in range(n_words):
        for k in range(stats.shape[1]):
            stats[a, k] = ZERO
    for step in range(n_steps + 1):
        for i in range(rows.size):
            row_softmax(z, i, work.theta)
        likelihood(data, rows, topics, work)
        if step >= n_steps - 1:
            count(data, rows, step == n_steps, topics, work)
        if step < n_steps:
            for i in range(rows.size):
                newton_step(z, i, topics.tokens[i], prior[1], work.means, work.theta, work.pull[i])


@kernel
def newton_step(z, i, n_tokens, variances, means, theta, pull):
    """A step with the diagonal of the Hessian; pull (Kp,) holds slopes by log likelihood."""
    for k in range(z.shape[1]):
        share = theta[i, k]
        mine = max(pull[k], ZERO) + n_tokens * share
        slope = pull[k] - (z[i, k] - means[i, k]) / variances[k]
        bend = mine * (ONE - share) + ONE / variances[k]
        z[i, k] += max(-LONGEST, min(LONGEST, slope / bend))


@kernel
def step(
    blas, encoder, topics, data, rows, key, weight, adam, keep, gain, eta, n_steps, work
):  # fmt: skip
    """Sums over rows of log p(words) and of divergences; weights and topics take a step.

    The key of the noise is a uint64; with 0 the noise is that of `work`. If the sums are not
    finite, nothing moves; with rate 0, only the gradients of `work` are found.
    """
    n_topics, prior, posterior = encoder.prior.shape[1], encoder.prior, work.posterior
    n_words = infer_batch(blas, encoder, data, rows, key, topics.z, work)
    chances(work.words, n_words, topics, eta)
    total = likelihood(data, rows, topics, work)
    kl = divergence(prior, posterior, work.means)
    if np.isfinite(total - kl):
        for i in range(rows.size):
            for k in range(n_topics):
                topics.z[i, k] = posterior[i, k]
        share = np.float32(1.0 / rows.size)
        posterior_slopes(prior, weight, share, posterior, work.eps, work.pull, work.means)
        encoder_gradient(blas, encoder.sizes, encoder.net, data, rows, n_words, work)
        if adam.rate > 0.0:
            prior_means(prior, encoder.net, data.design, rows, work.means)
            refine(data, rows, n_words, topics, prior, n_steps, work)
            encoder_step(adam, encoder, n_words, work)
            topics_step(work.words, n_words, topics, keep, gain)
    return total, kl


@kernel
def modes(data, weights, variances, means, n_steps, start, stop, z, theta):
    """Newton's method as in `refine`, of log p(words, z) of some documents.

    In and out: z (D, K), from q's means; out: theta (D, Kp). Topics are weights (V, Kp), the
    prior's means are (D, K). An empty document gets its prior's mean.
    """
    longest = 0
    for d in range(start, stop):
        longest = max(longest, data.indptr[d + 1] - data.indptr[d])
    pull, ratio = np.empty(weights.shape[1], np.float32), np.empty(longest, np.float32)
    mode = flush_subnormals()
    for d in range(start, stop):
        first, last, n_tokens = data.indptr[d], data.indptr[d + 1], ZERO
        words, counts = data.indices[first:last], data.counts[first:last]
        for p in range(counts.size):
            n_tokens += counts[p]
        for k in range(z.shape[1]):
            z[d, k] = z[d, k] if n_tokens > ZERO else means[d, k]
        row_softmax(z, d, theta)
        for _ in range(n_steps if n_tokens > ZERO else 0):
            responsibility_sums(words, counts, weights, theta[d], ratio[: counts.size], pull)
            for k in range(pull.size):
                pull[k] = theta[d, k] * (pull[k] - n_tokens)
            newton_step(z, d, n_tokens, variances, means, theta, pull)
            row_softmax(z, d, theta)
    restore_subnormals(mode)
