"""Filter and smoother of `temporal` for states of up to three numbers, which stay in registers.

A state of fewer numbers is one of three whose others are 0. Functions have the arguments and
results of those that they stand for. Symmetric matrices are six numbers: 00, 01, 02, 11, 12, 22.
"""

import math

import numpy as np

from ._jit import kernel
from .temporal import WIDTH, _spans, _transition

MOST = 3  # numbers of a state
FAR = 1e100  # a product of pivots as large or as small, whose logarithm is taken


@kernel(inline="always")
def _sandwich(a, s):
    """A s A' of a (9,) and a symmetric s (6,)."""
    a00, a01, a02, a10, a11, a12, a20, a21, a22 = a
    s00, s01, s02, s11, s12, s22 = s
    x0 = a00 * s00 + a01 * s01 + a02 * s02
    x1 = a00 * s01 + a01 * s11 + a02 * s12
    x2 = a00 * s02 + a01 * s12 + a02 * s22
    y0 = a10 * s00 + a11 * s01 + a12 * s02
    y1 = a10 * s01 + a11 * s11 + a12 * s12
    y2 = a10 * s02 + a11 * s12 + a12 * s22
    z0 = a20 * s00 + a21 * s01 + a22 * s02
    z1 = a20 * s01 + a21 * s11 + a22 * s12
    z2 = a20 * s02 + a21 * s12 + a22 * s22
    return (
        x0 * a00 + x1 * a01 + x2 * a02, x0 * a10 + x1 * a11 + x2 * a12,
        x0 * a20 + x1 * a21 + x2 * a22, y0 * a10 + y1 * a11 + y2 * a12,
        y0 * a20 + y1 * a21 + y2 * a22, z0 * a20 + z1 * a21 + z2 * a22,
    )  # fmt: skip


@kernel(inline="always")
def _times(s, v):
    """A symmetric s (6,) times v (3,)."""
    s00, s01, s02, s11, s12, s22 = s
    v0, v1, v2 = v
    return (
        s00 * v0 + s01 * v1 + s02 * v2,
        s01 * v0 + s11 * v1 + s12 * v2,
        s02 * v0 + s12 * v1 + s22 * v2,
    )


@kernel(inline="always")
def _applied(a, v):
    """A v of a (9,) and v (3,)."""
    v0, v1, v2 = v
    return (
        a[0] * v0 + a[1] * v1 + a[2] * v2,
        a[3] * v0 + a[4] * v1 + a[5] * v2,
        a[6] * v0 + a[7] * v1 + a[8] * v2,
    )


@kernel(inline="always")
def _dense(block, first, last, a):
    """The nine numbers of a transition, of its terms' rows; a (3, 3) is room, 0 outside them."""
    for i in range(first.shape[0]):
        for k in range(first[i], last[i]):
            a[i, k] = block[i, k - first[i]]
    return (a[0, 0], a[0, 1], a[0, 2], a[1, 0], a[1, 1], a[1, 2], a[2, 0], a[2, 1], a[2, 2])


@kernel(inline="always")
def _turned(a):
    return (a[0], a[3], a[6], a[1], a[4], a[7], a[2], a[5], a[8])


@kernel(inline="always")
def _three(v):
    """The numbers of v (up to 3,), and zeros."""
    d = v.shape[0]
    return (v[0], v[1] if d > 1 else 0.0, v[2] if d > 2 else 0.0)


@kernel(inline="always")
def _six(s):
    """The numbers of a symmetric s (up to 3, up to 3), and zeros."""
    d = s.shape[0]
    return (
        s[0, 0], s[0, 1] if d > 1 else 0.0, s[0, 2] if d > 2 else 0.0,
        s[1, 1] if d > 1 else 0.0, s[1, 2] if d > 2 else 0.0, s[2, 2] if d > 2 else 0.0,
    )  # fmt: skip


@kernel(inline="always")
def _keep(v, s, to_v, to_s):
    """Write v (3,) and a symmetric s (6,) into arrays of d numbers and d x d."""
    d = to_v.shape[0]
    to_v[0], to_s[0, 0] = v[0], s[0]
    if d > 1:
        to_v[1], to_s[0, 1], to_s[1, 0], to_s[1, 1] = v[1], s[1], s[1], s[3]
    if d > 2:
        to_v[2], to_s[0, 2], to_s[2, 0] = v[2], s[2], s[2]
        to_s[1, 2], to_s[2, 1], to_s[2, 2] = s[4], s[4], s[5]


