"""Paths uphill on targets: L-BFGS with a memory of m updates, each path in a frame of its own.

The inverse of the negated Hessian is estimated from `units units'` in the frame (units lower
triangular (D, D), or (1, D) diagonal, as in `targets.placed`) and the last updates (Nocedal and
Wright 2006, algorithms 7.4 and 7.5). A path is a sequence of its own: nothing depends on others.

Vectors of length D are rows of one matrix, named by their numbers, because each array that a
function takes has to be compiled as eight arguments.
"""

from typing import NamedTuple

import numpy as np

from ._jit import kernel
from .targets import SUCCESS, address_of, call_target

__all__ = ["Path", "ascend", "path_at"]

# Rows of Path.rows: a point and its gradient, another that is tried, and a direction. From N_OWN on
# come m steps and m bends, which is what steps take from the gradient; update i has row i % m of
# both. They are NumPy's integers, because for each of Python's a function is compiled again.
Z, GRAD, TRIED, SLOPES, ALONG, SPARE, REST, N_OWN = np.arange(8)
# Of Path.numbers: log density, scale of the frame's matrix, m products of steps with bends, and m
# numbers for `aim`.
VALUE, SCALE, PRODUCTS = 0, 1, 2
STATUS, UPDATES, ITERATIONS, EVALUATIONS, STILL = range(5)  # of Path.counts
NEW, RUNNING, ARRIVED, STUCK, ENDLESS, NOWHERE = range(6)  # statuses; nowhere: no density to start
ENOUGH, FLAT = 1e-4, 0.9  # of the strong Wolfe conditions
TRIALS = 30  # of a line search
ROUNDING = 1e-13  # relative, of log densities
FAR = 1e20  # a number from where on a path has no end
CURVED = 1e-12  # least cosine between a step and what it changes of the gradient, to be kept


class Path(NamedTuple):
    """One path: where it is, its memory, scratch space, and iterates if there are rows for them."""

    rows: np.ndarray  # (N_OWN + 2 m, D)
    numbers: np.ndarray  # (2 + 2 m,)
    counts: np.ndarray  # (5,) int64
    terms: np.ndarray  # (n_terms,): of the log density
    trace: np.ndarray  # (n, 2 D + 1): point, gradient, log density


def path_at(start, memory, n_terms, n_iterates):
    """A new path at start (D,), before its first evaluation."""
    D = len(start)
    rows = np.zeros((N_OWN + 2 * memory, D))
    rows[Z] = start
    counts, numbers = np.zeros(5, np.int64), np.ones(PRODUCTS + 2 * memory)
    return Path(rows, numbers, counts, np.empty(n_terms), np.empty((n_iterates, 2 * D + 1)))


@kernel
def product(rows, a, b):
    """Inner product of two rows."""
    total = 0.0
    for j in range(rows.shape[1]):
        total += rows[a, j] * rows[b, j]
    return total


@kernel
def combine(rows, a, factor, b, to):
    """Row `to` becomes row a + factor row b."""
    for j in range(rows.shape[1]):
        rows[to, j] = rows[a, j] + factor * rows[b, j]


@kernel
def look(address, table, rows, terms):
    """Log density at TRIED, its gradient in SLOPES; NaN where one of them is not finite."""
    D, at = rows.shape[1], address_of(rows)
    for t in range(terms.shape[0]):
        terms[t] = np.nan
    for j in range(D):
        rows[SLOPES, j] = np.nan
    z, grads = at + 8 * D * TRIED, at + 8 * D * SLOPES
    status = call_target(address, 1, D, z, address_of(table), address_of(terms), grads)
    if status != SUCCESS:
        return np.nan
    total, n_finite = 0.0, 0
    for t in range(terms.shape[0]):
        total += terms[t]
    for j in range(D):
        n_finite += np.isfinite(rows[SLOPES, j])
    return total if np.isfinite(total) and n_finite == D else np.nan


@kernel
def measure(units, scale, rows, x, to):
    """Row `to` becomes scale units units' times row x."""
    D = rows.shape[1]
    if units.shape[0] == 1:
        for j in range(D):
            rows[to, j] = scale * units[0, j] * units[0, j] * rows[x, j]
        return
    for j in range(D):
        rows[SPARE, j] = 0.0
    for i in range(D):
        for j in range(i + 1):
            rows[SPARE, j] += units[i, j] * rows[x, i]
    for i in range(D):
        total = 0.0
        for j in range(i + 1):
            total += units[i, j] * rows[SPARE, j]
        rows[to, i] = scale * total


@kernel
def aim(units, rows, numbers, n_updates):
    """ALONG becomes the estimated inverse times the gradient."""
    m = (rows.shape[0] - N_OWN) // 2
    bends, shares = N_OWN + m, PRODUCTS + m
    first = max(0, n_updates - m)
    combine(rows, GRAD, 0.0, GRAD, REST)
    for k in range(n_updates - 1, first - 1, -1):
        i = k % m
        share = product(rows, N_OWN + i, REST) / numbers[PRODUCTS + i]
        numbers[shares + i] = share
        combine(rows, REST, -share, bends + i, REST)
    measure(units, numbers[SCALE], rows, REST, ALONG)
    for k in range(first, n_updates):
        i = k % m
        back = product(rows, bends + i, ALONG) / numbers[PRODUCTS + i]
        combine(rows, ALONG, numbers[shares + i] - back, N_OWN + i, ALONG)


