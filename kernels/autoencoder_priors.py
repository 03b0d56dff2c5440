"""Priors of the latent variables of autoencoders: the standard normal, and mixtures of Gaussians.

Shapes: R draws z of J latent variables, flat (R J); C parts of a mixture, whose parameters are
logits of weights (C,), means (C J) and logs of standard deviations (C J), one after another.
Densities leave out J log(2 pi) / 2.
"""

import numpy as np

from ._jit import kernel
from .networks import ONE, ZERO
from .special import exp, logsumexp
from .vectors import fill

HALF = np.float32(0.5)


@kernel
def normal_densities(z, values):
    """Out values (R,)."""
    n_latent = z.size // values.size
    for r in range(values.size):
        row, total = z[r * n_latent : (r + 1) * n_latent], 0.0
        for j in range(n_latent):
            total -= HALF * row[j] * row[j]
        values[r] = total


@kernel
def _part(mean, log_sd, z):
    """Log density of a part."""
    total = ZERO
    for j in range(mean.size):
        away = (z[j] - mean[j]) * exp(-log_sd[j])
        total -= HALF * away * away + log_sd[j]
    return total


@kernel
def mixture_densities(prior, n_parts, z, shares, values):
    """Out: values (R,), and the shares of parts in them (R C)."""
    n_latent = z.size // values.size
    size = n_parts * n_latent
    means, log_sd = prior[n_parts : n_parts + size], prior[n_parts + size :]
    whole = logsumexp(prior[:n_parts])
    for r in range(values.size):
        row, at = shares[r * n_parts : (r + 1) * n_parts], z[r * n_latent :]
        for c in range(n_parts):
            a, b = c * n_latent, (c + 1) * n_latent
            row[c] = prior[c] - whole + _part(means[a:b], log_sd[a:b], at)
        total = logsumexp(row)
        values[r] = total
        for c in range(n_parts):
            row[c] = exp(row[c] - total)


@kernel
def normal_slopes(z, pull):
    """Out pull (R J): gradients of log densities by z."""
    for i in range(z.size):
        pull[i] = -z[i]


@kernel
def _part_slopes(mean, log_sd, z, share, weight, pull, of_mean, of_sd):
    """Add a part's share of the slopes of a draw."""
    for j in range(mean.size):
        inverse = exp(-log_sd[j])
        away = (z[j] - mean[j]) * inverse
        pull[j] -= share * away * inverse
        of_mean[j] += weight * away * inverse
        of_sd[j] += weight * (away * away - ONE)


@kernel
def mixture_slopes(prior, n_parts, z, shares, weights, beta, pull, grads):
    """Out: pull (R J), and the gradient by the prior's parameters of beta times the sum of log
    densities weighted by `weights` (R,), which sum to 1.
    """
    n_latent = z.size // weights.size
    size = n_parts * n_latent
    means, log_sd = prior[n_parts : n_parts + size], prior[n_parts + size :]
    of_means, of_sd = grads[n_parts : n_parts + size], grads[n_parts + size :]
    fill(grads, ZERO)
    fill(pull, ZERO)
    for r in range(weights.size):
        first, weight = r * n_latent, beta * weights[r]
        at, to = z[first : first + n_latent], pull[first : first + n_latent]
        row = shares[r * n_parts : (r + 1) * n_parts]
        for c in range(n_parts):
            a, b = c * n_latent, (c + 1) * n_latent
            _part_slopes(
                means[a:b], log_sd[a:b], at, row[c], weight * row[c], to, of_means[a:b], of_sd[a:b]
            )
        for c in range(n_parts):
            grads[c] += weight * row[c]
    whole = logsumexp(prior[:n_parts])
    for c in range(n_parts):
        grads[c] -= beta * exp(prior[c] - whole)


@kernel
def chain_densities(z, alpha, values):
    """Out values (R,), of latent variables in a stationary chain: each is alpha times the one
    before and noise, with variance 1.
    """
    n_latent, rest = z.size // values.size, ONE - alpha * alpha
    constant = HALF * (n_latent - ONE) * np.log(rest)
    for r in range(values.size):
        row = z[r * n_latent : (r + 1) * n_latent]
        total = -HALF * row[0] * row[0] - constant
        for j in range(1, n_latent):
            away = row[j] - alpha * row[j - 1]
            total -= HALF * away * away / rest
        values[r] = total


@kernel
def chain_slopes(z, n_latent, alpha, pull):
    """Out pull (R J): gradients of log densities of a chain by z."""
    rest = ONE - alpha * alpha
    for r in range(z.size // n_latent):
        row, out = z[r * n_latent : (r + 1) * n_latent], pull[r * n_latent :]
        out[0] = -row[0]
        for j in range(1, n_latent):
            slope = (row[j] - alpha * row[j - 1]) / rest
            out[j] = -slope
            out[j - 1] += alpha * slope
