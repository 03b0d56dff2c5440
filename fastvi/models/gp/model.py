"""Sparse variational Gaussian processes for any likelihood: a conjugate model of dual parameters.

M inducing inputs z, T latent functions that share them and the kernel. The rows' part of the
optimal q(u) is a Gaussian factor whose natural parameters, in units of K(z, z), are sums over rows:
statistics of a conjugate model, whose prior is 0.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base import parallel
from fastvi.base.blas import multiply_rows, solve_rows, square
from fastvi.base.cholesky import cholesky, inverse_of, jitter_slope
from fastvi.core import Batch, Local
from fastvi.kernels import rows as kernels
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.likelihoods import Likelihood
from fastvi.models.gp.posterior import Posterior, chunk_rows
from fastvi.models.gp.reverse import Reverse
from fastvi.models.gp.rows import Latent, Points, Rows, Sites
from fastvi.models.gp.sgpr import MAX_TASKS

__all__ = ["Evaluation", "SparseVariational"]

Array = NDArray[np.float64]
TASK_FLOPS = 5e8  # a step on a batch is one task: sums of size M x M cost as much as its rows
JITTER = 1e-9  # in relation to the norm; explicit inverses need more than factors do


class Evaluation(NamedTuple):
    """What a batch gives: the local step, and the gradient of the bound by hyperparameters."""

    local: Local
    bound: float
    by_theta: Array
    by_z: Array


class SparseVariational:
    """The bound of Hensman et al. (2013, 2015) in dual parameters; see `fastvi.core.Conjugate`.

    A natural-gradient step replaces a share of the dual parameters by the batch's expected
    curvature and slope (Khan and Lin 2017), and with a Gaussian likelihood and all rows the step
    of rate 1 is the optimum. Gradients by K, with the dual parameters held, are sums of products
    of M x M matrices: no factorization is differentiated.

    Parameters
    ----------
    covariance : Covariance
    likelihood : Likelihood
    theta : (P,) array
    z : (M, D) array
    centre : (D,) array
        Of the inputs, for gradients.
    n_threads : int
        Results do not depend on it.
    """

    def __init__(
        self,
        covariance: Covariance,
        likelihood: Likelihood,
        theta: Array,
        z: Array,
        centre: Array,
        n_threads: int = 1,
    ) -> None:
        self.n_threads = n_threads
        self.covariance, self.likelihood, self.centre = covariance, likelihood, centre
        self.move(theta, z)
        n_latents, m = likelihood.n_latents, len(z)
        self.prior = Sites(np.zeros((n_latents, m)), np.zeros((n_latents, m, m)))

    def move(self, theta: Array, z: Array) -> None:
        """Go on with other hyperparameters and inducing inputs.

        Raises
        ------
        numpy.linalg.LinAlgError
            If K(z, z) has no Cholesky factor.
        """
        z, m = np.ascontiguousarray(z), len(z)
        program = self.covariance.program(theta)
        columns = self.covariance.scaled(program, z)
        plain = self.covariance.fill(program, z, columns, np.empty((m, m)))
        name = "covariance of the inducing inputs"
        lower, jitter, _ = cholesky(plain, name, JITTER, condition=False)
        self.theta, self.z, self.program, self.columns = theta, z, program, columns
        self.plain, self.lower, self.jitter = plain, lower, jitter
        self.noise = self.covariance.noise(theta)
        self.k = self.plain + self.jitter * np.eye(m)
        self.inverse = inverse_of(self.lower)
        self.log_det = 2.0 * float(np.log(self.lower.diagonal()).sum())

    def start(self) -> Sites:
        """Parameters to begin with: q(u) = p(u)."""
        return Sites(*(part.copy() for part in self.prior))

    def _latents(self, params: Sites) -> list[Latent]:
        latents = []
        for linear, precision in zip(*params):
            name = "covariance plus precision of the sites"
            lower = cholesky(self.k + precision, name, 0.0, condition=False).lower
            a = inverse_of(lower)
            log_det = 2.0 * float(np.log(lower.diagonal()).sum())
            latents.append(Latent(a, self.inverse - a, a @ linear, log_det))
        return latents

    def local(
        self,
        params: Sites,
        batch: Batch,
        start: Any,
        rng: np.random.Generator,
        *,
        norms: bool = False,
    ) -> Local:
        """Expected curvatures and slopes of a batch; see `fastvi.core.Conjugate`."""
        return self._pass(self._latents(params), batch, rng, norms=norms).local()

    def _pass(
        self,
        latents: list[Latent],
        batch: Batch,
        rng: np.random.Generator,
        *,
        norms: bool = False,
        slopes: bool = False,
    ) -> Rows:
        """Sums over a batch, by tasks whose number depends on the work only."""
        (x, y), weights = batch.rows, batch.weights
        n, m = len(x), len(self.z)
        n_most = min(MAX_TASKS, -(-n // chunk_rows(m)))
        n_tasks = max(1, min(n_most, int(len(latents) * n * m * (m + 100.0) / TASK_FLOPS)))
        streams = [rng] if n_tasks == 1 else rng.spawn(n_tasks)
        is_thin = slopes and 2 * n < 3 * m
        parts = []
        for i, stream in enumerate(streams):
            rows = slice(i * n // n_tasks, (i + 1) * n // n_tasks)
            part = Batch(Points(x[rows], y[rows]), weights[rows])
            reverse = self._reversed() if slopes else None
            parts.append(
                Rows(self, latents, part, stream, norms=norms, reverse=reverse, is_thin=is_thin)
            )
        parallel.run(lambda i: parts[i].run(), n_tasks, self.n_threads)
        for other in parts[1:]:
            parts[0].merge(other)
        parts[0].finish()
        return parts[0]

    def global_bound(self, params: Sites) -> float:
        """Minus the divergence of q(u) from p(u), nats."""
        return -sum(self._divergence(latent) for latent in self._latents(params))

    def _divergence(self, latent: Latent) -> float:
        trace = float(np.vdot(latent.a, self.k)) - len(self.k)
        square = float(latent.weights @ self.k @ latent.weights)
        return 0.5 * (latent.log_det - self.log_det + trace + square)

    def confine(self, params: Sites, step: Sites) -> Sites:
        """The step, halved until every K + precision keeps a tenth of what it is."""
        for halvings in range(60):
            short = Sites(*(part * 0.5**halvings for part in step))
            rest = 0.9 * (self.k + params.precision) + short.precision
            try:
                np.linalg.cholesky(rest)
            except np.linalg.LinAlgError:
                continue
            return short
        return Sites(*(np.zeros_like(part) for part in step))

    def evaluate(
        self, params: Sites, batch: Batch, rng: np.random.Generator, *, norms: bool = False
    ) -> Evaluation:
        """The local step and the gradient by theta and z, with the dual parameters held."""
        latents = self._latents(params)
        rows = self._pass(latents, batch, rng, norms=norms, slopes=True)
        local = rows.local()
        bound = local.bound - sum(map(self._divergence, latents))
        by_k = np.zeros_like(self.k)
        for latent, slope, crossed in zip(latents, rows.slopes, rows.crossed()):
            by_k += self._by_k(latent, slope, crossed)
        jitter_slope(self.plain, self.jitter, by_k)
        of_z = self._reversed()
        of_z.add(self.z, self.columns, by_k, self.plain)
        assert rows.reverse is not None
        by_theta, by_z = rows.reverse.gradient(self.theta)
        more_theta, more_z = of_z.gradient(self.theta)
        by_theta += more_theta
        if self.likelihood.is_noisy:
            share = rows.by_log_noise / self.noise
            by_theta += share * self.covariance.noise_gradient(self.theta)
        return Evaluation(local, bound, by_theta, by_z + 2.0 * more_z)

    def _reversed(self) -> Reverse:
        return Reverse(self.covariance, self.program, self.z, self.centre)

    def _by_k(self, latent: Latent, slope: Array, crossed: Array) -> Array:
        """Derivative of the bound by K, from `Rows.slopes` and `Rows.crossed`.

        1/2 D K D + K^-1 C K^-1 - A C A - 1/2 w w' - A g w', its symmetric part: D K D is
        K^-1 - 2 A + A K A, and D C (K^-1 + A) has that of K^-1 C K^-1 - A C A. g is the slope
        less K w.
        """
        w = latent.weights
        result = np.empty_like(self.k)
        square(multiply_rows(self.lower, latent.d.copy()), 0.5, result)
        kernels.add_symmetric(crossed, latent.a @ (slope - self.k @ w) + 0.5 * w, w, result)
        return result

    def posterior(self, params: Sites) -> list[Posterior]:
        """Of each latent function, for predictions."""
        result = []
        for linear, precision in zip(*params):
            half = solve_rows(self.lower, precision.copy())
            v = solve_rows(self.lower, np.ascontiguousarray(half.T))
            inner = cholesky(np.eye(len(v)) + 0.5 * (v + v.T), "precision of q(u)", 0.0).lower
            beta = solve_rows(self.lower, linear[None].copy())
            gamma = solve_rows(inner, solve_rows(inner, beta), transposed=True)
            weights = np.ascontiguousarray(solve_rows(self.lower, gamma, transposed=True).T)
            result.append(
                Posterior(
                    self.covariance, self.program, self.z, self.columns, self.lower, inner, weights
                )
            )
        return result
