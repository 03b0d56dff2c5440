"""Variational autoencoders: encoder, draws, decoder, and what the bound is made of.

Shapes: n rows of a batch, K draws of each, R = n K, J latent variables, E entries of a row as the
networks see it, P parameters: those of the encoder, of the decoder, and logs of standard deviations
of the noise. Arrays are flat; draws of a row are one after another.
"""

from typing import NamedTuple

import numpy as np

from ._jit import kernel
from .autoencoder_likelihoods import GAUSSIAN, HALF, TWO, log_likelihoods
from .autoencoder_priors import mixture_densities, normal_densities
from .networks import INPUTS, ONE, ZERO, Layers, SparseRows, forward, outputs, reverse
from .noise import GOLDEN, mixed, normals
from .pixel_calls import FORWARD, REVERSE, call
from .special import exp, log
from .vectors import fill

FIXED, ONE_SD, EACH_SD, NETWORK_SD = range(4)
ELBO, WEIGHTED, SAMPLED = range(3)  # SAMPLED: the bound, with the divergence by draws


class Model(NamedTuple):
    """The form of an autoencoder."""

    encoder: Layers  # to J means and J logs of standard deviations
    decoder: Layers  # to E numbers, or 2 E with NETWORK_SD
    likelihood: int
    n_levels: int  # of each group of entries, if categorical
    are_counts: bool  # whether the encoder sees log(1 + x) of dense rows
    noise: int  # where the standard deviation of Gaussian noise comes from
    noise_at: int  # place of its log among the parameters
    log_sd: float  # if fixed
    n_parts: int  # of the prior, or 0 for the standard normal
    prior_at: int  # place of its parameters
    head: int  # address of what follows the decoder, see `pixel_calls`, or 0
    plan: np.ndarray  # int64, of it
    front: int  # address of what is before the encoder, or 0
    front_plan: np.ndarray
    explains: int  # address of the log likelihoods, see `autoencoder_likelihoods`


class Objective(NamedTuple):
    """What to maximise."""

    kind: int
    n_draws: int
    alpha: float
    beta: float  # weight of the divergence
    free: float  # nats


class Data(NamedTuple):
    """All rows: dense, or of a CSR matrix; the other arrays have length 0."""

    dense: np.ndarray  # (N, E) float32
    indptr: np.ndarray  # (N + 1,) int64
    indices: np.ndarray  # (nnz,) int32
    targets: np.ndarray  # (nnz,) float32
    inputs: np.ndarray  # (nnz,) float32, as the encoder sees them


class Work(NamedTuple):
    """Scratch of a batch, flat float32 if nothing else is said; sizes of the largest batch."""

    x: np.ndarray  # (n E)
    inputs: np.ndarray  # (n E), or (0,) if the encoder sees x
    encoded: np.ndarray  # outputs of all layers
    eps: np.ndarray  # (R J)
    z: np.ndarray  # (R J)
    back: np.ndarray  # (R J) adjoints of z
    pull: np.ndarray  # (R J) slopes of the prior's log densities
    shares: np.ndarray  # (R C) of parts of the prior
    densities: np.ndarray  # (R,) float64, of the prior
    decoded: np.ndarray  # outputs of all layers
    values: np.ndarray  # (R,) float64: log likelihoods, then log weights
    weights: np.ndarray  # (R,) shares of draws in the gradient
    ratios: np.ndarray  # (R,) those of the encoder over these
    divergences: np.ndarray  # (n J)
    betas: np.ndarray  # (J,)
    noise: np.ndarray  # (2 E) logs of standard deviations and precisions, or scratch
    spare: np.ndarray  # rows of the widest layer
    tape: np.ndarray  # of what follows the decoder, as are the others below
    finals: np.ndarray  # (R E) its outputs, or (0,) if nothing follows
    scratch: np.ndarray
    table: np.ndarray  # (9,) int64, for calls by address
    features: np.ndarray  # (n I) of what is before the encoder, or (0,), as the others below
    told: np.ndarray  # (n I) their adjoints
    front_tape: np.ndarray
    front_scratch: np.ndarray


