"""Predictions of Gaussian processes in time; symbols and shapes as in `temporal`."""

import numpy as np

from ._jit import kernel
from .temporal import WIDTH, _spans, _transition


@kernel
def _times(block, first, last, v, out):
    """Out (d,) = A v."""
    for i in range(v.shape[0]):
        total = 0.0
        for k in range(first[i], last[i]):
            total += block[i, k - first[i]] * v[k]
        out[i] = total


@kernel
def _turned(block, first, last, v, out):
    """Out (d,) = A' v."""
    for i in range(v.shape[0]):
        total = 0.0
        for k in range(first[i], last[i]):
            total += block[k, i - first[i]] * v[k]
        out[i] = total


@kernel
def predict_at(terms, q, times, nu, tau, gains, means, states, later, x, before, out):
    """Out (2, n): means and variances of f at times x (n,).

    before (n,) is the number of the last of the T times that is not after x, or -1. The rest is
    what `temporal.filter_sites` and `temporal.smooth_sites` were given and wrote.
    """
    orders, turning, rates, turns = terms
    n, d, n_terms = times.shape[0], q.shape[0], orders.shape[0]
    first, last = np.empty(d, np.int64), np.empty(d, np.int64)
    picks = np.empty(n_terms, np.int64)
    _spans(orders, turning, first, last, picks)
    block = np.zeros((d, WIDTH))
    h, p, u, v = np.zeros(d), np.empty(d), np.empty(d), np.empty(d)
    for b in range(n_terms):
        h[picks[b]] = 1.0
    for r in range(x.shape[0]):
        t = before[r]
        mean, variance = 0.0, 0.0
        for i in range(d):
            p[i] = q[i]
        if t >= 0:
            _transition(x[r] - times[t], orders, turning, rates, turns, block)
            pivot, f = gains[t, d + 2], gains[t, d]
            g, error = tau[t] / pivot, (nu[t] - tau[t] * f) / pivot
            _turned(block, first, last, h, u)
            along = 0.0
            for i in range(d):
                along += gains[t, i] * u[i]
                mean += u[i] * (means[t, i] + gains[t, i] * error)
            for i in range(d):
                total = g * along * gains[t, i]
                for j in range(d):
                    total += states[t, i, j] * u[j]
                v[i] = total
            _times(block, first, last, v, u)
            for i in range(d):
                p[i] -= u[i]
        for b in range(n_terms):
            variance += p[picks[b]]
        if t + 1 < n:
            _transition(times[t + 1] - x[r], orders, turning, rates, turns, block)
            _times(block, first, last, p, u)
            for i in range(d):
                total = 0.0
                for j in range(d):
                    total += later[t + 1, i, j] * u[j]
                mean += u[i] * later[t + 1, i, d]
                variance -= u[i] * total
        out[0, r] = mean
        out[1, r] = max(variance, 0.0)


@kernel
def covariances(terms, times, tau, gains, later, chosen, out):
    """Out (n, n): posterior covariances of f at those of the T times that are chosen (n,).

    Those rise; later (n, d, d + 1) is what `temporal.smooth_sites` left for them. What a row says
    of f at a later time is carried there by the filter (de Jong 1989).
    """
    orders, turning, rates, turns = terms
    n, d, n_terms = chosen.shape[0], gains.shape[1] - 3, orders.shape[0]
    first, last = np.empty(d, np.int64), np.empty(d, np.int64)
    picks = np.empty(n_terms, np.int64)
    _spans(orders, turning, first, last, picks)
    block, room, y = np.zeros((d, WIDTH)), np.empty(d), np.empty(d)
    carried = np.empty((n, d))  # what the first of the chosen rows say of the state
    count, gap_before = 0, -1.0
    for t in range(chosen[0], chosen[n - 1] + 1):
        p, pivot = gains[t], gains[t, d + 2]
        if count > 0:
            gap = times[t] - times[t - 1]
            if gap != gap_before:
                _transition(gap, orders, turning, rates, turns, block)
                gap_before = gap
            for k in range(count):
                _times(block, first, last, carried[k], room)
                for i in range(d):
                    carried[k, i] = room[i]
        if chosen[count] == t:
            for i in range(d):
                carried[count, i] = p[i]
                total = 0.0
                for j in range(d):
                    total -= later[count, i, j] * p[j]
                y[i] = total
            for b in range(n_terms):
                y[picks[b]] += 1.0
            count += 1
            for k in range(count):
                total = 0.0
                for i in range(d):
                    total += y[i] * carried[k, i]
                out[k, count - 1] = total
                out[count - 1, k] = total
        g = tau[t] / pivot
        for k in range(count):
            total = 0.0
            for b in range(n_terms):
                total += carried[k, picks[b]]
            for i in range(d):
                carried[k, i] -= g * total * p[i]
