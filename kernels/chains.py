"""Hidden chains: forward and backward passes over parts of a stream of sequences, in 16 lanes.

All sequences form one stream, which is cut into equal blocks; a group is 16 blocks side by side,
one a lane. Column ``16 s + l`` of a strip is step s of lane l. Shapes: Q strips of a group, K
states, W columns of a strip; likelihood, alpha (Q, K, W), norm and reset (Q, W), float64.
Likelihoods of a row are relative to the largest of all states. `reset` is above 0 where a sequence
begins.
"""

import numpy as np

from ._chain_steps import LANES, backward_step, forward_step, viterbi_step
from ._jit import kernel
from ._subnormals import flush_subnormals, restore_subnormals

STRIP = 17  # steps; an odd number, so that rows of a strip do not share a cache set
AGREE = 1e-12  # relative, of alpha
NOTHING = 1e-280


@kernel(inline="always")
def _replaced(new, old, at):
    """Write new (K, L) to old[:, at : at + L]; whether they agree already."""
    same = True
    for k in range(new.shape[0]):
        for lane in range(LANES):
            a, b = new[k, lane], old[k, at + lane]
            if abs(a - b) > AGREE * b + NOTHING:
                same = False
            old[k, at + lane] = a
    return same


@kernel
def forward(before, scale, likelihood, transposed, start, reset, alpha, norm, again):
    """Fill alpha and norm of a group, from before (K, L) and scale (L,) at the blocks' borders.

    transposed (K, K), transitions [to, from], start (K,). With `again` alpha is known already, and
    the pass ends where the new one agrees with it: from there on nothing changes. Returns the steps
    taken, one more than there are if the last one still changed.
    """
    n_strips, n_states, width = alpha.shape
    out, came = np.empty((n_states, LANES)), 0
    mode = flush_subnormals()
    steps = 0
    for q in range(n_strips):
        a, b, r, c = alpha[q], likelihood[q], reset[q], norm[q]
        for s in range(0, width, LANES):
            steps += 1
            if again:
                forward_step(before, came, scale, transposed, start, b, r, c, s, out, 0)
                if _replaced(out, a, s):
                    restore_subnormals(mode)
                    return steps
            else:
                forward_step(before, came, scale, transposed, start, b, r, c, s, a, s)
            before, came = a, s
    restore_subnormals(mode)
    return steps + 1


@kernel
def backward(beta, likelihood, transitions, reset, follows, alpha, norm, pairs, out):
    """Turn alpha into posteriors, and add up those of pairs of states inside blocks.

    follows (Q, W) is 0 where the pair of a row and the next is not counted; (0, W) where all are.
    beta (K, L) of the blocks' last steps, in and out; in and out: pairs (K, K), without the factor
    of the transition; out (K, L): likelihood times beta of the blocks' first steps, which is what
    each block says to the one before it.
    """
    n_strips, n_states, width = alpha.shape
    ahead, posterior = np.zeros((n_states, width)), np.empty((n_states, width))
    edge, product = np.empty((n_states, LANES)), np.empty((n_states, n_states))
    mode = flush_subnormals()
    end = width - LANES
    for k in range(n_states):
        for lane in range(LANES):
            edge[k, lane] = alpha[n_strips - 1, k, end + lane] * beta[k, lane]
    for q in range(n_strips - 1, -1, -1):
        a, b, r, c = alpha[q], likelihood[q], reset[q], norm[q]
        for k in range(n_states):
            for lane in range(LANES):
                posterior[k, end + lane] = edge[k, lane]
        for s in range(end, 0, -LANES):
            p = s - LANES
            backward_step(beta, b, r, s, transitions, a, c, p, ahead, posterior, p)
        if follows.shape[0]:
            counted = follows[q]
            for k in range(n_states):
                for i in range(width):
                    ahead[k, i] *= counted[i]
        np.dot(a, ahead.T, product)
        for i in range(n_states):
            for j in range(n_states):
                pairs[i, j] += product[i, j]
        if q > 0:
            backward_step(
                beta, b, r, 0, transitions, alpha[q - 1], norm[q - 1], end, ahead, edge, 0
            )
        for k in range(n_states):
            for i in range(width):
                a[k, i] = posterior[k, i]
    for k in range(n_states):
        for lane in range(LANES):
            out[k, lane] = likelihood[0, k, lane] * beta[k, lane]
    restore_subnormals(mode)


@kernel
def log_norms(norm, real):
    """Sum of logs of norm (Q, W) where real (Q, W) is above 0, and the least norm of such rows.

    Norms are at most 1, and products of four of those that `Chain` accepts are normal numbers.
    """
    total, least = 0.0, 1.0
    for q in range(norm.shape[0]):
        row, counted = norm[q], real[q]
        for c in range(0, row.shape[0], 4):
            product = 1.0
            for i in range(c, c + 4):
                if counted[i] > 0:
                    least = row[i] if not row[i] >= least else least
                    product *= row[i]
            total += np.log(product)
    return total, least


@kernel
def best_paths(before, likelihood, transposed, start, reset, ends, origin, again):
    """Fill origin (Q, S, K, L): the state from which the best path to each state came.

    before (K, L) at the blocks' borders, likelihood, transposed and start are logs; ends (Q, K, L):
    the log probabilities after each strip, from the best of all. With `again` the pass ends after a
    strip whose ends agree with the known ones. Returns the strips taken, one more than there are if
    the last one still changed.
    """
    n_strips, n_states = ends.shape[:2]
    one, other = np.empty((n_states, LANES)), before.copy()
    for q in range(n_strips):
        b, r = likelihood[q], reset[q]
        for s in range(origin.shape[1]):
            at = s * LANES
            viterbi_step(other, transposed, start, b, r, at, one, origin[q, s])
            one, other = other, one
        same = True
        for k in range(n_states):
            for lane in range(LANES):
                a, b_old = other[k, lane], ends[q, k, lane]
                if not abs(a - b_old) <= AGREE * max(1.0, abs(a)) and a != b_old:
                    same = False
                ends[q, k, lane] = a
        if again and same:
            return q + 1
    return n_strips + 1
