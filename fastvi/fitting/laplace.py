"""Laplace's method: a Gaussian at the mode, without draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from fastvi.base import checks
from fastvi.base.typing import Array, Options
from fastvi.targets.base import Target
from fastvi.targets.curvature import hessian, inverse_of

__all__ = ["Laplace", "laplace"]

MAX_ITER = 1000
IMPOSSIBLE = 1e300  # of the negated log density where it is not finite


class Laplace(NamedTuple):
    """A mode and the curvature there.

    Attributes
    ----------
    mode : (D,) array
    cov : (D, D) array or None
        Inverse of the negated Hessian; None if that is not positive definite.
    log_evidence : float
        Of the Gaussian with the target's height and curvature at the mode, nats; nan without `cov`.
    converged : bool
        Whether the gradient vanishes at the mode, within the tolerance.
    n_evaluations : int
    """

    mode: Array
    cov: Array | None
    log_evidence: float
    converged: bool
    n_evaluations: int


def laplace(
    target: Target,
    start: Array,
    *,
    method: str = "lbfgs",
    hessian_of: Callable[[Array], Array] | None = None,
    max_iter: int = MAX_ITER,
    tol: float = 1e-8,
) -> Laplace:
    """Laplace's method (Tierney and Kadane 1986): a Gaussian with the mode's curvature.

    Parameters
    ----------
    target : Target
        With gradient.
    start : (D,) array
        Where the density is finite.
    method : {"lbfgs", "trust"}
        How to find the mode: L-BFGS, or a trust region, which takes a Hessian per step but fewer
        steps, and gets away from places where the curvature has the wrong sign.
    hessian_of : callable, optional
        ``z -> (D, D)``, that of the log density; by default from differences of gradients.
    max_iter : int
    tol : float
        Length of the gradient at which the search ends, or its square in posterior standard
        deviations; for L-BFGS also, times 1e-4, the relative change of the log density.

    Returns
    -------
    Laplace

    Raises
    ------
    ValueError
        If `method` is unknown, or `hessian_of` returns another shape.
    """
    method = checks.choice(method, "method", ("lbfgs", "trust"))
    n_evaluations = 0

    def negated(z: Array) -> tuple[float, Array]:
        nonlocal n_evaluations
        n_evaluations += 1
        values, slopes = target.attempt(z[None])
        if not (np.isfinite(values[0]) and np.all(np.isfinite(slopes[0]))):
            return IMPOSSIBLE, np.zeros(len(z))
        return -float(values[0]), -slopes[0]

    def precision_at(z: Array) -> Array:
        nonlocal n_evaluations
        if hessian_of is None:
            n_evaluations += 2 * len(z)
            return -hessian(target, z)
        given = np.asarray(hessian_of(z), np.float64)
        if given.shape != (len(z), len(z)):
            raise ValueError(
                f"hessian_of gives shape {given.shape}; wanted ({len(z)}, {len(z)}) for {len(z)} "
                "free numbers"
            )
        return -0.5 * (given + given.T)

    def curvature(z: Array) -> Array:
        found = precision_at(z)
        return found if np.all(np.isfinite(found)) else np.eye(len(z))

    options: Options = {"maxiter": max_iter, "gtol": tol}
    if method == "trust":
        found = minimize(
            negated, start, jac=True, hess=curvature, method="trust-exact", options=options
        )
    else:
        options |= {"ftol": tol * 1e-4, "maxcor": 10}
        found = minimize(negated, start, jac=True, method="L-BFGS-B", options=options)
    mode = np.asarray(found.x)
    precision = precision_at(mode)
    cov = inverse_of(precision)
    log_evidence, converged = float("nan"), bool(found.success)
    if cov is not None:
        log_det = float(np.linalg.slogdet(precision)[1])
        log_evidence = -float(found.fun) + 0.5 * (len(mode) * np.log(2 * np.pi) - log_det)
        # Where units are small, rounding alone leaves a gradient longer than tol.
        converged = converged or bool(found.jac @ cov @ found.jac < tol)
    return Laplace(mode, cov, log_evidence, converged, n_evaluations)