@kernel(inline="always")
def _picked(picks):
    """The vector h: 1 where a term begins."""
    h0, h1, h2 = 0.0, 0.0, 0.0
    for b in range(picks.shape[0]):
        h0 = 1.0 if picks[b] == 0 else h0
        h1 = 1.0 if picks[b] == 1 else h1
        h2 = 1.0 if picks[b] == 2 else h2
    return h0, h1, h2


@kernel
def filter_sites(terms, q, times, nu, tau, start, stop, m, s, gains, means, states):
    """See `temporal.filter_sites`."""
    orders, turning, rates, turns = terms
    d = q.shape[0]
    first, last = np.empty(d, np.int64), np.empty(d, np.int64)
    picks = np.empty(orders.shape[0], np.int64)
    _spans(orders, turning, first, last, picks)
    block, room = np.zeros((d, WIDTH)), np.zeros((MOST, MOST))
    a = _dense(block, first, last, room)
    h0, h1, h2 = _picked(picks)
    h, q3 = (h0, h1, h2), _three(q)
    mean, six = _three(m), _six(s)
    before, log_sum, squares, product = -1.0, 0.0, 0.0, 1.0
    for t in range(start, stop):
        if t > 0:
            gap = times[t] - times[t - 1]
            if gap != before:
                _transition(gap, orders, turning, rates, turns, block)
                a = _dense(block, first, last, room)
                before = gap
            mean, six = _applied(a, mean), _sandwich(a, six)
        if states.shape[0]:
            _keep(mean, six, means[t - start], states[t - start])
        x0, x1, x2 = _times(six, h)
        p0, p1, p2 = q3[0] - x0, q3[1] - x1, q3[2] - x2
        f = h0 * mean[0] + h1 * mean[1] + h2 * mean[2]
        c = h0 * p0 + h1 * p1 + h2 * p2
        pivot = 1.0 + tau[t] * c
        p = gains[t]
        p[0], p[d], p[d + 1], p[d + 2] = p0, f, c, pivot
        if d > 1:
            p[1] = p1
        if d > 2:
            p[2] = p2
        product *= abs(pivot)
        if not (1.0 / FAR < product < FAR):
            log_sum += math.log(product)
            product = 1.0
        error, inverse = nu[t] - tau[t] * f, 1.0 / pivot
        if tau[t] != 0.0:
            squares += error * error / tau[t] * inverse
        error *= inverse
        g = tau[t] * inverse
        mean = mean[0] + p0 * error, mean[1] + p1 * error, mean[2] + p2 * error
        g0, g1 = g * p0, g * p1
        six = (
            six[0] + g0 * p0, six[1] + g0 * p1, six[2] + g0 * p2,
            six[3] + g1 * p1, six[4] + g1 * p2, six[5] + g * p2 * p2,
        )  # fmt: skip
    _keep(mean, six, m, s)
    return log_sum + math.log(product), squares


@kernel(inline="always")
def _met(w, h, g, more):
    """What a row adds to a symmetric matrix of later rows: -g (w h' + h w') + more h h'."""
    w0, w1, w2 = g * w[0], g * w[1], g * w[2]
    h0, h1, h2 = h
    return (
        (more * h0 - 2.0 * w0) * h0, more * h0 * h1 - w0 * h1 - h0 * w1,
        more * h0 * h2 - w0 * h2 - h0 * w2, (more * h1 - 2.0 * w1) * h1,
        more * h1 * h2 - w1 * h2 - h1 * w2, (more * h2 - 2.0 * w2) * h2,
    )  # fmt: skip


