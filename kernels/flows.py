"""Flows: draws and their densities, gradients, and steps of Adam on a target.

Gradients are path gradients (Roeder et al. 2017): slopes of log p - log q by the draws go back
through the layers, and what log q depends on parameters at a fixed point is left out. Slopes of
log q itself are carried along with the draws (as Vaitl et al. 2024), layer by layer, at the cost
of one pass back through the networks. `flow_rows.py` describes plans and tapes; `layers` is the
address of a function of `flow_kinds.py`.
"""

from typing import NamedTuple

import numpy as np

from ._jit import kernel
from .flow_kinds import INVERT, PULL, PUSH, TRACK, run
from .flow_rows import DIM, INTO, LANES, LOG_DET, N_LAYERS, N_ROWS, N_SCRATCH, OUT, ZERO
from .hmc import Chains, chains_at, look
from .steps import HALF_LOG_2PI, climb, show, spread
from .vectors import fill

__all__ = ["Space", "climb_flow", "gradient", "space_of", "through"]

SMALLEST = 1e-4  # Adam's epsilon: far smaller slopes are noise at an exact fit
WARM = 50.0  # steps until a stage is at its rate, while Adam knows little of the slopes
NEWEST = 3.0  # how much the mean of iterates forgets: about the last quarter counts


class Space(NamedTuple):
    """Scratch of n draws."""

    tapes: np.ndarray  # (tiles, rows, LANES)
    slopes: np.ndarray  # (tiles, D, LANES)
    scratch: np.ndarray  # (rows, LANES)
    chains: Chains  # the draws, as in `hmc`
    log_dets: np.ndarray  # (n,)
    table: np.ndarray  # (3,) int64, of `flow_kinds`


