"""Bounds on the errors of a Gaussian approximation, from its divergence to the target.

Huggins, Kasprzak, Campbell and Broderick (2020), "Validated variational inference via practical
posterior error bounds". For w = p / q of the target p and the approximation q, E_q[(w - 1)^2] =
exp(D) - 1 with the Rényi divergence D of order 2, and moments and Wasserstein distances follow by
the Cauchy-Schwarz inequality; Villani (2009), theorem 6.15, with the constants that hold for it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastvi.base.typing import Array
from fastvi.posteriors.importance import Proposals, Weighted
from fastvi.posteriors.psis import psis

__all__ = ["ErrorBounds", "bounds_of"]

HEAVY = 0.7  # k-hat from which a mean of squared weights is not trusted
ERRORS = 2.0  # standard errors by which estimates are raised


class ErrorBounds(NamedTuple):
    """How far the target's moments can be from those of the approximation.

    Attributes
    ----------
    divergence : float
        Bound on the Rényi divergence of order 2 of the target from the approximation, nats.
    mean, sd : (D,) array
        Bounds on the errors of means and standard deviations of the unconstrained parameters.
    wasserstein1, wasserstein2 : float
        Bounds on the Wasserstein distances of order 1 and 2, for Euclidean distances of the
        unconstrained parameters.
    """

    divergence: float
    mean: Array
    sd: Array
    wasserstein1: float
    wasserstein2: float


def bounds_of(proposals: Proposals, found: Weighted) -> ErrorBounds:
    """Bounds for the Gaussian that proposals are made around, from weighted draws of theirs.

    Raises
    ------
    ValueError
        If the divergence seems to be infinite.
    """
    divergence = _divergence(proposals, found)
    square = float(np.expm1(divergence))  # of the chi-square distance
    cov, sd = proposals.member.cov, proposals.member.sd
    total = float(np.trace(cov))
    fourth = total**2 + 2.0 * float(np.square(cov).sum())  # E |z - mean|^4
    first = float(np.sqrt(total * square))
    second = float(np.sqrt(2.0) * (fourth * square) ** 0.25)
    wide = np.sqrt(2.0 * square)  # relative change of E (z - mean)^2, at most
    narrower = 1.0 - np.sqrt(max(1.0 - wide - square, 0.0))
    wider = np.sqrt(1.0 + wide) - 1.0
    of_sd = np.minimum(max(narrower, wider) * sd, second)
    return ErrorBounds(divergence, np.minimum(np.sqrt(square) * sd, first), of_sd, first, second)


def _divergence(proposals: Proposals, found: Weighted) -> float:
    """Upper estimate of the divergence: twice the chi upper bound less the log evidence.

    E_q[w^2] is a mean over draws of the proposals, which also go where q does not.
    """
    densities = proposals.log_probs(found.points)
    with np.errstate(invalid="ignore"):
        terms = 2.0 * found.log_ratios + densities.proposals - densities.own
    terms = np.where(np.isfinite(found.log_ratios), terms, -np.inf)
    smooth = psis(terms)
    if not smooth.khat < HEAVY:
        raise ValueError(
            "error bounds cannot be had: the target's tails seem too heavy for the approximation, "
            f"so that their divergence is infinite (k-hat of squared weights {smooth.khat:.2f})"
        )
    own, n = np.exp(smooth.log_weights), len(terms)
    error = np.sqrt(max(float(np.square(own).sum()) - 1.0 / n, 0.0))
    of_evidence = np.sqrt(max(1.0 / found.size - 1.0 / n, 0.0))
    log_square = smooth.log_mean - 2.0 * found.log_mean
    return max(float(log_square + ERRORS * (error + 2.0 * of_evidence)), 0.0)
