"""Plain twins of `kernels/modes.py`, and of what a search weighs modes with."""

import math

import numpy as np


def inverse(steps, bends, units):
    """The BFGS inverse after all updates: Nocedal and Wright (2006), eq. 6.17, as matrices.

    It begins at units units' times s'y / y' units units' y of the last update.
    """
    base = units @ units.T
    H = base * (steps[-1] @ bends[-1]) / (bends[-1] @ base @ bends[-1]) if len(steps) else base
    eye = np.eye(len(base))
    for s, y in zip(steps, bends):
        rho = 1.0 / (s @ y)
        left = eye - rho * np.outer(s, y)
        H = left @ H @ left.T + rho * np.outer(s, s)
    return H


def log_student(z, mean, cov, freedom):
    """Log density of a multivariate Student's t, with its determinant and inverse written out."""
    d, away = len(mean), np.asarray(z) - mean
    square = away @ np.linalg.inv(cov) @ away
    height = math.lgamma(0.5 * (freedom + d)) - math.lgamma(0.5 * freedom)
    height -= 0.5 * d * math.log(freedom * math.pi) + 0.5 * math.log(np.linalg.det(cov))
    return height - 0.5 * (freedom + d) * math.log(1.0 + square / freedom)


def is_over(n, n_modes):
    """Boender's rule, in whole numbers: 2 w (n - 1) < (2 w + 1) (n - w - 2)."""
    return 2 * n_modes * (n - 1) < (2 * n_modes + 1) * (n - n_modes - 2)
