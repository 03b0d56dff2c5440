"""Flows as posteriors of autoencoders: each row has a Gaussian, and functions that bend it.

Shapes: n rows, K draws of each, R = n K, one after another, J latent variables, T functions, O
outputs of the encoder for a row: J means, J logs of standard deviations, and what the functions
take. Arrays are flat float32, and logs of densities (R,) float64, without J log(2 pi) / 2.

- Planar (Rezende and Mohamed 2015, eqs. 10 to 13): y = x + v h, h = tanh(w'x + b), where v is u
  with its part along w changed so that w'v > -1 (their appendix A.1); for each function the encoder
  makes w (J,), u (J,) and b.
- Radial (their eq. 14): y = x + k (x - c), k = beta / (alpha + r), r = |x - c|, beta > -alpha
  (A.2); the encoder makes c (J,), log alpha and gamma, with beta = softplus(gamma) - alpha.
- Inverse autoregressive (Kingma et al. 2016, eqs. 12 to 14): y = s x + (1 - s) m, where s, the
  logistic function of a + OPEN, and m come from a masked network (`networks`) that sees C outputs
  of the encoder and, for each latent variable, those before it. Between functions the order is
  reversed.

`..._push` fills a tape and takes log determinants off log q. `..._pull` turns slopes by y, and
shares (R,) of log determinants in the objective, into slopes by x and by what the functions take.
"""

from typing import NamedTuple

import numpy as np

from ._jit import kernel
from .networks import ONE, ZERO, Layers, forward, outputs, reverse, softplus
from .special import exp, log
from .vectors import dot

TWO, HALF, OPEN = np.float32(2.0), np.float32(0.5), np.float32(1.5)
TINY = np.float32(1e-20)


class Inverse(NamedTuple):
    """Inverse autoregressive functions."""

    layers: Layers  # of all T networks, one after another
    n_functions: int
    n_context: int  # the last outputs of the encoder
    ends: np.ndarray  # (J + 1, L) int64, see `autoencoder_masked`


