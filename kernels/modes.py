"""Paths uphill on targets: L-BFGS with a memory of m updates, each path in a frame of its own.

The inverse of the negated Hessian is estimated from `units units'` in the frame (units lower
triangular (D, D), or (1, D) diagonal, as in `targets.placed`) and the last updates (Nocedal and
Wright 2006, algorithms 7.4 and 7.5). A path is a sequence of its own: nothing depends on others.
"""

from typing import NamedTuple

import numpy as np

from ._jit import kernel
from .targets import SUCCESS, evaluate
from .vectors import dot, fill

__all__ = ["Path", "Room", "Trace", "ascend", "begin"]

VALUE, SCALE = 0, 1  # of Path.numbers: log density; that of the frame's matrix
STATUS, UPDATES, ITERATIONS, EVALUATIONS, STILL = 0, 1, 2, 3, 4  # of Path.counts
RUNNING, ARRIVED, STUCK, ENDLESS, NOWHERE = 0, 1, 2, 3, 4  # statuses; nowhere: no density to start
ENOUGH, FLAT = 1e-4, 0.9  # of the strong Wolfe conditions
TRIALS = 30  # of a line search
ROUNDING = 1e-13  # relative, of log densities
FAR = 1e20  # a number from where on a path has no end
CURVED = 1e-12  # least cosine between a step and what it changes of the gradient, to be kept


class Path(NamedTuple):
    """One path: where it is, and the last m updates, of which number i is in row i % m."""

    z: np.ndarray  # (D,)
    grad: np.ndarray  # (D,)
    steps: np.ndarray  # (m, D)
    bends: np.ndarray  # (m, D): what a step takes from the gradient
    products: np.ndarray  # (m,): of a step with its bend
    numbers: np.ndarray  # (2,)
    counts: np.ndarray  # (5,) int64


class Room(NamedTuple):
    """Scratch space of a path."""

    z: np.ndarray  # (1, D): where the target is asked
    values: np.ndarray  # (1, n_terms)
    grads: np.ndarray  # (1, D)
    along: np.ndarray  # (D,): the direction
    spare: np.ndarray  # (D,)
    shares: np.ndarray  # (m,)


class Trace(NamedTuple):
    """Iterates of a path, the first included; empty if they are not wanted."""

    z: np.ndarray  # (n, D)
    grads: np.ndarray  # (n, D)
    values: np.ndarray  # (n,)


@kernel
def copy(source, to):
    """To (D,) becomes source (D,)."""
    for j in range(source.shape[0]):
        to[j] = source[j]


@kernel
def add_times(factor, x, to):
    """To (D,) grows by factor x."""
    for j in range(x.shape[0]):
        to[j] += factor * x[j]


@kernel
def look(address, table, path, room):
    """Log density at room.z, its gradient in room.grads; NaN where one of them is not finite."""
    values, grads = room.values[0], room.grads[0]
    fill(values, np.nan)
    fill(grads, np.nan)
    path.counts[EVALUATIONS] += 1
    if evaluate(address, table, room.z, room.values, room.grads) != SUCCESS:
        return np.nan
    total, n_finite = 0.0, 0
    for t in range(values.shape[0]):
        total += values[t]
    for j in range(grads.shape[0]):
        n_finite += np.isfinite(grads[j])
    return total if np.isfinite(total) and n_finite == grads.shape[0] else np.nan


@kernel
def measured(units, x, spare, out):
    """Out = units units' x (D,)."""
    D = x.shape[0]
    if units.shape[0] == 1:
        for j in range(D):
            out[j] = units[0, j] * units[0, j] * x[j]
        return
    for j in range(D):
        total = 0.0
        for i in range(j, D):
            total += units[i, j] * x[i]
        spare[j] = total
    for i in range(D):
        out[i] = dot(units[i, : i + 1], spare[: i + 1])


@kernel
def aim(units, path, room):
    """Out room.along: the estimated inverse times the gradient."""
    m, n = path.steps.shape[0], path.counts[UPDATES]
    rest, kept = room.z[0], min(m, n)
    copy(path.grad, rest)
    for k in range(kept):
        i = (n - 1 - k) % m
        room.shares[i] = dot(path.steps[i], rest) / path.products[i]
        add_times(-room.shares[i], path.bends[i], rest)
    measured(units, rest, room.spare, room.along)
    for j in range(rest.shape[0]):
        room.along[j] *= path.numbers[SCALE]
    for k in range(kept):
        i = (n - kept + k) % m
        back = dot(path.bends[i], room.along) / path.products[i]
        add_times(room.shares[i] - back, path.steps[i], room.along)


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
def next_trial(bracket):
    """Where to look between two points, or beyond the lower one while the upper is infinite."""
    low, value_low, slope_low, high, value_high, slope_high, slope_before = bracket
    if high == np.inf:
        lost = slope_before - slope_low
        return low * (4.0 if lost <= 0.0 else min(max(2.0, 1.0 + slope_low / lost), 10.0))
    width = high - low
    if np.isnan(value_high):
        return low + 0.2 * width
    share = highest(width, value_high - value_low, slope_low, slope_high)
    return low + (min(max(share, 0.02), 0.9) if np.isfinite(share) else 0.5) * width


