"""Annealed Hamiltonian paths from a Gaussian to a target: draws, bounds, gradients, steps of Adam.

As in Geffner and Domke (2021) and Zhang et al. (2021). A path begins at z ~ N(shift, scale^2)
with a momentum r ~ N(0, 1). Transition m of M is a leapfrog step of length e_m on the bridge (1 -
b_m) log q0(z) + b_m log p(z), 0 < b_1 < ... < b_M = 1; before the others, momenta are refreshed
in part, r' = k r + sqrt(1 - k^2) noise. Leapfrog steps keep volumes and the refresh is
reversible, so the log weight of a path is log p(z_M) - log q0(z_0) + sum over m of log N(r_m) -
log N(r'_m), momenta after and before the steps, and its mean a lower bound on the log evidence.

Gradients go back along the paths. Curvatures of log p enter as products with one vector for each
draw and place, which are differences of its gradients. Parameters (P,): shift (D,), log scale
(D,), log e (M,), M logits of the increments of b, and the logit of k, which is 0 without `keeps`.
Noise of a draw: z and M momenta.
"""

from typing import NamedTuple

import numpy as np

from ._jit import kernel
from .blocks import log_softmax, sigmoid
from .hmc import Chains, chains_at, look
from .special import exp
from .steps import EPSILON, HALF_LOG_2PI, climb, show, spread
from .vectors import fill

__all__ = ["Paths", "climb_annealed", "paths_gradient", "paths_of", "walk"]

APART = 1e-4  # of the differences of gradients
LENGTH, BRIDGE, SHARE, OF_LENGTH, OF_BRIDGE, N_ROWS = range(6)
FIRST = np.int64(0)  # of the places; a number of Python would be compiled by itself


class Paths(NamedTuple):
    """Paths of n draws, and scratch."""

    places: np.ndarray  # (M + 1, n, D)
    slopes: np.ndarray  # (M + 1, n, D), of the target there
    before: np.ndarray  # (M, n, D), momenta
    middle: np.ndarray  # (M, n, D)
    after: np.ndarray  # (M, n, D)
    log_w: np.ndarray  # (n,)
    weights: np.ndarray  # (n,), slopes of a loss by log_w
    of_place: np.ndarray  # (n, D)
    of_momentum: np.ndarray  # (n, D)
    along: np.ndarray  # (n, D), of products with curvatures
    bent: np.ndarray  # (n, D)
    extra: np.ndarray  # (n, D), slopes of a loss by the ends of paths besides those of log weights
    start: np.ndarray  # (2, D), mean and precision of q0
    rows: np.ndarray  # (N_ROWS, M)
    chains: Chains


def paths_of(n, D, M, n_terms):
    """Scratch for n draws of M transitions."""
    nodes, steps = np.zeros((2, M + 1, n, D)), np.zeros((3, M, n, D))
    return Paths(
        *nodes, *steps, *np.zeros((2, n)), *np.zeros((5, n, D)), np.zeros((2, D)),
        np.zeros((N_ROWS, M)), chains_at(np.zeros((n, D)), n_terms),
    )  # fmt: skip


@kernel
def read_schedule(params, keeps, paths):
    """Out rows and start of the paths; the share k of a momentum that is kept."""
    (M, _, D), rows = paths.before.shape, paths.rows
    log_softmax(params[2 * D + M : 2 * D + 2 * M], 1.0, rows[SHARE])
    total = 0.0
    for m in range(M):
        rows[SHARE, m] = exp(rows[SHARE, m])
    for m in range(M):
        rows[LENGTH, m] = exp(params[2 * D + m])
        total = total + rows[SHARE, m]
        rows[BRIDGE, m] = total
    for d in range(D):
        paths.start[0, d] = params[d]
        paths.start[1, d] = exp(-2.0 * params[D + d])
    return sigmoid(params[2 * D + 2 * M]) if keeps != 0 else 0.0


@kernel
def visit(address, table, power, node, paths):
    """Slopes of the target at a place of all paths; those without a density get weight -inf."""
    Z, slopes, chains = paths.places[node], paths.slopes[node], paths.chains
    n, D = Z.shape
    for s in range(n):
        for d in range(D):
            chains.tried[s, d] = Z[s, d]
    look(address, table, chains)
    for s in range(n):
        if chains.heights[s] == -np.inf:
            paths.log_w[s] = -np.inf
        for d in range(D):
            slopes[s, d] = power * chains.slopes[s, d]


