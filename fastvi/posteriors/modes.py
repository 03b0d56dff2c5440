"""Modes of a target: what a search before a fit found, and what a verdict draws around."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastvi.base.typing import AnyArray, Array

__all__ = ["Mode", "arrays_of", "modes_in"]


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


def arrays_of(modes: tuple[Mode, ...], dim: int) -> dict[str, AnyArray]:
    """Modes of `dim` numbers as the arrays of a file."""
    covs = [np.full((dim, dim), np.nan) if mode.cov is None else mode.cov for mode in modes]
    figures = [(mode.log_prob, mode.log_evidence, mode.share) for mode in modes]
    return {
        "modes.place": np.array([mode.place for mode in modes], np.float64).reshape(-1, dim),
        "modes.cov": np.array(covs, np.float64).reshape(-1, dim, dim),
        "modes.figures": np.array(figures, np.float64).reshape(-1, 3),
    }


def modes_in(arrays: dict[str, Array], dim: int, path: str) -> tuple[Mode, ...]:
    """Modes from the arrays of a file.

    Raises
    ------
    KeyError
        If an array is missing.
    ValueError
        If one has another shape.
    """
    places, covs, figures = (arrays[f"modes.{name}"] for name in ("place", "cov", "figures"))
    shapes = (
        (places, (len(places), dim)),
        (covs, (len(places), dim, dim)),
        (figures, (len(places), 3)),
    )
    if any(array.dtype != np.float64 or array.shape != shape for array, shape in shapes):
        raise ValueError(f"{path}: modes do not fit {dim} names")
    return tuple(
        Mode(
            place,
            float(log_prob),
            None if np.isnan(cov).any() else cov,
            float(evidence),
            float(share),
        )
        for place, cov, (log_prob, evidence, share) in zip(places, covs, figures)
    )
