"""What happens at the borders of blocks of hidden chains."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import Array
from fastvi.kernels._chain_steps import LANES

__all__ = ["betas", "borders", "by_block", "by_group", "reached", "shares", "stationary"]

LEAPS = 1e-6  # share of steps that lead to any state, so that every chain mixes in the end


def stationary(transitions: Array) -> Array:
    """Probabilities of states after many steps, (K,), of which a few lead anywhere."""
    k = len(transitions)
    steps = transitions / transitions.sum(axis=1, keepdims=True)
    found = np.linalg.solve(np.eye(k) - (1.0 - LEAPS) * steps.T, np.full(k, LEAPS / k))
    return np.asarray(found / found.sum())


def borders(transfers: Array) -> Array:
    """Alpha before each block, (K, 16 G), from what blocks do (16 G, K, K)."""
    n_blocks, k, _ = transfers.shape
    found = np.full((k, n_blocks), 1.0 / k)
    for b in range(1, n_blocks):
        after = found[:, b - 1] @ transfers[b - 1]
        found[:, b] = after / after.sum() if after.sum() > 0 else 1.0 / k
    return found


def betas(transfers: Array, ends: Array) -> Array:
    """Beta at the ends of blocks, (K, 16 G), so that their sum with ends (K, 16 G) is 1."""
    found = np.ones_like(ends)
    for b in range(len(transfers) - 2, -1, -1):
        beta = transfers[b + 1] @ found[:, b + 1]
        found[:, b] = beta / beta.max() if beta.max() > 0 else 1.0
    return np.asarray(found / (found * ends).sum(axis=0))


def reached(start: Array, transitions: Array) -> NDArray[np.bool_]:
    """Whether a path leads to each state, (K,)."""
    found, n = start > 0, 0
    while n < found.sum():
        n = int(found.sum())
        found = found | (transitions[found] > 0).any(axis=0)
    return found


def by_block(values: Array) -> Array:
    """From (G, K, L) to (K, 16 G)."""
    return values.transpose(1, 0, 2).reshape(values.shape[1], -1)


def by_group(values: Array) -> Array:
    """From (K, 16 G) to (G, K, L)."""
    k = len(values)
    return np.ascontiguousarray(values.reshape(k, -1, LANES).transpose(1, 0, 2))


def shares(messages: Array) -> Array:
    """Divide by the sum over states."""
    return np.asarray(messages / messages.sum(axis=0))