def space_of(plan, n, n_terms):
    """Scratch of n draws through the layers of a plan."""
    D, tiles = int(plan[0, DIM]), -(-n // LANES)
    return Space(
        np.zeros((tiles, plan[0, N_ROWS], LANES)), np.zeros((tiles, D, LANES)),
        np.zeros((plan[0, N_SCRATCH], LANES)), chains_at(np.zeros((n, D)), n_terms), np.zeros(n),
        np.zeros(3, np.int64),
    )  # fmt: skip


@kernel
def load(X, first, rows, to, sign):
    """Rows `to` ... of a tile become sign X[first ...]; 0 beyond the last draw."""
    n = min(LANES, X.shape[0] - first)
    for d in range(X.shape[1]):
        row = rows[to + d]
        for i in range(LANES):
            row[i] = sign * X[first + i, d] if i < n else 0.0


@kernel
def unload(rows, source, first, X):
    """X[first ...] become rows `source` ... of a tile."""
    for d in range(X.shape[1]):
        row = rows[source + d]
        for i in range(min(LANES, X.shape[0] - first)):
            X[first + i, d] = row[i]


@kernel
def forward(layers, plan, params, eps, what, space, Z):
    """Out Z (n, D): draws of noise eps (n, D); log determinants in space, and with `TRACK` also
    slopes of log q.
    """
    last, n = plan[plan[0, N_LAYERS], OUT], eps.shape[0]
    for tile in range(space.tapes.shape[0]):
        tape, slopes, first = space.tapes[tile], space.slopes[tile], tile * LANES
        load(eps, first, tape, plan[1, INTO], 1.0)
        load(eps, first, slopes, ZERO, -1.0)
        fill(tape[LOG_DET], 0.0)
        run(layers, what, plan, params, tape, slopes, space.scratch, params, space.table)
        unload(tape, last, first, Z)
        for i in range(min(LANES, n - first)):
            space.log_dets[first + i] = tape[LOG_DET, i]


@kernel
def through(layers, plan, params, given, back, space, log_dets, found):
    """Out found (n, D): draws of noise, or with `back` noise of draws; and log dets (n,)."""
    last = plan[plan[0, N_LAYERS], OUT]
    if back == 0:
        forward(layers, plan, params, given, PUSH, space, found)
    else:
        for tile in range(space.tapes.shape[0]):
            tape, first = space.tapes[tile], tile * LANES
            load(given, first, tape, last, 1.0)
            fill(tape[LOG_DET], 0.0)
            run(
                layers, INVERT, plan, params, tape, space.slopes[tile], space.scratch, params,
                space.table,
            )  # fmt: skip
            unload(tape, plan[1, INTO], first, found)
            for i in range(min(LANES, log_dets.size - first)):
                space.log_dets[first + i] = tape[LOG_DET, i]
    for i in range(log_dets.size):
        log_dets[i] = space.log_dets[i]


@kernel
def backward(layers, plan, params, of_points, of_log_q, space, step):
    """Out step (P,): gradient of a loss with slopes of_points (n, D) by the draws of `forward`, and
    of_log_q (n,) by the log densities of these points.
    """
    n, D = of_points.shape
    fill(step, 0.0)
    for tile in range(space.tapes.shape[0]):
        slopes, first = space.slopes[tile], tile * LANES
        n_lanes = min(LANES, n - first)
        for d in range(D):
            row = slopes[d]
            for i in range(LANES):
                s = first + i
                own = of_log_q[s] * row[i] if i < n_lanes and of_log_q[s] != 0.0 else 0.0
                row[i] = of_points[s, d] + own if i < n_lanes else 0.0
        run(
            layers, PULL, plan, params, space.tapes[tile], slopes, space.scratch, step, space.table
        )  # fmt: skip


@kernel
def gradient(layers, plan, params, eps, of_points, of_log_q, space, step):
    """As `backward`, of the draws of noise eps (n, D)."""
    forward(layers, plan, params, eps, TRACK, space, space.chains.tried)
    backward(layers, plan, params, of_points, of_log_q, space, step)


@kernel
def heights_of(power, eps, space, log_w):
    """Out log_w (n,): log ratios of target to flow; the number of finite ones.

    Slopes of the target become those of a mean log ratio, and log_dets its slopes by log q.
    """
    chains, log_dets, n = space.chains, space.log_dets, 0
    D = eps.shape[1]
    for s in range(log_w.size):
        square = 0.0
        for d in range(D):
            square += eps[s, d] * eps[s, d]
        log_w[s] = power * chains.heights[s] + log_dets[s] + 0.5 * square + D * HALF_LOG_2PI
    for s in range(log_w.size):
        n += np.isfinite(log_w[s])
    for s in range(log_w.size):
        share = 1.0 / n if np.isfinite(log_w[s]) else 0.0
        log_dets[s] = -share
        for d in range(D):
            chains.slopes[s, d] *= power * share
    return n


@kernel
def record(i, n, log_w, trace):
    """Report step i, of which n log ratios are finite."""
    total, square = 0.0, 0.0
    for s in range(log_w.size):
        total += log_w[s] if np.isfinite(log_w[s]) else 0.0
    mean = total / n
    for s in range(log_w.size):
        away = log_w[s] - mean if np.isfinite(log_w[s]) else 0.0
        square += away * away
    trace.elbo[i] = mean
    trace.elbo_error[i] = np.sqrt(square) / n
    trace.rejected[i] = log_w.size - n


@kernel
def count_recent(t, params, work, sums):
    """Add step t; the parameters' sum becomes t times their mean with more weight on late ones
    (Shamir and Zhang 2013, eq. 4).
    """
    share = (1.0 + NEWEST) / (t + NEWEST)
    old = (1.0 - share) * t / max(t - 1.0, 1.0)
    for p in range(params.size):
        sums.step[p] += work.step[p]
        sums.params[p] = old * sums.params[p] + share * t * params[p]


@kernel
def climb_flow(
    address, table, noise, power, rate, params, work, sums, trace, t, moments, layers, plan, space
):
    """Steps t, t + 1, ... of Adam, one a row of noise (m, h, D), on the parameters (P,) of a flow;
    the number of steps before one in which no draw has a density.
    """
    log_w = np.empty(work.eps.shape[0])
    for i in range(noise.shape[0]):
        spread(noise[i], work.eps)
        forward(layers, plan, params, work.eps, TRACK, space, space.chains.tried)
        look(address, table, space.chains)
        n = heights_of(power, work.eps, space, log_w)
        if n == 0:
            show(space.chains.tried, work.Z)
            return i
        record(i, n, log_w, trace)
        backward(layers, plan, params, space.chains.slopes, space.log_dets, space, work.step)
        count_recent(t + i, params, work, sums)
        warm = min(1.0, (t + i) / WARM)
        trace.rate[i] = climb(warm * rate, t + i, params, work, moments, SMALLEST)
    return noise.shape[0]
