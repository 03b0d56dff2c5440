"""Neural topic models: the encoder of documents, and draws of their topic proportions.

A document's topic proportions are theta = softmax(z), where z has independent Gaussians as its
prior and, found by the encoder, as its approximate posterior q (Srivastava and Sutton 2017,
"Autoencoding variational inference for topic models").

Shapes: n rows of a batch with U distinct words and M entries, V words, H units of the first layer,
K topics, in rows of width Kp >= K with zeros beyond; E further inputs, C covariates, P weights.
The weights `net` are, in this order: of the further
inputs (E, H), biases (H,); weights and biases of all layers after the first; coefficients of the
covariates (C, K). Words' weights `first` (V, H) stand apart, because a step moves only those of the
batch's words.
"""

from typing import NamedTuple

import numpy as np

from ._blas import product
from ._jit import kernel
from .networks import ITEM, ONE, ZERO, column_sums, softplus
from .noise import normals
from .optimizers import adam_in_place
from .special import exp, log
from .targets import address_of

LEAST, MOST = np.float32(-6.0), np.float32(3.0)  # of logs of standard deviations
HALF, TWO = np.float32(0.5), np.float32(2.0)


class Data(NamedTuple):
    """N documents."""

    indptr: np.ndarray  # (N + 1,) int64
    indices: np.ndarray  # (nnz,) int32
    counts: np.ndarray  # (nnz,) float32
    inputs: np.ndarray  # (nnz,) float32, as the encoder sees them
    extras: np.ndarray  # (N, E) float32, further inputs
    design: np.ndarray  # (N, C) float32, covariates


class Encoder(NamedTuple):
    """The encoder and the prior; moments are Adam's, or have no rows."""

    sizes: np.ndarray  # (L,) int64: units of the hidden layers, and 2 K outputs
    first: np.ndarray  # (V, H)
    net: np.ndarray  # (P,)
    prior: np.ndarray  # (2, K) means and variances
    first_moments: np.ndarray  # (2, V, H)
    net_moments: np.ndarray  # (2 P,)


class Work(NamedTuple):
    """Scratch of a batch of exactly n rows with at most U words and M entries."""

    marks: np.ndarray  # (V,) int32, -1 before and after
    words: np.ndarray  # (U,) int32
    slots: np.ndarray  # (M,) int32, places of entries among the words
    gathered: np.ndarray  # (n, E)
    out: np.ndarray  # outputs of the hidden layers, one layer (n, units) after the other, flat
    posterior: np.ndarray  # (n, 2 K): means and logs of standard deviations
    spare: np.ndarray  # n rows of the widest layer, flat
    eps: np.ndarray  # (n, K)
    means: np.ndarray  # (n, K), of the prior
    theta: np.ndarray  # (n, Kp)
    pull: np.ndarray  # (n, Kp), slopes by z
    first_grads: np.ndarray  # (U, H)
    net_grads: np.ndarray  # (P,)


@kernel
def number_words(data, rows, marks, slots, words):
    """The number of distinct words; out: these (U,), and the place of each entry's among them."""
    n_words, at = 0, 0
    for i in range(rows.size):
        for p in range(data.indptr[rows[i]], data.indptr[rows[i] + 1]):
            w = data.indices[p]
            if marks[w] < 0:
                marks[w] = n_words
                words[n_words] = w
                n_words += 1
            slots[at] = marks[w]
            at += 1
    for a in range(n_words):
        marks[words[a]] = -1
    return n_words


@kernel
def first_layer(bias, first, data, rows, out):
    """Out (n H): weights of rows' words, and biases (H,)."""
    width = bias.size
    eights = width // 8 * 8
    for i in range(rows.size):
        row = out[i * width : (i + 1) * width]
        for j in range(width):
            row[j] = bias[j]
        for p in range(data.indptr[rows[i]], data.indptr[rows[i] + 1]):
            x, w = data.inputs[p], data.indices[p]
            for j in range(eights):
                row[j] += x * first[w, j]
            for j in range(eights, width):
                row[j] += x * first[w, j]


@kernel
def squash(x):
    """Softplus of flat x, in place."""
    for i in range(x.size):
        x[i] = softplus(x[i])