@kernel
def base_push(posterior, n_outputs, eps, x, log_q):
    """Out: draws x (R J) of Gaussians, and logs of their densities."""
    n_latent, n_draws = x.size // log_q.size, log_q.size // (posterior.size // n_outputs)
    for r in range(log_q.size):
        row = posterior[r // n_draws * n_outputs :]
        noise, out, total = eps[r * n_latent :], x[r * n_latent :], 0.0
        for j in range(n_latent):
            out[j] = row[j] + exp(row[n_latent + j]) * noise[j]
        for j in range(n_latent):
            total -= HALF * noise[j] * noise[j] + row[n_latent + j]
        log_q[r] = total


@kernel
def base_pull(posterior, n_outputs, eps, back, shares, slopes):
    """Slopes (n O) += those by means and logs of standard deviations."""
    n_latent, n_draws = back.size // shares.size, shares.size // (posterior.size // n_outputs)
    for r in range(shares.size):
        first = r // n_draws * n_outputs
        log_sd, here = posterior[first + n_latent :], slopes[first : first + 2 * n_latent]
        noise, g, share = eps[r * n_latent :], back[r * n_latent :], shares[r]
        for j in range(n_latent):
            here[j] += g[j]
            here[n_latent + j] += g[j] * noise[j] * exp(log_sd[j]) + share


@kernel
def planar_one(w, u, b, x, y):
    """Out y (J,); h, and the determinant."""
    along, steep = np.float32(dot(w, u)), ONE / (np.float32(dot(w, w)) + TINY)
    reach = softplus(along)  # 1 + w'v
    more = (reach - ONE - along) * steep
    h = np.float32(dot(w, x)) + b
    h = ONE - TWO / (exp(TWO * h) + ONE)
    for j in range(y.size):
        y[j] = x[j] + (u[j] + more * w[j]) * h
    return h, h * h + (ONE - h * h) * reach


@kernel
def planar_push(posterior, n_outputs, n_functions, tape, heights, log_q):
    """Tape (T + 1, R, J), of which the first is given; out also: heights (T R)."""
    R = log_q.size
    n_latent, n_draws = tape.size // (n_functions + 1) // R, R // (posterior.size // n_outputs)
    for t in range(n_functions):
        first = 2 * n_latent + t * (2 * n_latent + 1)
        for r in range(R):
            p, at = r // n_draws * n_outputs + first, (t * R + r) * n_latent
            q, to = p + n_latent, at + R * n_latent
            h, determinant = planar_one(
                posterior[p:q], posterior[q : q + n_latent], posterior[q + n_latent],
                tape[at : at + n_latent], tape[to : to + n_latent],
            )  # fmt: skip
            heights[t * R + r] = h
            log_q[r] -= log(determinant)


@kernel
def planar_slopes(w, u, x, h, share, g, of_w, of_u):
    """Slopes g (J,) by y become those by x; of_w and of_u (J,) grow. The slope by b."""
    along, steep = np.float32(dot(w, u)), ONE / (np.float32(dot(w, w)) + TINY)
    reach, flat = softplus(along), ONE - h * h
    more = (reach - ONE - along) * steep
    part = share / (h * h + flat * reach)
    g_w, g_u = np.float32(dot(g, w)), np.float32(dot(g, u))
    of_more = h * g_w
    of_a = flat * (g_u + more * g_w + part * TWO * h * (ONE - reach))
    of_along = -of_more * steep
    of_along += (part * flat + of_more * steep) * (ONE - exp(-reach))
    of_square = -TWO * of_more * more * steep
    for j in range(g.size):
        of_v = g[j] * h
        of_w[j] += of_a * x[j] + more * of_v + of_along * u[j] + of_square * w[j]
        of_u[j] += of_v + of_along * w[j]
    for j in range(g.size):
        g[j] += of_a * w[j]
    return of_a


@kernel
def planar_pull(posterior, n_outputs, n_functions, tape, heights, back, shares, slopes):
    """Slopes back (R J) by the last of the tape become those by the first; slopes (n O) grow."""
    R = shares.size
    n_latent, n_draws = back.size // R, R // (posterior.size // n_outputs)
    for t in range(n_functions - 1, -1, -1):
        first = 2 * n_latent + t * (2 * n_latent + 1)
        for r in range(R):
            p, at, g = r // n_draws * n_outputs + first, (t * R + r) * n_latent, r * n_latent
            q, end = p + n_latent, p + 2 * n_latent
            slopes[end] += planar_slopes(
                posterior[p:q], posterior[q:end], tape[at : at + n_latent], heights[t * R + r],
                shares[r], back[g : g + n_latent], slopes[p:q], slopes[q:end],
            )  # fmt: skip


@kernel
def distance(x, c):
    """|x - c|, above 0."""
    total = TINY
    for j in range(x.size):
        total += (x[j] - c[j]) * (x[j] - c[j])
    return np.sqrt(total)


@kernel
def radial_one(c, log_alpha, gamma, x, y):
    """Out y (J,). The log determinant."""
    r, alpha, reach = distance(x, c), exp(log_alpha), softplus(gamma)
    k = (reach - alpha) / (alpha + r)
    for j in range(y.size):
        y[j] = x[j] + k * (x[j] - c[j])
    along = r * (TWO * alpha + r) + reach * alpha
    inner, outer = np.float32(x.size - 1), np.float32(x.size + 1)
    return inner * log(r + reach) - outer * log(alpha + r) + log(along)


@kernel
def radial_push(posterior, n_outputs, n_functions, tape, heights, log_q):
    """Tape (T + 1, R, J), of which the first is given; heights are left alone."""
    R = log_q.size
    n_latent, n_draws = tape.size // (n_functions + 1) // R, R // (posterior.size // n_outputs)
    for t in range(n_functions):
        first = 2 * n_latent + t * (n_latent + 2)
        for r in range(R):
            p, at = r // n_draws * n_outputs + first, (t * R + r) * n_latent
            q, to = p + n_latent, at + R * n_latent
            log_q[r] -= radial_one(
                posterior[p:q], posterior[q], posterior[q + 1], tape[at : at + n_latent],
                tape[to : to + n_latent],
            )  # fmt: skip


@kernel
def radial_slopes(c, log_alpha, gamma, x, share, g, of_c):
    """Slopes g (J,) by y become those by x; of_c (J,) grows. Those by log alpha and gamma."""
    r, alpha, reach = distance(x, c), exp(log_alpha), softplus(gamma)
    inner, outer = np.float32(x.size - 1), np.float32(x.size + 1)
    width = ONE / (alpha + r)
    k = (reach - alpha) * width
    across, along = share / (r + reach), share / (r * (TWO * alpha + r) + reach * alpha)
    of_k = ZERO
    for j in range(g.size):
        of_k += g[j] * (x[j] - c[j])
    of_r = inner * across - outer * share * width + TWO * (alpha + r) * along - of_k * k * width
    of_reach = inner * across + alpha * along + of_k * width
    of_alpha = (TWO * r + reach) * along - outer * share * width - of_k * (ONE + k) * width
    of_r = of_r / r
    for j in range(g.size):
        change = k * g[j] + of_r * (x[j] - c[j])
        of_c[j] -= change
        g[j] += change
    return of_alpha * alpha, of_reach * (ONE - exp(-reach))


@kernel
def radial_pull(posterior, n_outputs, n_functions, tape, heights, back, shares, slopes):
    """Slopes back (R J) by the last of the tape become those by the first; slopes (n O) grow."""
    R = shares.size
    n_latent, n_draws = back.size // R, R // (posterior.size // n_outputs)
    for t in range(n_functions - 1, -1, -1):
        first = 2 * n_latent + t * (n_latent + 2)
        for r in range(R):
            p, at, g = r // n_draws * n_outputs + first, (t * R + r) * n_latent, r * n_latent
            q = p + n_latent
            of_log_alpha, of_gamma = radial_slopes(
                posterior[p:q], posterior[q], posterior[q + 1], tape[at : at + n_latent],
                shares[r], back[g : g + n_latent], slopes[p:q],
            )  # fmt: skip
            slopes[q] += of_log_alpha
            slopes[q + 1] += of_gamma


@kernel
def network_of(flow, t):
    """The layers of function t."""
    n_layers = flow.layers.table.shape[0] // flow.n_functions
    return Layers(flow.layers.table[t * n_layers : (t + 1) * n_layers], flow.layers.reach)


@kernel
def gates(out, x, y, log_q):
    """Out y (R J), of outputs (R 2 J) of the network: m and a of each latent variable."""
    n_latent = x.size // log_q.size
    for r in range(log_q.size):
        total, row = 0.0, out[2 * r * n_latent :]
        here, to = x[r * n_latent :], y[r * n_latent :]
        for j in range(n_latent):
            s = ONE / (ONE + exp(-(row[2 * j + 1] + OPEN)))
            to[j] = row[2 * j] + s * (here[j] - row[2 * j])
        for j in range(n_latent):
            total += softplus(-(row[2 * j + 1] + OPEN))
        log_q[r] += total


@kernel
def gate_slopes(x, shares, back, out):
    """Outputs (R 2 J) become slopes by them, and slopes back (R J) by y those by x directly."""
    n_latent = x.size // shares.size
    for r in range(shares.size):
        row, here, g = out[2 * r * n_latent :], x[r * n_latent :], back[r * n_latent :]
        for j in range(n_latent):
            m = row[2 * j]
            s = ONE / (ONE + exp(-(row[2 * j + 1] + OPEN)))
            row[2 * j] = g[j] * (ONE - s)
            row[2 * j + 1] = (ONE - s) * (s * g[j] * (here[j] - m) + shares[r])
            g[j] = g[j] * s


@kernel
def join(posterior, n_outputs, n_context, x, inputs):
    """Out inputs (R, C + J) of the network: context, and x (R J)."""
    R = (inputs.size - x.size) // n_context
    n_latent, n_draws = x.size // R, R // (posterior.size // n_outputs)
    width = n_context + n_latent
    for r in range(R):
        context = posterior[r // n_draws * n_outputs + n_outputs - n_context :]
        out, here = inputs[r * width : (r + 1) * width], x[r * n_latent :]
        for c in range(n_context):
            out[c] = context[c]
        for j in range(n_latent):
            out[n_context + j] = here[j]


@kernel
def part(back, n_outputs, n_context, x, slopes):
    """Slopes by the network's inputs, back (R, C + J), go to x (R J) and to the context (n O)."""
    R = (back.size - x.size) // n_context
    n_latent, n_draws = x.size // R, R // (slopes.size // n_outputs)
    width = n_context + n_latent
    for r in range(R):
        first = r // n_draws * n_outputs + n_outputs - n_context
        context = slopes[first : first + n_context]
        row, out = back[r * width : (r + 1) * width], x[r * n_latent :]
        for c in range(n_context):
            context[c] += row[c]
        for j in range(n_latent):
            out[j] += row[n_context + j]


@kernel
def turn(x, n_latent):
    """Reverse the order of latent variables, in place, of x (R J)."""
    for r in range(x.size // n_latent):
        row = x[r * n_latent : (r + 1) * n_latent]
        for j in range(n_latent // 2):
            row[j], row[n_latent - 1 - j] = row[n_latent - 1 - j], row[j]


@kernel
def inverse_push(blas, flow, params, sparse, posterior, n_outputs, tape, inputs, outs, log_q):
    """Tape (T + 1, R, J), of which the first is given; out also: inputs (T, R, C + J) and outputs
    of all layers, those of a network (R, .) after another.
    """
    R = log_q.size
    size = tape.size // (flow.n_functions + 1)
    wide, total = R * flow.n_context + size, R * outputs(network_of(flow, 0))[0]
    for t in range(flow.n_functions):
        x, y = tape[t * size : (t + 1) * size], tape[(t + 1) * size : (t + 2) * size]
        here, out = inputs[t * wide : (t + 1) * wide], outs[t * total : (t + 1) * total]
        join(posterior, n_outputs, flow.n_context, x, here)
        forward(blas, network_of(flow, t), params, here, sparse, R, out)
        gates(out[total - 2 * size :], x, y, log_q)
        turn(y, size // R)


@kernel
def inverse_pull(
    blas, flow, params, sparse, n_outputs, tape, inputs, outs, spare, wide_back, back, shares,
    slopes, grads,
):  # fmt: skip
    """Slopes back (R J) by the last of the tape become those by the first; slopes (n O) grow; out:
    the gradient by the networks.
    """
    R, size = shares.size, back.size
    wide, total = R * flow.n_context + size, R * outputs(network_of(flow, 0))[0]
    for t in range(flow.n_functions - 1, -1, -1):
        x, here = tape[t * size : (t + 1) * size], inputs[t * wide : (t + 1) * wide]
        out = outs[t * total : (t + 1) * total]
        turn(back, size // R)
        gate_slopes(x, shares, back, out[total - 2 * size :])
        reverse(
            blas, network_of(flow, t), params, here, sparse, R, out, spare, grads,
            wide_back[:wide],
        )  # fmt: skip
        part(wide_back[:wide], n_outputs, flow.n_context, back, slopes)
