"""Gaussian processes in time as state space: filter, smoother and gradient in O(T).

The covariance is a sum of terms exp(-r t) p(r t) (a cos(w t) + b sin(w t)) at lag t, where the
polynomial p is that of a Matern function of order 1, 2 or 3 (nu 1/2, 3/2, 5/2). A term has a state
of `order` levels, or of twice as many numbers if it turns (w > 0). Over a gap of t its transition A
is exp(-r t) times the upper triangular matrix of (r t)^k / k! times a rotation by w t, and the
covariance at lag t is h' A q, where h picks the first number of each term. In place of the
predicted covariance of states, P, the recursion carries S = (stationary covariance) - P, which is
0 at the beginning and needs no covariance of innovations: P h = q - S h, as in Foreman-Mackey et
al. (2017). Rows have sites exp(nu f - tau f^2 / 2); a row with nu = tau = 0 is missing. Adjoints
follow the modified Bryson-Frazier smoother, which inverts nothing.

Shapes: T times, d numbers of a state, B terms.
"""

import math

import numpy as np

from ._jit import kernel

WIDTH = 6  # most numbers of a term


@kernel
def _transition(gap, orders, turning, rates, turns, block):
    """Write the rows of each term's transition into block (d, WIDTH)."""
    at = 0
    for b in range(orders.shape[0]):
        u = rates[b] * gap
        one = math.exp(-u)
        two = one * u if one > 0.0 else 0.0
        three = 0.5 * two * u if one > 0.0 else 0.0
        if turning[b]:
            cos, sin = math.cos(turns[b] * gap), math.sin(turns[b] * gap)
            for k in range(orders[b]):
                for j in range(k, orders[b]):
                    x = one if j == k else (two if j == k + 1 else three)
                    block[at + 2 * k, 2 * j] = x * cos
                    block[at + 2 * k, 2 * j + 1] = x * sin
                    block[at + 2 * k + 1, 2 * j] = -x * sin
                    block[at + 2 * k + 1, 2 * j + 1] = x * cos
            at += 2 * orders[b]
        else:
            for k in range(orders[b]):
                for j in range(k, orders[b]):
                    block[at + k, j] = one if j == k else (two if j == k + 1 else three)
            at += orders[b]


@kernel
def _ahead(block, first, last, m, s, room):
    """Make m (d,) A m, and s (d, d) A s A'; row i of A is in columns first[i] to last[i]."""
    d = m.shape[0]
    for i in range(d):
        total = 0.0
        for k in range(first[i], last[i]):
            total += block[i, k - first[i]] * m[k]
        room[0, i] = total
    for i in range(d):
        m[i] = room[0, i]
    for i in range(d):
        for j in range(d):
            total = 0.0
            for k in range(first[j], last[j]):
                total += s[i, k] * block[j, k - first[j]]
            room[i, j] = total
    for i in range(d):
        for j in range(i + 1):
            total = 0.0
            for k in range(first[i], last[i]):
                total += block[i, k - first[i]] * room[k, j]
            s[i, j] = total
            s[j, i] = total


@kernel
def _back(block, first, last, m, s, room):
    """Make m (d,) A' m, and s (d, d) A' s A; arguments as of `_ahead`."""
    d = m.shape[0]
    for i in range(d):
        total = 0.0
        for k in range(first[i], last[i]):
            total += block[k, i - first[i]] * m[k]
        room[0, i] = total
    for i in range(d):
        m[i] = room[0, i]
    for i in range(d):
        for j in range(d):
            total = 0.0
            for k in range(first[j], last[j]):
                total += s[i, k] * block[k, j - first[j]]
            room[i, j] = total
    for i in range(d):
        for j in range(i + 1):
            total = 0.0
            for k in range(first[i], last[i]):
                total += block[k, i - first[i]] * room[k, j]
            s[i, j] = total
            s[j, i] = total


@kernel
def _spans(orders, turning, first, last, picks):
    """Columns of the term of each number of the state, and where each term begins (B,)."""
    at = 0
    for b in range(orders.shape[0]):
        width = orders[b] * (2 if turning[b] else 1)
        picks[b] = at
        for i in range(at, at + width):
            first[i] = at
            last[i] = at + width
        at += width


@kernel
def filter_sites(terms, q, times, nu, tau, start, stop, m, s, gains, means, states):
    """Filter rows from start to stop; return sums of log(1 + tau c) and of squared innovations.

    terms (orders, turning, rates, turns), (B,) each; q (d,); times, nu, tau (T,). m (d,) and
    s (d, d) are those of the state before `start`, 0 at the beginning, and are left where `stop`
    goes on. Out: gains (T, d + 3), which are P h, the predicted mean and variance c of f, and
    1 + tau c; and, unless they are empty, the predicted means (stop - start, d) and S (stop -
    start, d, d) of the states.
    """
    orders, turning, rates, turns = terms
    d, n_terms = q.shape[0], orders.shape[0]
    first, last = np.empty(d, np.int64), np.empty(d, np.int64)
    picks = np.empty(n_terms, np.int64)
    _spans(orders, turning, first, last, picks)
    block, room = np.zeros((d, WIDTH)), np.empty((d, d))
    before = -1.0
    log_sum, squares = 0.0, 0.0
    for t in range(start, stop):
        if t > 0:
            gap = times[t] - times[t - 1]
            if gap != before:
                _transition(gap, orders, turning, rates, turns, block)
                before = gap
            _ahead(block, first, last, m, s, room)
        if states.shape[0]:
            for i in range(d):
                means[t - start, i] = m[i]
                for j in range(d):
                    states[t - start, i, j] = s[i, j]
        p = gains[t]
        f, c = 0.0, 0.0
        for i in range(d):
            total = q[i]
            for b in range(n_terms):
                total -= s[i, picks[b]]
            p[i] = total
        for b in range(n_terms):
            f += m[picks[b]]
            c += p[picks[b]]
        pivot = 1.0 + tau[t] * c
        p[d], p[d + 1], p[d + 2] = f, c, pivot
        log_sum += math.log(abs(pivot))
        error = nu[t] - tau[t] * f
        if tau[t] != 0.0:
            squares += error * error / (tau[t] * pivot)
        error /= pivot
        g = tau[t] / pivot
        for i in range(d):
            m[i] += p[i] * error
            scaled = g * p[i]
            for j in range(d):
                s[i, j] += scaled * p[j]
    return log_sum, squares


