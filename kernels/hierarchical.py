"""Mixtures over an auxiliary number: draws, bounds of their log densities, gradients, and steps.

An auxiliary u ~ N(0, I) of L numbers goes through a network with H hidden units, or for M > 0 a
Gaussian process given M variational data (Tran, Ranganath and Blei 2016), whose outputs are the
parameters of D independent numbers z: means and log standard deviations of normal ones (NORMAL),
logits of 0 or 1 (BERNOULLI), or logarithms of rates of counts (POISSON). Of the log density

    log q(z) <= E log 1 / (K + 1) sum_k q(z | u_k) q(u_k) / r(u_k | z)

is an upper bound in the mean, where z and u_0 were drawn together and u_1, ..., u_K come from r:
a normal distribution whose means and log standard deviations are outputs of a network with G hidden
units, or for G = 0 the standard normal. K = 0 is the bound of Ranganath et al. (2016, eq. 8), G = 0
that of Yin and Zhou (2018, eq. 11), both together that of Sobolev and Vetrov (2019, eq. 6). Draws
lie side by side in arrays (..., S).
"""

import math
from typing import NamedTuple

import numpy as np

from ._jit import kernel
from .mappers import (
    Process,
    network,
    network_pull,
    prepare,
    process,
    process_of,
    process_pull,
)
from .special import exp, gammaln, log
from .steps import EPSILON, HALF_LOG_2PI, attempt, climb, count, scale, spread
from .vectors import fill

__all__ = [
    "BERNOULLI", "NORMAL", "POISSON", "Sizes", "bound", "hierarchical_plain", "place", "pull",
    "space_of",
]  # fmt: skip

NORMAL, BERNOULLI, POISSON = range(3)
MOST = 1e6  # counts of a draw


class Sizes(NamedTuple):
    """Whole numbers that say what a vector of parameters means."""

    kind: int
    D: int
    L: int
    H: int
    G: int
    K: int
    M: int


class Space(NamedTuple):
    """Scratch for S draws side by side."""

    eps: np.ndarray  # (D, S)
    z: np.ndarray  # (D, S)
    seen: np.ndarray  # (D, S), by the reverse network
    u: np.ndarray  # (K + 1, L, S)
    hidden: np.ndarray  # (K + 1, H + M, S)
    out: np.ndarray  # (K + 1, O, S)
    logs: np.ndarray  # (K + 1, S), then shares
    back: np.ndarray  # (2 L, S), outputs of the reverse network
    back_hidden: np.ndarray  # (G, S)
    of_out: np.ndarray  # (O, S), gradients
    of_hidden: np.ndarray  # (max(H, G, M + 1), S)
    of_u: np.ndarray  # (L, S)
    of_back: np.ndarray  # (2 L, S)
    of_z: np.ndarray  # (D, S)
    process: Process


def space_of(sizes, S):
    """Scratch for S draws."""
    _, D, L, H, G, K, M = sizes
    O = D * (2 if sizes.kind == NORMAL else 1)
    return Space(
        np.empty((D, S)), np.empty((D, S)), np.empty((D, S)), np.empty((K + 1, L, S)),
        np.empty((K + 1, H + M, S)), np.empty((K + 1, O, S)), np.empty((K + 1, S)),
        np.zeros((2 * L, S)), np.empty((G, S)), np.empty((O, S)),
        np.empty((max(H, G, M + 1), S)), np.empty((L, S)), np.empty((2 * L, S)), np.empty((D, S)),
        process_of(M, D, S),
    )  # fmt: skip


@kernel
def forth(sizes, theta, k, space):
    """Out the outputs of u_k."""
    if sizes.M > 0:
        process(theta, space.u[k], space.process, space.hidden[k], space.out[k])
    else:
        network(theta, space.u[k], space.hidden[k], space.out[k])