@kernel
def highest(width, rise, slope_low, slope_high):
    """Share of an interval at which the cubic through its ends is highest; `rise` is the value at
    the upper end less that at the lower one.
    """
    bend = 3.0 * rise / width - slope_low - slope_high
    square = bend * bend - slope_low * slope_high
    root = np.sqrt(max(square, 0.0))
    return 1.0 - (root - slope_high - bend) / (slope_low - slope_high + 2.0 * root)


@kernel
def search_line(address, table, rows, terms, value0, t, counts):
    """Log density at a point z + t along, t > 0, that meets the strong Wolfe conditions.

    If no point meets them, the best one found; NaN if no step raises the density. The point is left
    in TRIED, and its gradient in SLOPES.
    """
    slope0 = product(rows, GRAD, ALONG)
    slack = ROUNDING * max(1.0, abs(value0))
    low, value_low, slope_low, slope_before = 0.0, value0, slope0, slope0
    high, value_high, slope_high = np.inf, np.nan, np.nan
    for trial in range(TRIALS + 1):
        is_last = trial == TRIALS
        if is_last:
            if low == 0.0:
                return np.nan
            t = low
        combine(rows, Z, t, ALONG, TRIED)
        value = look(address, table, rows, terms)
        counts[EVALUATIONS] += 1
        slope = product(rows, SLOPES, ALONG)
        if is_last:
            if high == np.inf:
                counts[STATUS] = ENDLESS
            return value
        if np.isnan(value):
            high, value_high = t, np.nan
        elif value < value0 + ENOUGH * t * slope0 - slack or slope < -FLAT * slope0:
            high, value_high, slope_high = t, value, slope
        elif slope > FLAT * slope0:
            slope_before = slope_low
            low, value_low, slope_low = t, value, slope
        else:
            return value
        if high == np.inf:
            lost = slope_before - slope_low
            t = low * (4.0 if lost <= 0.0 else min(max(2.0, 1.0 + slope_low / lost), 10.0))
        elif np.isnan(value_high):
            t = low + 0.2 * (high - low)
        else:
            share = highest(high - low, value_high - value_low, slope_low, slope_high)
            share = min(max(share, 0.02), 0.9) if np.isfinite(share) else 0.5
            t = low + share * (high - low)
    return np.nan


@kernel
def keep(units, rows, numbers, n_updates):
    """Go to TRIED, remember what the step says of the curvature; the number of updates."""
    m = (rows.shape[0] - N_OWN) // 2
    i = n_updates % m
    step, bend = N_OWN + i, N_OWN + m + i
    combine(rows, TRIED, -1.0, Z, step)
    combine(rows, GRAD, -1.0, SLOPES, bend)
    combine(rows, TRIED, 0.0, TRIED, Z)
    combine(rows, SLOPES, 0.0, SLOPES, GRAD)
    curved = product(rows, step, bend)
    lengths = np.sqrt(product(rows, step, step) * product(rows, bend, bend))
    if curved > CURVED * lengths:
        numbers[PRODUCTS + i] = curved
        measure(units, 1.0, rows, bend, ALONG)
        numbers[SCALE] = curved / product(rows, bend, ALONG)
        return n_updates + 1
    if n_updates >= m:  # the oldest update has been overwritten
        numbers[SCALE] = 1.0
        return 0
    return n_updates


@kernel
def ascend(address, table, units, path, tol, n_iterations):
    """Begin a path that is new, and take at most so many steps; its status.

    It has arrived when g' H g is below `tol` for the gradient g and the estimated inverse H, or
    when the log density has twice changed by less than 1e-4 `tol`, relatively.
    """
    rows, numbers, counts, terms, trace = path
    D, value = rows.shape[1], numbers[VALUE]
    for step in range(n_iterations + 1):
        is_new = counts[STATUS] == NEW
        is_first = counts[UPDATES] == 0
        if is_new:
            combine(rows, Z, 0.0, Z, TRIED)
            found = look(address, table, rows, terms)
            counts[EVALUATIONS] += 1
            combine(rows, SLOPES, 0.0, SLOPES, GRAD)
            counts[STATUS] = NOWHERE if np.isnan(found) else RUNNING
        elif counts[STATUS] != RUNNING or step == n_iterations:
            break
        else:
            aim(units, rows, numbers, counts[UPDATES])
            gain = product(rows, GRAD, ALONG)
            if gain == 0.0 or (0.0 < gain < tol and not is_first):
                counts[STATUS] = ARRIVED
                break
            found = np.nan
            if gain > 0.0:
                t = min(1.0, 1.0 / np.sqrt(gain)) if is_first else 1.0
                found = search_line(address, table, rows, terms, value, t, counts)
            if np.isnan(found):
                if is_first:
                    counts[STATUS] = STUCK
                counts[UPDATES], numbers[SCALE] = 0, 1.0
                continue
            counts[UPDATES] = keep(units, rows, numbers, counts[UPDATES])
            counts[ITERATIONS] += 1
            still = abs(found - value) <= 1e-4 * tol * max(1.0, abs(value), abs(found))
            counts[STILL] = counts[STILL] + 1 if still else 0
            if counts[STILL] == 2:
                counts[STATUS] = ARRIVED
        value = found
        kept = counts[ITERATIONS] < trace.shape[0]
        for j in range(D):
            if not abs(rows[Z, j]) < FAR:
                counts[STATUS] = ENDLESS
            if kept:
                trace[counts[ITERATIONS], j] = rows[Z, j]
                trace[counts[ITERATIONS], D + j] = rows[GRAD, j]
        if kept:
            trace[counts[ITERATIONS], 2 * D] = value
    numbers[VALUE] = value
    return counts[STATUS]