@kernel(inline="always")
def _crossed(s, m, lam, big, gap, x):
    """Add gap (big s + lam (m - s lam)') to the nine numbers x."""
    u0, u1, u2 = _times(s, lam)
    v = m[0] - u0, m[1] - u1, m[2] - u2
    r0 = _times(s, (big[0], big[1], big[2]))
    r1 = _times(s, (big[1], big[3], big[4]))
    r2 = _times(s, (big[2], big[4], big[5]))
    return (
        x[0] + gap * (r0[0] + lam[0] * v[0]), x[1] + gap * (r0[1] + lam[0] * v[1]),
        x[2] + gap * (r0[2] + lam[0] * v[2]), x[3] + gap * (r1[0] + lam[1] * v[0]),
        x[4] + gap * (r1[1] + lam[1] * v[1]), x[5] + gap * (r1[2] + lam[1] * v[2]),
        x[6] + gap * (r2[0] + lam[2] * v[0]), x[7] + gap * (r2[1] + lam[2] * v[1]),
        x[8] + gap * (r2[2] + lam[2] * v[2]),
    )  # fmt: skip


@kernel
def _contracted(x, orders, turning, slopes):
    """Add the derivatives with respect to rates and turns to slopes, from nine numbers x."""
    n_terms, at = orders.shape[0], 0
    for b in range(n_terms):
        step = 2 if turning[b] else 1
        width = orders[b] * step
        for i in range(at, at + width):
            slopes[b] -= x[4 * i]
            if i + step < at + width:
                slopes[b] += x[4 * i + step]
        if turning[b]:
            slopes[n_terms + b] += x[3 * at + at + 1] - x[3 * (at + 1) + at]
        at += width


@kernel
def smooth_sites(
    terms, times, nu, tau, start, stop, lam, big, gains, means, states, out, slopes, slots, later
):
    """See `temporal.smooth_sites`."""
    orders, turning, rates, turns = terms
    d, n_terms = lam.shape[0], orders.shape[0]
    first, last = np.empty(d, np.int64), np.empty(d, np.int64)
    picks = np.empty(n_terms, np.int64)
    _spans(orders, turning, first, last, picks)
    block, room = np.zeros((d, WIDTH)), np.zeros((MOST, MOST))
    a = _turned(_dense(block, first, last, room))
    h0, h1, h2 = _picked(picks)
    l3, six, before = _three(lam), _six(big), -1.0
    b0, b1, b2 = 0.0, 0.0, 0.0
    x = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    for t in range(stop - 1, start - 1, -1):
        p = _three(gains[t, :d])
        f, c, inverse = gains[t, d], gains[t, d + 1], 1.0 / gains[t, d + 2]
        g, error = tau[t] * inverse, (nu[t] - tau[t] * f) * inverse
        w = _times(six, p)
        along = p[0] * l3[0] + p[1] * l3[1] + p[2] * l3[2]
        square = p[0] * w[0] + p[1] * w[1] + p[2] * w[2]
        out[0, t] = f + c * error + along * inverse
        out[1, t] = (c - square * inverse) * inverse
        eta, more = error - g * along, g + g * g * square
        half = 0.5 * (eta * eta - more)
        b0 += g * w[0] + l3[0] * eta + half * h0
        b1 += g * w[1] + l3[1] * eta + half * h1
        b2 += g * w[2] + l3[2] * eta + half * h2
        l3 = l3[0] + eta * h0, l3[1] + eta * h1, l3[2] + eta * h2
        y = _met(w, (h0, h1, h2), g, more)
        six = (
            six[0] + y[0], six[1] + y[1], six[2] + y[2],
            six[3] + y[3], six[4] + y[4], six[5] + y[5],
        )  # fmt: skip
        if later.shape[0] and slots[t] >= 0:
            _keep(l3, six, later[slots[t], :, d], later[slots[t], :, :d])
        if t == 0:
            break
        gap = times[t] - times[t - 1]
        if states.shape[0]:
            r = t - start
            x = _crossed(_six(states[r]), _three(means[r]), l3, six, gap, x)
        if gap != before:
            _transition(gap, orders, turning, rates, turns, block)
            a = _turned(_dense(block, first, last, room))
            before = gap
        l3, six = _applied(a, l3), _sandwich(a, six)
    _keep(l3, six, lam, big)
    _contracted(x, orders, turning, slopes)
    for i in range(d):
        slopes[2 * n_terms + i] += b0 if i == 0 else (b1 if i == 1 else b2)
