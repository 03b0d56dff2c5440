"""Log normalisers of sites under one Matern term, forwards alone; symbols as in `temporal`.

States stay in registers, nothing is written, and the transitions of some gaps are made together.
"""

import math

import numpy as np

from ._jit import kernel
from .special import exp
from .temporal_small import FAR

SOME = 64  # rows whose transitions are made together


@kernel
def _gaps(times, start, stop, rate, ones, twos):
    """Write exp(-u) and u of the gaps u before rows from start to stop; 0 where it underflows."""
    for t in range(start, stop):
        ones[t - start] = rate * (times[t] - times[max(t - 1, 0)])
    for i in range(stop - start):
        u = ones[i]
        one = exp(-u)
        ones[i] = one
        twos[i] = u if one > 0.0 else 0.0


@kernel(inline="always")
def _site(f, c, nu, tau):
    """1 + tau c, the error and precision over that, and the squared innovation."""
    pivot = 1.0 + tau * c
    inverse, error = 1.0 / pivot, nu - tau * f
    scaled = error * inverse
    return pivot, scaled, tau * inverse, error * scaled / tau if tau != 0.0 else 0.0


@kernel
def _of_one(ones, q, nu, tau, state):
    """Rows of a chunk with nu 1/2; state (mean and S) in and out. Sums of logs and squares."""
    m, s, log_sum, squares, product = state[0], state[3], 0.0, 0.0, 1.0
    for i in range(nu.shape[0]):
        a = ones[i]
        m, s = a * m, a * a * s
        p = q[0] - s
        pivot, error, g, square = _site(m, p, nu[i], tau[i])
        m, s = m + p * error, s + g * p * p
        squares += square
        product *= abs(pivot)
        if not (1.0 / FAR < product < FAR):
            log_sum += math.log(product)
            product = 1.0
    state[0], state[3] = m, s
    return log_sum + math.log(product), squares


@kernel
def _of_two(ones, twos, q, nu, tau, state):
    """Rows of a chunk with nu 3/2."""
    m0, m1, s00, s01, s11 = state[0], state[1], state[3], state[4], state[6]
    q0, q1, log_sum, squares, product = q[0], q[1], 0.0, 0.0, 1.0
    for i in range(nu.shape[0]):
        a, u = ones[i], twos[i]
        b, r = a * a, s01 + u * s11
        m0, m1 = a * (m0 + u * m1), a * m1
        s00, s01, s11 = b * (s00 + u * (s01 + r)), b * r, b * s11
        p0, p1 = q0 - s00, q1 - s01
        pivot, error, g, square = _site(m0, p0, nu[i], tau[i])
        m0, m1 = m0 + p0 * error, m1 + p1 * error
        g0 = g * p0
        s00, s01, s11 = s00 + g0 * p0, s01 + g0 * p1, s11 + g * p1 * p1
        squares += square
        product *= abs(pivot)
        if not (1.0 / FAR < product < FAR):
            log_sum += math.log(product)
            product = 1.0
    state[0], state[1], state[3], state[4], state[6] = m0, m1, s00, s01, s11
    return log_sum + math.log(product), squares


@kernel
def _of_three(ones, twos, q, nu, tau, state):
    """Rows of a chunk with nu 5/2."""
    m0, m1, m2, s00, s01, s02 = state[0], state[1], state[2], state[3], state[4], state[5]
    s11, s12, s22 = state[6], state[7], state[8]
    q0, q1, q2, log_sum, squares, product = q[0], q[1], q[2], 0.0, 0.0, 1.0
    for i in range(nu.shape[0]):
        a, u = ones[i], twos[i]
        b, v = a * a, 0.5 * u * u
        r0, r1 = s00 + u * s01 + v * s02, s01 + u * s11 + v * s12
        r2, x = s02 + u * s12 + v * s22, s12 + u * s22
        m0, m1, m2 = a * (m0 + u * m1 + v * m2), a * (m1 + u * m2), a * m2
        s00, s01, s02 = b * (r0 + u * r1 + v * r2), b * (r1 + u * r2), b * r2
        s11, s12, s22 = b * (s11 + u * (s12 + x)), b * x, b * s22
        p0, p1, p2 = q0 - s00, q1 - s01, q2 - s02
        pivot, error, g, square = _site(m0, p0, nu[i], tau[i])
        m0, m1, m2 = m0 + p0 * error, m1 + p1 * error, m2 + p2 * error
        g0, g1, g2 = g * p0, g * p1, g * p2
        s00, s01, s02 = s00 + g0 * p0, s01 + g0 * p1, s02 + g0 * p2
        s11, s12, s22 = s11 + g1 * p1, s12 + g1 * p2, s22 + g2 * p2
        squares += square
        product *= abs(pivot)
        if not (1.0 / FAR < product < FAR):
            log_sum += math.log(product)
            product = 1.0
    state[0], state[1], state[2], state[3], state[4], state[5] = m0, m1, m2, s00, s01, s02
    state[6], state[7], state[8] = s11, s12, s22
    return log_sum + math.log(product), squares


@kernel
def matern_evidence(rate, q, times, nu, tau):
    """Sums of log(1 + tau c) and of squared innovations, as of `temporal.filter_sites`.

    rate and q (1 to 3,) are those of the only term, which does not turn; times, nu, tau (T,).
    """
    ones, twos, state = np.empty(SOME), np.empty(SOME), np.zeros(9)
    n, log_sum, squares = times.shape[0], 0.0, 0.0
    for start in range(0, n, SOME):
        stop = min(start + SOME, n)
        _gaps(times, start, stop, rate, ones, twos)
        more, square = 0.0, 0.0
        if q.shape[0] == 1:
            more, square = _of_one(ones, q, nu[start:stop], tau[start:stop], state)
        elif q.shape[0] == 2:
            more, square = _of_two(ones, twos, q, nu[start:stop], tau[start:stop], state)
        else:
            more, square = _of_three(ones, twos, q, nu[start:stop], tau[start:stop], state)
        log_sum += more
        squares += square
    return log_sum, squares