@kernel
def gather(data, rows, x):
    """Out x (n E): rows as they are to be explained."""
    width = x.size // rows.size
    is_dense = data.indptr.size == 0
    for i in range(rows.size):
        row, r = x[i * width : (i + 1) * width], rows[i]
        if is_dense:
            source = data.dense[r]
            for j in range(width):
                row[j] = source[j]
        else:
            fill(row, ZERO)
            for p in range(data.indptr[r], data.indptr[r + 1]):
                row[data.indices[p]] = data.targets[p]


@kernel
def row_noise(data, rows, seed, x, bits, eps):
    """Out eps (R J): standard normal numbers that depend on the seed and on the row alone.

    x (n E) and bits are the same memory, as float32 and as uint32; seed is a uint64.
    """
    gather(data, rows, x)
    width, size = x.size // rows.size, eps.size // rows.size
    for i in range(rows.size):
        key, row = seed, bits[i * width : (i + 1) * width]
        for j in range(width):
            key += mixed(np.uint64(row[j]) + np.uint64(j) * GOLDEN)
        normals(key, eps[i * size : (i + 1) * size])


@kernel
def precede(what, model, params, n, inputs, grads, work):
    """What is before the encoder: to its features, or back from their adjoints."""
    call(
        model.front, what, model.front_plan, n, 1, inputs, params, work.features, grads,
        work.front_tape, work.told, work.front_scratch, work.table,
    )  # fmt: skip


