"""Solutions of ordinary differential equations, for use in log densities.

Their derived gradients are those of the computed solution, step by step, to rounding: steps are
differentiated, so that there is no second equation with an error of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.densities.documentation import documented
from fastvi.densities.vectorised import compiled, inlined

__all__ = ["ode_rk4", "ode_rk45"]

Array = NDArray[np.float64]
Slope = Callable[[float, Any, Any], Any]


@documented
@inlined
def ode_rk4(
    rhs: Slope, initial: Array, start: float, times: Array, parameters: Any, n_steps: int
) -> Array:
    """Solve dy/dt = rhs(t, y, parameters) by a fixed number of fourth-order steps.

    Stan's ode_rk4 and the classical method of Runge and Kutta: halving the steps divides the error
    by 16. For a solution to a stated tolerance see `ode_rk45`.

    {equation}
    n_steps : int
        Steps before each of the times, >= 1.

    {path_as_in}
    >>> densities.ode_rk4(decay, np.ones(1), 0.0, np.array([1.0, 2.0]), 0.5, 10).round(6)
    array([[0.606531],
           [0.367879]])
    """
    if n_steps < 1:
        raise ValueError("n_steps of ode_rk4 is below 1; wanted the number of steps, 1 or more")
    n = initial.shape[0]
    path = np.empty((times.shape[0], n))
    y, at = np.empty(n), np.empty(n)
    for i in range(n):
        y[i] = initial[i]
    for m in range(times.shape[0]):
        began = start if m == 0 else times[m - 1]
        h = (times[m] - began) / n_steps
        for step in range(n_steps):
            t = began + step * h
            k1 = rhs(t, y, parameters)
            for i in range(n):
                at[i] = y[i] + 0.5 * h * k1[i]
            k2 = rhs(t + 0.5 * h, at, parameters)
            for i in range(n):
                at[i] = y[i] + 0.5 * h * k2[i]
            k3 = rhs(t + 0.5 * h, at, parameters)
            for i in range(n):
                at[i] = y[i] + h * k3[i]
            k4 = rhs(t + h, at, parameters)
            for i in range(n):
                y[i] += h / 6.0 * (k1[i] + 2.0 * (k2[i] + k3[i]) + k4[i])
        for i in range(n):
            path[m, i] = y[i]
    return path


@compiled
def error_norm(y: Array, new: Array, error: Array, rtol: float, atol: float) -> float:
    """Root mean square of the error, relative to what is tolerated."""
    n = y.shape[0]
    total = 0.0
    for i in range(n):
        size = max(abs(y[i]), abs(new[i]))
        total += (abs(error[i]) / (atol + rtol * size)) ** 2
    return math.sqrt(total / n)


@compiled
def step_change(error: float) -> int:
    """How many eighths of an octave the step may grow, for an error of that size."""
    if not error < 1e8:
        return -16
    return math.floor(min(16.0, -1.6 * math.log2(max(error, 1e-12)) - 1.0))


@documented
@inlined
def ode_rk45(
    rhs: Slope,
    initial: Array,
    start: float,
    times: Array,
    parameters: Any,
    rtol: float = 1e-6,
    atol: float = 1e-6,
    max_steps: int = 10000,
) -> Array:
    """Solve dy/dt = rhs(t, y, parameters) to a tolerance, by steps of varying length.

    The method of Dormand and Prince (1980), of order 5 with an error estimate of order 4; Stan's
    ode_rk45_tol, SciPy's scipy.integrate.RK45. Steps are rounded down to eighths of powers of 2, so
    that small changes of parameters leave them as they are, and the derived gradient is that of the
    computed solution.

    {equation}
    rtol, atol : float
        A step is repeated with a shorter one until the root mean square over the elements of error
        / (atol + rtol |y|) is at most 1.
    max_steps : int
        Steps in total; beyond them the solution is NaN, which a fit refuses. Stiff equations need
        far too many.

    {path_as_in}
    >>> densities.ode_rk45(decay, np.ones(1), 0.0, np.array([1.0, 2.0]), 0.5).round(4)
    array([[0.6065],
           [0.3679]])
    """
    n = initial.shape[0]
    path = np.empty((times.shape[0], n))
    y, at, new, error, k1 = np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    for i in range(n):
        y[i] = initial[i]
    first = rhs(start, y, parameters)
    for i in range(n):
        k1[i] = first[i]
    t = start
    span = abs(times[times.shape[0] - 1] - start) if times.shape[0] > 0 else 0.0
    eighths = 8 * math.floor(math.log2(span + 1e-300)) - 64
    count = 0
    for m in range(times.shape[0]):
        while t < times[m] and count < max_steps:
            count += 1
            step = 2.0 ** (0.125 * eighths)
            whole = t + step < times[m]
            h = step if whole else times[m] - t
            for i in range(n):
                at[i] = y[i] + h * (k1[i] / 5.0)
            k2 = rhs(t + h / 5.0, at, parameters)
            for i in range(n):
                at[i] = y[i] + h * (3.0 / 40.0 * k1[i] + 9.0 / 40.0 * k2[i])
            k3 = rhs(t + 0.3 * h, at, parameters)
            for i in range(n):
                at[i] = y[i] + h * (44.0 / 45.0 * k1[i] - 56.0 / 15.0 * k2[i] + 32.0 / 9.0 * k3[i])
            k4 = rhs(t + 0.8 * h, at, parameters)
            for i in range(n):
                at[i] = y[i] + h * (
                    19372.0 / 6561.0 * k1[i] - 25360.0 / 2187.0 * k2[i]
                    + 64448.0 / 6561.0 * k3[i] - 212.0 / 729.0 * k4[i]
                )  # fmt: skip
            k5 = rhs(t + 8.0 / 9.0 * h, at, parameters)
            for i in range(n):
                at[i] = y[i] + h * (
                    9017.0 / 3168.0 * k1[i] - 355.0 / 33.0 * k2[i] + 46732.0 / 5247.0 * k3[i]
                    + 49.0 / 176.0 * k4[i] - 5103.0 / 18656.0 * k5[i]
                )  # fmt: skip
            k6 = rhs(t + h, at, parameters)
            for i in range(n):
                new[i] = y[i] + h * (
                    35.0 / 384.0 * k1[i] + 500.0 / 1113.0 * k3[i] + 125.0 / 192.0 * k4[i]
                    - 2187.0 / 6784.0 * k5[i] + 11.0 / 84.0 * k6[i]
                )  # fmt: skip
            k7 = rhs(t + h, new, parameters)
            for i in range(n):
                error[i] = h * (
                    71.0 / 57600.0 * k1[i] - 71.0 / 16695.0 * k3[i] + 71.0 / 1920.0 * k4[i]
                    - 17253.0 / 339200.0 * k5[i] + 22.0 / 525.0 * k6[i] - k7[i] / 40.0
                )  # fmt: skip
            size = error_norm(y, new, error, rtol, atol)
            change = step_change(size)
            if size <= 1.0:
                t = t + step if whole else times[m]
                for i in range(n):
                    y[i] = new[i]
                    k1[i] = k7[i]
                if whole:
                    eighths += change
            else:
                if not whole:
                    eighths = math.floor(8.0 * math.log2(h))
                eighths += min(change, -1)
        for i in range(n):
            path[m, i] = y[i] if t == times[m] else math.nan
    return path
