"""Kalman filter and smoother of chains of Gaussian states, in square roots.

States x_t of K numbers begin at N(mean, root root'); x_t = transition x_{t-1} + drift_t + noise.
Row t says exp(linear_t' x - x' H x / 2) of its state, where H = P' P is one of few precisions, by
the row's pattern. All sequences follow each other.

Covariances do not depend on the data. What the filter knows of them at a step is a node: a root of
the predicted covariance with a pattern. Steps whose covariances agree to rounding share a node, so
that in a long sequence, or in many of equal form, nearly all steps take matrix-vector products
only. Smoothed covariances are shared in the same way. Tables grow: a pass returns the row at which
they are full, and goes on from there.
"""

from typing import NamedTuple

import numpy as np

from ._jit import kernel
from .kalman_steps import lead, measure, predict

AGREE = 1e-15  # of covariances, relative to their diagonals
SLOTS = 8


class System(NamedTuple):
    """The chain: mean (K,) and lower root (K, K) of first states, transition, root of its noise,
    and the covariance of that.
    """

    mean: np.ndarray
    root: np.ndarray
    transition: np.ndarray
    noise: np.ndarray
    spread: np.ndarray


class Rows(NamedTuple):
    """What rows say: begins, pattern (n,); roots P, precisions H (patterns, K, K); linear (n, K);
    drift (n, K), or (0, K) if there is none.
    """

    begins: np.ndarray
    pattern: np.ndarray
    roots: np.ndarray
    precisions: np.ndarray
    linear: np.ndarray
    drift: np.ndarray


class Nodes(NamedTuple):
    """Of M nodes: root of the predicted covariance, and pattern; `update`, with which the step in
    units of that root is update (linear - H predicted); log det of (predicted / filtered
    covariance); roots of the filtered covariance (`half`, not triangular) and of the next step's
    predicted one (`ahead`, lower).

    follow (M, F) and first (F,): known nodes of next steps by their pattern, and of first steps;
    -1 if not known. steady (F,): the last node of a pattern that follows itself.
    """

    root: np.ndarray
    pattern: np.ndarray
    update: np.ndarray
    log_det: np.ndarray
    half: np.ndarray
    ahead: np.ndarray
    follow: np.ndarray
    first: np.ndarray
    steady: np.ndarray


class Leads(NamedTuple):
    """Of the steps after M nodes: the gain of smoothing, and the covariance of x_t given x_{t+1}
    and the rows so far.
    """

    gain: np.ndarray
    rest: np.ndarray


class Smoothed(NamedTuple):
    """Smoothed covariances (M, K, K), those with the next state, cross [next, this], and nodes.

    behind (M, SLOTS): nodes to which a step back from here has led, and what was found there; by
    node: what was found where it ends sequences, and what led
    to itself last; -1 if unknown.
    """

    covariance: np.ndarray
    cross: np.ndarray
    node: np.ndarray
    behind: np.ndarray
    led: np.ndarray
    ends: np.ndarray
    steady: np.ndarray


@kernel
def lead_back(n_nodes, system, nodes, leads):
    """Find the gains of smoothing, and what is left, of the first nodes."""
    n = system.mean.shape[0]
    work, half, gain, rest = np.empty((3 * n, 2 * n)), nodes.half, leads.gain, leads.rest
    for m in range(n_nodes):
        lead(half[m], system.transition, system.noise, work, gain[m], rest[m])


@kernel
def _roots_agree(one, other):
    """Whether two lower roots have covariances that are the same to rounding."""
    for i in range(one.shape[0]):
        size = 0.0
        for j in range(i + 1):
            size += one[i, j] * one[i, j]
        most = AGREE * np.sqrt(size)
        for j in range(i + 1):
            if not abs(one[i, j] - other[i, j]) <= most:
                return False
    return True


