"""Topics drawn from their Dirichlet distributions, as logarithms of Gamma variables.

Each variable has a sequence of random bits of its own, which depends on the seed and on its place
in the table (SplitMix64: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number
generators"), so that draws do not depend on the number of threads.

Shapes: U words, K topics padded.
"""

import math

import numpy as np

from ._jit import kernel
from ._subnormals import flush_subnormals, restore_subnormals
from .noise import CENTRE, GOLDEN, TAIL, horner, mixed
from .responsibilities import largest
from .special import exp, log

OTHER, S33 = np.uint64(0xD1342543DE82EF95), np.uint64(33)
LOW = np.uint64(0x7FFFFFFF)
BLOCK = 256
UNKNOWN = np.inf
UNIT = 2.0**-31  # uniform numbers have 31 bits
INVERSE_E = math.exp(-1.0)


@kernel(inline="always")
def _normal(u, w):
    """The quantile u of the standard normal, to seven digits (Giles 2010); w = -log 4u(1 - u)."""
    centre, tail = horner(w - 2.5, CENTRE), horner(np.sqrt(w) - 3.0, TAIL)
    return (2.0 * u - 1.0) * (centre if w < 5.0 else tail)


@kernel(inline="always")
def _trial(shape, state):
    """Log of a Gamma variable of a shape > 0, and whether it is accepted.

    Below shape 1 by Ahrens and Dieter (1974, algorithm GS), in logarithms, since values are below
    any floating-point number; else by Marsaglia and Tsang (2000), "A simple method for generating
    gamma variables". Both without branches, and with the same logarithms.
    """
    bits = mixed(state)
    u, v = (np.int32(bits >> S33) + 0.5) * UNIT, (np.int32(bits & LOW) + 0.5) * UNIT
    p = u * (1.0 + shape * INVERSE_E)
    is_large, is_tail = shape >= 1.0, p > 1.0
    w = -log(4.0 * u * (1.0 - u) if is_large else (1.0 - p) / shape + INVERSE_E)
    x = _normal(u, w)
    d = max(shape, 1.0) - 1.0 / 3.0
    root = 1.0 + x / math.sqrt(9.0 * d)
    cube = root * root * root
    result = log(d * cube if is_large else (w if is_tail else p))  # nan below 0
    result = result if is_large | is_tail else result / shape
    low = (shape - 1.0) * result if is_tail else -exp(result)
    bound = 0.5 * x * x + d * (1.0 - cube + log(cube)) if is_large else low
    return result, log(v) < bound


@kernel
def log_gammas(shapes, seed, start, stop):
    """Replace shapes (n,) >= 0 by logs of Gamma variables of these shapes, in start..stop.

    Most shapes are small, and most of their first trials are accepted with p <= 1: they are made
    in the dtype of the shapes, and then all trials of the others. seed is a uint64.
    """
    kind = shapes.dtype.type
    one, half, sixth = kind(1), kind(0.5), kind(1 / 6)
    unit, inverse_e = kind(UNIT), kind(INVERSE_E)
    logs = np.empty(BLOCK, shapes.dtype)
    left, states = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.uint64)
    wide, found, good = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK, np.bool_)
    mode = flush_subnormals()
    for begin in range(start, stop, BLOCK):
        n = min(BLOCK, stop - begin)
        block = shapes[begin : begin + n]
        first = seed + np.uint64(begin) * GOLDEN
        for i in range(n):
            bits = mixed(first + np.uint64(i) * GOLDEN)
            p = (kind(np.int32(bits >> S33)) + half) * unit * (one + block[i] * inverse_e)
            v = (kind(np.int32(bits & LOW)) + half) * unit
            trial = log(p) / block[i]
            x = exp(trial)
            below = one - x * (one - x * (half - x * sixth))  # exp(-x)
            accepted = (block[i] < one) & (p <= one) & (v <= below)
            logs[i] = trial if accepted else UNKNOWN
        m = 0
        for i in range(n):
            left[m] = i
            m = m + (logs[i] == UNKNOWN)  # counts are exact in any order
        for j in range(m):
            wide[j] = block[left[j]]
            states[j] = first + np.uint64(left[j]) * GOLDEN
        for i in range(n):
            block[i] = logs[i]
        while m > 0:
            for j in range(m):
                found[j], good[j] = _trial(wide[j], states[j])
            kept = 0
            for j in range(m):
                block[left[j]] = found[j]  # until another is accepted
                left[kept], wide[kept], states[kept] = left[j], wide[j], states[j] + OTHER
                kept = kept + (not good[j])
            m = kept
    restore_subnormals(mode)


@kernel
def log_sums(logs, start, stop, top, total):
    """Out: the largest of rows start..stop of logs (U, K), top (K,), and the sum of exp(log - top),
    total (K,) float64.
    """
    width = logs.shape[1] // 8 * 8
    for k in range(width):
        top[k] = logs[start, k]
        total[k] = 0.0
    for u in range(start, stop):
        for k in range(width):
            top[k] = max(top[k], logs[u, k])
    for u in range(start, stop):
        for k in range(width):
            total[k] += exp(logs[u, k] - top[k])


@kernel
def drawn_weights(values, log_totals, n_topics, start, stop, shift):
    """As `lda.word_weights`, of logs of Gamma variables and of the sums of all of a topic.

    In and out: values (U, K); log_totals (K,); out: shift (U,).
    """
    best = np.empty(8, values.dtype)
    mode = flush_subnormals()
    for u in range(start, stop):
        row = values[u]
        for k in range(n_topics):
            row[k] -= log_totals[k]
        top = largest(row, n_topics, best)
        shift[u] = top
        for k in range(n_topics):
            row[k] = exp(row[k] - top)
        for k in range(n_topics, row.shape[0]):
            row[k] = 0
    restore_subnormals(mode)
