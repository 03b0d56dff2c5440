"""Plain twin of Pathfinder's Gaussians: matrices written out, one update after the other."""

import numpy as np


def diagonal(alpha, s, z):
    """Zhang et al. (2022), algorithm 3, one coordinate at a time."""
    d = len(s)
    a = sum(alpha[j] * z[j] ** 2 for j in range(d))
    b = sum(z[j] * s[j] for j in range(d))
    c = sum(s[j] ** 2 / alpha[j] for j in range(d))
    return np.array(
        [
            1.0 / (a / (b * alpha[j]) + z[j] ** 2 / b - a * s[j] ** 2 / (b * c * alpha[j] ** 2))
            for j in range(d)
        ]
    )


def covariance(alpha, updates):
    """BFGS from diag(alpha) through all updates (s, z): Nocedal and Wright (2006), eq. 6.17."""
    H, eye = np.diag(alpha), np.eye(len(alpha))
    for s, z in updates:
        left = eye - np.outer(s, z) / (s @ z)
        H = left @ H @ left.T + np.outer(s, s) / (s @ z)
    return H


def at_each_step(points, grads, memory):
    """(mean, covariance) at each iterate but the first."""
    alpha, updates = np.ones(points.shape[1]), []
    for i in range(1, len(points)):
        s, z = points[i] - points[i - 1], grads[i - 1] - grads[i]
        alpha = diagonal(alpha, s, z)
        updates = [*updates, (s, z)][-memory:]
        H = covariance(alpha, updates)
        yield points[i] + H @ grads[i], H
