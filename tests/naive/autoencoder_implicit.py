"""Plain twins of implicit posteriors of autoencoders, in float64."""

import numpy as np
from scipy.special import logsumexp

from naive.networks import forward


def gaussians(family, params, context, eps):
    """Means and logs of standard deviations (n, K, M, 2 J) of noise (n, K, M V)."""
    n, n_draws = eps.shape[:2]
    noise = eps.reshape(n, n_draws, family.n_mixture, family.width)
    above = np.broadcast_to(context[:, None, None], (*noise.shape[:3], context.shape[1]))
    x = np.concatenate([above, noise[..., : family.n_noise_units]], -1)
    j = family.n_latent
    out = forward(family.net.table, params, x.reshape(-1, x.shape[-1]))
    out = out.reshape(*noise.shape[:3], 2 * j)
    log_sd = family.least + np.logaddexp(0.0, out[..., j:] - family.least)
    return np.concatenate([out[..., :j], log_sd], -1), noise[..., -2 * j : -j]


def draws(family, params, context, eps):
    """z (n, K, J), and logs of the mean density of all the row's Gaussians and of the others."""
    parts, noise = gaussians(family, params, context, eps)
    j = family.n_latent
    z = (parts[..., :j] + np.exp(parts[..., j:]) * noise)[:, :, 0]
    every = parts.reshape(len(z), 1, -1, 2 * j)
    away = (z[:, :, None] - every[..., :j]) * np.exp(-every[..., j:])
    logs = (-0.5 * away**2 - every[..., j:]).sum(-1)
    low = np.empty(logs.shape[:2])
    for k in range(logs.shape[1]):
        low[:, k] = logsumexp(np.delete(logs[:, k], k * family.n_mixture, 1), axis=1)
    size = logs.shape[2]
    return z, logsumexp(logs, axis=2) - np.log(size), low - np.log(size - 1)


def frozen(family, params, context, eps):
    """The estimate of log q by the classifier, as a function of z (n, K, J): of the Gaussian with
    the moments of the row's mixture, and the logit.
    """
    parts, _ = gaussians(family, params, context, eps)
    j = family.n_latent
    every = parts.reshape(len(context), -1, 2 * j)
    mean = every[..., :j].mean(1, keepdims=True)
    variance = (np.exp(2 * every[..., j:]) + (every[..., :j] - mean) ** 2).mean(1, keepdims=True)

    def log_q(z):
        away = (z - mean) / np.sqrt(variance)
        above = np.broadcast_to(context[:, None], (*z.shape[:2], context.shape[1]))
        x = np.concatenate([above, away], -1).reshape(-1, context.shape[1] + j)
        logits = forward(family.ratio.net.table, params, x).reshape(z.shape[:2])
        return logits - 0.5 * (away**2).sum(-1) - 0.5 * np.log(variance).sum(-1)

    return log_q
