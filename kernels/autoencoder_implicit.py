"""Posteriors of autoencoders whose densities are unknown: Gaussians of noise that a network bends.

Shapes: n rows, K draws of each, R = n K, M numbers of noise parts for each draw, P = R M; J latent
variables, C outputs of the encoder for a row, the context. A network, the sampler, makes mean and
log of standard deviation (2 J,) of the context and U numbers of noise. The distribution of z is the
mixture of all such Gaussians (Yin and Zhou 2018, "Semi-implicit variational inference"). Of
the M Gaussians of a draw the first is the one that it comes from. A row of noise eps (P V) has the
U numbers, J for z, and J for draws of the contrast. Arrays are flat float32, logs of densities (R,)
float64 and without J log(2 pi) / 2.
"""

import numpy as np

from ._jit import kernel
from .networks import ONE, ZERO, softplus
from .special import exp, log
from .vectors import fill

HALF = np.float32(0.5)


@kernel
def beside(context, n_context, more, n_more, width, out):
    """Out (P (C + B)): the row's context, and the first B numbers of rows of `more` (P width)."""
    each, n_out = more.size // width * n_context // context.size, n_context + n_more
    for p in range(more.size // width):
        first, row = p // each * n_context, out[p * n_out : (p + 1) * n_out]
        for j in range(n_context):
            row[j] = context[first + j]
        for j in range(n_more):
            row[n_context + j] = more[p * width + j]


@kernel
def hold_open(gaussians, n_latent, least):
    """Logs of standard deviations of Gaussians (P 2 J), in place: `least` + softplus of what is
    above.
    """
    for p in range(gaussians.size // (2 * n_latent)):
        row = gaussians[(2 * p + 1) * n_latent : 2 * (p + 1) * n_latent]
        for j in range(n_latent):
            row[j] = least + softplus(row[j] - least)


@kernel
def open_pull(gaussians, n_latent, least, slopes):
    """Slopes (P 2 J) by what `hold_open` returns become those by what it takes."""
    for p in range(gaussians.size // (2 * n_latent)):
        for j in range((2 * p + 1) * n_latent, 2 * (p + 1) * n_latent):
            slopes[j] *= ONE - exp(least - gaussians[j])


@kernel
def implicit_draws(gaussians, n_latent, eps, width, z):
    """Out z (P J), one draw of each of the Gaussians (P 2 J)."""
    first = width - 2 * n_latent
    for p in range(z.size // n_latent):
        row, noise = gaussians[2 * p * n_latent :], eps[p * width + first :]
        out = z[p * n_latent : (p + 1) * n_latent]
        for j in range(n_latent):
            out[j] = row[j] + exp(row[n_latent + j]) * noise[j]


@kernel
def implicit_moments(gaussians, n_latent, n, out):
    """Out (n 2 J): means and logs of standard deviations of the mixtures of rows' Gaussians."""
    each = gaussians.size // (2 * n_latent * n)
    share = ONE / np.float32(each)
    fill(out, ZERO)
    for p in range(n * each):
        row, to = gaussians[2 * p * n_latent :], out[p // each * 2 * n_latent :]
        for j in range(n_latent):
            to[j] += share * row[j]
    for p in range(n * each):
        row, to = gaussians[2 * p * n_latent :], out[p // each * 2 * n_latent :]
        for j in range(n_latent):
            sd, away = exp(row[n_latent + j]), row[j] - to[j]
            to[n_latent + j] += share * (sd * sd + away * away)
    for i in range(n):
        to = out[2 * i * n_latent : 2 * (i + 1) * n_latent]
        for j in range(n_latent, 2 * n_latent):
            to[j] = HALF * log(to[j])


@kernel
def standardised(moments, n_latent, z, out):
    """Out: z (R J) in standard deviations from the mean, both of its row (n 2 J)."""
    each = 2 * z.size // moments.size
    for r in range(z.size // n_latent):
        row = moments[r // each * 2 * n_latent :]
        here, to = z[r * n_latent :], out[r * n_latent : (r + 1) * n_latent]
        for j in range(n_latent):
            to[j] = (here[j] - row[j]) * exp(-row[n_latent + j])


@kernel
def contrasted(moments, n_latent, away, logits, tilt, log_q, pull):
    """Out: log q (R,) = logits + the log density of N(mean, sd^2), and slopes pull (R J) by z, from
    those of the logits by `away`, tilt (R J).
    """
    each = 2 * away.size // moments.size
    for r in range(log_q.size):
        row, total = moments[r // each * 2 * n_latent :], np.float64(logits[r])
        here, slope = away[r * n_latent :], tilt[r * n_latent :]
        out = pull[r * n_latent : (r + 1) * n_latent]
        for j in range(n_latent):
            out[j] = (slope[j] - here[j]) * exp(-row[n_latent + j])
        for j in range(n_latent):
            total -= HALF * here[j] * here[j] + row[n_latent + j]
        log_q[r] = total


@kernel
def log_parts(gaussians, n_latent, z, out):
    """Out (A,): log densities of A Gaussians (A 2 J) at z (J,); the largest."""
    most = -np.float32(np.inf)
    for a in range(out.size):
        row = gaussians[2 * a * n_latent : 2 * (a + 1) * n_latent]
        total = ZERO
        for j in range(n_latent):
            away = (z[j] - row[j]) * exp(-row[n_latent + j])
            total -= HALF * away * away + row[n_latent + j]
        out[a] = total
        most = max(most, total)
    return most


@kernel
def mixture_of_draws(gaussians, n_latent, n, z, least, logs, log_q, others):
    """Out: logs of the mean density (R,) of all Gaussians of a draw's row, and in `others` of those
    that it does not come from. Logs (R A) becomes the shares of these A Gaussians.

    The first is at least log q in expectation, the second at most (Jensen's inequality; Sobolev and
    Vetrov 2019).
    """
    n_draws, each = log_q.size // n, gaussians.size // (2 * n_latent * n)
    own = each // n_draws
    for r in range(log_q.size):
        first = r // n_draws * each
        of_row = gaussians[2 * first * n_latent : 2 * (first + each) * n_latent]
        out = logs[r * each : (r + 1) * each]
        most = log_parts(of_row, n_latent, z[r * n_latent : (r + 1) * n_latent], out)
        whole, mine = 0.0, r % n_draws * own
        for a in range(each):
            out[a] = exp(out[a] - most)
        for a in range(each):
            whole += out[a]
        rest = max(whole - out[mine], least)
        log_q[r] = most + np.log(whole / each)
        others[r] = most + np.log(rest / max(each - 1, 1))
        for a in range(each):
            out[a] = out[a] / np.float32(whole)


@kernel
def mixture_pull(gaussians, n_latent, n, z, logs, shares, back, slopes):
    """Back (R J) -= shares (R,) times slopes of log q by z, and the same by the Gaussians (P 2 J).

    `logs` is as of `mixture_of_draws`.
    """
    n_draws, each = shares.size // n, gaussians.size // (2 * n_latent * n)
    for r in range(shares.size):
        here, to = z[r * n_latent :], back[r * n_latent : (r + 1) * n_latent]
        for a in range(each):
            p = r // n_draws * each + a
            row, out = gaussians[2 * p * n_latent :], slopes[2 * p * n_latent :]
            share = shares[r] * logs[r * each + a]
            for j in range(n_latent):
                scale = exp(-row[n_latent + j])
                away = (here[j] - row[j]) * scale
                to[j] += share * away * scale
                out[j] -= share * away * scale
                out[n_latent + j] -= share * (away * away - ONE)


@kernel
def path_pull(pull, shares, back):
    """Back (R J) -= shares (R,) times pull (R J)."""
    n_latent = back.size // shares.size
    for r in range(shares.size):
        for j in range(r * n_latent, (r + 1) * n_latent):
            back[j] -= shares[r] * pull[j]


@kernel
def own_pull(gaussians, n_latent, eps, width, back, slopes):
    """Slopes (P 2 J) by Gaussians += those of the draws (R J) that come from them."""
    every, first = slopes.size // (2 * back.size), width - 2 * n_latent
    for r in range(back.size // n_latent):
        p = r * every
        row, noise = gaussians[2 * p * n_latent :], eps[p * width + first :]
        g, out = back[r * n_latent :], slopes[2 * p * n_latent : 2 * (p + 1) * n_latent]
        for j in range(n_latent):
            out[j] += g[j]
            out[n_latent + j] += g[j] * noise[j] * exp(row[n_latent + j])


@kernel
def row_sums(x, width, n_context, out):
    """Out (n C): sums over rows of x (P width) that belong to a row, of the first C columns."""
    each = x.size // width * n_context // out.size
    fill(out, ZERO)
    for p in range(x.size // width):
        row, to = x[p * width :], out[p // each * n_context : (p // each + 1) * n_context]
        for j in range(n_context):
            to[j] += row[j]


@kernel
def classified(logits, n_true, slopes):
    """Slopes (B,), which may be the same memory, of the mean log likelihood of a classifier for the
    first examples to be true and the others false; the mean, in nats per example.
    """
    total, share = 0.0, ONE / np.float32(logits.size)
    for b in range(logits.size):
        x = logits[b] if b < n_true else -logits[b]
        total += min(x, ZERO) - log(ONE + exp(-abs(x)))
    for b in range(logits.size):
        x = logits[b] if b < n_true else -logits[b]
        less = exp(-abs(x))
        wrong = (less if x > ZERO else ONE) / (ONE + less)
        slopes[b] = share * wrong if b < n_true else -share * wrong
    return total / logits.size
