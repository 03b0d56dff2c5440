"""The product of experts: p(word) is proportional to exp(b + sum_k theta_k W_k), as in ProdLDA.

Shapes as in `neural_topics`. The parameters are W and b, (K + 1, V).
"""

from typing import NamedTuple

import numpy as np

from ._blas import product
from ._jit import kernel
from ._subnormals import flush_subnormals, restore_subnormals
from .networks import ZERO, column_sums
from .neural_topics import (
    divergence,
    encoder_gradient,
    encoder_step,
    infer_batch,
    posterior_slopes,
)
from .optimizers import adam_in_place
from .special import exp
from .targets import address_of


class Experts(NamedTuple):
    """The decoder; moments are Adam's, or have length 0."""

    params: np.ndarray  # (K + 1, V) float32
    moments: np.ndarray  # (2 (K + 1) V), flat
    grads: np.ndarray  # as params
    logits: np.ndarray  # (n, V), scratch
    z: np.ndarray  # (n, K), scratch


@kernel
def log_chances(blas, params, theta, logits):
    """Out logits (n, V): log p(word) up to a number for each row, of theta (n, Kp)."""
    n, n_words, n_topics = logits.shape[0], logits.shape[1], params.shape[0] - 1
    for i in range(n):
        for v in range(n_words):
            logits[i, v] = params[n_topics, v]
    product(
        blas, n, n_words, n_topics, address_of(theta), theta.shape[1], False, address_of(params),
        n_words, False, True, address_of(logits), n_words,
    )  # fmt: skip


@kernel
def row_likelihood(data, r, share, logits):
    """Log p(words) of row r; its logits (V,) become `share` of the slopes by them."""
    most, total, value, n_tokens = logits[0], ZERO, 0.0, ZERO
    mode = flush_subnormals()
    for v in range(logits.size):
        most = max(most, logits[v])
    for p in range(data.indptr[r], data.indptr[r + 1]):
        value += data.counts[p] * (logits[data.indices[p]] - most)
    for p in range(data.indptr[r], data.indptr[r + 1]):
        n_tokens += data.counts[p]
    for v in range(logits.size):
        logits[v] = exp(logits[v] - most)
    for v in range(logits.size):
        total += logits[v]
    factor = -share * n_tokens / total
    for v in range(logits.size):
        logits[v] *= factor
    for p in range(data.indptr[r], data.indptr[r + 1]):
        logits[data.indices[p]] += share * data.counts[p]
    restore_subnormals(mode)
    return value - n_tokens * np.log(np.float64(total))


@kernel
def slopes_of_rows(theta, share, pull):
    """`share` of the slopes by theta, in pull (n, Kp), become the whole slopes by z."""
    for i in range(theta.shape[0]):
        total = ZERO
        for k in range(theta.shape[1]):
            total += theta[i, k] * pull[i, k]
        for k in range(theta.shape[1]):
            pull[i, k] = theta[i, k] * (pull[i, k] - total) / share


@kernel
def likelihood(blas, data, rows, share, experts, work):
    """Sum of log p(words); out: slopes by z, and `share` of those by the decoder."""
    n, logits, theta = rows.size, experts.logits, work.theta
    n_words, n_topics, width, total = logits.shape[1], experts.z.shape[1], theta.shape[1], 0.0
    log_chances(blas, experts.params, theta, logits)
    for i in range(n):
        total += row_likelihood(data, rows[i], share, logits[i])
    for i in range(n):
        for k in range(n_topics, width):
            work.pull[i, k] = ZERO
    product(
        blas, n, n_topics, n_words, address_of(logits), n_words, False, address_of(experts.params),
        n_words, True, False, address_of(work.pull), width,
    )  # fmt: skip
    product(
        blas, n_topics, n_words, n, address_of(theta), width, True, address_of(logits), n_words,
        False, False, address_of(experts.grads), n_words,
    )  # fmt: skip
    column_sums(logits.reshape(-1), experts.grads[n_topics])
    slopes_of_rows(theta, share, work.pull)
    return total


@kernel
def step(blas, encoder, experts, data, rows, key, weight, adam, work):
    """As `neural_topics_mixture.step`; the decoder takes a step of Adam."""
    prior, posterior, kind = encoder.prior, work.posterior, np.float32
    n_words = infer_batch(blas, encoder, data, rows, key, experts.z, work)
    share = np.float32(1.0 / rows.size)
    total = likelihood(blas, data, rows, share, experts, work)
    kl = divergence(prior, posterior, work.means)
    if np.isfinite(total - kl):
        posterior_slopes(prior, weight, share, posterior, work.eps, work.pull, work.means)
        encoder_gradient(blas, encoder.sizes, encoder.net, data, rows, n_words, work)
        if adam.rate > 0.0:
            encoder_step(adam, encoder, n_words, work)
            size = experts.params.size
            adam_in_place(
                experts.grads.reshape(-1), experts.moments[:size], experts.moments[size:],
                kind(adam.decay), kind(adam.decay_square), kind(adam.rate), kind(adam.correction),
                kind(adam.epsilon), experts.params.reshape(-1),
            )  # fmt: skip
    return total, kl
