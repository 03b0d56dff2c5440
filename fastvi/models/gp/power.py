"""Power expectation propagation with inducing inputs, for many rows and any likelihood.

Bui, Yan and Turner (2017), "A unifying framework for Gaussian process pseudo-point approximations
using power expectation propagation". With K(z, z) = L L' and u = L v, row n sees v through a_n =
L^-1 k(z, x_n): f_n given v is N(a_n' v, d_n) with d_n = k(x_n, x_n) - |a_n|^2. Its site is a
Gaussian function of a_n' v, with precision t_n and linear term l_n; q(v) has the precision S = I +
sum t_n a_n a_n'. At power 1 this is EP, or FITC for Gaussian noise; towards 0 it is the variational
bound. All sites are refreshed at once, in N M^2 flops for the sum and as many for the variances.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import lapack

from fastvi.base.blas import add_crossed, add_square, solve_rows
from fastvi.base.linear_algebra import cholesky_with_jitter, inverse_from_cholesky
from fastvi.base.typing import Array
from fastvi.kernels.rows import mirror
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.ep import DAMPING
from fastvi.models.gp.inducing import Inducing
from fastvi.models.gp.posterior import Posterior
from fastvi.models.gp.reverse import Reverse
from fastvi.models.gp.sgpr import Bound
from fastvi.models.gp.sitewise import Sitewise
from fastvi.models.gp.start import column_means
from fastvi.propagation.evidence import change_of_sites, evidence_of_sites
from fastvi.propagation.tilted import Tilted

__all__ = ["PowerPropagation"]

SETTLED, FINE = 1e-5, 1e-9  # relative changes of the sites
FLOOR = 1e-10  # of k(x, x), below which d_n counts as rounding
CHUNK = 4096  # rows whose derivatives are held at once
MOST_SWEEPS = 200
LEAST_STEP = 1e-3


class Fixed(NamedTuple):
    """A fixed point: the sites of all rows, q(v) and the evidence."""

    value: float
    mean: Array  # (M,) of v
    inner: Array  # (M, M) factor of S
    means: Array  # (N,) a_n' m
    sites: Array  # (2, N)
    tilted: Tilted
    converged: bool
    n_iter: int


class PowerPropagation:
    """The evidence by power EP of rows x (N, D) with targets y (N,), and its gradient.

    `theta` has the kernel's hyperparameters, then the likelihood's own. `memory` has the sites of
    the last evaluation, from which the next one starts.

    Parameters
    ----------
    covariance : Covariance
    likelihood : Sitewise
    x : (N, D) array
    y : (N,) array
    weights : (N,) array, optional
        How many rows each counts as.
    power : float
        In (0, 1].
    """

    def __init__(
        self,
        covariance: Covariance,
        likelihood: Sitewise,
        x: Array,
        y: Array,
        weights: Array | None = None,
        power: float = 1.0,
    ) -> None:
        self.covariance, self.likelihood, self.power = covariance, likelihood, power
        self.x, self.y, self.weights = x, y, weights
        self.counts = np.ones(len(y)) if weights is None else weights
        # A row of weight w >= 1 has w sites; one of weight w < 1 has a site for p(y | f)^w.
        self.copies, self.powers = np.maximum(self.counts, 1.0), np.minimum(self.counts, 1.0)
        self.centre = column_means(x, weights)
        self.memory = np.full(2 * len(y), np.nan)

    def split(self, theta: Array) -> tuple[Array, Array]:
        """The kernel's hyperparameters and the likelihood's own."""
        n = len(self.covariance.theta)
        return theta[:n], theta[n:]

    def bound(
        self, theta: Array, z: Array, *, gradient: bool = True, afresh: bool = False
    ) -> Bound:
        """The evidence, which is a bound only as the power goes to 0.

        With `afresh` sweeps start from no sites and go on until these change by less than 1e-9,
        and `memory` stays as it is.

        Raises
        ------
        numpy.linalg.LinAlgError
            If K(z, z) has no Cholesky factor.
        """
        here = _Evaluation(self, theta, z)
        if afresh:
            return here.bound(here.propagate(None, FINE), gradient)
        found = here.warm()
        self.memory = found.sites.ravel()
        return here.bound(found, gradient)


class _Evaluation:
    """One evaluation; symbols as in the module's text."""

    def __init__(self, model: PowerPropagation, theta: Array, z: Array) -> None:
        self.model, self.theta = model, theta
        self.kernel_theta, self.own = model.split(theta)
        covariance = model.covariance
        self.z = Inducing.at(covariance, self.kernel_theta, z)
        self.noise = covariance.noise(self.kernel_theta)
        self.site = model.likelihood.site(self.noise, self.own)
        self.k = self.z.covariances(model.x, np.empty((len(model.x), len(z))))
        self.a = self.z.whitened(self.k)
        diagonal = covariance.diagonal(self.z.program, model.x)
        left = diagonal - np.einsum("ij,ij->i", self.a, self.a)
        self.d = np.maximum(left, FLOOR * diagonal)
        self.is_free = left > FLOOR * diagonal  # d moves with a

    def bound(self, found: Fixed, gradient: bool) -> Bound:
        """The evidence and the posterior at a fixed point."""
        z = self.z
        weights = solve_rows(z.factor, found.mean[None].copy(), transposed=True).T
        posterior = Posterior(
            z.covariance, z.program, z.z, z.columns, z.factor, found.inner,
            np.ascontiguousarray(weights),
        )  # fmt: skip
        by_theta, by_z = self._gradient(found) if gradient else (None, None)
        return Bound(found.value, by_theta, by_z, posterior, z.jitter, np.nan, found.converged)

    # The fixed point

    def warm(self) -> Fixed:
        """From the sites of the last evaluation, or from none if that fails."""
        memory = self.model.memory.reshape(2, -1)
        if np.isnan(memory).any():
            return self.propagate(None)
        try:
            found = self.propagate(memory)
        except np.linalg.LinAlgError:
            return self.propagate(None)
        return found if found.converged else self.propagate(None)

    def propagate(self, start: Array | None, tol: float = SETTLED) -> Fixed:
        """Sweeps until the sites change by less than `tol`."""
        sites = np.zeros((2, len(self.a))) if start is None else start.copy()
        last, move = sites, np.zeros_like(sites)
        step, before, n_iter = 1.0 if self.site.is_log_concave else 0.5, np.inf, 0
        while True:
            try:
                mean, inner, means, variances, value = self._posterior(self.model.copies * sites)
            except np.linalg.LinAlgError:  # sites of negative precision went too far
                step *= 0.5
                if step < LEAST_STEP or not move.any():
                    raise
                sites = last + step * move
                continue
            own, found, tilted = self._refreshed(means, variances, sites)
            change = change_of_sites(found, sites)
            done = change < tol
            if done or n_iter >= MOST_SWEEPS:
                total = value + float(self.model.copies @ own)
                return Fixed(total, mean, inner, means, sites, tilted, done, n_iter)
            if n_iter > 3 and change > DAMPING[0] * before:
                step = max(DAMPING[0] * step, DAMPING[1])
            before, n_iter = change, n_iter + 1
            last, move = sites, found - sites
            sites = last + step * move

    def _posterior(self, total: Array) -> tuple[Array, Array, Array, Array, float]:
        """q(v)'s mean and factor, moments of a_n' v, and its part of the evidence."""
        precision, linear = total
        m = self.a.shape[1]
        S = np.zeros((m, m))
        positive = precision >= 0
        add_square(self.a * np.sqrt(np.maximum(precision, 0.0))[:, None], S)
        mirror(S)
        if not np.all(positive):
            lost = self.a[~positive]
            S += (lost * precision[~positive, None]).T @ lost
        S.flat[:: m + 1] += 1.0
        inner = cholesky_with_jitter(S, "precision of the inducing values", 0.0).lower
        h = self.a.T @ linear
        mean: Array = lapack.dpotrs(inner, h, lower=1)[0]
        side = solve_rows(inner, self.a.copy())
        variances = np.einsum("ij,ij->i", side, side)
        value = 0.5 * float(h @ mean) - float(np.log(inner.diagonal()).sum())
        return mean, inner, self.a @ mean, variances, value

    def _refreshed(
        self, means: Array, variances: Array, sites: Array
    ) -> tuple[Array, Array, Tilted]:
        """What each row adds to the evidence, new sites, and integrals with the likelihood."""
        power = self.model.power
        with np.errstate(all="ignore"):
            precision = 1.0 / variances - power * sites[0]
            cavity = (means / variances - power * sites[1]) / precision
            variance = 1.0 / precision
            usable = precision > 0
            cavity, variance = (
                np.where(usable, cavity, means),
                np.where(usable, variance, variances),
            )
            powers = power * self.model.powers
            tilted = self.site.tilted(self.model.y, cavity, variance + self.d, powers)
            found = np.stack(tilted.natural(cavity, variance, power))
            own = evidence_of_sites(tilted.log_z, sites, cavity, variance, power)
        usable &= np.all(np.isfinite(found), axis=0)
        found = np.where(usable, found, sites)
        if self.site.is_log_concave:
            found[0] = np.maximum(found[0], 0.0)
        return np.where(usable, own, 0.0), found, tilted

    # The gradient: at the fixed point the evidence is stationary in sites and cavities

    def _gradient(self, found: Fixed) -> tuple[Array, Array]:
        model, z = self.model, self.z
        tilted, copies = found.tilted, model.copies
        by_d = 0.5 * (copies / model.power) * (tilted.curvature + np.square(tilted.slope))
        moving = np.where(self.is_free, by_d, 0.0)
        precision, linear = found.sites
        by_mean = copies * (linear - precision * found.means)
        inverse = inverse_from_cholesky(found.inner)
        reverse = Reverse(z.covariance, z.program, z.z, model.centre)
        turned = np.zeros_like(z.plain)
        for first in range(0, len(self.a), CHUNK):
            rows = slice(first, first + CHUNK)
            a = self.a[rows]
            adjoint = a @ inverse
            adjoint *= -(copies[rows] * precision[rows])[:, None]
            adjoint += by_mean[rows, None] * found.mean
            adjoint -= (2.0 * moving[rows])[:, None] * a
            add_crossed(adjoint, a, turned)
            x = model.x[rows]
            reverse.add(x, z.columns, z.slopes(adjoint), self.k[rows])
            reverse.add_diagonal(x, moving[rows])
        of_z = Reverse(z.covariance, z.program, z.z, model.centre)
        of_z.add(z.z, z.columns, z.slope_of_prior(turned), z.plain)
        by_theta, by_z = reverse.gradient(self.kernel_theta)
        more_theta, more_z = of_z.gradient(self.kernel_theta)
        by_log_noise, by_own = model.likelihood.slopes(tilted, model.y, model.counts, self.own)
        by_theta = by_theta + more_theta
        if self.noise > 0:
            share = by_log_noise / self.noise
            by_theta += share * model.covariance.noise_gradient(self.kernel_theta)
        return np.concatenate((by_theta, by_own)), by_z + 2.0 * more_z
