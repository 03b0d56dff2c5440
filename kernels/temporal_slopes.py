"""Derivatives of log normalisers of sites under one Matern term, forwards; see `temporal`.

Every number of the state has two derivatives beside it, by the logarithm of the rate and by that
of the noise to which the sites are inversely proportional. All stay in registers, and nothing is
written. What scales with the noise, and so the derivative by the amplitude, follows from these.
"""

import math

import numpy as np

from ._jit import kernel
from .temporal_evidence import SOME, _gaps, _site
from .temporal_small import FAR


@kernel(inline="always")
def _site_slope(f, c, e, tau, scaled, g, inverse, df, dc, by_noise):
    """Derivatives of the logarithm of the pivot, of scaled, of g and of the squared innovation."""
    de, turn = by_noise * e - tau * df, tau * (by_noise * c + dc)
    log = turn * inverse
    square = scaled * (2.0 * de - e * (by_noise + log)) / tau if tau != 0.0 else 0.0
    return log, (de - scaled * turn) * inverse, (by_noise * tau - g * turn) * inverse, square


@kernel(inline="always")
def _one(d, at, a, w, q, nu, tau, by_noise):
    """The derivatives d of a state of one number after a row, and of the row's sums.

    at: the state before the row, as it is predicted, and of its site.
    """
    dm, ds = d
    m, s, scaled, g, inverse = at
    dm, ds = a * dm - w * m, a * a * ds - 2.0 * w * s
    p = q[0] - s
    log, more, dg, square = _site_slope(
        m, p, nu - tau * m, tau, scaled, g, inverse, dm, -ds, by_noise
    )
    return (dm - ds * scaled + p * more, ds + dg * p * p - 2.0 * g * p * ds), log, square


@kernel
def _of_one(ones, twos, q, nu, tau, state, sums):
    """Rows of a chunk with nu 1/2; state, its derivatives and sums in and out."""
    m, s, d, b = state[0], state[3], (state[9], state[12]), (state[18], state[21])
    logs, squares, product = sums[0], sums[1], 1.0
    l0, s0, l1, s1 = sums[2], sums[3], sums[4], sums[5]
    for i in range(nu.shape[0]):
        a, u = ones[i], twos[i]
        m, s = a * m, a * a * s
        p = q[0] - s
        pivot, scaled, g, square = _site(m, p, nu[i], tau[i])
        at = m, s, scaled, g, 1.0 / pivot
        d, log, by = _one(d, at, a, u, q, nu[i], tau[i], 0.0)
        l0, s0 = l0 + log, s0 + by
        b, log, by = _one(b, at, a, 0.0, q, nu[i], tau[i], -1.0)
        l1, s1 = l1 + log, s1 + by
        m, s = m + p * scaled, s + g * p * p
        squares += square
        product *= abs(pivot)
        if not (1.0 / FAR < product < FAR):
            logs += math.log(product)
            product = 1.0
    state[0], state[3] = m, s
    state[9], state[12] = d
    state[18], state[21] = b
    sums[0], sums[1] = logs + math.log(product), squares
    sums[2], sums[3], sums[4], sums[5] = l0, s0, l1, s1


@kernel(inline="always")
def _two(d, old, at, a, u, w, q, nu, tau, by_noise):
    """As `_one`, of a state of two numbers; old: m1, s01, s11 before the gap."""
    dm0, dm1, d00, d01, d11 = d
    m1, s01, s11 = old
    m, n, s, t, v, scaled, g, inverse = at
    b, r, dr = a * a, s01 + u * s11, d01 + u * d11 + w * s11
    dm0 = a * (dm0 + u * dm1 + w * m1) - w * m
    dm1 = a * dm1 - w * n
    d00 = b * (d00 + w * (s01 + r) + u * (d01 + dr)) - 2.0 * w * s
    d01, d11 = b * dr - 2.0 * w * t, b * d11 - 2.0 * w * v
    p0, p1 = q[0] - s, q[1] - t
    log, more, dg, square = _site_slope(
        m, p0, nu - tau * m, tau, scaled, g, inverse, dm0, -d00, by_noise
    )
    dm0, dm1 = dm0 - d00 * scaled + p0 * more, dm1 - d01 * scaled + p1 * more
    new00 = d00 + dg * p0 * p0 - 2.0 * g * p0 * d00
    new01 = d01 + dg * p0 * p1 - g * (d00 * p1 + p0 * d01)
    new11 = d11 + dg * p1 * p1 - 2.0 * g * p1 * d01
    return (dm0, dm1, new00, new01, new11), log, square


