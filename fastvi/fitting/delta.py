"""The delta method for variational inference: second-order Taylor expansions, without draws."""

from __future__ import annotations

import numpy as np

from fastvi.fitting.laplace import Laplace
from fastvi.targets.base import Target
from fastvi.targets.curvature import hessian, inverse_of

__all__ = ["delta"]

STEP = 0.05  # standard deviations, of the second differences of gradients


def delta(target: Target, found: Laplace, *, max_iter: int = 100, tol: float = 1e-6) -> Laplace:
    """Move Laplace's approximation to where the delta method's bound is highest.

    "Variational inference in nonconjugate models" (Wang and Blei 2013, section 3.2): the expected
    log density of N(m, S) is expanded about m to second order, f(m) + tr(H(m) S) / 2. The best S
    is -H(m)^-1, as for Laplace; m is where the gradient plus half the gradient of tr(H S), a third
    derivative, vanishes. The latter is a sum of second differences of gradients along the columns
    of the root of S, which takes 2 D gradients per step.

    Parameters
    ----------
    target : Target
        With gradient.
    found : Laplace
        Where to start; it must have a covariance.
    max_iter : int
    tol : float
        Length of the last step, in standard deviations.

    Returns
    -------
    Laplace
        With the mean as `mode`; `log_evidence` is the bound.
    """
    assert found.cov is not None
    mean, cov = found.mode, found.cov
    n_evaluations, length = found.n_evaluations, np.inf
    for _ in range(max_iter):
        root = np.linalg.cholesky(cov)
        shifts = STEP * root.T
        points = np.concatenate((mean[None], mean + shifts, mean - shifts))
        _, slopes = target.attempt(points)
        n_evaluations += len(points) + 2 * len(mean)
        n = len(mean)
        third = np.sum(slopes[1 : n + 1] + slopes[n + 1 :] - 2.0 * slopes[0], axis=0) / STEP**2
        step = root.T @ (slopes[0] + 0.5 * third)
        length = float(np.linalg.norm(step))
        new = mean + root @ (step / max(1.0, length))
        new_cov = inverse_of(-hessian(target, new))
        if new_cov is None or not np.isfinite(length):
            break
        mean, cov = new, new_cov
        if length < tol:
            break
    value = float(target.attempt(mean[None], with_gradient=False)[0][0])
    log_det = float(np.linalg.slogdet(cov)[1])
    bound = value + 0.5 * (len(mean) * np.log(2 * np.pi) + log_det)
    return Laplace(mean, cov, bound, length < tol, n_evaluations)