@kernel
def _site(p, nu, tau, lam, big, picks, first_bar, w):
    """Smoothed mean and variance of f, from what later rows say: lam (d,) and big (d, d).

    Then the row's own is added to lam and big. first_bar (d,), to be added to, is the derivative
    with respect to q. p (d + 3,) is a row of gains; w (d,) is room.
    """
    d = lam.shape[0]
    f, c, pivot = p[d], p[d + 1], p[d + 2]
    g, error = tau / pivot, (nu - tau * f) / pivot
    along, square = 0.0, 0.0
    for i in range(d):
        along += p[i] * lam[i]
    for i in range(d):
        total = 0.0
        for j in range(d):
            total += big[i, j] * p[j]
        w[i] = total
    for i in range(d):
        square += p[i] * w[i]
    mean = f + c * error + along / pivot
    variance = c / pivot - square / (pivot * pivot)
    eta = error - g * along
    half = 0.5 * (eta * eta - g - g * g * square)
    for i in range(d):
        first_bar[i] += g * w[i] + lam[i] * eta
    for b in range(picks.shape[0]):
        first_bar[picks[b]] += half
        lam[picks[b]] += eta
    for b in range(picks.shape[0]):
        k = picks[b]
        for i in range(d):
            big[i, k] -= g * w[i]
            big[k, i] -= g * w[i]
        for a in range(picks.shape[0]):
            big[picks[a], k] += g + g * g * square
    return mean, variance


@kernel
def _slopes(gap, terms, m, s, lam, big, x, by_rate, by_turn):
    """Add the derivatives with respect to rates and turns (B,) of what happens in a gap.

    With S and m of the states after the gap, and lam and big there, X = Lam S + lam (m - S lam)'
    is the derivative with respect to log A on the left; x (d,) is room.
    """
    orders, turning, _, _ = terms
    d = m.shape[0]
    for i in range(d):
        total = m[i]
        for j in range(d):
            total -= s[i, j] * lam[j]
        x[i] = total
    at = 0
    for b in range(orders.shape[0]):
        step = 2 if turning[b] else 1
        width = orders[b] * step
        rate, turn = 0.0, 0.0
        for i in range(at, at + width):
            rate -= lam[i] * x[i]
            for k in range(d):
                rate -= big[i, k] * s[k, i]
        for i in range(at, at + width - step):
            j = i + step
            rate += lam[i] * x[j]
            for k in range(d):
                rate += big[i, k] * s[k, j]
        if turning[b]:
            for i in range(at, at + width, 2):
                turn += lam[i] * x[i + 1] - lam[i + 1] * x[i]
                for k in range(d):
                    turn += big[i, k] * s[k, i + 1] - big[i + 1, k] * s[k, i]
        by_rate[b] += gap * rate
        by_turn[b] += gap * turn
        at += width


@kernel
def smooth_sites(
    terms, times, nu, tau, start, stop, lam, big, gains, means, states, out, slopes, slots, later
):
    """Smooth rows from start to stop, backwards, after `filter_sites`.

    lam (d,) and big (d, d) are what rows from `stop` on say of the state, 0 at the end, and are
    left where `start` goes on. Out (2, T): means and variances of f. To slopes (B + B + d,) the
    derivatives of the log normaliser of the sites under the prior are added: with respect to rates
    and turns, if there are states, and to q. Rows with slots (T,) >= 0 leave in later (n, d, d + 1)
    what they and those after them say of the state, unless it is empty.
    """
    orders, turning, rates, turns = terms
    d, n_terms = lam.shape[0], orders.shape[0]
    first, last = np.empty(d, np.int64), np.empty(d, np.int64)
    picks = np.empty(n_terms, np.int64)
    _spans(orders, turning, first, last, picks)
    block, room = np.zeros((d, WIDTH)), np.empty((d, d))
    w = np.empty(d)
    by_rate, by_turn = slopes[:n_terms], slopes[n_terms : 2 * n_terms]
    by_q = slopes[2 * n_terms :]
    before = -1.0
    for t in range(stop - 1, start - 1, -1):
        found = _site(gains[t], nu[t], tau[t], lam, big, picks, by_q, w)
        out[0, t], out[1, t] = found
        if later.shape[0] and slots[t] >= 0:
            for i in range(d):
                later[slots[t], i, d] = lam[i]
                for j in range(d):
                    later[slots[t], i, j] = big[i, j]
        if t == 0:
            break
        gap = times[t] - times[t - 1]
        if states.shape[0]:
            r = t - start
            _slopes(gap, terms, means[r], states[r], lam, big, w, by_rate, by_turn)
        if gap != before:
            _transition(gap, orders, turning, rates, turns, block)
            before = gap
        _back(block, first, last, lam, big, room)
