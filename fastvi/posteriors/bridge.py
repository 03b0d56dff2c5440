"""Bridge sampling: evidence from draws of proposals and draws of the target."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import expit, logsumexp

from fastvi.base.typing import Array

__all__ = ["Evidence", "bridge"]

MOST_ROUNDS, ENOUGH = 1000, 1e-10  # of the iteration, and change in nats at which it ends


class Evidence(NamedTuple):
    """Log evidence in nats, and its Monte Carlo standard error."""

    log: float
    error: float


def bridge(of_proposals: Array, of_target: Array) -> Evidence:
    """Log of the target's integral by the optimal bridge (Meng and Wong 1996).

    The error is that of Frühwirth-Schnatter (2004), eq. 14 to 16; draws of chains depend on each
    other, and their part of it is estimated from the spread between chains.

    Parameters
    ----------
    of_proposals : (n,) array
        Log of target over proposal density at independent draws from the proposals, nats; -inf
        where the target has no density.
    of_target : (m, C) array
        The same at m draws of each of C independent chains of the target; (1, C) for independent
        draws.

    Returns
    -------
    Evidence
        The error is infinite if the iteration did not converge, or no draw from the proposals
        has a density.
    """
    n, n_target = len(of_proposals), of_target.size
    offset = float(np.log(n_target) - np.log(n))  # log of the ratio of shares
    log_r = float(logsumexp(of_proposals) - np.log(n))
    for _ in range(MOST_ROUNDS if np.isfinite(log_r) else 0):
        # p / (s_p p + s_q r q) and q / (s_p p + s_q r q), as logistic functions of log p / (r q)
        above = logsumexp(-np.logaddexp(offset, log_r - of_proposals)) - np.log(n)
        below = logsumexp(-np.logaddexp(offset + of_target, log_r)) - np.log(n_target)
        before, log_r = log_r, float(above - below)
        if abs(log_r - before) < ENOUGH:
            return Evidence(log_r, _error(of_proposals - log_r, of_target - log_r, offset))
    return Evidence(log_r, np.inf)


def _error(of_proposals: Array, of_target: Array, offset: float) -> float:
    """Relative standard error, for log ratios of normalised densities."""
    first = expit(of_proposals + offset)  # both up to a factor
    second = expit(-of_target - offset)
    own = first.var() / first.mean() ** 2 / len(first)
    chains = second.mean(axis=0)
    other = chains.var(ddof=1) / second.mean() ** 2 / len(chains) if len(chains) > 1 else np.inf
    return float(np.sqrt(own + other))
