"""Steps of variational autoencoders: the objective, the reverse pass of everything, and Adam.

Shapes as in `autoencoder`. Objectives, per row:

- the evidence lower bound, with the divergence from the prior in closed form (Kingma and Welling
  2014, eq. 10) or by the draws along whose path it is differentiated, weighted by beta; latent
  variables whose mean divergence in the batch is below `free` nats are not drawn to the prior
  (Kingma et al. 2016, eq. 15);
- with importance weights w = p(x, z) / q(z), log mean w^(1 - alpha) / (1 - alpha) (Li and Turner
  2016, eq. 6), which for alpha = 0 is that of Burda et al. (2016, eq. 8). The encoder's gradient is
  doubly reparameterised (Tucker et al. 2019, eq. 9): alpha v + (1 - alpha) v^2 times the slope of
  log w along the path of the draw, v = w^(1 - alpha) over its sum.
"""

import numpy as np

from ._jit import kernel
from .autoencoder import (
    EACH_SD,
    ELBO,
    ONE_SD,
    WEIGHTED,
    encoder_back,
    evaluate,
    follow,
    last_of,
    prior_of,
)
from .autoencoder_likelihoods import GAUSSIAN
from .autoencoder_priors import mixture_slopes, normal_slopes
from .networks import ONE, ZERO, SparseRows, column_sums, first_not_finite, outputs, reverse
from .noise import normals
from .optimizers import Adam, adam_in_place
from .pixel_calls import REVERSE
from .special import exp, log
from .vectors import fill, sum_of

FINE = -1


STILL = Adam(0.0, 0.0, 0.0, 0.0, 0.0)


@kernel
def weigh_draws(log_weights, alpha, share, weights, ratios):
    """The bound of a row; out: shares of its K draws, which sum to `share`, and ratios (K,)."""
    power, most = 1.0 - alpha, log_weights[0]
    for k in range(1, log_weights.size):
        most = max(most, log_weights[k])
    total = 0.0
    for k in range(log_weights.size):
        total += exp(power * (log_weights[k] - most))
    for k in range(log_weights.size):
        v = exp(power * (log_weights[k] - most)) / total
        weights[k] = np.float32(share * v)
        ratios[k] = np.float32(alpha + power * v)
    return most + log(total / log_weights.size) / power


@kernel
def weigh(objective, n, work, kl, values):
    """The mean bound of n rows; out: weights and ratios (R,), and betas (J,).

    kl (n J) holds divergences, values (R,) log likelihoods or log weights.
    """
    n_draws, betas = objective.n_draws, work.betas
    weights, ratios = work.weights[: values.size], work.ratios[: values.size]
    share = np.float32(1.0 / max(n, 1))
    column_sums(kl, betas)
    for j in range(betas.size):
        is_free = objective.free > 0.0 and betas[j] * share < objective.free
        betas[j] = ZERO if is_free else np.float32(objective.beta)
    if objective.kind != WEIGHTED:
        fill(weights, np.float32(1.0 / values.size))
        fill(ratios, ONE)
        divergence = sum_of(kl) / n if objective.kind == ELBO else 0.0
        return sum_of(values) / values.size - divergence
    total = 0.0
    for i in range(n):
        a, b = i * n_draws, (i + 1) * n_draws
        total += weigh_draws(values[a:b], objective.alpha, share, weights[a:b], ratios[a:b])
    return total / n


@kernel
def scale_rows(weights, x):
    """Multiply rows of x (R O) by weights (R,)."""
    width = x.size // weights.size
    for r in range(weights.size):
        row, weight = x[r * width :], weights[r]
        for j in range(width):
            row[j] *= weight


@kernel
def noise_gradient(model, noise, weights, slopes, sums, grads):
    """Out: gradient by learned logs of standard deviations; slopes (R E) before `scale_rows`."""
    width, whole = sums.size, np.float32(sum_of(weights))
    fill(sums, ZERO)
    for r in range(weights.size):
        row, weight = slopes[r * width :], weights[r]
        for j in range(width):
            sums[j] += weight * row[j] * row[j]
    for j in range(width):
        sums[j] = sums[j] / noise[width + j] - whole
    if model.noise == ONE_SD:
        grads[model.noise_at] = np.float32(sum_of(sums))
        return
    for j in range(width):
        grads[model.noise_at + j] = sums[j]


@kernel
def _path(log_sd, eps, pull, ratio, share, back):
    """Slopes back (J,) of the log likelihood become those of a draw's log weight."""
    for j in range(back.size):
        back[j] = ratio * back[j] + share * (eps[j] * exp(-log_sd[j]) + pull[j])