@kernel
def forth_pull(sizes, theta, k, space, of_theta):
    """Add to of_theta, and put into of_u, what the gradients of u_k's outputs bring."""
    fill(space.of_u.reshape(space.of_u.size), 0.0)
    u, hidden, of_out, of_u = space.u[k], space.hidden[k], space.of_out, space.of_u
    if sizes.M > 0:
        of_near = space.of_hidden[: sizes.M + 1]
        process_pull(theta, u, space.process, hidden, space.out[k], of_out, of_near, of_theta, of_u)
    else:
        network_pull(theta, u, hidden, of_out, space.of_hidden[: sizes.H], of_theta, of_u)


@kernel
def count_at(rate, share):
    """The smallest count whose Poisson distribution function exceeds a share."""
    chance, number = np.exp(-rate), 0.0
    total = chance
    while total < share and number < MOST and chance > 0.0:
        number += 1.0
        chance *= rate / number
        total += chance
    return number


@kernel
def place(sizes, theta, noise, space):
    """Out u_0, its outputs and z, from noise (S, L + D + K L): of u_0, of z, and of u_1, ..."""
    kind, D, L = sizes.kind, sizes.D, sizes.L
    u, out, z, eps = space.u, space.out, space.z, space.eps
    for s in range(noise.shape[0]):
        for j in range(L):
            u[0, j, s] = noise[s, j]
        for d in range(D):
            eps[d, s] = noise[s, L + d]
    if sizes.M > 0:
        prepare(theta, L, space.process)
    forth(sizes, theta, 0, space)
    for d in range(D):
        for s in range(z.shape[1]):
            if kind == NORMAL:
                z[d, s] = out[0, d, s] + exp(out[0, D + d, s]) * eps[d, s]
                continue
            share = 0.5 * math.erfc(-eps[d, s] * np.sqrt(0.5))
            if kind == BERNOULLI:
                z[d, s] = 1.0 if share * (1.0 + exp(-out[0, d, s])) < 1.0 else 0.0
            else:
                z[d, s] = count_at(np.exp(out[0, d, s]), share)


@kernel
def reverse(sizes, theta, noise, mixed, space):
    """Out u_1, ..., u_K given z, by a network that sees z, or log (1 + z) of counts.

    If mixed, the second half comes from the standard normal.
    """
    L, u, back, first = sizes.L, space.u, space.back, sizes.L + sizes.D
    if sizes.G > 0:
        for d in range(sizes.D):
            for s in range(noise.shape[0]):
                z = space.z[d, s]
                space.seen[d, s] = log(1.0 + z) if sizes.kind == POISSON else z
        network(theta, space.seen, space.back_hidden, back)
    for k in range(1, sizes.K + 1):
        own = 0.0 if mixed and 2 * k > sizes.K else 1.0
        for j in range(L):
            for s in range(noise.shape[0]):
                e = noise[s, first + (k - 1) * L + j]
                u[k, j, s] = own * back[j, s] + exp(own * back[L + j, s]) * e


@kernel
def log_given(kind, z, out, logs):
    """Add log q(z | u) to logs (S,), of z (D, S) and outputs (O, S)."""
    D = z.shape[0]
    for d in range(D):
        if kind == NORMAL:
            for s in range(z.shape[1]):
                away = (z[d, s] - out[d, s]) * exp(-out[D + d, s])
                logs[s] -= 0.5 * away * away + out[D + d, s] + HALF_LOG_2PI
        elif kind == BERNOULLI:
            for s in range(z.shape[1]):
                x = out[d, s] if z[d, s] > 0.5 else -out[d, s]
                logs[s] -= max(-x, 0.0) + log(1.0 + exp(-abs(x)))
        else:
            for s in range(z.shape[1]):
                logs[s] += z[d, s] * out[d, s] - exp(out[d, s]) - gammaln(z[d, s] + 1.0)


@kernel
def to_shares(logs, log_q):
    """Logs (k, S) become shares of their sums' exponentials; out log_q, logs of their means."""
    for s in range(log_q.size):
        top, total = logs[0, s], 0.0
        for k in range(1, logs.shape[0]):
            top = max(top, logs[k, s])
        for k in range(logs.shape[0]):
            total += exp(logs[k, s] - top)
        log_q[s] = top + np.log(total)
        for k in range(logs.shape[0]):
            logs[k, s] = exp(logs[k, s] - log_q[s])
        log_q[s] -= np.log(logs.shape[0])


