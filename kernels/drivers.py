"""Compiled blocks of steps on a target: draw, evaluate, pull back, move and sum.

A driver repeats a step of `fastvi.gradients.reparam`, an optimizer and
`fastvi.fitting.compiled.Stage` once per row of noise (m, h, D), for Gaussian families and the ELBO,
sticking the landing. It stops at the first step in which no draw has a density, and returns the
number of steps before it.
"""

import numpy as np

from ._jit import kernel
from .steps import (
    EPSILON,
    Sums,
    Trace,
    Work,
    attempt,
    climb,
    count,
    exponential,
    largest,
    report,
    scale,
    spread,
    sum_of_logs,
    sums_of_squares,
)
from .targets import placed, pulled
from .vectors import fill

__all__ = [
    "Sums", "Trace", "Work", "fullrank_natural", "fullrank_plain", "meanfield_natural",
    "meanfield_plain",
]  # fmt: skip

FARTHEST = 2.0  # as in `fastvi.families.gaussians`


@kernel
def place(i, mean, sd, noise, work):
    """Noise of step i and draws of independent normal numbers."""
    spread(noise[i], work.eps)
    for s in range(work.eps.shape[0]):
        for j in range(mean.shape[0]):
            work.Z[s, j] = mean[j] + sd[j] * work.eps[s, j]


@kernel
def meanfield_natural(address, table, noise, power, rate, params, work, sums, trace):
    """Steps of a constant rate of `fastvi.families.MeanField`; params (2 D,): mean, sd."""
    D = work.Z.shape[1]
    mean, sd, of_mean, of_sd = params[:D], params[D:], work.step[:D], work.step[D:]
    for i in range(noise.shape[0]):
        place(i, mean, sd, noise, work)
        n = attempt(address, table, work)
        if n == 0:
            return i
        report(i, n, power, sum_of_logs(sd, 1), work, trace)
        fill(work.step, 0.0)
        share = 1.0 / n
        for s in range(n):
            for j in range(D):
                slope = power * work.grads[s, j] * sd[j] + work.eps[s, j]
                of_mean[j] += share * slope
                of_sd[j] += share * slope * work.eps[s, j]
        count(params, work, sums)
        far, wide = sums_of_squares(work.step, D)
        sums.square[0] += far + 0.5 * wide
        far, wide = rate * np.sqrt(far / D), rate * largest(of_sd)
        a = rate * FARTHEST / far if far > FARTHEST else rate
        b = rate / wide if wide > 1.0 else rate
        for j in range(D):
            narrowed = b * of_sd[j]
            variance = 1.0 / (1.0 - narrowed + 0.5 * narrowed * narrowed)
            mean[j] += sd[j] * variance * a * of_mean[j]
            sd[j] *= np.sqrt(variance)
        trace.rate[i] = rate
    return noise.shape[0]


@kernel
def meanfield_plain(address, table, noise, power, rate, params, work, sums, trace, t, moments):
    """Steps t, t + 1, ... of Adam on the same family; params (2 D,): mean, log sd."""
    D = work.Z.shape[1]
    mean, log_sd, of_mean, of_log_sd = params[:D], params[D:], work.step[:D], work.step[D:]
    sd = np.empty(D)
    for i in range(noise.shape[0]):
        log_det = exponential(log_sd, sd)
        place(i, mean, sd, noise, work)
        n = attempt(address, table, work)
        if n == 0:
            return i
        report(i, n, power, log_det, work, trace)
        fill(work.step, 0.0)
        share = 1.0 / n
        for s in range(n):
            for j in range(D):
                slope = power * work.grads[s, j] + work.eps[s, j] / sd[j]
                of_mean[j] += share * slope
                of_log_sd[j] += share * slope * work.eps[s, j] * sd[j]
        count(params, work, sums)
        trace.rate[i] = climb(rate, t + i, params, work, moments, EPSILON)
    return noise.shape[0]


@kernel
def root_of(free, root):
    """Out root (D, D), lower triangular, from the free form; the sum of its diagonal's logarithms.

    Above its diagonal root stays as it is.
    """
    total = 0.0
    for a in range(free.shape[0]):
        for b in range(a):
            root[a, b] = free[a, b]
        root[a, a] = np.exp(free[a, a])
        total += free[a, a]
    return total


@kernel
def unscore(root, power, eps, slopes, n):
    """The first n slopes (K, D) become power slopes + root'^-1 eps: less q's own gradients."""
    D = root.shape[0]
    solved = np.empty(D)
    for s in range(n):
        for a in range(D - 1, -1, -1):
            rest = eps[s, a]
            for b in range(a + 1, D):
                rest -= root[b, a] * solved[b]
            solved[a] = rest / root[a, a]
        for a in range(D):
            slopes[s, a] = power * slopes[s, a] + solved[a]


@kernel
def fullrank_plain(address, table, noise, power, rate, params, work, sums, trace, t, moments):
    """As `meanfield_plain`, of `fastvi.families.FullRank`; params (D + D^2,): mean, free root."""
    D = work.Z.shape[1]
    mean, free = params[:D], params[D:].reshape((D, D))
    of_mean, of_root = work.step[:D], work.step[D:].reshape((D, D))
    root = np.zeros((D, D))
    for i in range(noise.shape[0]):
        log_det = root_of(free, root)
        spread(noise[i], work.eps)
        placed(mean, root, work.eps, work.Z)
        n = attempt(address, table, work)
        if n == 0:
            return i
        report(i, n, power, log_det, work, trace)
        slopes = work.grads
        unscore(root, power, work.eps, slopes, n)
        fill(work.step, 0.0)
        share = 1.0 / n
        for s in range(n):
            for a in range(D):
                of_mean[a] += share * slopes[s, a]
                for b in range(a + 1):
                    of_root[a, b] += share * slopes[s, a] * work.eps[s, b]
        for a in range(D):
            of_root[a, a] *= root[a, a]
        count(params, work, sums)
        trace.rate[i] = climb(rate, t + i, params, work, moments, EPSILON)
    return noise.shape[0]