@kernel
def kick(m, node, momenta, paths, out):
    """Out (n, D) = momenta + half a step along the slopes of bridge m at a place."""
    Z, slopes, start = paths.places[node], paths.slopes[node], paths.start
    half, b = 0.5 * paths.rows[LENGTH, m], paths.rows[BRIDGE, m]
    for s in range(Z.shape[0]):
        for d in range(Z.shape[1]):
            pull = (1.0 - b) * start[1, d] * (Z[s, d] - start[0, d])
            out[s, d] = momenta[s, d] + half * (b * slopes[s, d] - pull)


@kernel
def walk(address, table, power, params, keeps, eps, paths):
    """Paths of noise eps (n, (M + 1) D), and their log weights, nats; the share k."""
    M, n, D = paths.before.shape
    k, log_w = read_schedule(params, keeps, paths), paths.log_w
    fresh = np.sqrt(1.0 - k * k)
    fill(log_w, 0.0)
    for s in range(n):
        for d in range(D):
            paths.places[0, s, d] = params[d] + exp(params[D + d]) * eps[s, d]
    visit(address, table, power, FIRST, paths)
    for m in range(M):
        before, middle, after = paths.before[m], paths.middle[m], paths.after[m]
        old, new = (k, fresh) if m > 0 else (0.0, 1.0)
        for s in range(n):
            for d in range(D):
                kept = old * paths.after[max(m - 1, 0), s, d]
                before[s, d] = kept + new * eps[s, (m + 1) * D + d]
        kick(m, m, before, paths, middle)
        for s in range(n):
            for d in range(D):
                moved = paths.rows[LENGTH, m] * middle[s, d]
                paths.places[m + 1, s, d] = paths.places[m, s, d] + moved
        visit(address, table, power, m + 1, paths)
        kick(m, m + 1, middle, paths, after)
        for s in range(n):
            rise = 0.0
            for d in range(D):
                rise += before[s, d] * before[s, d] - after[s, d] * after[s, d]
            log_w[s] += 0.5 * rise
    for s in range(n):
        rest = D * HALF_LOG_2PI
        for d in range(D):
            rest += params[D + d] + 0.5 * eps[s, d] * eps[s, d]
        log_w[s] += rest + power * paths.chains.heights[s]
    return k


@kernel
def curve(address, table, power, node, paths):
    """Of_place += the curvature of log p at a place times `along`, by differences of gradients."""
    Z, along, bent, chains = paths.places[node], paths.along, paths.bent, paths.chains
    n, D = Z.shape
    for sign in (1.0, -1.0):
        for s in range(n):
            square = 0.0
            for d in range(D):
                square += along[s, d] * along[s, d]
            unit = sign * APART / np.sqrt(square) if square > 0.0 else 0.0
            for d in range(D):
                chains.tried[s, d] = Z[s, d] + unit * along[s, d]
        look(address, table, chains)
        for s in range(n):
            for d in range(D):
                if sign > 0.0:
                    bent[s, d] = chains.slopes[s, d]
                else:
                    bent[s, d] -= chains.slopes[s, d]
    for s in range(n):
        square = 0.0
        for d in range(D):
            square += along[s, d] * along[s, d]
        factor = power * np.sqrt(square) / (2.0 * APART)
        for d in range(D):
            paths.of_place[s, d] += factor * bent[s, d]


@kernel
def unkick(m, node, paths, step):
    """Back through `kick`, from slopes by what it returns."""
    Z, slopes, start, rows = paths.places[node], paths.slopes[node], paths.start, paths.rows
    n, D = Z.shape
    half, b, of_momentum = 0.5 * rows[LENGTH, m], rows[BRIDGE, m], paths.of_momentum
    for s in range(n):
        for d in range(D):
            paths.along[s, d] += half * b * of_momentum[s, d]
    of_length, of_bridge = 0.0, 0.0
    for s in range(n):
        for d in range(D):
            own = start[1, d] * (Z[s, d] - start[0, d])
            of_length += 0.5 * of_momentum[s, d] * (b * slopes[s, d] - (1.0 - b) * own)
            of_bridge += half * of_momentum[s, d] * (slopes[s, d] + own)
    rows[OF_LENGTH, m] += of_length
    rows[OF_BRIDGE, m] += of_bridge
    for s in range(n):
        for d in range(D):
            pull = half * (1.0 - b) * start[1, d] * of_momentum[s, d]
            paths.of_place[s, d] -= pull
            step[d] += pull
            step[D + d] += 2.0 * pull * (Z[s, d] - start[0, d])


@kernel
def refresh_back(m, k, eps, paths):
    """Back through the refresh before transition m > 0; the slope by k."""
    _, n, D = paths.before.shape
    slope, lost = 0.0, k / np.sqrt(1.0 - k * k)
    for s in range(n):
        for d in range(D):
            change = paths.after[m - 1, s, d] - lost * eps[s, (m + 1) * D + d]
            slope += paths.of_momentum[s, d] * change
    for s in range(n):
        for d in range(D):
            own = paths.weights[s] * paths.after[m - 1, s, d]
            paths.of_momentum[s, d] = k * paths.of_momentum[s, d] - own
    return slope


