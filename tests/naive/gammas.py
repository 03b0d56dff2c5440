"""Plain twins of `fastvi.kernels.gammas`: one number at a time, with Python's integers."""

import math
from statistics import NormalDist

import numpy as np
from scipy.special import logsumexp

MASK = 2**64 - 1
GOLDEN, OTHER = 0x9E3779B97F4A7C15, 0xD1342543DE82EF95


def uniforms(state):
    """Two uniform numbers of the 64 bits that SplitMix64 makes from a state."""
    z = ((state ^ state >> 30) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & MASK
    z ^= z >> 31
    return ((z >> 33) + 0.5) / 2**31, ((z & (2**31 - 1)) + 0.5) / 2**31


def log_gamma(shape, state):
    """Ahrens and Dieter's algorithm GS below shape 1, else Marsaglia and Tsang's."""
    while True:
        u, v = uniforms(state)
        state = (state + OTHER) & MASK
        if shape >= 1:
            d = shape - 1 / 3
            x = NormalDist().inv_cdf(u)
            cube = (1 + x / math.sqrt(9 * d)) ** 3
            if cube > 0 and math.log(v) < x * x / 2 + d * (1 - cube + math.log(cube)):
                return math.log(d * cube)
            continue
        p = u * (1 + shape / math.e)
        if p <= 1:
            result = math.log(p) / shape
            if math.log(v) <= -math.exp(result):
                return result
        else:
            result = math.log(-math.log((1 - p) / shape + 1 / math.e))
            if math.log(v) <= (shape - 1) * result:
                return result


def log_gammas(shapes, seed):
    return np.array([log_gamma(a, (seed + i * GOLDEN) & MASK) for i, a in enumerate(shapes)])


def drawn_weights(logs, log_totals):
    """(weights, shift): topics up to a factor a word, whose logarithm is shift."""
    logs = logs - log_totals
    return np.exp(logs - logs.max(axis=1, keepdims=True)), logs.max(axis=1)


def log_sums(logs):
    return logsumexp(logs, axis=0)