@kernel
def inverse_root(precision, upper, out):
    """Out (D, D) lower triangular with out out' the inverse; upper (D, D) is scratch."""
    D = precision.shape[0]
    for j in range(D - 1, -1, -1):  # precision = upper upper'
        for i in range(j, -1, -1):
            rest = precision[i, j]
            for k in range(j + 1, D):
                rest -= upper[i, k] * upper[j, k]
            upper[i, j] = np.sqrt(rest) if i == j else rest / upper[j, j]
    fill(out.reshape(D * D), 0.0)
    for i in range(D):  # upper' out = 1
        out[i, i] = 1.0
        for k in range(i):
            for c in range(k + 1):
                out[i, c] -= upper[k, i] * out[k, c]
        for c in range(i + 1):
            out[i, c] /= upper[i, i]


@kernel
def multiply(A, B, out):
    """Out = A B, all (D, D)."""
    fill(out.reshape(out.size), 0.0)
    for i in range(A.shape[0]):
        for k in range(A.shape[1]):
            if A[i, k] != 0.0:
                for j in range(B.shape[1]):
                    out[i, j] += A[i, k] * B[k, j]


@kernel
def move(mean, root, along, spread, a, b, c):
    """Step in the frame of N(mean, root root'), in place: the mean by `along` (D,), from precision
    1 to 1 - spread + spread^2 / 2. As `fastvi.families.FullRank.moved`; a, b, c (D, D) are scratch.
    """
    D = mean.shape[0]
    multiply(spread, spread, a)
    for i in range(D):
        for j in range(D):
            a[i, j] = 0.5 * a[i, j] - spread[i, j]
        a[i, i] += 1.0
    inverse_root(a, b, c)
    multiply(root, c, a)  # the new root
    for i in range(D):  # c' along
        b[0, i] = 0.0
        for j in range(i, D):
            b[0, i] += c[j, i] * along[j]
    for i in range(D):
        for j in range(i + 1):
            mean[i] += a[i, j] * b[0, j]
            root[i, j] = a[i, j]


@kernel
def statistics(n, power, work):
    """work.step: means over the first n draws of pulled and of eps pulled', made symmetric, where
    pulled = power grads + eps.
    """
    D, share, eps, grads = work.Z.shape[1], 1.0 / n, work.eps, work.grads
    of_mean, of_root = work.step[:D], work.step[D:].reshape((D, D))
    fill(work.step, 0.0)
    for s in range(n):
        for i in range(D):
            grads[s, i] = power * grads[s, i] + eps[s, i]
        for i in range(D):
            of_mean[i] += share * grads[s, i]
            for j in range(D):
                both = eps[s, i] * grads[s, j] + eps[s, j] * grads[s, i]
                of_root[i, j] += 0.5 * share * both


@kernel
def spectral_norm(A, a, b):
    """Largest absolute eigenvalue of a symmetric matrix that is not 0; a, b (D, D) are scratch.

    The Frobenius norm of A^n to the power 1/n, for n = 1, 2, 4, ...
    """
    D, log_norm, share = A.shape[0], 0.0, 1.0
    for i in range(D):
        for j in range(D):
            a[i, j] = A[i, j]
    for _ in range(50):
        norm = np.sqrt(sums_of_squares(a.reshape(D * D), 0)[1])
        log_norm += share * np.log(norm)
        if share < 1.0 and -share * np.log(norm) < 1e-15:
            break
        scale(a.reshape(D * D), 1.0 / norm)
        multiply(a, a, b)
        a, b, share = b, a, 0.5 * share
    return np.exp(log_norm)


@kernel
def fullrank_natural(address, table, noise, power, rate, params, work, sums, trace):
    """As `meanfield_natural`, of `fastvi.families.FullRank`; params (D + D^2,): mean, root."""
    D = work.Z.shape[1]
    mean, root = params[:D], params[D:].reshape((D, D))
    of_mean, of_root = work.step[:D], work.step[D:].reshape((D, D))
    a, b, c = np.empty((D, D)), np.empty((D, D)), np.empty((D, D))
    for i in range(noise.shape[0]):
        spread(noise[i], work.eps)
        placed(mean, root, work.eps, work.Z)
        n = attempt(address, table, work)
        if n == 0:
            return i
        report(i, n, power, sum_of_logs(params[D:], D + 1), work, trace)
        pulled(root, work.grads)
        statistics(n, power, work)
        count(params, work, sums)
        far, wide = sums_of_squares(work.step, D)
        sums.square[0] += far + 0.5 * wide
        far, wide = rate * np.sqrt(far / D), rate * np.sqrt(wide)
        if wide > 1.0:  # which is at least the spectral norm
            wide = rate * spectral_norm(of_root, a, b)
        scale(of_mean, rate * FARTHEST / far if far > FARTHEST else rate)
        scale(work.step[D:], rate / wide if wide > 1.0 else rate)
        move(mean, root, of_mean, of_root, a, b, c)
        trace.rate[i] = rate
    return noise.shape[0]
