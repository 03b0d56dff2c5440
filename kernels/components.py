"""Mixtures of K Gaussians: log densities and their gradients, and steps on a target.

Parameters are one flat array: log weights (K,), means (K, D) and lower roots (K, D, D).
"""

from typing import NamedTuple

import numpy as np

from ._jit import kernel
from .drivers import move, spectral_norm
from .hmc import Chains, chains_at, look
from .special import exp, log
from .steps import HALF_LOG_2PI, count, scale, spread, sums_of_squares
from .vectors import fill

__all__ = ["block_of", "densities", "mixture_of", "natural", "space_of"]

LANES = 32  # draws that go through a component together
FARTHEST, BOLDEST = 2.0, 1.0  # longest steps: of a mean, as in `drivers`; of a log weight


class Block(NamedTuple):
    """Scratch for draws side by side."""

    white: np.ndarray  # (K, D, LANES), draws in the frames of the components
    logs: np.ndarray  # (K, LANES), weighted log densities
    column: np.ndarray  # (D, LANES)


class Mixture(NamedTuple):
    """Views of flat parameters."""

    log_weights: np.ndarray  # (K,)
    means: np.ndarray  # (K, D)
    roots: np.ndarray  # (K, D, D)


class Space(NamedTuple):
    """Scratch of steps with n draws."""

    chains: Chains  # the draws, as in `hmc`
    block: Block
    log_q: np.ndarray  # (n,)
    slopes: np.ndarray  # (n, D)
    heights: np.ndarray  # (3, K)
    along: np.ndarray  # (K, D)
    bent: np.ndarray  # (K, D, D)
    squares: np.ndarray  # (3, D, D)


def mixture_of(params, K, D):
    """Views of flat parameters."""
    at = K * (1 + D)
    return Mixture(params[:K], params[K:at].reshape(K, D), params[at:].reshape(K, D, D))


def space_of(K, D, n, n_terms):
    """Scratch of steps with n draws."""
    return Space(
        chains_at(np.zeros((n, D)), n_terms), block_of(K, D), np.empty(n), np.empty((n, D)),
        np.empty((3, K)), np.empty((K, D)), np.empty((K, D, D)), np.empty((3, D, D)),
    )  # fmt: skip


def block_of(K, D):
    """Scratch for K components in D dimensions."""
    return Block(np.empty((K, D, LANES)), np.empty((K, LANES)), np.empty((D, LANES)))


@kernel
def whiten(Z, first, n, mean, root, white):
    """Out white (D, LANES): root^-1 (z - mean) of n draws from the first on; its log determinant.

    Lanes beyond n stay as they are.
    """
    log_det = 0.0
    for d in range(mean.shape[0]):
        for i in range(n):
            white[d, i] = Z[first + i, d] - mean[d]
        for e in range(d):
            factor = root[d, e]
            for i in range(n):
                white[d, i] -= factor * white[e, i]
        factor = 1.0 / root[d, d]
        for i in range(n):
            white[d, i] *= factor
        log_det += np.log(root[d, d])
    return log_det


@kernel
def normalise(n, logs, log_q, first):
    """Logs (K, LANES) become responsibilities; out log_q, their log sums, from the first on."""
    K = logs.shape[0]
    for i in range(n):
        top = -np.inf
        for k in range(K):
            top = max(top, logs[k, i])
        total = 0.0
        for k in range(K):
            logs[k, i] = exp(logs[k, i] - top)
        for k in range(K):
            total += logs[k, i]
        log_q[first + i] = top + log(total)
        share = 1.0 / total
        for k in range(K):
            logs[k, i] *= share


@kernel
def unwhiten(n, root, share, white, column, first, slopes):
    """Subtract share root'^-1 white from the slopes of n draws, from the first on."""
    D = root.shape[0]
    for d in range(D - 1, -1, -1):
        for i in range(n):
            column[d, i] = white[d, i]
        for e in range(d + 1, D):
            factor = root[e, d]
            for i in range(n):
                column[d, i] -= factor * column[e, i]
        factor = 1.0 / root[d, d]
        for i in range(n):
            column[d, i] *= factor
            slopes[first + i, d] -= share[i] * column[d, i]


@kernel
def densities(Z, log_weights, means, roots, block, log_q, slopes):
    """Out log_q (n,), the log densities of Z (n, D), and slopes (n, D), their gradients."""
    n, D = Z.shape
    K = log_weights.shape[0]
    fill(slopes.reshape(n * D), 0.0)
    for first in range(0, n, LANES):
        lanes = min(LANES, n - first)
        for k in range(K):
            white, logs = block.white[k], block.logs[k]
            log_det = whiten(Z, first, lanes, means[k], roots[k], white)
            height = log_weights[k] - log_det - D * HALF_LOG_2PI
            for i in range(lanes):
                logs[i] = height
            for d in range(D):
                for i in range(lanes):
                    logs[i] -= 0.5 * white[d, i] * white[d, i]
        normalise(lanes, block.logs, log_q, first)
        for k in range(K):
            unwhiten(lanes, roots[k], block.logs[k], block.white[k], block.column, first, slopes)


@kernel
def place(means, roots, eps, h, Z):
    """Draws: row s belongs to component (s mod h) mod K, so that pairs stay together."""
    K, D = means.shape
    for s in range(Z.shape[0]):
        k = (s % h) % K
        for i in range(D):
            away = 0.0
            for j in range(i + 1):
                away += roots[k, i, j] * eps[s, j]
            Z[s, i] = means[k, i] + away


