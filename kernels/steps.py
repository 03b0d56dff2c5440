"""Parts of the steps in `drivers.py`: noise, the target, reports, Adam, and sums.

K draws are h = ceil(K / 2) rows of noise and their opposites; P parameters. Loops over flat arrays
replace array expressions, each of which would take Numba half a second to compile.
"""

from typing import NamedTuple

import numpy as np

from ._jit import kernel
from ._pointers import call_target
from .optimizers import adam
from .targets import SUCCESS, address_of, evaluate
from .vectors import fill

HALF_LOG_2PI = 0.5 * np.log(2.0 * np.pi)
DECAY, DECAY_SQUARE, EPSILON = 0.9, 0.999, 1e-8  # decays of Adam


class Work(NamedTuple):
    """Of one step: K draws, their noise, and what the target says of them."""

    eps: np.ndarray  # (K, D)
    Z: np.ndarray  # (K, D)
    values: np.ndarray  # (K, n_terms)
    grads: np.ndarray  # (K, D)
    step: np.ndarray  # (P,)


class Sums(NamedTuple):
    """Over the steps so far: gradients, squared lengths of natural ones, parameters before."""

    step: np.ndarray  # (P,)
    square: np.ndarray  # (1,)
    params: np.ndarray  # (P,)


class Trace(NamedTuple):
    """What each of m steps reports, (m,) each."""

    elbo: np.ndarray
    elbo_error: np.ndarray
    rejected: np.ndarray
    rate: np.ndarray


@kernel
def spread(noise, eps):
    """Out eps (K, D): noise (h, D) and then its opposite."""
    h = noise.shape[0]
    for s in range(eps.shape[0]):
        row, sign = (s, 1.0) if s < h else (s - h, -1.0)
        for j in range(eps.shape[1]):
            eps[s, j] = sign * noise[row, j]


@kernel
def show(source, Z):
    """Out Z (K, D): the draws of a step that is given up."""
    for s in range(Z.shape[0]):
        for j in range(Z.shape[1]):
            Z[s, j] = source[s, j]


@kernel
def copy_row(X, source, to):
    """Row `to` of X becomes row `source`."""
    for j in range(X.shape[1]):
        X[to, j] = X[source, j]


@kernel
def attempt(address, table, work):
    """Number of draws Z whose density and gradient are finite; noise, sums of terms (in the first
    column of values) and gradients of these come first. As `fastvi.targets.Target.attempt`.
    """
    Z, values, grads = work.Z, work.values, work.grads
    (k, n), n_terms = Z.shape, values.shape[1]
    fill(values.reshape(k * n_terms), np.nan)
    fill(grads.reshape(k * n), np.nan)
    status = evaluate(address, table, Z, values, grads)
    at, data, of_values, of_grads = (
        address_of(Z), address_of(table), address_of(values), address_of(grads),
    )  # fmt: skip
    kept = 0
    for s in range(k):
        if status != SUCCESS:  # evaluate each draw by itself to find the one that failed
            row, first = 8 * n * s, 8 * n_terms * s
            done = call_target(address, 1, n, at + row, data, of_values + first, of_grads + row)
            if done != SUCCESS:
                continue
        total, n_finite = 0.0, 0
        for t in range(n_terms):
            total += values[s, t]
        for j in range(n):
            n_finite += np.isfinite(grads[s, j])
        if not np.isfinite(total) or n_finite < n:
            continue
        values[kept, 0] = total
        if kept < s:
            copy_row(grads, s, kept)
            copy_row(work.eps, s, kept)
        kept += 1
    return kept


@kernel
def report(i, n, power, log_det, work, trace):
    """Bound, its error and rejections of step i, from the first n draws."""
    total, square = 0.0, 0.0
    for s in range(n):
        norm = 0.0
        for j in range(work.eps.shape[1]):
            norm += work.eps[s, j] * work.eps[s, j]
        work.values[s, 0] = power * work.values[s, 0] + 0.5 * norm
    for s in range(n):
        total += work.values[s, 0]
    for s in range(n):
        square += (work.values[s, 0] - total / n) ** 2
    trace.elbo[i] = total / n + log_det + work.eps.shape[1] * HALF_LOG_2PI
    trace.elbo_error[i] = np.sqrt(square) / n
    trace.rejected[i] = work.eps.shape[0] - n


@kernel
def sum_of_logs(x, stride):
    """Of every stride-th number of a flat array."""
    total = 0.0
    for i in range(0, x.shape[0], stride):
        total += np.log(x[i])
    return total


@kernel
def sums_of_squares(x, D):
    """(of the first D numbers, of the rest) of a flat array."""
    near, far = 0.0, 0.0
    for i in range(D):
        near += x[i] * x[i]
    for i in range(D, x.shape[0]):
        far += x[i] * x[i]
    return near, far


@kernel
def largest(x):
    """Largest absolute value of a flat array."""
    top = 0.0
    for i in range(x.shape[0]):
        top = max(top, abs(x[i]))
    return top


@kernel
def scale(x, factor):
    """A flat array, in place."""
    for i in range(x.shape[0]):
        x[i] *= factor


@kernel
def count(params, work, sums):
    """Add a step, and the parameters that it was taken at, to the sums."""
    for p in range(params.shape[0]):
        sums.step[p] += work.step[p]
        sums.params[p] += params[p]


@kernel
def exponential(x, out):
    """Out exp(x); the sum of x."""
    total = 0.0
    for j in range(x.shape[0]):
        total += x[j]
    for j in range(x.shape[0]):
        out[j] = np.exp(x[j])
    return total


@kernel
def climb(rate, t, params, work, moments, epsilon):
    """Step t of Adam, moments (2, P), along work.step, which becomes the step; its mean size."""
    P = params.shape[0]
    slow, fast = rate / (1.0 - DECAY**t), 1.0 / (1.0 - DECAY_SQUARE**t)
    top = moments[0, :0]
    adam(
        work.step, moments[0], moments[1], top, DECAY, DECAY_SQUARE, slow, fast, epsilon, work.step
    )
    square = 0.0
    for p in range(P):
        square += work.step[p] * work.step[p]
    for p in range(P):
        params[p] += work.step[p]
    return np.sqrt(square / P)
