"""Plain twins of `kernels/sgd.py`, and the stationary covariance that theory gives."""

import numpy as np
from scipy.linalg import solve_discrete_lyapunov


def walk(grad, batches, rate, z):
    """Places after each step of constant SGD: grad(z, rows) is the gradient of a batch."""
    places = []
    for rows in batches:
        z = z + rate @ grad(z, rows)
        places.append(z)
    return np.array(places)


def stationary(rate, curvature, noise):
    """Covariance of the iterates z + rate (noise - curvature z)."""
    step = np.eye(len(curvature)) - rate @ curvature
    return solve_discrete_lyapunov(step, rate @ noise @ rate.T)


def best_scalar_rate(curvature, row_covariance, n_rows, batch_size):
    """Mandt, Hoffman and Blei (2017), Theorem 1, for the loss divided by n_rows.

    `row_covariance` is that of the gradient of one row's loss.
    """
    return 2.0 * batch_size * len(curvature) / (n_rows * np.trace(row_covariance))
