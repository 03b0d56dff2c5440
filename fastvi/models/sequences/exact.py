"""Forward and backward passes in logs, for rows that ordinary numbers cannot weigh."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import Array

__all__ = ["exact_posteriors"]


def exact_posteriors(
    logs: Array, start: Array, transitions: Array, first: NDArray[np.int64]
) -> tuple[float, Array, Array, Array]:
    """Return the log norm, sums of first states (K,) and of pairs (K, K), and posteriors (n, K).

    Sequences that no path explains have posteriors of 0. This takes tens of microseconds per row:
    `Chain` calls it only where a row's likelihood, given those before it, is so small that states
    which mattered may have been lost to underflow.

    Parameters
    ----------
    logs : (n, K) array
        Log likelihoods of rows.
    start, transitions : (K,) and (K, K) arrays
        Weights of the chain; states of weight 0 are never visited.
    first : (n_sequences,) array of int
        First rows of sequences.
    """
    with np.errstate(divide="ignore"):
        log_start, moves = np.log(start), np.log(transitions)
        return _in_logs(logs, log_start, moves, first)


def _in_logs(
    logs: Array, log_start: Array, moves: Array, first: NDArray[np.int64]
) -> tuple[float, Array, Array, Array]:
    """The same, from logs of weights."""
    n, k = logs.shape
    alpha, norms = np.empty((n, k)), np.empty(n)  # alpha is relative to its sum
    posterior, pairs = np.empty((n, k)), np.zeros((k, k))
    begins = np.zeros(n, bool)
    begins[first] = True
    for t in range(n):
        before = log_start if begins[t] else _log_sum(alpha[t - 1][:, None] + moves, axis=0)
        alpha[t] = before + logs[t]
        norms[t] = _log_sum(alpha[t])
        alpha[t] -= norms[t] if np.isfinite(norms[t]) else 0.0
    possible = np.repeat(np.isfinite(np.add.reduceat(norms, first)), np.diff([*first, n]))
    beta = np.zeros(k)
    for t in range(n - 1, -1, -1):
        if not possible[t]:
            posterior[t], beta = 0.0, np.zeros(k)
            continue
        posterior[t] = _shares(alpha[t] + beta)
        if t and not begins[t]:
            ahead = logs[t] + beta - norms[t]
            pairs += _shares(alpha[t - 1][:, None] + moves + ahead)
            beta = _log_sum(moves + ahead, axis=1)
        else:
            beta = np.zeros(k)
    return float(norms.sum()), posterior[first].sum(axis=0), pairs, posterior


def _shares(logs: Array) -> Array:
    """Numbers with these logs, divided by their sum."""
    found: Array = np.exp(logs - logs.max())
    return np.asarray(found / found.sum())


def _log_sum(logs: Array, axis: int | None = None) -> Array:
    """Log of the sum of exp; several times as fast on small arrays as SciPy's."""
    top = np.maximum(logs.max(axis=axis), -1e300)
    shift = top if axis is None else np.expand_dims(top, axis)
    return np.asarray(np.log(np.exp(logs - shift).sum(axis=axis)) + top)