@kernel
def gather(power, h, q, eps, space):
    """Out means over each component's draws: heights (3, K) has the log ratios of p to q, their
    squares and the number of draws; along (K, D) and bent (K, D, D) as `drivers.statistics`.
    """
    roots, chains, log_q, slopes = q.roots, space.chains, space.log_q, space.slopes
    heights, of_means, of_roots = space.heights, space.along, space.bent
    K, D = of_means.shape
    fill(heights.reshape(3 * K), 0.0)
    fill(of_means.reshape(K * D), 0.0)
    fill(of_roots.reshape(K * D * D), 0.0)
    for s in range(eps.shape[0]):
        if chains.heights[s] == -np.inf:
            continue
        k = (s % h) % K
        ratio = power * chains.heights[s] - log_q[s]
        heights[0, k] += ratio
        heights[1, k] += ratio * ratio
        heights[2, k] += 1.0
        for j in range(D):  # root' slopes; an entry is read by those before it only
            along = 0.0
            for i in range(j, D):
                along += roots[k, i, j] * (power * chains.slopes[s, i] - slopes[s, i])
            of_means[k, j] += along
            for i in range(D):
                of_roots[k, i, j] += eps[s, i] * along
    for k in range(K):
        share = 1.0 / max(heights[2, k], 1.0)
        heights[0, k] *= share
        heights[1, k] *= share
        scale(of_means[k], share)
        for i in range(D):
            for j in range(i + 1):
                both = 0.5 * share * (of_roots[k, i, j] + of_roots[k, j, i])
                of_roots[k, i, j] = both
                of_roots[k, j, i] = both


@kernel
def bound(i, log_weights, heights, n_rejected, trace):
    """Report step i; the bound."""
    total, variance = 0.0, 0.0
    for k in range(log_weights.shape[0]):
        weight = np.exp(log_weights[k])
        total += weight * heights[0, k]
        spread_of = heights[1, k] - heights[0, k] * heights[0, k]
        variance += weight * weight * max(spread_of, 0.0) / max(heights[2, k], 1.0)
    trace.elbo[i] = total
    trace.elbo_error[i] = np.sqrt(variance)
    trace.rejected[i] = n_rejected
    return total


@kernel
def record(n_kept, elbo, log_weights, space, step):
    """Out the flat natural gradient, scaled by the roots of the weights; its squared length."""
    heights, along, bent = space.heights, space.along, space.bent
    K, D = along.shape
    fill(step, 0.0)
    total = 0.0
    for k in range(K):
        share = np.exp(0.5 * log_weights[k])
        away = heights[0, k] - elbo if heights[2, k] > 0.0 else -BOLDEST
        step[k] = share * away
        total += step[k] * step[k]
        if k < n_kept:
            continue
        for j in range(D):
            step[K + k * D + j] = share * along[k, j]
            for d in range(D):
                step[K + K * D + (k * D + j) * D + d] = share * bent[k, j, d]
        near, _ = sums_of_squares(along[k], D)
        _, wide = sums_of_squares(bent[k].reshape(D * D), 0)
        total += share * share * (near + 0.5 * wide)
    return total


@kernel
def reweigh(rate, elbo, log_weights, heights):
    """Move the log weights along their natural gradient, and normalise them."""
    K = log_weights.shape[0]
    top, total = -np.inf, 0.0
    for k in range(K):
        away = rate * (heights[0, k] - elbo) if heights[2, k] > 0.0 else -BOLDEST
        log_weights[k] += min(max(away, -BOLDEST), BOLDEST)
        top = max(top, log_weights[k])
    for k in range(K):
        total += np.exp(log_weights[k] - top)
    for k in range(K):
        log_weights[k] -= top + np.log(total)


@kernel
def reshape_component(rate, k, q, space):
    """Move a component by a step of this rate, no longer than a quadratic model can be trusted."""
    along, bent, a, b = space.along[k], space.bent[k], space.squares[0], space.squares[1]
    D = along.shape[0]
    far, _ = sums_of_squares(along, D)
    _, wide = sums_of_squares(bent.reshape(D * D), 0)
    far, wide = rate * np.sqrt(far / D), rate * np.sqrt(wide)
    if wide > 1.0:
        wide = rate * spectral_norm(bent, a, b)
    for i in range(D):
        for j in range(D):
            bent[i, j] *= rate / wide if wide > 1.0 else rate
        along[i] *= rate * FARTHEST / far if far > FARTHEST else rate
    move(q.means[k], q.roots[k], along, bent, a, b, space.squares[2])


@kernel
def natural(address, table, noise, power, rate, n_kept, params, q, work, sums, trace, space):
    """Steps of a constant rate, one a row of noise (m, h, D); the number of steps before one in
    which no draw has a density.

    `q` are views of `params`. The first n_kept components stay as they are, except for their
    weights. K divides h. Steps in `work` and `sums` are scaled by the roots of the components'
    weights, so that their squared length is the gain in nats.
    """
    K, h, chains = q.log_weights.shape[0], noise.shape[1], space.chains
    for i in range(noise.shape[0]):
        spread(noise[i], work.eps)
        place(q.means, q.roots, work.eps, h, chains.tried)
        look(address, table, chains)
        n_rejected = 0
        for s in range(chains.heights.shape[0]):
            n_rejected += chains.heights[s] == -np.inf
        if n_rejected == chains.heights.shape[0]:
            return i
        densities(
            chains.tried, q.log_weights, q.means, q.roots, space.block, space.log_q, space.slopes
        )
        gather(power, h, q, work.eps, space)
        elbo = bound(i, q.log_weights, space.heights, n_rejected, trace)
        sums.square[0] += record(n_kept, elbo, q.log_weights, space, work.step)
        count(params, work, sums)
        reweigh(rate, elbo, q.log_weights, space.heights)
        for k in range(n_kept, K):
            reshape_component(rate, k, q, space)
        trace.rate[i] = rate
    return noise.shape[0]
