"""Maxima of many small functions at once, by BFGS with a backtracking line search each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastvi.base.typing import AnyArray, Array

__all__ = ["ascend"]

LONGEST = 1.0  # change of any coordinate in a step
RISE = 1e-4  # share of the rise that a slope promises
TRIALS = 20  # halvings of a step

Function = Callable[[Array, AnyArray], tuple[Array, Array]]


def ascend(function: Function, x: Array, max_iter: int, tol: float) -> tuple[Array, Array]:
    """Points (n, P) near x at which functions have local maxima, and their values (n,).

    No function's steps depend on the others.

    Parameters
    ----------
    function : callable
        ``function(x, rows) -> (values, gradients)`` of the functions with these numbers (k,), at
        points (k, P).
    x : (n, P) array
    max_iter : int
    tol : float
        A function is done when a step raises it by less.
    """
    n, p = x.shape
    x, active = x.copy(), np.arange(n)
    value, slope = function(x, active)
    inverse = np.tile(np.eye(p), (n, 1, 1))
    for _ in range(max_iter):
        if not len(active):
            break
        step = np.matmul(inverse[active], slope[active][:, :, None])[:, :, 0]
        uphill = (step * slope[active]).sum(axis=1) > 0
        inverse[active[~uphill]] = np.eye(p)
        step[~uphill] = slope[active[~uphill]]
        step *= np.minimum(1.0, LONGEST / np.maximum(np.abs(step).max(axis=1), 1e-300))[:, None]
        before, old, start = value[active], slope[active], x[active]
        _search(function, x, value, slope, active, step)
        _update(inverse, active, x[active] - start, old - slope[active])
        active = active[value[active] - before > tol]
    return x, value


def _search(
    function: Function, x: Array, value: Array, slope: Array, active: AnyArray, step: Array
) -> None:
    """Move to points that are higher; who finds none stays."""
    promised, size, left = (step * slope[active]).sum(axis=1), 1.0, np.arange(len(active))
    for _ in range(TRIALS):
        rows = active[left]
        trial = x[rows] + size * step[left]
        found, gradient = function(trial, rows)
        better = found >= value[rows] + RISE * size * promised[left]
        taken = rows[better]
        x[taken], value[taken], slope[taken] = trial[better], found[better], gradient[better]
        left = left[~better]
        if not len(left):
            return
        size *= 0.5


def _update(inverse: Array, active: AnyArray, moved: Array, bent: Array) -> None:
    """Update inverses of minus the Hessians (n, P, P), after moves that changed gradients so."""
    curvature = (moved * bent).sum(axis=1)
    good = curvature > 1e-10 * np.square(bent).sum(axis=1)
    rows, s, y, rho = active[good], moved[good], bent[good], 1.0 / curvature[good]
    h = inverse[rows]
    hy = np.matmul(h, y[:, :, None])[:, :, 0]
    size = (1.0 + rho * (y * hy).sum(axis=1)) * rho
    cross = hy[:, :, None] * s[:, None] * rho[:, None, None]
    h += size[:, None, None] * s[:, :, None] * s[:, None] - cross - cross.transpose(0, 2, 1)
    inverse[rows] = h