@kernel
def posterior_slopes(objective, n_latent, work, posterior):
    """Means and logs of sd (n 2 J) become the gradient by them."""
    n, n_draws = posterior.size // (2 * n_latent), objective.n_draws
    of_mean, of_sd = work.spare[:n_latent], work.spare[n_latent : 2 * n_latent]
    beta, share = np.float32(objective.beta), np.float32(1.0 / max(n, 1))
    for i in range(n):
        mean, log_sd = posterior[2 * i * n_latent :], posterior[(2 * i + 1) * n_latent :]
        fill(of_mean, ZERO)
        fill(of_sd, ZERO)
        for r in range(i * n_draws, (i + 1) * n_draws):
            a, b = r * n_latent, (r + 1) * n_latent
            back, eps = work.back[a:b], work.eps[a:b]
            if objective.kind != ELBO:
                ratio = work.ratios[r]
                _path(log_sd, eps, work.pull[a:b], ratio, ratio * work.weights[r] * beta, back)
            for j in range(n_latent):
                of_mean[j] += back[j]
                of_sd[j] += back[j] * eps[j]
        for j in range(n_latent):
            sd = exp(log_sd[j])
            weight = share * work.betas[j] if objective.kind == ELBO else ZERO
            mean[j] = of_mean[j] - weight * mean[j]
            log_sd[j] = of_sd[j] * sd - weight * (sd * sd - ONE)


@kernel
def not_finite(model, n, n_draws, work):
    """Where numbers stopped to be finite: layers of the encoder, of the decoder, the likelihood."""
    n_encoder, n_decoder = model.encoder.table.shape[0], model.decoder.table.shape[0]
    layer = first_not_finite(model.encoder, n, work.encoded)
    if layer >= 0:
        return layer
    layer = first_not_finite(model.decoder, n * n_draws, work.decoded)
    return n_encoder + (layer if layer >= 0 else n_decoder)


@kernel
def step(blas, model, objective, params, data, rows, key, adam, moments, work, grads):
    """Bound and divergence, nats per row, and where they are not finite or FINE; out: the gradient
    of the objective (P,); in and out: params (P,), and moments (2 P) of Adam.

    The key of the noise is a uint64; with 0 the noise is that of `work`.
    """
    n, n_draws, kind = rows.size, objective.n_draws, np.float32
    if key != 0:
        normals(key, work.eps[: n * n_draws * work.betas.size])
    first, start, ratios = evaluate(blas, model, objective, params, data, rows, work)
    encoded = outputs(model.encoder)[0]
    n_latent, n_all = work.betas.size, n * n_draws
    kl, values = work.divergences[: n * n_latent], work.values[:n_all]
    bound, divergence = weigh(objective, n, work, kl, values), sum_of(kl) / n
    if model.n_parts > 0:
        divergence = -ratios / n_all
    if not np.isfinite(bound):
        return bound, divergence, not_finite(model, n, n_draws, work)
    slopes, weights = last_of(model, work, start, n_all), work.weights[:n_all]
    if model.likelihood == GAUSSIAN and (model.noise == ONE_SD or model.noise == EACH_SD):
        width = work.noise.size // 2
        noise_gradient(model, work.noise, weights, slopes, work.spare[:width], grads)
    scale_rows(weights, slopes)
    if model.head != 0:
        follow(REVERSE, model, params, n, n_draws, start, grads, work)
    sparse = SparseRows(rows, data.indptr, data.indices, data.inputs)
    z, back = work.z[: n_all * n_latent], work.back[: n_all * n_latent]
    reverse(blas, model.decoder, params, z, sparse, n_all, work.decoded, work.spare, grads, back)
    if model.n_parts > 0:
        prior = prior_of(model, params, n_latent)
        mixture_slopes(
            prior, model.n_parts, z, work.shares, weights, np.float32(objective.beta),
            work.pull[: z.size], prior_of(model, grads, n_latent),
        )  # fmt: skip
    elif objective.kind != ELBO:
        normal_slopes(z, work.pull)
    posterior_slopes(objective, n_latent, work, work.encoded[first : n * encoded])
    encoder_back(blas, model, params, sparse, n, work, grads)
    if adam.rate > 0.0:
        adam_in_place(
            grads, moments[: grads.size], moments[grads.size :], kind(adam.decay),
            kind(adam.decay_square), kind(adam.rate), kind(adam.correction), kind(adam.epsilon),
            params,
        )  # fmt: skip
    return bound, divergence, FINE
