"""Rows of sequences in the order of a stream of blocks, and back; the walk along best paths.

Row t of the data is step t % B of block t // B, with B = Q S steps in a block of Q strips; block
16 g + l is lane l of group g. See `chains` for the shapes; n rows, S steps of a strip.
"""

import numpy as np

from ._chain_steps import LANES
from ._jit import kernel


@kernel
def arrange(values, out):
    """Rows values (n, D) in the order of the stream, out (G, B L, D); padding repeats row 0."""
    n_groups, n_rows, n_columns = out.shape
    n_steps = n_rows // LANES
    for g in range(n_groups):
        for s in range(n_steps):
            for lane in range(LANES):
                t = (g * LANES + lane) * n_steps + s
                row, to = values[t if t < values.shape[0] else 0], out[g, s * LANES + lane]
                for d in range(n_columns):
                    to[d] = row[d]


@kernel
def gather(table, out):
    """Rows of a table (G, Q, K, W) in the order of the data, out (n, K)."""
    n_groups, n_strips, n_states, width = table.shape
    n_steps = width // LANES
    for g in range(n_groups):
        for q in range(n_strips):
            values = table[g, q]
            for lane in range(LANES):
                t = ((g * LANES + lane) * n_strips + q) * n_steps
                for s in range(min(n_steps, out.shape[0] - t)):
                    for k in range(n_states):
                        out[t + s, k] = values[k, s * LANES + lane]


@kernel
def follow(origin, ends, path):
    """Walk back along the best path of the stream, path (n,).

    origin (G, Q, S, K, L): the state before each state; ends (G L,): the likeliest last states of
    blocks, of which only the last one is sure. All lanes of a group walk side by side from them;
    then each block is walked again from its true end, until that path meets the one that is there.
    """
    n_groups, n_strips, n_steps, _, n_lanes = origin.shape
    n_block = n_strips * n_steps
    states, before = np.empty(n_lanes, np.int64), np.empty(n_groups * n_lanes, np.int64)
    for g in range(n_groups):
        for lane in range(n_lanes):
            states[lane] = ends[g * n_lanes + lane]
        for step in range(n_block - 1, -1, -1):
            came = origin[g, step // n_steps, step % n_steps]
            for lane in range(n_lanes):
                t = (g * n_lanes + lane) * n_block + step
                if t < path.shape[0]:
                    path[t] = states[lane]
                states[lane] = came[states[lane], lane]
        for lane in range(n_lanes):
            before[g * n_lanes + lane] = states[lane]
    for block in range(before.shape[0] - 2, -1, -1):
        if before[block + 1] != ends[block]:
            _walk_again(origin, block, before, path)


@kernel
def _walk_again(origin, block, before, path):
    """Walk through a block from the state that the next block came from, before[block + 1]."""
    n_strips, n_steps, _, n_lanes = origin.shape[1:]
    group, lane, first = block // n_lanes, block % n_lanes, block * n_strips * n_steps
    state = before[block + 1]
    for step in range(n_strips * n_steps - 1, -1, -1):
        if first + step < path.shape[0]:
            if path[first + step] == state:
                return
            path[first + step] = state
        state = np.int64(origin[group, step // n_steps, step % n_steps, state, lane])
    before[block] = state


@kernel
def path_log(likelihood, reset, start, transposed, path):
    """Log probability of a path (n,), less the logs of the largest likelihoods of rows.

    likelihood (G, Q, K, W), start (K,) and transposed (K, K) [to, from] are logs.
    """
    n_groups, n_strips, _, width = likelihood.shape
    n_steps, n, total = width // LANES, path.shape[0], 0.0
    for g in range(n_groups):
        for q in range(n_strips):
            values = likelihood[g, q]
            for lane in range(LANES):
                t = ((g * LANES + lane) * n_strips + q) * n_steps
                for s in range(min(n_steps, n - t)):
                    state, c = path[t + s], s * LANES + lane
                    begins = reset[g, q, c] > 0
                    move = start[state] if begins else transposed[state, path[t + s - 1]]
                    total += move + values[state, c]
    return total
