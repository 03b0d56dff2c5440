"""Plain twins of the autoencoder's objectives, in float64."""

import numpy as np
from scipy.special import logsumexp

from fastvi.kernels import autoencoder as form
from fastvi.kernels import autoencoder_likelihoods as kinds
from naive import convolutions, pyramids
from naive.networks import forward


def log_likelihood(model, params, x, out):
    """Of rows x (..., E) for the decoder's outputs (..., O), without constants."""
    width = x.shape[-1]
    if model.likelihood == kinds.BERNOULLI:
        return (x * out - np.logaddexp(out, 0.0)).sum(-1)
    if model.likelihood == kinds.POISSON:
        return (x * out - np.exp(out)).sum(-1)
    if model.likelihood == kinds.CATEGORICAL:
        groups = out.reshape(*out.shape[:-1], -1, model.n_levels)
        chances = groups - logsumexp(groups, axis=-1, keepdims=True)
        return (x * chances.reshape(out.shape)).sum(-1)
    mean, log_sd = out[..., :width], out[..., width:]
    if model.noise == form.FIXED:
        log_sd = model.log_sd
    elif model.noise != form.NETWORK_SD:
        log_sd = params[model.noise_at : model.prior_at]
    density = -0.5 * ((x - mean) / np.exp(log_sd)) ** 2 - log_sd - 0.5 * np.log(2 * np.pi)
    return density.sum(-1)


def posterior(model, params, x):
    """Means and logs of standard deviations (n, J) each."""
    seen = np.log1p(x) if model.are_counts else x
    if len(model.front_plan):
        seen = np.array([pyramids.features(model.front_plan, params, row) for row in seen])
    return np.split(forward(model.encoder.table, params, seen), 2, axis=1)


def likelihoods(model, params, x, z):
    """Of draws z (n, K, J), (n, K)."""
    out = forward(model.decoder.table, params, z.reshape(-1, z.shape[-1]))
    if len(model.front_plan):
        out = np.array([pyramids.outputs(model.plan, params, u) for u in out])
    elif len(model.plan):
        out = pixels(model.plan, params, x, out)
    return log_likelihood(model, params, x[:, None], out.reshape(*z.shape[:2], -1))


def pixels(plan, params, x, features):
    """Outputs (R, O) of decoders that read pixels, for rows x (n, E)."""
    h, w, c, m = plan[:4]
    n_draws = len(features) // len(x)
    images, features = x.reshape(-1, h, w, c), features.reshape(-1, h, w, m)
    return np.array([
        convolutions.outputs(plan, params, images[r // n_draws], u).ravel()
        for r, u in enumerate(features)
    ])  # fmt: skip


def log_prior(model, params, z):
    """Of draws z (..., J), without J log(2 pi) / 2."""
    if not model.n_parts:
        return -0.5 * (z**2).sum(-1)
    c, j = model.n_parts, z.shape[-1]
    logits = params[model.prior_at :][:c]
    means, log_sd = params[model.prior_at + c :].reshape(2, c, j)
    away = (z[..., None, :] - means) / np.exp(log_sd)
    return logsumexp(logits - logsumexp(logits) - (0.5 * away**2 + log_sd).sum(-1), axis=-1)


def log_weights(model, params, x, z, mean, log_sd, beta):
    """Of draws z (n, K, J) from q of these means and standard deviations (n, J)."""
    q = -0.5 * ((z - mean[:, None]) / np.exp(log_sd[:, None])) ** 2 - log_sd[:, None]
    return likelihoods(model, params, x, z) + beta * (log_prior(model, params, z) - q.sum(-1))


def divergences(mean, log_sd):
    """From q to the prior, (n, J)."""
    return 0.5 * (mean**2 + np.exp(2 * log_sd) - 1) - log_sd


def bound(model, objective, params, x, eps):
    """Mean over rows x (n, E), for noise eps (n, K, J)."""
    mean, log_sd = posterior(model, params, x)
    z = mean[:, None] + np.exp(log_sd)[:, None] * eps
    if objective.kind == form.ELBO:
        return likelihoods(model, params, x, z).mean() - divergences(mean, log_sd).sum(1).mean()
    if objective.kind == form.SAMPLED:
        return log_weights(model, params, x, z, mean, log_sd, objective.beta).mean()
    power = 1 - objective.alpha
    w = power * log_weights(model, params, x, z, mean, log_sd, objective.beta)
    return np.mean(logsumexp(w, axis=1) - np.log(w.shape[1])) / power


def ascended(model, objective, params, x, eps):
    """A function of parameters whose gradient at `params` is that of the objective."""
    mean, log_sd = posterior(model, params, x)
    if objective.kind == form.ELBO:

        def penalised(moved):
            m, s = posterior(model, moved, x)
            kl = np.maximum(divergences(m, s).mean(0), objective.free).sum()
            z = m[:, None] + np.exp(s)[:, None] * eps
            return likelihoods(model, moved, x, z).mean() - objective.beta * kl

        return penalised
    z = mean[:, None] + np.exp(log_sd)[:, None] * eps
    power = 1 - objective.alpha
    w = power * log_weights(model, params, x, z, mean, log_sd, objective.beta)
    v = np.exp(w - logsumexp(w, axis=1, keepdims=True))
    of_encoder = objective.alpha * v + power * v**2
    if objective.kind == form.SAMPLED:
        v = of_encoder = np.full(w.shape, 1 / w.shape[1])
    first = model.decoder.table[0, 3]

    def doubly_reparameterised(moved):
        m, s = posterior(model, moved, x)
        path = m[:, None] + np.exp(s)[:, None] * eps
        old = np.concatenate([moved[:first], params[first:]])
        one = log_weights(model, old, x, path, mean, log_sd, objective.beta)
        other = likelihoods(model, moved, x, z) + objective.beta * log_prior(model, moved, z)
        return ((of_encoder * one).sum(1) + (v * other).sum(1)).mean()

    return doubly_reparameterised