@kernel
def repeat_rows(row, out):
    """Out (n m), flat: row (m,) n times."""
    for i in range(out.size // row.size):
        part = out[i * row.size : (i + 1) * row.size]
        for j in range(row.size):
            part[j] = row[j]


@kernel
def encode_documents(blas, sizes, first, net, data, rows, gathered, out, posterior):
    """Out: outputs of the hidden layers, flat, and those of the last one (n, 2 K)."""
    n, width, n_extras = rows.size, sizes[0], data.extras.shape[1]
    place = n_extras * width
    first_layer(net[place : place + width], first, data, rows, out)
    if n_extras > 0:
        for i in range(n):
            for e in range(n_extras):
                gathered[i, e] = data.extras[rows[i], e]
        product(
            blas, n, width, n_extras, address_of(gathered), n_extras, False, address_of(net), width,
            False, True, address_of(out), width,
        )  # fmt: skip
    here, place = 0, place + width
    for layer in range(sizes.size - 1):
        inputs, outputs = sizes[layer], sizes[layer + 1]
        after, bias = here + n * inputs, place + inputs * outputs
        squash(out[here:after])
        is_last = layer == sizes.size - 2
        target = posterior.reshape(-1) if is_last else out[after : after + n * outputs]
        repeat_rows(net[bias : bias + outputs], target)
        product(
            blas, n, outputs, inputs, address_of(out) + ITEM * here, inputs, False,
            address_of(net) + ITEM * place, outputs, False, True, address_of(target), outputs,
        )  # fmt: skip
        here, place = after, bias + outputs


@kernel
def prior_means(prior, net, design, rows, means):
    """Out means (n, K): those of the prior, shifted by covariates."""
    n_topics, n_covariates = prior.shape[1], design.shape[1]
    place = net.size - n_covariates * n_topics
    for i in range(rows.size):
        for k in range(n_topics):
            means[i, k] = prior[0, k]
        for c in range(n_covariates):
            x = design[rows[i], c]
            for k in range(n_topics):
                means[i, k] += x * net[place + c * n_topics + k]


@kernel(inline="always")
def limited(x):
    """A log standard deviation within limits."""
    return min(max(x, LEAST), MOST)


@kernel
def row_softmax(z, i, theta):
    """Out theta (n, Kp), row i: of row i of z (n, K), and zeros beyond."""
    most, total, n_topics = z[i, 0], ZERO, z.shape[1]
    for k in range(1, n_topics):
        most = max(most, z[i, k])
    for k in range(n_topics):
        theta[i, k] = exp(z[i, k] - most)
    for k in range(n_topics):
        total += theta[i, k]
    for k in range(n_topics):
        theta[i, k] /= total
    for k in range(n_topics, theta.shape[1]):
        theta[i, k] = ZERO


@kernel
def draw_proportions(posterior, eps, z, theta):
    """Out theta (n, Kp) = softmax(z) of z (n, K) = mean + sd eps."""
    n_topics = eps.shape[1]
    for i in range(eps.shape[0]):
        log_sd = posterior[i, n_topics:]
        for k in range(n_topics):
            z[i, k] = posterior[i, k] + exp(limited(log_sd[k])) * eps[i, k]
        row_softmax(z, i, theta)


@kernel
def infer_batch(blas, encoder, data, rows, key, z, work):
    """Posteriors, prior means, draws z and proportions of a batch; its number of distinct words.

    The key of the noise is a uint64; with 0 the noise is that of `work`.
    """
    if key != 0:
        normals(key, work.eps.reshape(-1))
    n_words = number_words(data, rows, work.marks, work.slots, work.words)
    encode_documents(
        blas, encoder.sizes, encoder.first, encoder.net, data, rows, work.gathered, work.out,
        work.posterior,
    )  # fmt: skip
    prior_means(encoder.prior, encoder.net, data.design, rows, work.means)
    draw_proportions(work.posterior, work.eps, z, work.theta)
    return n_words


@kernel
def divergence(prior, posterior, means):
    """Sum over rows of KL(q, prior), in nats."""
    n_topics, total = prior.shape[1], 0.0
    for i in range(means.shape[0]):
        log_sds = posterior[i, n_topics:]
        for k in range(n_topics):
            log_sd = limited(log_sds[k])
            away = posterior[i, k] - means[i, k]
            ratio = (exp(TWO * log_sd) + away * away) / prior[1, k]
            total += HALF * (ratio - ONE + log(prior[1, k])) - log_sd
    return total


@kernel
def posterior_slopes(prior, weight, share, posterior, eps, pull, means):
    """Outputs become `share` of the gradient by them, and means that by the prior's means.

    Of log likelihoods, whose slopes by z are in pull (n, Kp), less `weight` divergences.
    """
    n_topics = prior.shape[1]
    for i in range(means.shape[0]):
        log_sds = posterior[i, n_topics:]
        for k in range(n_topics):
            raw, force = log_sds[k], pull[i, k]
            sd = exp(limited(raw))
            slope = weight * (posterior[i, k] - means[i, k]) / prior[1, k]
            posterior[i, k] = share * (force - slope)
            means[i, k] = share * slope
            change = force * eps[i, k] * sd - weight * (sd * sd / prior[1, k] - ONE)
            log_sds[k] = share * change if raw > LEAST and raw < MOST else ZERO


@kernel
def encoder_gradient(blas, sizes, net, data, rows, n_words, work):
    """Out: gradients of words' weights (U, H) and of the others (P,).

    Outputs in `work` have become gradients by them, as `posterior_slopes` leaves them.
    """
    n, n_topics, grads = rows.size, work.means.shape[1], work.net_grads
    place = net.size - data.design.shape[1] * n_topics
    covariates_gradient(data.design, rows, work.means, grads[place:])
    here = work.out.size
    for layer in range(sizes.size - 2, -1, -1):
        inputs, outputs = sizes[layer], sizes[layer + 1]
        before, bias = here - n * inputs, place - outputs
        place = bias - inputs * outputs
        is_last = layer == sizes.size - 2
        source = work.posterior.reshape(-1) if is_last else work.out[here : here + n * outputs]
        column_sums(source, grads[bias : bias + outputs])
        product(
            blas, inputs, outputs, n, address_of(work.out) + ITEM * before, inputs, True,
            address_of(source), outputs, False, False, address_of(grads) + ITEM * place, outputs,
        )  # fmt: skip
        product(
            blas, n, inputs, outputs, address_of(source), outputs, False,
            address_of(net) + ITEM * place, outputs, True, False, address_of(work.spare), inputs,
        )  # fmt: skip
        unsquash(work.spare, work.out[before:here])
        here = before
    words_gradient(blas, data, rows, n_words, work, work.out[: n * sizes[0]])


@kernel
def unsquash(adjoint, out):
    """Out: from softplus's output to the adjoint of its input, given that of its output."""
    for i in range(out.size):
        out[i] = adjoint[i] * (ONE - exp(-out[i]))


@kernel
def covariates_gradient(design, rows, slopes, grads):
    """Out grads (C K), flat, of slopes (n, K) by the prior's means."""
    n_topics = slopes.shape[1]
    for c in range(design.shape[1]):
        row = grads[c * n_topics : (c + 1) * n_topics]
        for k in range(n_topics):
            row[k] = ZERO
        for i in range(rows.size):
            x = design[rows[i], c]
            for k in range(n_topics):
                row[k] += x * slopes[i, k]


@kernel
def words_gradient(blas, data, rows, n_words, work, slopes):
    """Out: gradients of the first layer, given those of its outputs (n H), flat."""
    n, n_extras, grads, at = rows.size, data.extras.shape[1], work.first_grads, 0
    width = grads.shape[1]
    eights, place = width // 8 * 8, n_extras * width
    column_sums(slopes, work.net_grads[place : place + width])
    for a in range(n_words):
        for j in range(width):
            grads[a, j] = ZERO
    for i in range(n):
        row = slopes[i * width : (i + 1) * width]
        for p in range(data.indptr[rows[i]], data.indptr[rows[i] + 1]):
            x, slot = data.inputs[p], work.slots[at]
            at += 1
            for j in range(eights):
                grads[slot, j] += x * row[j]
            for j in range(eights, width):
                grads[slot, j] += x * row[j]
    if n_extras > 0:
        product(
            blas, n_extras, width, n, address_of(work.gathered), n_extras, True, address_of(slopes),
            width, False, False, address_of(work.net_grads), width,
        )  # fmt: skip


@kernel
def encoder_step(adam, encoder, n_words, work):
    """A step of Adam, on the weights of the batch's words alone and on all others."""
    kind, width = np.float32, encoder.first.shape[1]
    decay, decay_square = kind(adam.decay), kind(adam.decay_square)
    rate, correction, epsilon = kind(adam.rate), kind(adam.correction), kind(adam.epsilon)
    m, v, grads = encoder.first_moments[0], encoder.first_moments[1], work.first_grads
    for a in range(n_words):
        w = work.words[a]
        for j in range(width):
            g = grads[a, j]
            m[w, j] = decay * m[w, j] + (ONE - decay) * g
            v[w, j] = decay_square * v[w, j] + (ONE - decay_square) * g * g
            encoder.first[w, j] += rate * m[w, j] / (np.sqrt(v[w, j] * correction) + epsilon)
    n = encoder.net.size
    adam_in_place(
        work.net_grads, encoder.net_moments[:n], encoder.net_moments[n:], decay, decay_square, rate,
        correction, epsilon, encoder.net,
    )  # fmt: skip
