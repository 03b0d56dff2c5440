"""Forward and backward passes in logs, for rows that ordinary numbers cannot weigh."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import Array
from fastvi.kernels.chain_exact import backward_in_logs, forward_in_logs

__all__ = ["ExactPosteriors", "exact_posteriors"]


class ExactPosteriors(NamedTuple):
    """The log norm, sums over pairs (K, K), posteriors (n, K), and which sequences are possible."""

    log_norm: float
    pairs: Array
    posterior: Array
    possible: NDArray[np.bool_]


def exact_posteriors(
    logs: Array,
    start: Array,
    transitions: Array,
    first: NDArray[np.int64],
    inside: NDArray[np.bool_] | None = None,
) -> ExactPosteriors:
    """Sum over all paths in logs, which takes about ten times as long as without.

    Sequences that no path explains have posteriors of 0. `Chain` calls this only where a row's
    likelihood, given those before it, is so small that states which mattered may have been lost to
    underflow.

    Parameters
    ----------
    logs : (n, K) array
        Log likelihoods of rows.
    start, transitions : (K,) and (K, K) arrays
        Weights of the chain; states of weight 0 are never visited.
    first : (n_sequences,) array of int
        First rows of sequences.
    inside : (n,) array of bool, optional
        Rows that count in sums; by default all.
    """
    n, k = logs.shape
    begins, norms, alpha = np.zeros(n, bool), np.empty(n), np.empty((n, k))
    begins[first] = True
    inside = np.ones(n, bool) if inside is None else inside
    with np.errstate(divide="ignore"):
        log_start, moves = np.log(start), np.log(transitions)
    logs = np.ascontiguousarray(logs)
    forward_in_logs(logs, log_start, np.ascontiguousarray(moves.T), begins, alpha, norms)
    possible = np.isfinite(np.add.reduceat(norms, first))
    rows, pairs = np.repeat(possible, np.diff([*first, n])), np.zeros((k, k))
    backward_in_logs(logs, moves, begins, rows, inside, norms, alpha, pairs)
    return ExactPosteriors(float(norms[inside].sum()), pairs, alpha, possible)
