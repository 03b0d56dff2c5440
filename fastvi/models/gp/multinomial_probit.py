"""Expectation propagation for latent Gaussian processes of several classes, one for each.

The class of a row is the largest of f_t + e_t, with standard normal e: the multinomial probit.
Given u, the e of the row's own class y, the others lose independently: p(y | f) = E prod_{t != y}
Phi(u + f_y - f_t). Each factor has a Gaussian site in h_t = u + f_y - f_t, and u is integrated out
exactly (Riihimaki, Jylanki and Vehtari 2013, "Nested expectation propagation for Gaussian process
classification with a multinomial probit likelihood"; here all sites of all rows are refreshed at
once, instead of in loops within loops). With site precisions tau (0 for y) and c = 1 + sum tau, a
row adds diag(d) - d d' / c to the precision of its f, where d is tau, and 1 for y.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastvi.base.typing import AnyArray, Array
from fastvi.models.gp.approximation import Approximation
from fastvi.models.gp.class_precision import ClassPrecision
from fastvi.models.gp.ep import DAMPING, SETTLED
from fastvi.propagation.evidence import change_of_sites, evidence_of_sites
from fastvi.propagation.tilted import probit

__all__ = ["propagate_classes"]


class _Here(NamedTuple):
    """The approximation at given sites."""

    precision: ClassPrecision
    weights: Array  # (T, N) a = K^-1 mean
    cavity_mean: Array  # (T, N) of h_t without its site
    cavity_variance: Array
    value: float  # the part of the evidence that is not the sites' own


def propagate_classes(
    K: Array,
    codes: AnyArray,
    n_classes: int,
    counts: Array,
    start: Array | None = None,
    *,
    max_iter: int = 100,
    tol: float = SETTLED,
    slope: bool = False,
) -> Approximation:
    """The fixed point for rows with classes `codes` (N,) and latents of covariance K each.

    Parameters as of `fastvi.models.gp.ep.propagate`; `start` (2, T, N) has a row's sites against
    each other class, and 0 for its own. `counts` are at least 1.

    Raises
    ------
    numpy.linalg.LinAlgError
        If K holds NaN or infinity.
    """
    own = codes == np.arange(n_classes)[:, None]
    sites = np.zeros((2, *own.shape)) if start is None else start.copy()
    step, before = 1.0, np.inf
    n_iter, converged = 0, False
    while True:
        here = _at(K, own, counts, sites)
        with np.errstate(all="ignore"):
            value, found = _refreshed(here, own, counts, sites)
        change = change_of_sites(found.reshape(2, -1), sites.reshape(2, -1))
        converged = change < tol
        if converged or n_iter >= max_iter:
            break
        if n_iter > 3 and change > DAMPING[0] * before:
            step = max(DAMPING[0] * step, DAMPING[1])
        before = change
        sites = sites + step * (found - sites)
        n_iter += 1
    by_k = None
    if slope:  # at the fixed point the evidence is stationary in sites and cavities
        by_k = 0.5 * (here.weights.T @ here.weights - here.precision.sum_of_blocks())
    return here.precision.approximation(value, here.weights, sites, n_iter, converged, by_k)


def _at(K: Array, own: AnyArray, counts: Array, sites: Array) -> _Here:
    """The posterior of f, and of each h_t of a copy of a row without its site."""
    tau, nu = sites
    d = np.where(own, 1.0, tau)
    c, total = d.sum(axis=0), nu.sum(axis=0)
    precision = ClassPrecision(K, d * counts)
    linear = counts * ((total / c) * d - nu)
    weights = linear - precision.times(linear @ K)
    f = weights @ K
    value = 0.5 * float((linear * f).sum()) - 0.5 * precision.log_determinant
    value += 0.5 * float(counts @ (total * total / c - np.log(c)))
    # u given f has the variance 1 / c and the mean (total - sum_s tau_s (f_y - f_s)) / c
    mean, cov = _differences(own, f, precision.variances())
    of_tau = np.einsum("stn,tn->sn", cov, tau)
    variance = 1.0 / c + np.einsum("ttn->tn", cov) - 2.0 * of_tau / c
    variance += (tau * of_tau).sum(axis=0) / c**2
    mean = mean + (total - (tau * mean).sum(axis=0)) / c
    left = 1.0 / variance - tau
    return _Here(precision, weights, (mean / variance - nu) / left, 1.0 / left, value)


def _differences(own: AnyArray, f: Array, cov: Array) -> tuple[Array, Array]:
    """Means (T, N) and covariances (T, T, N) of f_y - f_t, from those of f."""
    of_own = np.einsum("stn,sn->tn", cov, own)  # cov(f_y, f_t)
    variance = (of_own * own).sum(axis=0)
    spread = variance - of_own[:, None] - of_own[None] + cov
    return (f * own).sum(axis=0) - f, spread


def _refreshed(here: _Here, own: AnyArray, counts: Array, sites: Array) -> tuple[float, Array]:
    """The evidence at these sites, and the sites that match the tilted moments."""
    rival = ~own
    mean, variance = here.cavity_mean[rival], here.cavity_variance[rival]
    tilted = probit.tilted(np.ones(len(mean)), mean, variance)
    old = sites[:, rival]
    new = np.stack(tilted.natural(mean, variance))
    usable = (variance > 0) & np.all(np.isfinite(new), axis=0)
    new = np.where(usable, new, old)
    new[0] = np.maximum(new[0], 0.0)
    found = np.zeros_like(sites)
    found[:, rival] = new
    parts = np.where(usable, evidence_of_sites(tilted.log_z, old, mean, variance), 0.0)
    copies = np.broadcast_to(counts, own.shape)[rival]
    return here.value + float(copies @ parts), found
