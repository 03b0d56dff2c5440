"""Plain twins of `fastvi.kernels.neural_topics` and its two forms, in float64."""

import itertools

import numpy as np
from scipy.special import log_softmax, softmax


def encode(sizes, first, net, counts, extras):
    """Means and logs of standard deviations (n, 2 K) for dense counts (n, V)."""
    width, e = sizes[0], extras.shape[1]
    x = np.log1p(counts) @ first + extras @ net[: e * width].reshape(e, width)
    x, place = x + net[e * width : (e + 1) * width], (e + 1) * width
    for inputs, outputs in itertools.pairwise(sizes):
        weights, place = net[place : place + inputs * outputs], place + inputs * outputs
        x = np.logaddexp(0.0, x) @ weights.reshape(inputs, outputs) + net[place : place + outputs]
        place += outputs
    return x, place


def bound(nets, first, net, decoder, counts, extras, design, eps, weight):
    """Mean over rows of log p(words) less `weight` divergences."""
    k = nets.n_topics
    out, place = encode(nets.sizes, first, net, counts, extras)
    means = nets.prior[0] + design @ net[place:].reshape(-1, k)
    log_sd, variances = np.clip(out[:, k:], -6.0, 3.0), nets.prior[1].astype(float)
    theta = softmax(out[:, :k] + np.exp(log_sd) * eps, axis=1)
    kl = 0.5 * ((np.exp(2 * log_sd) + (out[:, :k] - means) ** 2) / variances - 1.0)
    kl += 0.5 * np.log(variances) - log_sd
    if nets.is_product:
        logs = log_softmax(theta @ decoder[:k] + decoder[k], axis=1)
    else:
        table = decoder[:, :k] + nets.topic_prior
        logs = np.log(theta @ (table / table.sum(axis=0)).T)
    return ((counts * logs).sum(axis=1) - weight * kl.sum(axis=1)).mean()


def left_out(table, prior, theta, counts):
    """Expected counts (V, K), with a token's shares by the counts of all others."""
    total, found = table.sum(axis=0) + len(table) * prior, np.zeros_like(table)
    for share, row in zip(theta, counts):
        for w in np.flatnonzero(row):
            p = share * (table[w] + prior) / total
            own = np.minimum(p / p.sum() / (table[w] + prior), 0.5)
            p *= 1.0 - own
            found[w] += row[w] * p / p.sum()
    return found


def mode(beta, variances, means, z, row, n_steps):
    """Newton's method with the Hessian's diagonal, steps of at most 2, on log p(words, z)."""
    for _ in range(n_steps):
        theta = softmax(z)
        mine = theta * (beta * (row / (beta @ theta))[:, None]).sum(axis=0)
        slope = mine - row.sum() * theta - (z - means) / variances
        bend = np.maximum(mine, row.sum() * theta) * (1.0 - theta) + 1.0 / variances
        z = z + np.clip(slope / bend, -2.0, 2.0)
    return z
