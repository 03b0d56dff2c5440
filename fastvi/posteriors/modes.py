"""Modes of a target: what a search before a fit found, and what a verdict draws around."""

from __future__ import annotations

from typing import NamedTuple

from fastvi.base.typing import Array

__all__ = ["Mode"]


class Mode(NamedTuple):
    """A local maximum of the log density of the unconstrained parameters.

    Attributes
    ----------
    place : (D,) array
        Unconstrained parameters.
    log_prob : float
        Log density there, in nats.
    cov : (D, D) array or None
        Inverse of the negated Hessian; None where that is not positive definite.
    log_evidence : float
        Log of the integral of Laplace's approximation, in nats; nan without `cov`.
    share : float
        Evidence divided by the sum over all modes found; nan without `cov`.
    """

    place: Array
    log_prob: float
    cov: Array | None
    log_evidence: float
    share: float