@kernel
def _agree(one, other, size, width):
    """Whether two matrices are the same to rounding, relative to these variances (K, K)."""
    for i in range(one.shape[0]):
        for j in range(one.shape[0]):
            if not abs(one[i, j] - other[i, j]) <= AGREE * np.sqrt(size[i, i] * width[j, j]):
                return False
    return True


@kernel
def _node(before, pattern, system, rows, nodes, n_nodes, works):
    """Make the node after another (-1: at the beginning), or find one with this covariance."""
    n_known, size, known = nodes.first.shape[0], system.mean.shape[0], -1
    root = system.root if before < 0 else nodes.ahead[before]
    steady = nodes.steady[pattern] if pattern < n_known else -1
    is_same = before >= 0 and nodes.pattern[before] == pattern
    if is_same and _roots_agree(root, nodes.root[before]):
        known = before
        if pattern < n_known:
            nodes.steady[pattern] = known
    elif steady >= 0 and _roots_agree(root, nodes.root[steady]):
        known = steady
    if known < 0:
        known = n_nodes
        if known == nodes.pattern.shape[0]:
            return known
        for i in range(size):
            for j in range(size):
                nodes.root[known, i, j] = root[i, j]
        nodes.pattern[known] = pattern
        small, large = works
        half, update = nodes.half[known], nodes.update[known]
        nodes.log_det[known] = measure(
            root, rows.roots[pattern], rows.precisions[pattern], small, half, update
        )
        predict(half, system.transition, system.noise, system.spread, large, nodes.ahead[known])
    if pattern < n_known:
        if before < 0:
            nodes.first[pattern] = known
        else:
            nodes.follow[before, pattern] = known
    return known


@kernel
def forward(t, n_nodes, system, rows, nodes, which, predicted, filtered, norms):
    """Filter from row t on; which (n,) nodes, predicted and filtered means (n, K).

    norms (n,): logs of the norms of rows given those before, less what a row says at its filtered
    mean. Returns the row at which the tables are full, or n, and the number of nodes.
    """
    n_rows, size = filtered.shape
    moved, step = np.empty(size), np.empty(size)
    transition, precisions, has_drift = system.transition, rows.precisions, rows.drift.shape[0] > 0
    update, root, first, follow = nodes.update, nodes.root, nodes.first, nodes.follow
    begins, patterns, linear, drift = rows.begins, rows.pattern, rows.linear, rows.drift
    mean, n_known, log_dets = system.mean, nodes.first.shape[0], nodes.log_det
    works = np.empty((size + rows.roots.shape[1], size)), np.empty((2 * size, size))
    while t < n_rows:
        pattern, before, node = patterns[t], -1, -1
        if not begins[t]:
            before = which[t - 1]
        if pattern < n_known:
            node = first[pattern] if before < 0 else follow[before, pattern]
        if node < 0:
            node = _node(before, pattern, system, rows, nodes, n_nodes, works)
            if node == nodes.pattern.shape[0]:
                return t, n_nodes
            n_nodes = max(n_nodes, node + 1)
        which[t] = node
        for i in range(size):
            total = mean[i]
            if before >= 0:
                total = drift[t, i] if has_drift else 0.0
                for j in range(size):
                    total += transition[i, j] * filtered[t - 1, j]
            predicted[t, i] = total
        for i in range(size):
            total = linear[t, i]
            for j in range(size):
                total -= precisions[pattern, i, j] * predicted[t, j]
            moved[i] = total
        for i in range(size):
            total = 0.0
            for j in range(size):
                total += update[node, i, j] * moved[j]
            step[i] = total
        total = 0.0
        for i in range(size):
            total += step[i] * step[i]
        norms[t] = -0.5 * (total + log_dets[node])
        for i in range(size):
            total = predicted[t, i]
            for j in range(i + 1):
                total += root[node, i, j] * step[j]
            filtered[t, i] = total
        t += 1
    return t, n_nodes


