"""Plain twins of autoencoders whose posterior and prior are chosen, in float64."""

import numpy as np
from scipy.special import expit, log_softmax, logsumexp, softmax

from fastvi.kernels import autoencoder as form
from fastvi.kernels.networks import ACTIVATION, BIAS, INPUTS, OUTPUTS, REACH, WEIGHTS
from naive import autoencoder as naive
from naive.networks import ACTIVATIONS, forward


def planar(outputs, x, t):
    """y and the log determinant of function t, for x (n, K, J)."""
    j = x.shape[-1]
    row = outputs[:, None, 2 * j :][:, :, t * (2 * j + 1) :]
    w, u, b = row[..., :j], row[..., j : 2 * j], row[..., 2 * j]
    along = (w * u).sum(-1)
    v = u + ((np.logaddexp(0, along) - 1 - along) / (w * w).sum(-1))[..., None] * w
    h = np.tanh((w * x).sum(-1) + b)
    return x + v * h[..., None], np.log1p((1 - h**2) * (w * v).sum(-1))


def radial(outputs, x, t):
    j = x.shape[-1]
    row = outputs[:, None, 2 * j :][:, :, t * (j + 2) :]
    away, alpha = x - row[..., :j], np.exp(row[..., j])
    r = np.sqrt((away**2).sum(-1))
    beta = np.logaddexp(0, row[..., j + 1]) - alpha
    h = 1 / (alpha + r)
    slope = beta * h - beta * r * h**2
    return x + (beta * h)[..., None] * away, (j - 1) * np.log1p(beta * h) + np.log1p(slope)


def mask(row, reach):
    """Which weights of a masked layer there are, (I, O)."""
    return np.arange(row[INPUTS])[:, None] < reach[row[REACH] : row[REACH] + row[OUTPUTS]]


def gates(flow, params, outputs, x, t):
    """m and s of each latent variable."""
    n_layers = len(flow.layers.table) // flow.n_functions
    context = np.broadcast_to(outputs[:, None, -flow.n_context :], (*x.shape[:2], flow.n_context))
    h = np.concatenate([context, x], axis=-1)
    for row in flow.layers.table[t * n_layers : (t + 1) * n_layers]:
        shape, at = (row[INPUTS], row[OUTPUTS]), row[BIAS]
        w = params[row[WEIGHTS] : at].reshape(shape) * mask(row, flow.layers.reach)
        h = ACTIVATIONS[row[ACTIVATION]](h @ w + params[at : at + row[OUTPUTS]])
    return h[..., ::2], expit(h[..., 1::2] + 1.5)


def inverse(flow, params, outputs, x, t):
    """Inverse autoregressive, and reversed."""
    m, s = gates(flow, params, outputs, x, t)
    return (s * x + (1 - s) * m)[..., ::-1], np.log(s).sum(-1)


def masked(flow, params, outputs, x, t):
    """Masked autoregressive, and reversed."""
    y = np.full_like(x, np.nan)
    for i in range(x.shape[-1]):
        m, s = gates(flow, params, outputs, np.nan_to_num(y), t)
        y[..., i] = s[..., i] * x[..., i] + (1 - s[..., i]) * m[..., i]
    return y[..., ::-1], np.log(s).sum(-1)


def draws(model, params, outputs, eps):
    """z (n, K, J) for noise of this shape, and log q without J log(2 pi) / 2."""
    j, family = model.n_latent, model.choice.words["family"]
    if family == "categorical":
        return categories(model, outputs, eps)
    mean, log_sd = outputs[:, None, :j], outputs[:, None, j : 2 * j]
    z, log_q = mean + np.exp(log_sd) * eps, -(0.5 * eps**2 + log_sd).sum(-1)
    for t in range(model.choice.options.get("n_functions", 0)):
        if family in ("iaf", "maf"):
            function = {"iaf": inverse, "maf": masked}[family]
            z, log_det = function(model.family.flow, params, outputs, z, t)
        else:
            z, log_det = {"planar": planar, "radial": radial}[family](outputs, z, t)
        log_q = log_q - log_det
    return z, log_q


def categories(model, outputs, eps):
    """Relaxed draws, and minus entropies."""
    gumbel = -np.log(0.5 * (eps[..., ::2] ** 2 + eps[..., 1::2] ** 2))
    shape = (*gumbel.shape[:2], -1, model.family.n_levels)
    soft = softmax(((outputs[:, None] + gumbel) / model.family.temperature).reshape(shape), axis=-1)
    logs = log_softmax(outputs.reshape(len(outputs), 1, *shape[2:]), axis=-1)
    log_q = np.broadcast_to((np.exp(logs) * logs).sum((-1, -2)), gumbel.shape[:2])
    return soft.reshape(gumbel.shape), log_q


def chain(alpha, j):
    """Covariance of a chain of latent variables."""
    return alpha ** np.abs(np.subtract.outer(np.arange(j), np.arange(j)))


