"""A plain twin of `kernels/hmc.py`: one move of one chain."""

import numpy as np


def move(log_prob_and_grad, z, size, n_steps, scale, momentum, uniform):
    """Where the chain is after a move, and by how much its energy would grow: Neal (2011), 5.2."""
    value, grad = log_prob_and_grad(z)
    q, p = z.copy(), momentum.copy()
    energy = 0.5 * p @ p - value
    p = p + 0.5 * size * scale * grad
    for step in range(n_steps):
        q = q + size * scale * p
        value, grad = log_prob_and_grad(q)
        if step < n_steps - 1:
            p = p + size * scale * grad
    p = p + 0.5 * size * scale * grad
    error = 0.5 * p @ p - value - energy
    return (q if np.log(uniform) < -error else z), error
