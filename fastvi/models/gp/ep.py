"""Expectation propagation for a latent Gaussian process, by one factorization per sweep.

All sites are refreshed at once. With precisions T and B = I + T^1/2 K T^1/2 = L L', the marginal
variances are (1 - diag B^-1) / T, so that a sweep is a Cholesky factorization and the inverse of a
triangle (Rasmussen and Williams 2006, section 3.6, take rank-one updates instead). While precisions
stay as they are, new means take O(N^2): they are moved towards their own fixed point before the
next factorization, which leaves fewer sweeps (Seeger and Nickisch 2011, "Fast convergent algorithms
for expectation propagation approximate Bayesian inference", settle means in an inner loop, too).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import blas

from fastvi.base.typing import Array
from fastvi.models.acceleration import combined
from fastvi.models.gp.approximation import Approximation, inverse_factor, solve, whole_inverse
from fastvi.propagation.evidence import change_of_sites, evidence_of_sites
from fastvi.propagation.tilted import Site, Tilted

__all__ = ["DAMPING", "propagate"]

LEAST = 1e-6  # of 1 - diag B^-1, below which rounding has taken its digits
DAMPING = 0.8, 0.1  # factor of steps where changes of whole ones shrink by less, and least step
EARLY = 4  # sweeps in which they may
SETTLED = 1e-5  # relative change of the sites
ASTRAY = 3.0  # growth of the change after which a step is taken back by half
NEAR = 1.0  # relative change of the sites, below which means are moved
MOVES = 2  # of the means in a sweep, at most
CALM = 0.1  # change of the linear terms, relative to that of the sites, after which they rest


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
    rows = _Rows(y, np.maximum(counts, 1.0), np.minimum(counts, 1.0), site)
    pace = _Pace(np.zeros((2, len(y))) if start is None else start.copy())
    n_iter = 0
    while True:
        sites = pace.sites
        here = _marginals(K, rows.copies * sites)
        with np.errstate(all="ignore"):
            matched = _matched(rows, sites, here.mean, here.variance)
            change = change_of_sites(matched.sites, sites)
            if change < tol or n_iter >= max_iter:
                value = _evidence(here, rows, sites, matched)
                return _found(here, value, sites, n_iter, change < tol, slope)
            found = matched.sites
            if change < min(pace.change, NEAR):
                found = _moved(K, here, rows, sites, matched, change)
        pace.go(found, change, is_early=n_iter < EARLY)
        n_iter += 1


class _Pace:
    """Sites, and how far they go: all the way, except where changes do not shrink."""

    def __init__(self, sites: Array) -> None:
        self.sites, self.change, self.share = sites, np.inf, 1.0
        self.last, self.move = sites, np.zeros_like(sites)

    def go(self, found: Array, change: float, is_early: bool) -> None:
        """Go towards the sites `found`, which differ by `change`, or half of the last way back."""
        if change > ASTRAY * self.change:
            self.share *= 0.5
        else:
            if not is_early:
                calm = change < (1.0 - (1.0 - DAMPING[0]) * self.share) * self.change
                share = self.share / DAMPING[0] if calm else DAMPING[0] * self.share
                self.share = min(max(share, DAMPING[1]), 1.0)
            self.last, self.move, self.change = self.sites, found - self.sites, change
        self.sites = self.last + self.share * self.move


def _marginals(K: Array, total: Array) -> Marginals:
    """The approximation with all sites, whose precisions and linear terms are `total` (2, N)."""
    precision, linear = total
    roots = np.sqrt(precision)
    if not roots.any() and np.all(np.isfinite(K)):
        identity = np.eye(len(K), order="F")
        return Marginals(K @ linear, K.diagonal().copy(), linear, roots, identity, 0.0)
    inverse, log_determinant = inverse_factor(K, roots)
    weights = _weights(K, roots, inverse, linear)
    explained = 1.0 - np.einsum("ij,ij->j", inverse, inverse)
    variance = explained / np.maximum(precision, 1e-300)
    (lost,) = np.nonzero(~(explained > LEAST))
    if len(lost):
        columns = np.asfortranarray(K[:, lost] * roots[:, None])
        columns = blas.dtrmm(1.0, inverse, columns, lower=1)
        variance[lost] = K.diagonal()[lost] - np.einsum("ij,ij->j", columns, columns)
    return Marginals(K @ weights, variance, weights, roots, inverse, log_determinant)


def _weights(K: Array, roots: Array, inverse: Array, linear: Array) -> Array:
    """K^-1 times the mean, given all sites' linear terms."""
    return np.asarray(linear - roots * solve(inverse, roots * (K @ linear)))


class _Rows(NamedTuple):
    """What likelihoods the sites stand for."""

    y: Array
    copies: Array  # how many sites a row has
    powers: Array  # of its likelihood
    site: Site


class _Matched(NamedTuple):
    """Cavities, and sites that match the moments of the tilted distributions."""

    mean: Array  # (N,) of the cavities
    variance: Array
    tilted: Tilted
    usable: Array  # (N,) whether the cavity and its site are proper
    sites: Array  # (2, N)


def _matched(rows: _Rows, sites: Array, mean: Array, variance: Array) -> _Matched:
    """The sites that these, and marginals with these means and variances, lead to."""
    precision = 1.0 / variance - sites[0]
    mean = (mean / variance - sites[1]) / precision
    variance = 1.0 / precision
    tilted = rows.site.tilted(rows.y, mean, variance, rows.powers)
    found = np.stack(tilted.natural(mean, variance))
    usable = (precision > 0) & np.all(np.isfinite(found), axis=0)
    found = np.where(usable, found, sites)
    if rows.site.is_log_concave:
        found[0] = np.maximum(found[0], 0.0)
    return _Matched(mean, variance, tilted, usable, found)


def _evidence(here: Marginals, rows: _Rows, sites: Array, matched: _Matched) -> float:
    """Log evidence in nats."""
    whole = 0.5 * float((rows.copies * sites[1]) @ here.mean) - 0.5 * here.log_determinant
    own = evidence_of_sites(matched.tilted.log_z, sites, matched.mean, matched.variance)
    return whole + float(rows.copies @ np.where(matched.usable, own, 0.0))


def _moved(
    K: Array, here: Marginals, rows: _Rows, sites: Array, matched: _Matched, change: float
) -> Array:
    """The sites to go to, after moves of the means at the same precisions and variances.

    A move adds to the linear terms what the marginal means lack of the tilted ones, and is
    extrapolated from the one before (Anderson 1965). Moves end where they no longer help.
    """
    linear, mean, found, before = sites[1], here.mean, matched.sites, np.inf
    points: list[Array] = []
    updates: list[Array] = []
    for n in range(MOVES + 1):
        gain = matched.mean + matched.variance * matched.tilted.slope - mean
        gain = np.where(matched.usable, gain / here.variance, 0.0)
        size = float(np.linalg.norm(gain)) / max(float(np.linalg.norm(linear + gain)), 1e-300)
        if not size < before:
            break
        before, found = size, matched.sites
        if n == MOVES or size < CALM * min(change, 1.0):
            break
        points.append(linear)
        updates.append(linear + gain)
        linear = combined(np.stack(points), np.stack(updates)) if n else updates[0]
        mean = K @ _weights(K, here.roots, here.inverse, rows.copies * linear)
        matched = _matched(rows, np.stack((sites[0], linear)), mean, here.variance)
    return found


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
