"""Posteriors of autoencoders whose latent variables are categories.

Shapes: R draws, K of each of n rows, one after another; J numbers of each, in groups of C levels,
one hot. The encoder makes logits (n J). Pathwise gradients are those of relaxed draws, softmax of
(logits + Gumbel noise) / temperature (Jang, Gu and Poole 2017, eq. 2; Maddison, Mnih and Teh 2017,
eq. 10); those of the score function have a baseline. A Gumbel number comes of two normal ones, half
the sum of whose squares is exponential.
"""

import numpy as np

from ._jit import kernel
from .networks import ONE, ZERO
from .special import exp, log
from .vectors import fill

HALF, TINY = np.float32(0.5), np.float32(1e-30)
SOFT, STRAIGHT, SCORE = range(3)  # STRAIGHT: draws are hard, and their slopes those of soft ones


@kernel
def softmax_into(x, out):
    """Out (C,); the logarithm of the sum of exponentials."""
    most, total = x[0], ZERO
    for c in range(1, x.size):
        most = max(most, x[c])
    for c in range(x.size):
        out[c] = exp(x[c] - most)
    for c in range(x.size):
        total += out[c]
    for c in range(x.size):
        out[c] = out[c] / total
    return most + log(total)


@kernel
def harden(x):
    """One hot, in place, where x (C,) is largest; the place."""
    best = 0
    for c in range(1, x.size):
        if x[c] > x[best]:
            best = c
    fill(x, ZERO)
    x[best] = ONE
    return best


@kernel
def category_chances(logits, n_levels, chances, logs):
    """Out (n J): chances of levels, and their logarithms."""
    for a in range(0, logits.size, n_levels):
        x, out = logits[a : a + n_levels], logs[a : a + n_levels]
        whole = softmax_into(x, chances[a : a + n_levels])
        for c in range(n_levels):
            out[c] = x[c] - whole


@kernel
def category_draws(logits, n_latent, n_levels, eps, temperature, is_hard, soft, z):
    """Out (R J): relaxed draws, and draws z, which are one hot or the same; eps (R 2 J) is standard
    normal noise.
    """
    n_draws, scale = z.size // logits.size, ONE / np.float32(temperature)
    for r in range(z.size // n_latent):
        row = logits[r // n_draws * n_latent : (r // n_draws + 1) * n_latent]
        noise, out = eps[2 * r * n_latent :], z[r * n_latent : (r + 1) * n_latent]
        for j in range(n_latent):
            waits = HALF * (noise[2 * j] * noise[2 * j] + noise[2 * j + 1] * noise[2 * j + 1])
            out[j] = (row[j] - log(waits + TINY)) * scale
        relaxed = soft[r * n_latent : (r + 1) * n_latent]
        for a in range(0, n_latent, n_levels):
            softmax_into(out[a : a + n_levels], relaxed[a : a + n_levels])
            if is_hard:
                harden(out[a : a + n_levels])
            else:
                for c in range(a, a + n_levels):
                    out[c] = relaxed[c]


@kernel
def category_entropies(chances, logs, n_latent, log_q):
    """Out log_q (R,): minus the entropy of each row."""
    n_draws = log_q.size * n_latent // chances.size
    for r in range(log_q.size):
        first, total = r // n_draws * n_latent, 0.0
        for j in range(first, first + n_latent):
            total += chances[j] * logs[j]
        log_q[r] = total


@kernel
def category_densities(z, logs, n_latent, log_q):
    """Out log_q (R,) of draws z (R J), one hot."""
    n_draws = z.size // logs.size
    for r in range(log_q.size):
        row, first, total = z[r * n_latent :], r // n_draws * n_latent, 0.0
        for j in range(n_latent):
            total += row[j] * logs[first + j]
        log_q[r] = total


@kernel
def entropy_slopes(chances, logs, n_latent, n_levels, shares, slopes):
    """Slopes (n J) += those by logits of the entropies weighted by shares (R,)."""
    n_draws = shares.size * n_latent // chances.size
    for i in range(chances.size // n_latent):
        share = ZERO
        for r in range(i * n_draws, (i + 1) * n_draws):
            share += shares[r]
        for a in range(i * n_latent, (i + 1) * n_latent, n_levels):
            mean = ZERO
            for j in range(a, a + n_levels):
                mean += chances[j] * logs[j]
            for j in range(a, a + n_levels):
                slopes[j] -= share * chances[j] * (logs[j] - mean)


@kernel
def path_slopes(soft, back, n_latent, n_levels, temperature, slopes):
    """Slopes (n J) += those by logits, from back (R J) by relaxed draws."""
    n_draws, scale = soft.size // slopes.size, ONE / np.float32(temperature)
    for r in range(soft.size // n_latent):
        first, at = r // n_draws * n_latent, r * n_latent
        for a in range(0, n_latent, n_levels):
            z, g = soft[at + a : at + a + n_levels], back[at + a : at + a + n_levels]
            out, mean = slopes[first + a : first + a + n_levels], ZERO
            for c in range(n_levels):
                mean += z[c] * g[c]
            for c in range(n_levels):
                out[c] += scale * z[c] * (g[c] - mean)


@kernel
def score_slopes(z, chances, n_latent, gains, slopes):
    """Slopes (n J) += gains (R,) times those of log q by logits, of draws z (R J), one hot."""
    n_draws = z.size // slopes.size
    for r in range(gains.size):
        first, row, gain = r // n_draws * n_latent, z[r * n_latent :], gains[r]
        for j in range(n_latent):
            slopes[first + j] += gain * (row[j] - chances[first + j])