@kernel
def _of_two(ones, twos, q, nu, tau, state, sums):
    """Rows of a chunk with nu 3/2."""
    m0, m1, s00, s01, s11 = state[0], state[1], state[3], state[4], state[6]
    d = state[9], state[10], state[12], state[13], state[15]
    c = state[18], state[19], state[21], state[22], state[24]
    logs, squares, product = sums[0], sums[1], 1.0
    l0, s0, l1, s1 = sums[2], sums[3], sums[4], sums[5]
    for i in range(nu.shape[0]):
        a, u, old = ones[i], twos[i], (m1, s01, s11)
        b, r = a * a, s01 + u * s11
        m0, m1 = a * (m0 + u * m1), a * m1
        s00, s01, s11 = b * (s00 + u * (s01 + r)), b * r, b * s11
        p0, p1 = q[0] - s00, q[1] - s01
        pivot, scaled, g, square = _site(m0, p0, nu[i], tau[i])
        at = m0, m1, s00, s01, s11, scaled, g, 1.0 / pivot
        d, log, by = _two(d, old, at, a, u, u, q, nu[i], tau[i], 0.0)
        l0, s0 = l0 + log, s0 + by
        c, log, by = _two(c, old, at, a, u, 0.0, q, nu[i], tau[i], -1.0)
        l1, s1 = l1 + log, s1 + by
        m0, m1 = m0 + p0 * scaled, m1 + p1 * scaled
        s00, s01, s11 = s00 + g * p0 * p0, s01 + g * p0 * p1, s11 + g * p1 * p1
        squares += square
        product *= abs(pivot)
        if not (1.0 / FAR < product < FAR):
            logs += math.log(product)
            product = 1.0
    state[0], state[1], state[3], state[4], state[6] = m0, m1, s00, s01, s11
    state[9], state[10], state[12], state[13], state[15] = d
    state[18], state[19], state[21], state[22], state[24] = c
    sums[0], sums[1] = logs + math.log(product), squares
    sums[2], sums[3], sums[4], sums[5] = l0, s0, l1, s1


@kernel(inline="always")
def _nine(state, i):
    return (
        state[i], state[i + 1], state[i + 2], state[i + 3], state[i + 4], state[i + 5],
        state[i + 6], state[i + 7], state[i + 8],
    )  # fmt: skip


@kernel(inline="always")
def _put(state, i, values):
    state[i], state[i + 1], state[i + 2], state[i + 3], state[i + 4] = values[:5]
    state[i + 5], state[i + 6], state[i + 7], state[i + 8] = values[5:]


@kernel(inline="always")
def _three_ahead(d, old, at, a, u, w):
    """Derivatives of a predicted state of three numbers; old: m1, m2, S but 00 before the gap."""
    d0, d1, d2, d00, d01, d02, d11, d12, d22 = d
    m1, m2, s01, s02, s11, s12, s22 = old
    b, v, x, two = a * a, 0.5 * u * u, w * u, 2.0 * w
    r1, r2 = s01 + u * s11 + v * s12, s02 + u * s12 + v * s22
    y, dy = s12 + u * s22, d12 + u * d22 + w * s22
    e0 = d00 + u * d01 + v * d02 + w * s01 + x * s02
    e1 = d01 + u * d11 + v * d12 + w * s11 + x * s12
    e2 = d02 + u * d12 + v * d22 + w * s12 + x * s22
    return (
        a * (d0 + u * d1 + v * d2 + w * m1 + x * m2) - w * at[0],
        a * (d1 + u * d2 + w * m2) - w * at[1],
        a * d2 - w * at[2],
        b * (e0 + u * e1 + v * e2 + w * r1 + x * r2) - two * at[3],
        b * (e1 + u * e2 + w * r2) - two * at[4],
        b * e2 - two * at[5],
        b * (d11 + u * (d12 + dy) + w * (s12 + y)) - two * at[6],
        b * dy - two * at[7],
        b * d22 - two * at[8],
    )


