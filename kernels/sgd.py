"""Stochastic gradient descent of a constant rate on a target that takes rows, and its noise.

The table is the caller's own copy, whose words of the batch are overwritten.
"""

from typing import NamedTuple

import numpy as np

from ._jit import kernel
from .targets import N_ROWS, ROWS, SUCCESS, WEIGHTS, address_of, evaluate, first_not_finite
from .vectors import fill

__all__ = ["At", "at", "noise", "walk"]


class At(NamedTuple):
    """A point, and what the target says of it."""

    z: np.ndarray  # (1, D)
    values: np.ndarray  # (1, n_terms)
    grads: np.ndarray  # (1, D)


def at(z, n_terms):
    """The place z (D,)."""
    return At(np.array(z, np.float64)[None], np.zeros((1, n_terms)), np.zeros((1, z.size)))


@kernel
def look(address, table, rows, weights, place):
    """Whether a batch, rows (S,) with weights (S,), has a finite density and gradient there."""
    table[ROWS], table[N_ROWS] = address_of(rows), rows.shape[0]
    table[WEIGHTS] = address_of(weights)
    D = place.grads.shape[1]
    fill(place.grads.reshape(D), np.nan)
    status = evaluate(address, table, place.z, place.values, place.grads)
    return status == SUCCESS and first_not_finite(place.values, place.grads)[0] < 0


@kernel
def move(rate, place):
    """The place moves by rate times its gradient; rate (D, D), or (1, D) for a diagonal one."""
    z, grads = place.z, place.grads
    D = z.shape[1]
    if rate.shape[0] == 1 < D:
        for j in range(D):
            z[0, j] += rate[0, j] * grads[0, j]
        return
    for i in range(D):
        total = 0.0
        for j in range(D):
            total += rate[i, j] * grads[0, j]
        z[0, i] += total


@kernel
def count(x, centre, total, outer):
    """Add x - centre (D,) to total (D,), and its square to outer (D, D), if that is not empty."""
    for i in range(outer.shape[0]):
        away = x[i] - centre[i]
        for j in range(outer.shape[1]):
            outer[i, j] += away * (x[j] - centre[j])
    for i in range(total.shape[0]):
        total[i] += x[i] - centre[i]


@kernel
def walk(address, table, rows, weights, rate, centre, place, total, outer):
    """One step per row of rows (m, S), which all have weights (S,); the number of steps made.

    Places after a step are added to total (D,) and to outer (D, D), or (0, 0), less the centre
    (D,). It ends early where there is no gradient.
    """
    for i in range(rows.shape[0]):
        if not look(address, table, rows[i], weights, place):
            return i
        move(rate, place)
        count(place.z[0], centre, total, outer)
    return rows.shape[0]


@kernel
def noise(address, table, rows, weights, place, centre, total, outer):
    """Moments of the gradients of single rows (n,), each of weight weights[0], at a place.

    Gradients less the centre (D,) are added to total (D,) and to outer (D, D); the number of rows
    before the first without a gradient.
    """
    for i in range(rows.shape[0]):
        if not look(address, table, rows[i : i + 1], weights, place):
            return i
        count(place.grads[0], centre, total, outer)
    return rows.shape[0]
