"""Stages of a step of autoencoders whose parts are not those of `autoencoder_steps`.

Between the encoder and the decoder, families of posteriors (`autoencoder_flows`) make draws of what
the encoder says, and their reverse passes turn slopes by draws into those by the encoder's outputs.
Shapes as in `autoencoder`.
"""

import numpy as np

from ._jit import kernel
from .autoencoder import EACH_SD, ONE_SD, follow, last_of
from .autoencoder_likelihoods import GAUSSIAN
from .autoencoder_steps import noise_gradient, scale_rows
from .networks import outputs, reverse
from .pixel_calls import REVERSE


@kernel
def decoder_back(blas, model, params, sparse, n, n_draws, work, grads):
    """From slopes of log likelihoods in place of the last outputs, and weights of draws: the
    gradients of the decoder and of the noise, and slopes by draws in `back` (R J).
    """
    n_all = n * n_draws
    start = n_all * outputs(model.decoder)[1]
    slopes, weights = last_of(model, work, start, n_all), work.weights[:n_all]
    if model.likelihood == GAUSSIAN and (model.noise == ONE_SD or model.noise == EACH_SD):
        width = work.noise.size // 2
        noise_gradient(model, work.noise, weights, slopes, work.spare[:width], grads)
    scale_rows(weights, slopes)
    if model.head != 0:
        follow(REVERSE, model, params, n, n_draws, start, grads, work)
    size = n_all * work.betas.size
    reverse(
        blas, model.decoder, params, work.z[:size], sparse, n_all, work.decoded, work.spare, grads,
        work.back[:size],
    )  # fmt: skip


@kernel
def add_prior(weights, beta, pull, back, shares):
    """Slopes back (R J) of log likelihoods become those of log p(x, z), with the prior's pull (R J)
    weighted by beta; out: shares (R,) of log q in the objective, with the sign reversed.
    """
    n_latent, factor = back.size // weights.size, np.float32(beta)
    for r in range(weights.size):
        share = factor * weights[r]
        shares[r] = share
        here, there = back[r * n_latent : (r + 1) * n_latent], pull[r * n_latent :]
        for j in range(n_latent):
            here[j] += share * there[j]
