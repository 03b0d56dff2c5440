"""Predictions of Gaussian processes in time; symbols and shapes as in `temporal`."""

import math

import numpy as np

from ._jit import kernel
from .temporal import WIDTH, _back, _site, _spans, _transition

SAME = 1e-10  # share of a variance, below which nothing is left to draw


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


@kernel
def _observed(p, variance, picks, normals, lam, big, u, f):
    """Draw f (R,) about its means, and make it known: to lam (R, d) and big (d, d)."""
    d = u.shape[0]
    for i in range(d):
        total = 0.0
        for j in range(d):
            total -= big[i, j] * p[j]
        u[i] = total
    for b in range(picks.shape[0]):
        u[picks[b]] += 1.0
    root = math.sqrt(variance)
    for r in range(f.shape[0]):
        f[r] += root * normals[r]
        for i in range(d):
            lam[r, i] += u[i] * (normals[r] / root)
    for i in range(d):
        for j in range(d):
            big[i, j] += u[i] * u[j] / variance


@kernel
def draw_back(terms, times, nu, tau, gains, chosen, normals, out):
    """Out (n, R): R joint draws of f at those of the T times that are chosen (n,), which rise.

    Backwards in O(T (d^2 + R d)): each f is drawn given the sites and the draws after it, and is
    then one more thing that later rows say of the state. normals (n, R) are standard; gains are of
    `temporal.filter_sites`. Where less than `SAME` of a variance is left, f follows from the rest.
    """
    orders, turning, rates, turns = terms
    n, d, n_terms, n_draws = times.shape[0], gains.shape[1] - 3, orders.shape[0], out.shape[1]
    first, last = np.empty(d, np.int64), np.empty(d, np.int64)
    picks = np.empty(n_terms, np.int64)
    _spans(orders, turning, first, last, picks)
    block, room, big = np.zeros((d, WIDTH)), np.empty((d, d)), np.zeros((d, d))
    lam, by_q, nothing, u = np.zeros((n_draws, d)), np.zeros(d), np.zeros(d), np.empty(d)
    left = chosen.shape[0] - 1
    for t in range(n - 1, chosen[0] - 1, -1):
        if t < n - 1:
            _transition(times[t + 1] - times[t], orders, turning, rates, turns, block)
            for r in range(n_draws):
                _turned(block, first, last, lam[r], u)
                for i in range(d):
                    lam[r, i] = u[i]
            _back(block, first, last, nothing, big, room)
        p, pivot = gains[t], gains[t, d + 2]
        g, error = tau[t] / pivot, (nu[t] - tau[t] * p[d]) / pivot
        for r in range(n_draws):
            along = 0.0
            for i in range(d):
                along += p[i] * lam[r, i]
            if chosen[left] == t:
                out[left, r] = p[d] + p[d + 1] * error + along / pivot
            for b in range(n_terms):
                lam[r, picks[b]] += error - g * along
        _, variance = _site(p, 0.0, tau[t], nothing, big, picks, by_q, u)
        nothing[:] = 0.0
        if chosen[left] == t:
            if variance > SAME * p[d + 1]:
                _observed(p, variance, picks, normals[left], lam, big, u, out[left])
            left -= 1
