"""Expectation propagation for a latent Gaussian process, by one factorization per sweep.

All sites are refreshed at once. With precisions T and B = I + T^1/2 K T^1/2 = L L', the marginal
variances are (1 - diag B^-1) / T, so that a sweep is a Cholesky factorization and the inverse of a
triangle (Rasmussen and Williams 2006, section 3.6, take rank-one updates instead).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import blas

from fastvi.base.typing import Array
from fastvi.models.gp.approximation import Approximation, inverse_factor, solve, whole_inverse
from fastvi.propagation.evidence import change_of_sites, evidence_of_sites
from fastvi.propagation.tilted import Site

__all__ = ["DAMPING", "propagate"]

LEAST = 1e-6  # of 1 - diag B^-1, below which rounding has taken its digits
DAMPING = 0.8, 0.1  # factor where changes do not shrink, and least step
SETTLED = 1e-5  # relative change of the sites


class Marginals(NamedTuple):
    """The Gaussian approximation at given sites."""

    mean: Array  # (N,)
    variance: Array  # (N,)
    weights: Array  # a = K^-1 mean
    roots: Array  # T^1/2
    inverse: Array  # L^-1, lower triangular, in Fortran order
    log_determinant: float  # of B


def propagate(
    K: Array,
    y: Array,
    counts: Array,
    site: Site,
    start: Array | None = None,
    *,
    max_iter: int = 100,
    tol: float = SETTLED,
    slope: bool = False,
) -> Approximation:
    """The fixed point of expectation propagation for targets y (N,) with latents of covariance K.

    Parameters
    ----------
    K : (N, N) array
    y : (N,) array
    counts : (N,) array
        How many rows each row counts as; a row of w < 1 has a site for p(y | f)^w.
    site : Site
    start : (2, N) array, optional
        Precisions and linear terms of the sites to start from; by default 0.
    max_iter : int
        Largest number of sweeps.
    tol : float
        Relative change of the sites below which sweeps end; the evidence is stationary there, so
        that its error is of the order of the square.
    slope : bool
        Return the derivative of the evidence by K as well.

    Raises
    ------
    numpy.linalg.LinAlgError
        If K holds NaN or infinity.
    """
    copies, powers = np.maximum(counts, 1.0), np.minimum(counts, 1.0)
    sites = np.zeros((2, len(y))) if start is None else start.copy()
    step, before = 1.0, np.inf
    n_iter, converged = 0, False
    while True:
        here = _marginals(K, copies * sites)
        with np.errstate(all="ignore"):
            value, found = _refreshed(here, y, copies, powers, site, sites)
        change = change_of_sites(found, sites)
        converged = change < tol
        if converged or n_iter >= max_iter:
            break
        if n_iter > 3 and change > DAMPING[0] * before:
            step = max(DAMPING[0] * step, DAMPING[1])
        before = change
        sites = sites + step * (found - sites)
        n_iter += 1
    return _found(here, value, sites, n_iter, converged, slope)


def _marginals(K: Array, total: Array) -> Marginals:
    """The approximation with all sites, whose precisions and linear terms are `total` (2, N)."""
    precision, linear = total
    roots = np.sqrt(precision)
    inverse, log_determinant = inverse_factor(K, roots)
    weights = linear - roots * solve(inverse, roots * (K @ linear))
    explained = 1.0 - np.einsum("ij,ij->j", inverse, inverse)
    variance = explained / np.maximum(precision, 1e-300)
    (lost,) = np.nonzero(~(explained > LEAST))
    if len(lost):
        columns = np.asfortranarray(K[:, lost] * roots[:, None])
        columns = blas.dtrmm(1.0, inverse, columns, lower=1)
        variance[lost] = K.diagonal()[lost] - np.einsum("ij,ij->j", columns, columns)
    return Marginals(K @ weights, variance, weights, roots, inverse, log_determinant)


def _refreshed(
    here: Marginals, y: Array, copies: Array, powers: Array, site: Site, sites: Array
) -> tuple[float, Array]:
    """The evidence at these sites, and the sites that match the tilted moments."""
    precision = 1.0 / here.variance - sites[0]
    mean = (here.mean / here.variance - sites[1]) / precision
    variance = 1.0 / precision
    tilted = site.tilted(y, mean, variance, powers)
    found = np.stack(tilted.natural(mean, variance))
    usable = (precision > 0) & np.all(np.isfinite(found), axis=0)
    found = np.where(usable, found, sites)
    if site.is_log_concave:
        found[0] = np.maximum(found[0], 0.0)
    whole = 0.5 * float((copies * sites[1]) @ here.mean) - 0.5 * here.log_determinant
    own = evidence_of_sites(tilted.log_z, sites, mean, variance)
    return whole + float(copies @ np.where(usable, own, 0.0)), found


def _found(
    here: Marginals, value: float, sites: Array, n_iter: int, converged: bool, slope: bool
) -> Approximation:
    by_k = None
    if slope:  # (a a' - T^1/2 B^-1 T^1/2) / 2
        by_k = -0.5 * whole_inverse(here.inverse, here.roots)
        half = 0.5 * here.weights
        by_k += half[:, None] * here.weights
    return Approximation(
        value,
        here.weights[None],
        here.roots[None],
        here.inverse[None],
        sites,
        n_iter,
        converged,
        by_k,
    )