@kernel
def schedule_back(params, keeps, k, of_k, paths, step):
    """Slopes by step sizes, increments of the bridge and k."""
    M, _, D = paths.before.shape
    rows, later, mean = paths.rows, 0.0, 0.0
    for m in range(M):
        step[2 * D + m] += rows[OF_LENGTH, m] * rows[LENGTH, m]
    for m in range(M - 1, -1, -1):  # an increment is in all bridges from its own on
        later = later + rows[OF_BRIDGE, m]
        rows[OF_BRIDGE, m] = later
    for m in range(M):
        mean += rows[SHARE, m] * rows[OF_BRIDGE, m]
    for m in range(M):
        step[2 * D + M + m] += rows[SHARE, m] * (rows[OF_BRIDGE, m] - mean)
    if keeps != 0:
        step[2 * D + 2 * M] += of_k * k * (1.0 - k)


@kernel
def paths_gradient(address, table, power, params, keeps, k, eps, paths, step):
    """Out step (P,): gradient of the sum of weights (n,) times log weights, after `walk`."""
    M, n, D = paths.before.shape
    fill(step, 0.0)
    fill(paths.along.reshape(n * D), 0.0)
    for m in range(M):
        paths.rows[OF_LENGTH, m] = 0.0
        paths.rows[OF_BRIDGE, m] = 0.0
    for s in range(n):
        for d in range(D):
            own = paths.weights[s] * paths.slopes[M, s, d]
            paths.of_place[s, d] = own + paths.extra[s, d]
            paths.of_momentum[s, d] = -paths.weights[s] * paths.after[M - 1, s, d]
    of_k = 0.0
    for m in range(M - 1, -1, -1):
        length, moved = paths.rows[LENGTH, m], 0.0
        unkick(m, m + 1, paths, step)
        curve(address, table, power, m + 1, paths)
        for s in range(n):
            for d in range(D):
                moved += paths.of_place[s, d] * paths.middle[m, s, d]
        paths.rows[OF_LENGTH, m] += moved
        for s in range(n):
            for d in range(D):
                paths.of_momentum[s, d] += length * paths.of_place[s, d]
                paths.along[s, d] = 0.0
        unkick(m, m, paths, step)
        for s in range(n):
            for d in range(D):
                paths.of_momentum[s, d] += paths.weights[s] * paths.before[m, s, d]
        if m > 0:
            of_k += refresh_back(m, k, eps, paths)
    curve(address, table, power, FIRST, paths)
    for s in range(n):
        for d in range(D):
            step[d] += paths.of_place[s, d]
            step[D + d] += paths.of_place[s, d] * (paths.places[0, s, d] - params[d])
            step[D + d] += paths.weights[s]
    schedule_back(params, keeps, k, of_k, paths, step)


@kernel
def report_paths(i, paths, trace):
    """Weights of the finite paths, and what step i reports; the number of these paths."""
    log_w, n, total, square = paths.log_w, 0, 0.0, 0.0
    for s in range(log_w.size):
        n += np.isfinite(log_w[s])
    for s in range(log_w.size):
        total += log_w[s] if np.isfinite(log_w[s]) else 0.0
    mean = total / max(n, 1)
    for s in range(log_w.size):
        away = log_w[s] - mean if np.isfinite(log_w[s]) else 0.0
        square += away * away
    for s in range(log_w.size):
        paths.weights[s] = 1.0 / n if np.isfinite(log_w[s]) else 0.0
    trace.elbo[i] = mean
    trace.elbo_error[i] = np.sqrt(square) / max(n, 1)
    trace.rejected[i] = log_w.size - n
    return n


@kernel
def climb_annealed(
    address, table, noise, power, rate, params, work, sums, trace, t, moments, keeps, paths
):
    """Steps t, t + 1, ... of Adam, one a row of noise (m, h, (M + 1) D); the number of steps before
    one in which no path has a density.
    """
    for i in range(noise.shape[0]):
        spread(noise[i], work.eps)
        k = walk(address, table, power, params, keeps, work.eps, paths)
        if report_paths(i, paths, trace) == 0:
            show(paths.chains.tried, work.Z)
            return i
        paths_gradient(address, table, power, params, keeps, k, work.eps, paths, work.step)
        for p in range(params.size):
            sums.step[p] += work.step[p]
            sums.params[p] += params[p]
        trace.rate[i] = climb(rate, t + i, params, work, moments, EPSILON)
    return noise.shape[0]
