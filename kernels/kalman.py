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

AGREE = 1e-15  # of covariances, relative to their diagonals
SLOTS = 8


class System(NamedTuple):
    """The chain: mean (K,) and lower root (K, K) of first states, transition, root of its noise."""

    mean: np.ndarray
    root: np.ndarray
    transition: np.ndarray
    noise: np.ndarray


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
    covariance); then, of the next step, the root of its predicted covariance, the gain of
    smoothing, and the covariance of x_t given x_{t+1} and the rows so far.

    follow (M, F) and first (F,): known nodes of next steps by their pattern, and of first steps;
    -1 if not known. steady (F,): the last node of a pattern that follows itself.
    """

    root: np.ndarray
    pattern: np.ndarray
    update: np.ndarray
    log_det: np.ndarray
    ahead: np.ndarray
    gain: np.ndarray
    rest: np.ndarray
    follow: np.ndarray
    first: np.ndarray
    steady: np.ndarray


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
def triangle(A):
    """Turn A (m, n), m >= n, into the triangle of its QR decomposition, with a diagonal >= 0.

    What is left below the diagonal has no meaning.
    """
    n_rows, n = A.shape
    sums = np.empty(n)
    for j in range(n):
        norm = 0.0
        for i in range(j, n_rows):
            norm += A[i, j] * A[i, j]
        norm = np.sqrt(norm)
        if norm == 0:
            continue
        flip = -1.0 if A[j, j] > 0 else 1.0
        pivot = A[j, j] - flip * norm
        scale = 1.0 / (norm * abs(pivot))
        for c in range(j + 1, n):
            sums[c] = pivot * A[j, c]
        for i in range(j + 1, n_rows):
            for c in range(j + 1, n):
                sums[c] += A[i, j] * A[i, c]
        for c in range(j + 1, n):
            sums[c] *= scale
            A[j, c] = flip * (A[j, c] - sums[c] * pivot)
        for i in range(j + 1, n_rows):
            for c in range(j + 1, n):
                A[i, c] -= A[i, j] * sums[c]
        A[j, j] = norm


@kernel
def measure(root, own, work, half, update):
    """Take a row into account whose precision is own' own; own (m, K).

    work (K + m, K) is scratch; half (K, K): a root of the filtered covariance; update (K, K), as in
    `Nodes`. Returns the log det of there.
    """
    n = root.shape[0]
    for i in range(n):
        for j in range(n):
            work[i, j] = 1.0 if i == j else 0.0
    for i in range(own.shape[0]):
        for j in range(n):
            total = 0.0
            for k in range(j, n):
                total += own[i, k] * root[k, j]
            work[n + i, j] = total
    triangle(work)
    log_det = 0.0
    for i in range(n):
        log_det += 2.0 * np.log(work[i, i])
    for i in range(n):
        for j in range(n):
            total = root[i, j]
            for k in range(j):
                total -= half[i, k] * work[k, j]
            half[i, j] = total / work[j, j]
    for i in range(n - 1, -1, -1):
        for j in range(n):
            total = half[j, i]
            for k in range(i + 1, n):
                total -= work[i, k] * update[k, j]
            update[i, j] = total / work[i, i]
    return log_det


@kernel
def predict(half, transition, noise, work, ahead, gain, rest):
    """One step ahead of a filtered covariance half half'; the last three as in `Nodes`.

    work (3 K, 2 K) is scratch. A share of 1e-18 of the variances is added, which is lost in
    rounding, but allows to divide by roots of singular covariances.
    """
    n = half.shape[0]
    for i in range(n):
        for j in range(n):
            total = 0.0
            for k in range(n):
                total += transition[j, k] * half[k, i]
            work[i, j] = total
            work[i, n + j] = half[j, i]
            work[n + i, j] = noise[j, i]
            work[n + i, n + j] = 0.0
            work[2 * n + i, j] = 0.0
            work[2 * n + i, n + j] = 0.0
    for j in range(n):
        total = 0.0
        for i in range(2 * n):
            total += work[i, j] * work[i, j]
        work[2 * n + j, j] = max(1e-9 * np.sqrt(total), 1e-150)
    triangle(work)
    for i in range(n):
        for j in range(n):
            ahead[j, i] = work[i, j] if j >= i else 0.0
    for i in range(n - 1, -1, -1):
        for j in range(n):
            total = work[i, n + j]
            for k in range(i + 1, n):
                total -= work[i, k] * gain[j, k]
            gain[j, i] = total / work[i, i]
    for i in range(n):
        for j in range(n):
            total = 0.0
            for k in range(min(i, j) + 1):
                total += work[n + k, n + i] * work[n + k, n + j]
            rest[i, j] = total


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
        half, small, large = works
        nodes.log_det[known] = measure(root, rows.roots[pattern], small, half, nodes.update[known])
        predict(
            half, system.transition, system.noise, large, nodes.ahead[known], nodes.gain[known],
            nodes.rest[known],
        )  # fmt: skip
    if pattern < n_known:
        if before < 0:
            nodes.first[pattern] = known
        else:
            nodes.follow[before, pattern] = known
    return known


@kernel
def forward(t, n_nodes, system, rows, nodes, which, predicted, filtered, squares):
    """Filter from row t on; which (n,) nodes, predicted and filtered means (n, K).

    squares (n,): those of the steps of updates in units of the predicted root. Returns the row at
    which the tables are full, or n, and the number of nodes.
    """
    n_rows, size = filtered.shape
    half, moved, step = np.empty((size, size)), np.empty(size), np.empty(size)
    transition, precisions, has_drift = system.transition, rows.precisions, rows.drift.shape[0] > 0
    update, root, first, follow = nodes.update, nodes.root, nodes.first, nodes.follow
    begins, patterns, linear, drift = rows.begins, rows.pattern, rows.linear, rows.drift
    mean, n_known = system.mean, nodes.first.shape[0]
    works = half, np.empty((size + rows.roots.shape[1], size)), np.empty((3 * size, 2 * size))
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
        squares[t] = total
        for i in range(size):
            total = predicted[t, i]
            for j in range(i + 1):
                total += root[node, i, j] * step[j]
            filtered[t, i] = total
        t += 1
    return t, n_nodes


@kernel
def _back(node, ahead, nodes, smoothed, n_smoothed, work):
    """Make the smoothed covariance of a node's step, given the next (-1: there is none)."""
    if n_smoothed == smoothed.covariance.shape[0]:
        return n_smoothed
    n = work.shape[0]
    gain, known = nodes.gain[node], n_smoothed
    smoothed.node[known] = node
    covariance, cross = smoothed.covariance[known], smoothed.cross[known]
    for i in range(n):
        for j in range(n):
            total = 0.0
            if ahead < 0:
                for k in range(min(i, j) + 1):
                    total += nodes.ahead[node, i, k] * nodes.ahead[node, j, k]
            else:
                total = smoothed.covariance[ahead, i, j]
            work[i, j] = total
    for i in range(n):
        for j in range(n):
            total = 0.0
            for k in range(n):
                total += work[i, k] * gain[j, k]
            cross[i, j] = total
    for i in range(n):
        for j in range(i + 1):
            total = nodes.rest[node, i, j]
            for k in range(n):
                total += gain[i, k] * cross[k, j]
            covariance[i, j] = total
            covariance[j, i] = total
    if ahead < 0:
        smoothed.ends[node] = known
    else:
        size = smoothed.covariance[ahead]
        for other in (ahead, smoothed.steady[node]):
            if known == n_smoothed and other >= 0 and smoothed.node[other] == node:
                is_same = _agree(covariance, smoothed.covariance[other], covariance, covariance)
                if is_same and _agree(cross, smoothed.cross[other], size, covariance):
                    known = other
        if known == ahead:
            smoothed.steady[node] = known
        smoothed.behind[ahead, node % SLOTS], smoothed.led[ahead, node % SLOTS] = node, known
    return known


@kernel
def backward(t, n_smoothed, begins, nodes, which, predicted, filtered, smoothed, own, means):
    """Smooth from row t back; own (n,) smoothed covariances, means (n, K).

    Returns the row at which the tables are full, or -1, and the number of covariances.
    """
    n_rows, size = filtered.shape
    work, away, gain = np.empty((size, size)), np.empty(size), nodes.gain
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
            found = _back(node, ahead, nodes, smoothed, n_smoothed, work)
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