@kernel
def bound(sizes, forward, backward, noise, first, space, log_q):
    """Out log_q (S,), bounds in the mean of log q(z), of what `place` has left in space.

    With first = 1 of any z (D, S) in space, without u_0: the log of an unbiased estimate of q(z).
    """
    L, u, back, logs = sizes.L, space.u, space.back, space.logs
    reverse(sizes, backward, noise, first > 0, space)
    fill(logs.reshape(logs.size), 0.0)
    for k in range(first, sizes.K + 1):
        if k > 0:
            forth(sizes, forward, k, space)
        if sizes.G > 0:
            for j in range(L):
                for s in range(log_q.size):
                    e = (u[k, j, s] - back[j, s]) * exp(-back[L + j, s])
                    logs[k, s] += 0.5 * (e * e - u[k, j, s] * u[k, j, s]) + back[L + j, s]
            if first > 0:  # by the density of both, from which they come
                for s in range(log_q.size):
                    logs[k, s] = -log(0.5 + 0.5 * exp(-logs[k, s]))
        log_given(sizes.kind, space.z, space.out[k], logs[k])
    to_shares(logs[first:], log_q)


@kernel
def pull_given(kind, z, out, shares, of_out, of_z):
    """Out of_out (O, S), and subtracted from of_z (D, S): gradients of shares (S,) log q(z | u)."""
    D = z.shape[0]
    for d in range(D):
        if kind == NORMAL:
            for s in range(z.shape[1]):
                precision = exp(-out[D + d, s])
                away = (z[d, s] - out[d, s]) * precision
                of_out[d, s] = shares[s] * away * precision
                of_out[D + d, s] = shares[s] * (away * away - 1.0)
                of_z[d, s] -= of_out[d, s]
        elif kind == BERNOULLI:
            for s in range(z.shape[1]):
                of_out[d, s] = shares[s] * (z[d, s] - 1.0 / (1.0 + exp(-out[d, s])))
        else:
            for s in range(z.shape[1]):
                of_out[d, s] = shares[s] * (z[d, s] - exp(out[d, s]))


@kernel
def pull_reverse(sizes, k, shares, noise, space):
    """Gradients of shares (S,) times log q(u_k) / r(u_k | z) in what the reverse network gives.

    For u_0, which does not depend on it; u_1, ... also bring what `of_u` has.
    """
    L, u, back, first = sizes.L, space.u, space.back, sizes.L + sizes.D
    of_u, of_back = space.of_u, space.of_back
    for j in range(L):
        if k == 0:
            for s in range(shares.size):
                narrow = exp(-back[L + j, s])
                e = (u[0, j, s] - back[j, s]) * narrow
                of_back[j, s] -= shares[s] * e * narrow
                of_back[L + j, s] += shares[s] * (1.0 - e * e)
            continue
        for s in range(shares.size):
            e = noise[s, first + (k - 1) * L + j]
            along = of_u[j, s] - shares[s] * u[k, j, s]
            of_back[j, s] += along
            of_back[L + j, s] += along * exp(back[L + j, s]) * e + shares[s]


@kernel
def pull(sizes, forward, backward, noise, of_log_q, of_score, space, of_forward, of_backward):
    """Add gradients, with respect to both networks, of a sum over draws: of_z z + of_log_q log_q.

    After `bound`, of_z (D, S) in space. With of_score (S,) come those of of_score log q(z | u_0),
    at fixed z. of_z is lost, and so are the shares.
    """
    of_out, of_z, shares = space.of_out, space.of_z, space.logs
    fill(space.of_back.reshape(space.of_back.size), 0.0)
    for k in range(sizes.K, -1, -1):
        for s in range(of_log_q.size):
            shares[k, s] *= of_log_q[s]
        pull_given(sizes.kind, space.z, space.out[k], shares[k], of_out, of_z)
        if k == 0:
            break
        forth_pull(sizes, forward, k, space, of_forward)
        if sizes.G > 0:
            pull_reverse(sizes, k, shares[k], noise, space)
    if sizes.G > 0:
        pull_reverse(sizes, 0, shares[0], noise, space)
        network_pull(
            backward, space.seen, space.back_hidden, space.of_back, space.of_hidden[: sizes.G],
            of_backward, of_z,
        )  # fmt: skip
    through_draws(sizes, of_score, space)
    forth_pull(sizes, forward, 0, space, of_forward)