def log_prior(model, params, z):
    """Of draws z (..., J), without J log(2 pi) / 2."""
    word, j = model.choice.words["prior"], z.shape[-1]
    if model.choice.words["family"] == "categorical":
        return np.full(z.shape[:-1], -(j // model.family.n_levels) * np.log(model.family.n_levels))
    if model.choice.words["kl"] == "delta":
        precision = np.linalg.inv(chain(model.prior.alpha, j))
        return -0.5 * ((z @ precision) * z).sum(-1) + 0.5 * np.linalg.slogdet(precision)[1]
    if word == "normal":
        return -0.5 * (z**2).sum(-1)
    c, own = model.prior.n_parts, params[model.prior.first :]
    if word == "mixture":
        logits = own[:c]
        means, log_sd = own[c : c + 2 * c * j].reshape(2, c, j)
    else:
        u = np.clip(own[: c * model.prior.width], model.prior.low, model.prior.high)
        found = forward(model.form.encoder.table, params, u.reshape(c, -1))
        logits, means, log_sd = np.zeros(c), found[:, :j], found[:, j : 2 * j]
    away = (z[..., None, :] - means) / np.exp(log_sd)
    return logsumexp(logits - logsumexp(logits) - (0.5 * away**2 + log_sd).sum(-1), axis=-1)


def ends(model, params, x, eps):
    """Ends z (n, K, J) of annealed paths, and log q of them without J log(2 pi) / 2."""
    j, m, own = model.n_latent, model.family.n_transitions, params[model.family.own]
    outputs, noise = (
        encoded(model, params, x)[:, None],
        eps.reshape(*eps.shape[:2], -1, j).astype(float),
    )
    mean, log_sd = outputs[..., :j], outputs[..., j:]
    lengths, bridges = np.exp(own[:m]), np.cumsum(softmax(own[m : 2 * m]))
    kept = expit(own[2 * m]) if model.choice.words["family"] == "hamiltonian" else 0.0

    def force(u, b, step=1e-3):
        """Of fourth order in the step."""
        result = np.empty_like(u)
        for i in range(j):
            h = step * np.eye(j)[i]
            values = [
                log_joint(model, params, x, mean + np.exp(log_sd) * (u + times * h))
                for times in (2, 1, -1, -2)
            ]
            result[..., i] = np.tensordot([-1, 8, -8, 1], values, axes=1) / (12 * step)
        return b * result - (1 - b) * u

    u, v = noise[:, :, 0], 0.0
    log_q = -(0.5 * u**2 + log_sd).sum(-1)
    for t in range(m):
        k = kept if t else 0.0
        before = k * v + np.sqrt(1 - k**2) * noise[:, :, t + 1]
        amid = before + 0.5 * lengths[t] * force(u, bridges[t])
        u = u + lengths[t] * amid
        v = amid + 0.5 * lengths[t] * force(u, bridges[t])
        log_q = log_q + 0.5 * (v**2 - before**2).sum(-1)
    return mean + np.exp(log_sd) * u, log_q


def log_joint(model, params, x, z):
    return naive.likelihoods(model.form, params, x, z) - 0.5 * (z**2).sum(-1)


def encoded(model, params, x):
    seen = np.log1p(x) if model.form.are_counts else x
    return forward(model.form.encoder.table, params, seen)


def log_ratios(model, params, x, eps):
    """log p(z) / q(z) and log likelihoods, (n, K) each."""
    if model.choice.words["family"] in ("hamiltonian", "langevin"):
        z, log_q = ends(model, params, x, eps)
    else:
        z, log_q = draws(model, params, encoded(model, params, x), eps)
    return log_prior(model, params, z) - log_q, naive.likelihoods(model.form, params, x, z)


def summed(objective, log_weights):
    """The objective of log weights (n, K)."""
    if objective.kind == form.SAMPLED:
        return log_weights.mean()
    power = 1 - objective.alpha
    w = power * log_weights
    return np.mean(logsumexp(w, axis=1) - np.log(w.shape[1])) / power


def bound(model, objective, params, x, eps):
    """Mean over rows x (n, E), for noise eps (n, K, J); its gradient is that of flows."""
    ratio, likelihood = log_ratios(model, params, x, eps)
    return summed(objective, likelihood + objective.beta * ratio)


def along_paths(model, objective, params, x, eps):
    """A function of parameters whose gradient at `params` is that of Gaussian posteriors."""
    j = eps.shape[-1]
    old = encoded(model, params, x)
    mean, log_sd = old[:, None, :j], old[:, None, j:]
    z = mean + np.exp(log_sd) * eps

    def log_weights(moved, at):
        q = -(0.5 * ((at - mean) / np.exp(log_sd)) ** 2 + log_sd).sum(-1)
        ratio = log_prior(model, moved, at) - q
        return naive.likelihoods(model.form, moved, x, at) + objective.beta * ratio

    w = (1 - objective.alpha) * log_weights(params, z)
    v = np.exp(w - logsumexp(w, axis=1, keepdims=True))
    of_encoder = objective.alpha * v + (1 - objective.alpha) * v**2
    if objective.kind == form.SAMPLED:
        v = of_encoder = np.full(w.shape, 1 / w.shape[1])

    def function(moved):
        new = encoded(model, moved, x)
        path = new[:, None, :j] + np.exp(new[:, None, j:]) * eps
        one, other = log_weights(params, path), log_weights(moved, z)
        return ((of_encoder * one).sum(1) + (v * other).sum(1)).mean()

    return function