@kernel
def restart(last, nodes):
    """Forget all nodes but one, which becomes the first; what follows from it is not known."""
    n = nodes.root.shape[1]
    nodes.log_det[0], nodes.pattern[0] = nodes.log_det[last], nodes.pattern[last]
    for i in range(n):
        for j in range(n):
            nodes.root[0, i, j], nodes.update[0, i, j] = (
                nodes.root[last, i, j],
                nodes.update[last, i, j],
            )
            nodes.half[0, i, j], nodes.ahead[0, i, j] = (
                nodes.half[last, i, j],
                nodes.ahead[last, i, j],
            )
    for f in range(nodes.first.shape[0]):
        nodes.first[f], nodes.steady[f] = -1, -1
        for m in range(nodes.follow.shape[0]):
            nodes.follow[m, f] = -1


@kernel
def _back(node, ahead, nodes, leads, smoothed, n_smoothed):
    """Make the smoothed covariance of a node's step, given the next (-1: there is none)."""
    if n_smoothed == smoothed.covariance.shape[0]:
        return n_smoothed
    n = nodes.half.shape[1]
    gain, rest, half, known = leads.gain[node], leads.rest[node], nodes.half[node], n_smoothed
    smoothed.node[known] = node
    covariance, cross = smoothed.covariance[known], smoothed.cross[known]
    if ahead < 0:
        for i in range(n):
            for j in range(i + 1):
                total = 0.0
                for k in range(n):
                    total += half[i, k] * half[j, k]
                covariance[i, j], covariance[j, i] = total, total
                cross[i, j], cross[j, i] = 0.0, 0.0
        smoothed.ends[node] = known
    else:
        next_one = smoothed.covariance[ahead]
        for i in range(n):
            for j in range(n):
                total = 0.0
                for k in range(n):
                    total += next_one[i, k] * gain[j, k]
                cross[i, j] = total
        for i in range(n):
            for j in range(i + 1):
                total = rest[i, j]
                for k in range(n):
                    total += gain[i, k] * cross[k, j]
                covariance[i, j], covariance[j, i] = total, total
        for other in (ahead, smoothed.steady[node]):
            if known == n_smoothed and other >= 0 and smoothed.node[other] == node:
                is_same = _agree(covariance, smoothed.covariance[other], covariance, covariance)
                if is_same and _agree(cross, smoothed.cross[other], next_one, covariance):
                    known = other
        if known == ahead:
            smoothed.steady[node] = known
        smoothed.behind[ahead, node % SLOTS], smoothed.led[ahead, node % SLOTS] = node, known
    return known


@kernel
def backward(t, n_smoothed, begins, nodes, leads, which, predicted, filtered, smoothed, own, means):
    """Smooth from row t back; own (n,) smoothed covariances, means (n, K).

    Returns the row at which the tables are full, or -1, and the number of covariances.
    """
    n_rows, size = filtered.shape
    away, gain = np.empty(size), leads.gain
    ends, kind, behind, led = smoothed.ends, smoothed.node, smoothed.behind, smoothed.led
    while t >= 0:
        is_last = t == n_rows - 1 or begins[t + 1]
        node, ahead, found = which[t], -1, -1
        if is_last:
            found = ends[node]
        else:
            ahead = own[t + 1]
            if behind[ahead, node % SLOTS] == node:
                found = led[ahead, node % SLOTS]
        if found < 0:
            found = _back(node, ahead, nodes, leads, smoothed, n_smoothed)
            if found == kind.shape[0]:
                return t, n_smoothed
            n_smoothed = max(n_smoothed, found + 1)
        own[t] = found
        if not is_last:
            for i in range(size):
                away[i] = means[t + 1, i] - predicted[t + 1, i]
        for i in range(size):
            total = filtered[t, i]
            if not is_last:
                for j in range(size):
                    total += gain[node, i, j] * away[j]
            means[t, i] = total
        t -= 1
    return t, n_smoothed
