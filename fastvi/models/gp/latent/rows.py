"""The inputs of new rows, given what was learned.

q(u) stays as it is, so that rows do not depend on each other, and a row's bound is of its own
q(x): E log p(y | f) - KL(q(x) || p(x)). Columns that a row lacks are left out of the first term.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastvi.base.blas import solve_rows
from fastvi.base.typing import AnyArray, Array
from fastvi.models.gp.latent.ascent import ascend
from fastvi.models.gp.latent.bound import divergence, expectations
from fastvi.models.gp.posterior import Posterior
from fastvi.models.gp.recognition import NO_NETWORK, Network, read

__all__ = ["Found", "NewRows"]

SPREAD = -2.0  # log variance of q(x) at the start
MAX_ITER = 200
TOL = 1e-6  # nats
CHUNK_ROWS = 256
LOG_2PI = float(np.log(2.0 * np.pi))


class Found(NamedTuple):
    """q(x) of rows, and their bounds in nats."""

    mean: Array  # (n, Q)
    variance: Array  # (n, Q)
    bounds: Array  # (n,)


class NewRows:
    """What inference of new rows takes; it never changes.

    Parameters
    ----------
    posterior : Posterior
    theta : (P,) array
    n_threads : int
    network : Network
        That reads q(x) off rows that lack no column; without weights, q(x) is searched for.
    """

    def __init__(
        self,
        posterior: Posterior,
        theta: Array,
        n_threads: int = 1,
        network: Network = NO_NETWORK,
    ) -> None:
        self.network = network
        covariance, m = posterior.covariance, len(posterior.z)
        self.expectations = expectations(covariance, theta, posterior.z, n_threads)
        self.noise = covariance.noise(theta)
        self.z, self.weights = posterior.z, posterior.weights
        root = solve_rows(posterior.lower, np.eye(m))
        half = solve_rows(posterior.inner, root.copy())
        self.explained = root @ root.T - half @ half.T  # L^-T (I - B^-1) L^-1
        whole = covariance.matrix(posterior.program, posterior.z, posterior.z)
        self.at_z = whole @ self.weights  # (M, T)

    def infer(self, y: Array) -> Found:
        """Return q(x) of rows y (n, T) at a local maximum, where NaN is what is missing."""
        n, q = len(y), self.z.shape[1]
        found = Found(np.empty((n, q)), np.empty((n, q)), np.empty(n))
        patterns, of_row = np.unique(np.isfinite(y), axis=0, return_inverse=True)
        for i, seen in enumerate(patterns):
            rows = np.flatnonzero(of_row.ravel() == i)
            for start in range(0, len(rows), CHUNK_ROWS):
                part = rows[start : start + CHUNK_ROWS]
                for whole, own in zip(found, self._infer(y[part][:, seen], seen)):
                    whole[part] = own
        return found

    def reads(self, seen: Array) -> bool:
        """Whether the network gives q(x) of rows with these columns."""
        return bool(self.network.first.size) and bool(np.all(seen))

    def _infer(self, y: Array, seen: Array) -> Found:
        """Those of rows whose columns are all seen."""
        weights, at_z, q = self.weights[:, seen], self.at_z[:, seen], self.z.shape[1]
        away = np.square(at_z).sum(axis=1) - 2.0 * (y @ at_z.T)
        away += self.noise * np.square(self.z).sum(axis=1)
        start = np.full((len(y), 2 * q), SPREAD)
        start[:, :q] = self.z[away.argmin(axis=1)]
        t, noise, of_rows = y.shape[1], self.noise, self.expectations
        firsts = y @ weights.T / noise
        seconds = (t * self.explained - weights @ weights.T) / (2.0 * noise)
        fixed = -0.5 * (np.square(y).sum(axis=1) + t * of_rows.c) / noise
        fixed -= 0.5 * t * (LOG_2PI + np.log(noise))

        def bound(x: Array, rows: AnyArray) -> tuple[Array, Array]:
            mean, log_variance = x[:, :q], x[:, q:]
            variance = np.exp(log_variance)
            found = of_rows.reverse(mean, variance, firsts[rows], seconds)
            by_log = variance * found.by_variance - 0.5 * (variance - 1.0)
            slope = np.concatenate((found.by_mean - mean, by_log), axis=1)
            return fixed[rows] + found.values - divergence(mean, log_variance), slope

        if self.reads(seen):
            given = read(self.network, y)
            x = np.concatenate((given.mean, 2.0 * given.log_sd), axis=1)
            value, _ = bound(x, np.arange(len(x)))
        else:
            x, value = ascend(bound, start, MAX_ITER, TOL)
        return Found(x[:, :q], np.exp(x[:, q:]), value)