@kernel
def search_line(address, table, path, room, t):
    """Log density at a point z + t along, t > 0, that meets the strong Wolfe conditions, or has
    most of what was found; NaN if there is none. The point and its gradient stay in `room`.
    """
    value0, slope0 = path.numbers[VALUE], dot(path.grad, room.along)
    slack = ROUNDING * max(1.0, abs(value0))
    low, value_low, slope_low, slope_before = 0.0, value0, slope0, slope0
    high, value_high, slope_high = np.inf, np.nan, np.nan
    for trial in range(TRIALS + 1):
        if trial == TRIALS:
            if low == 0.0:
                return np.nan
            t = low
        copy(path.z, room.z[0])
        add_times(t, room.along, room.z[0])
        value = look(address, table, path, room)
        slope = dot(room.grads[0], room.along)
        if trial == TRIALS:
            if high == np.inf:
                path.counts[STATUS] = ENDLESS
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
        t = next_trial((low, value_low, slope_low, high, value_high, slope_high, slope_before))
    return np.nan


@kernel
def keep(units, path, room):
    """Go to the point in `room`, and remember what the step says of the curvature."""
    m, n = path.steps.shape[0], path.counts[UPDATES]
    step, bend = path.steps[n % m], path.bends[n % m]
    for j in range(step.shape[0]):
        step[j] = room.z[0, j] - path.z[j]
        bend[j] = path.grad[j] - room.grads[0, j]
    product = dot(step, bend)
    copy(room.z[0], path.z)
    copy(room.grads[0], path.grad)
    if product > CURVED * np.sqrt(dot(step, step) * dot(bend, bend)):
        path.products[n % m] = product
        measured(units, bend, room.spare, room.along)
        path.numbers[SCALE] = product / dot(bend, room.along)
        path.counts[UPDATES] = n + 1
    elif n >= m:  # the oldest update has been overwritten
        path.counts[UPDATES] = 0
        path.numbers[SCALE] = 1.0


@kernel
def write(path, trace):
    """The present iterate, if there is a row for it."""
    i = path.counts[ITERATIONS]
    if i < trace.values.shape[0]:
        copy(path.z, trace.z[i])
        copy(path.grad, trace.grads[i])
        trace.values[i] = path.numbers[VALUE]


@kernel
def begin(address, table, path, room, trace):
    """Set a path off at path.z."""
    fill(path.numbers, 1.0)
    for i in range(path.counts.shape[0]):
        path.counts[i] = 0
    copy(path.z, room.z[0])
    value = look(address, table, path, room)
    path.numbers[VALUE] = value
    copy(room.grads[0], path.grad)
    path.counts[STATUS] = NOWHERE if np.isnan(value) else RUNNING
    write(path, trace)


@kernel
def ascend(address, table, units, path, room, trace, tol, n_iterations):
    """At most so many iterations more; path.counts says how the path is.

    It has arrived when g' H g is below `tol` for the gradient g and the estimated inverse H, or
    when the log density has twice changed by less than 1e-4 `tol`, relatively.
    """
    counts = path.counts
    for _ in range(n_iterations):
        if counts[STATUS] != RUNNING:
            return
        aim(units, path, room)
        gain, value, is_first = (
            dot(path.grad, room.along),
            path.numbers[VALUE],
            counts[UPDATES] == 0,
        )
        if gain == 0.0 or (0.0 < gain < tol and not is_first):
            counts[STATUS] = ARRIVED
            return
        found = np.nan
        if gain > 0.0:
            t = min(1.0, 1.0 / np.sqrt(gain)) if is_first else 1.0
            found = search_line(address, table, path, room, t)
        if np.isnan(found):
            if is_first:
                counts[STATUS] = STUCK
            counts[UPDATES], path.numbers[SCALE] = 0, 1.0
            continue
        keep(units, path, room)
        path.numbers[VALUE] = found
        counts[ITERATIONS] += 1
        write(path, trace)
        still = abs(found - value) <= 1e-4 * tol * max(1.0, abs(value), abs(found))
        counts[STILL] = counts[STILL] + 1 if still else 0
        if counts[STILL] == 2:
            counts[STATUS] = ARRIVED
        for j in range(path.z.shape[0]):
            if not abs(path.z[j]) < FAR:
                counts[STATUS] = ENDLESS