@kernel
def through_draws(sizes, of_score, space):
    """Add to of_out, of u_0, what z brings: by its noise, or by scores."""
    D, z, out, of_out = sizes.D, space.z, space.out[0], space.of_out
    for d in range(D):
        if sizes.kind == NORMAL:
            for s in range(z.shape[1]):
                of_out[d, s] += space.of_z[d, s]
                of_out[D + d, s] += space.of_z[d, s] * exp(out[D + d, s]) * space.eps[d, s]
        elif sizes.kind == BERNOULLI:
            for s in range(z.shape[1]):
                of_out[d, s] += of_score[s] * (z[d, s] - 1.0 / (1.0 + exp(-out[d, s])))
        else:
            for s in range(z.shape[1]):
                of_out[d, s] += of_score[s] * (z[d, s] - exp(out[d, s]))


@kernel
def put(centre, units, z, Z):
    """Out Z (S, D) = centre + units z of z (D, S)."""
    for s in range(Z.shape[0]):
        for d in range(Z.shape[1]):
            Z[s, d] = centre[d] + units[d] * z[d, s]


@kernel
def summarise(i, n, rejected, power, log_det, log_q, values, trace):
    """Report step i, from n draws; values (S, n_terms) become log ratios of p to q."""
    total, square = 0.0, 0.0
    for s in range(n):
        values[s, 0] = power * values[s, 0] - log_q[s] + log_det
    for s in range(n):
        total += values[s, 0]
    for s in range(n):
        square += (values[s, 0] - total / n) ** 2
    trace.elbo[i] = total / n
    trace.elbo_error[i] = np.sqrt(square) / n
    trace.rejected[i] = rejected


@kernel
def hierarchical_plain(
    address, table, noise, power, rate, params, work, sums, trace, t, moments, sizes, n_forward,
    unit, centre, units, space,
):  # fmt: skip
    """Steps t, t + 1, ... of Adam on the bound of normal numbers; params: both maps, over unit."""
    S = work.eps.shape[0]
    theta = np.empty(params.size)
    forward, backward = theta[:n_forward], theta[n_forward:]
    of_forward, of_backward = work.step[:n_forward], work.step[n_forward:]
    log_q, of_log_q, of_score = np.empty(S), np.empty(S), np.zeros(S)
    log_det = 0.0
    for d in range(units.size):
        log_det += np.log(units[d])
    for i in range(noise.shape[0]):
        for p in range(params.size):
            theta[p] = unit * params[p]
        spread(noise[i], work.eps)
        place(sizes, forward, work.eps, space)
        put(centre, units, space.z, work.Z)
        n = attempt(address, table, work)
        if n == 0:
            return i
        if n < S:  # those that are left come first
            place(sizes, forward, work.eps, space)
        bound(sizes, forward, backward, work.eps, 0, space, log_q)
        summarise(i, n, S - n, power, log_det, log_q, work.values, trace)
        for s in range(S):
            share = 1.0 / n if s < n else 0.0
            of_log_q[s] = -share
            for d in range(units.size):
                space.of_z[d, s] = share * power * units[d] * work.grads[s, d] if s < n else 0.0
        fill(work.step, 0.0)
        pull(sizes, forward, backward, work.eps, of_log_q, of_score, space, of_forward, of_backward)
        scale(work.step, unit)
        count(params, work, sums)
        trace.rate[i] = climb(rate, t + i, params, work, moments, EPSILON)
    return noise.shape[0]