@kernel(inline="always")
def _three(d, at, site, q, nu, tau, by_noise):
    """Derivatives after a row, from those of the predicted state, `at`, and of the row's sums."""
    d0, d1, d2, d00, d01, d02, d11, d12, d22 = d
    scaled, g, inverse = site
    p0, p1, p2 = q[0] - at[3], q[1] - at[4], q[2] - at[5]
    log, more, dg, square = _site_slope(
        at[0], p0, nu - tau * at[0], tau, scaled, g, inverse, d0, -d00, by_noise
    )
    after = (
        d0 - d00 * scaled + p0 * more,
        d1 - d01 * scaled + p1 * more,
        d2 - d02 * scaled + p2 * more,
        d00 + dg * p0 * p0 - 2.0 * g * p0 * d00,
        d01 + dg * p0 * p1 - g * (d00 * p1 + p0 * d01),
        d02 + dg * p0 * p2 - g * (d00 * p2 + p0 * d02),
        d11 + dg * p1 * p1 - 2.0 * g * p1 * d01,
        d12 + dg * p1 * p2 - g * (d01 * p2 + p1 * d02),
        d22 + dg * p2 * p2 - 2.0 * g * p2 * d02,
    )
    return after, log, square


@kernel
def _of_three(ones, twos, q, nu, tau, state, sums):
    """Rows of a chunk with nu 5/2."""
    m0, m1, m2, s00, s01, s02, s11, s12, s22 = _nine(state, 0)
    d, c = _nine(state, 9), _nine(state, 18)
    logs, squares, product = sums[0], sums[1], 1.0
    l0, s0, l1, s1 = sums[2], sums[3], sums[4], sums[5]
    for i in range(nu.shape[0]):
        a, u, old = ones[i], twos[i], (m1, m2, s01, s02, s11, s12, s22)
        b, v = a * a, 0.5 * u * u
        r0, r1 = s00 + u * s01 + v * s02, s01 + u * s11 + v * s12
        r2, x = s02 + u * s12 + v * s22, s12 + u * s22
        m0, m1, m2 = a * (m0 + u * m1 + v * m2), a * (m1 + u * m2), a * m2
        s00, s01, s02 = b * (r0 + u * r1 + v * r2), b * (r1 + u * r2), b * r2
        s11, s12, s22 = b * (s11 + u * (s12 + x)), b * x, b * s22
        p0, p1, p2 = q[0] - s00, q[1] - s01, q[2] - s02
        pivot, scaled, g, square = _site(m0, p0, nu[i], tau[i])
        at, site = (m0, m1, m2, s00, s01, s02, s11, s12, s22), (scaled, g, 1.0 / pivot)
        d, log, by = _three(_three_ahead(d, old, at, a, u, u), at, site, q, nu[i], tau[i], 0.0)
        l0, s0 = l0 + log, s0 + by
        c, log, by = _three(_three_ahead(c, old, at, a, u, 0.0), at, site, q, nu[i], tau[i], -1.0)
        l1, s1 = l1 + log, s1 + by
        m0, m1, m2 = m0 + p0 * scaled, m1 + p1 * scaled, m2 + p2 * scaled
        g0, g1, g2 = g * p0, g * p1, g * p2
        s00, s01, s02 = s00 + g0 * p0, s01 + g0 * p1, s02 + g0 * p2
        s11, s12, s22 = s11 + g1 * p1, s12 + g1 * p2, s22 + g2 * p2
        squares += square
        product *= abs(pivot)
        if not (1.0 / FAR < product < FAR):
            logs += math.log(product)
            product = 1.0
    _put(state, 0, (m0, m1, m2, s00, s01, s02, s11, s12, s22))
    _put(state, 9, d)
    _put(state, 18, c)
    sums[0], sums[1] = logs + math.log(product), squares
    sums[2], sums[3], sums[4], sums[5] = l0, s0, l1, s1


@kernel
def matern_slopes(rate, q, times, nu, tau, sums):
    """Sums of `temporal_evidence.matern_evidence`, and their derivatives, to sums (6,).

    By the logarithm of the rate, then of the noise: of logs and of squares. q (1 to 3,) are those
    of the only term, which does not turn; times, nu, tau (T,).
    """
    ones, twos, state = np.empty(SOME), np.empty(SOME), np.zeros(27)
    n = times.shape[0]
    sums[:] = 0.0
    for start in range(0, n, SOME):
        stop = min(start + SOME, n)
        _gaps(times, start, stop, rate, ones, twos)
        if q.shape[0] == 1:
            _of_one(ones, twos, q, nu[start:stop], tau[start:stop], state, sums)
        elif q.shape[0] == 2:
            _of_two(ones, twos, q, nu[start:stop], tau[start:stop], state, sums)
        else:
            _of_three(ones, twos, q, nu[start:stop], tau[start:stop], state, sums)