@kernel
def encode_rows(blas, model, params, data, rows, work):
    """Out: x and the encoder's outputs. The place of means and logs of sd among these."""
    n = rows.size
    x = work.x[: n * (work.noise.size // 2)]
    gather(data, rows, x)
    inputs = x
    if work.inputs.size > 0:
        inputs = work.inputs[: x.size]
        for i in range(x.size):
            inputs[i] = log(ONE + x[i])
    if model.front != 0:
        precede(FORWARD, model, params, n, inputs, params, work)
        inputs = work.features
    sparse = SparseRows(rows, data.indptr, data.indices, data.inputs)
    total, before = outputs(model.encoder)
    forward(blas, model.encoder, params, inputs, sparse, n, work.encoded[: n * total])
    return n * before


@kernel
def encoder_back(blas, model, params, sparse, n, work, grads):
    """From slopes in place of the encoder's outputs: its gradient."""
    inputs = work.inputs if work.inputs.size > 0 else work.x
    if model.front != 0:
        inputs = work.features
    back = work.told[: n * model.encoder.table[0, INPUTS]]  # none without what is before
    reverse(blas, model.encoder, params, inputs, sparse, n, work.encoded, work.spare, grads, back)
    if model.front != 0:
        precede(REVERSE, model, params, n, inputs, grads, work)


@kernel
def draw(posterior, n_latent, eps, z):
    """Out z (R J) = mean + sd eps; posterior (n 2 J) holds means and logs of sd."""
    n_draws = 2 * z.size // posterior.size
    for r in range(z.size // n_latent):
        row = posterior[r // n_draws * 2 * n_latent :]
        noise, out = eps[r * n_latent :], z[r * n_latent :]
        for j in range(n_latent):
            out[j] = row[j] + exp(row[n_latent + j]) * noise[j]


@kernel
def divergences(posterior, n_latent, out):
    """Out (n J): from q of each latent variable to the standard normal, nats."""
    for i in range(out.size // n_latent):
        row, to = posterior[2 * i * n_latent :], out[i * n_latent :]
        for j in range(n_latent):
            square = row[j] * row[j] + exp(TWO * row[n_latent + j])
            to[j] = HALF * (square - ONE) - row[n_latent + j]


@kernel
def set_noise(model, params, noise):
    """Out noise (2 E): logs of standard deviations, and precisions."""
    width = noise.size // 2
    if model.likelihood != GAUSSIAN or model.noise == NETWORK_SD:
        return
    for j in range(width):
        noise[j] = np.float32(model.log_sd)
        if model.noise == ONE_SD:
            noise[j] = params[model.noise_at]
        elif model.noise == EACH_SD:
            noise[j] = params[model.noise_at + j]
    for j in range(width):
        noise[width + j] = exp(-TWO * noise[j])


@kernel
def follow(what, model, params, n, n_draws, start, grads, work):
    """What follows the decoder: from its outputs, which begin at a place, or back to them."""
    decoded = work.decoded[start : n * n_draws * outputs(model.decoder)[0]]
    call(
        model.head, what, model.plan, n, n_draws, work.x, params, decoded, grads, work.tape,
        work.finals, work.scratch, work.table,
    )  # fmt: skip


@kernel
def last_of(model, work, start, n_all):
    """Outputs that the likelihood sees, then slopes, of n_all draws."""
    if model.head != 0:
        return work.finals[: n_all * (work.finals.size // work.values.size)]
    return work.decoded[start : n_all * outputs(model.decoder)[0]]


@kernel
def decode_draws(blas, model, params, sparse, n, n_draws, work):
    """Out, from z: log likelihoods in values (R,), and slopes in place of the last outputs. The
    place of the decoder's last layer among the outputs of all.
    """
    n_all = n * n_draws
    total, before = outputs(model.decoder)
    start = n_all * before
    forward(blas, model.decoder, params, work.z, sparse, n_all, work.decoded[: n_all * total])
    if model.head != 0:
        follow(FORWARD, model, params, n, n_draws, start, params, work)
    set_noise(model, params, work.noise)
    log_likelihoods(
        model.explains, model.n_levels, work.x[: n * (work.noise.size // 2)],
        last_of(model, work, start, n_all), work.noise, work.values[:n_all], work.table,
    )  # fmt: skip
    return start


@kernel
def prior_of(model, params, n_latent):
    """Parameters of the prior: logits, means and logs of sd of its parts."""
    first = model.prior_at
    return params[first : first + model.n_parts * (1 + 2 * n_latent)]


@kernel
def add_log_ratios(posterior, n_latent, beta, eps, densities, values):
    """Values (R,) += beta log p(z) / q(z), densities log p(z). The sum of the logs."""
    n_draws, whole = 2 * values.size * n_latent // posterior.size, 0.0
    for r in range(values.size):
        log_sd = posterior[(2 * (r // n_draws) + 1) * n_latent :]
        noise, total = eps[r * n_latent : (r + 1) * n_latent], densities[r]
        for j in range(n_latent):
            total += log_sd[j] + HALF * noise[j] * noise[j]
        values[r] += beta * total
        whole += total
    return whole


@kernel
def evaluate(blas, model, objective, params, data, rows, work):
    """Out: log likelihoods, or log weights, in values (R,), and divergences (n J); of given eps.

    Where means and logs of sd, and slopes, begin, and the sum of log p(z) / q(z) if that is needed.
    """
    n, n_draws = rows.size, objective.n_draws
    total, before = outputs(model.encoder)
    n_latent = (total - before) // 2
    first = encode_rows(blas, model, params, data, rows, work)
    posterior = work.encoded[first : n * total]
    z = work.z[: n * n_draws * n_latent]
    draw(posterior, n_latent, work.eps, z)
    divergences(posterior, n_latent, work.divergences[: n * n_latent])
    sparse = SparseRows(rows, data.indptr, data.indices, data.inputs)
    slopes = decode_draws(blas, model, params, sparse, n, n_draws, work)
    if objective.kind == ELBO:
        return first, slopes, 0.0
    values, densities = work.values[: n * n_draws], work.densities[: n * n_draws]
    if model.n_parts > 0:
        prior = prior_of(model, params, n_latent)
        mixture_densities(prior, model.n_parts, z, work.shares, densities)
    else:
        normal_densities(z, densities)
    total = add_log_ratios(posterior, n_latent, objective.beta, work.eps, densities, values)
    return first, slopes, total
