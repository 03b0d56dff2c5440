"""Rows of a random stable linear system, the same for all."""

import numpy as np


def problem(n, k, d, gaps=0.0, seed=0):
    """Rows (n, d), a share of them missing, and the system: transition, noises, loadings, start."""
    rng = np.random.default_rng(seed)
    A = 0.95 * np.linalg.qr(rng.normal(size=(k, k)))[0]
    C, Q, R = rng.normal(size=(d, k)), 0.3 * np.eye(k) + 0.1, rng.random(d) + 0.5
    steps = rng.normal(size=(n, k)) @ np.linalg.cholesky(Q).T
    states = np.zeros((n, k))
    for t in range(1, n):
        states[t] = A @ states[t - 1] + steps[t]
    X = states @ C.T + rng.normal(size=(n, d)) * np.sqrt(R)
    X[rng.random(n) < gaps] = np.nan
    return X, A, Q, C, R, np.zeros(k), np.eye(k)
