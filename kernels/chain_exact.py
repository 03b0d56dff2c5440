"""Forward and backward passes in logs, for rows that ordinary numbers cannot weigh."""

import math

import numpy as np

from ._jit import kernel


@kernel
def _log_sum(logs):
    """Log of the sum of exp of (K,); -inf where all are."""
    top = -np.inf
    for i in range(logs.shape[0]):
        top = max(top, logs[i])
    if top == -np.inf:
        return top
    total = 0.0
    for i in range(logs.shape[0]):
        total += math.exp(logs[i] - top)
    return top + math.log(total)


@kernel
def forward_in_logs(logs, start, moves, begins, alpha, norms):
    """Logs of filtered probabilities alpha (n, K), and of rows given those before, norms (n,).

    logs (n, K) of likelihoods, start (K,) and moves (K, K) [to, from] are logs; begins (n,) says
    which rows are the first ones of sequences. After a row that no path explains, alpha is -inf.
    """
    n, n_states = logs.shape
    paths = np.empty(n_states)
    for t in range(n):
        for j in range(n_states):
            if begins[t]:
                alpha[t, j] = start[j] + logs[t, j]
            else:
                for i in range(n_states):
                    paths[i] = alpha[t - 1, i] + moves[j, i]
                alpha[t, j] = _log_sum(paths) + logs[t, j]
        norms[t] = _log_sum(alpha[t])
        if norms[t] > -np.inf:
            for j in range(n_states):
                alpha[t, j] -= norms[t]


@kernel
def backward_in_logs(logs, moves, begins, possible, inside, norms, alpha, pairs):
    """Turn alpha into posteriors, and add those of pairs (K, K), whose later row is inside (n,).

    moves (K, K) [from, to] are logs. Rows that are not possible (n,) have posteriors of 0.
    """
    n, n_states = logs.shape
    beta, ahead, paths = np.zeros(n_states), np.empty(n_states), np.empty(n_states)
    for t in range(n - 1, -1, -1):
        for j in range(n_states):
            paths[j] = alpha[t, j] + beta[j]
        total = _log_sum(paths) if possible[t] else 0.0
        for j in range(n_states):
            alpha[t, j] = math.exp(paths[j] - total) if possible[t] else 0.0
            ahead[j] = logs[t, j] + beta[j] - total - norms[t] if possible[t] else 0.0
        goes_on = possible[t] and not begins[t]
        for i in range(n_states):
            for j in range(n_states):
                paths[j] = moves[i, j] + ahead[j]
            beta[i] = _log_sum(paths) if goes_on else 0.0
            if goes_on and inside[t]:
                for j in range(n_states):
                    pairs[i, j] += math.exp(alpha[t - 1, i] + paths[j])
