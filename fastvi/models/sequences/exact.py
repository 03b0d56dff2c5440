"""Forward and backward passes in logs, for rows that ordinary numbers cannot weigh."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from fastvi.base.typing import Array

__all__ = ["exact_posteriors"]


def exact_posteriors(
    logs: Array, start: Array, transitions: Array, first: NDArray[np.int64]
) -> tuple[float, Array, Array, Array]:
    """Return the log norm, sums of first states (K,) and of pairs (K, K), and posteriors (n, K).

    Some microseconds per row: `Chain` calls it only where a row's likelihood, given those before
    it, is so small that states which mattered may have been lost to underflow.

    Parameters
    ----------
    logs : (n, K) array
        Log likelihoods of rows.
    start, transitions : (K,) and (K, K) arrays
        Weights of the chain; states of weight 0 are never visited.
    first : (n_sequences,) array of int
        First rows of sequences.
    """
    n, k = logs.shape
    with np.errstate(divide="ignore"):
        log_start, moves = np.log(start), np.log(transitions)
    alpha, norms = np.empty((n, k)), np.empty(n)  # alpha is relative to its sum
    posterior, pairs = np.empty((n, k)), np.zeros((k, k))
    begins = np.zeros(n, bool)
    begins[first] = True
    for t in range(n):
        before = log_start if begins[t] else logsumexp(alpha[t - 1][:, None] + moves, axis=0)
        alpha[t] = before + logs[t]
        norms[t] = logsumexp(alpha[t])
        alpha[t] -= norms[t] if np.isfinite(norms[t]) else 0.0
    beta = np.zeros(k)
    for t in range(n - 1, -1, -1):
        posterior[t] = _shares(alpha[t] + beta)
        if t and not begins[t]:
            ahead = logs[t] + beta - norms[t]
            pairs += _shares(alpha[t - 1][:, None] + moves + ahead)
            beta = logsumexp(moves + ahead, axis=1)
        else:
            beta = np.zeros(k)
    return float(norms.sum()), posterior[first].sum(axis=0), pairs, posterior


def _shares(logs: Array) -> Array:
    """Numbers with these logs, divided by their sum."""
    total = logsumexp(logs)
    return np.exp(logs - total) if np.isfinite(total) else np.zeros_like(logs)
