"""Sparse variational Gaussian processes for any likelihood: a conjugate model of dual parameters.

M inducing inputs z, T latent functions that share them and the kernel. The rows' part of the
optimal q(u) is a Gaussian factor whose natural parameters, in units of K(z, z), are sums over rows:
statistics of a conjugate model, whose prior is 0. Where rounding asks for it, they are in whitened
units instead.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base import parallel, tree
from fastvi.base.blas import multiply_rows, solve_rows, square
from fastvi.base.linear_algebra import cholesky_with_jitter, inverse_from_cholesky, jitter_slope
from fastvi.core import Batch, Local
from fastvi.kernels import rows as kernels
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.inducing import Inducing
from fastvi.models.gp.likelihood import Likelihood, Values
from fastvi.models.gp.posterior import Posterior, chunk_rows
from fastvi.models.gp.reverse import Reverse
from fastvi.models.gp.rows import Latent, Points, Rows, Sites
from fastvi.models.gp.sgpr import MAX_TASKS
from fastvi.models.gp.units import between

__all__ = ["Evaluation", "Hyper", "Params", "Prepared", "SparseVariational"]

Array = NDArray[np.float64]
TASK_FLOPS = 5e8  # a step on a batch is one task: sums of size M x M cost as much as its rows


class Hyper(NamedTuple):
    """Everything that is learned beside q(u); also a gradient with respect to it."""

    theta: Array  # (P,), logarithms of the kernel's hyperparameters, its white noise included
    z: Array  # (M, D), inducing inputs
    own: Array  # (L,), the likelihood's own parameters


class Params(NamedTuple):
    """Everything that is learned."""

    sites: Sites
    hyper: Hyper
    whitened: bool = False  # the units of the sites, see `fastvi.models.gp.inducing.Inducing`


class Evaluation(NamedTuple):
    """What a batch gives: the local step, the bound in nats, and its gradient if asked for."""

    local: Local
    bound: float
    gradient: Hyper | None


class SparseVariational:
    """The bound of Hensman et al. (2013, 2015) in dual parameters, at any hyperparameters.

    It never changes: whatever is learned is in `Params`, and `at` gives the model at
    hyperparameters.

    Parameters
    ----------
    covariance : Covariance
    likelihood : Likelihood
    centre : (D,) array
        Of the inputs, for gradients.
    n_threads : int
        Results do not depend on it.
    """

    def __init__(
        self, covariance: Covariance, likelihood: Likelihood, centre: Array, n_threads: int = 1
    ) -> None:
        self.covariance, self.likelihood, self.centre = covariance, likelihood, centre
        self.n_threads = n_threads
        self._last: Prepared | None = None

    def start(self, z: Array) -> Params:
        """Parameters to start from: the kernel as it was given, and q(u) = p(u)."""
        t, m = self.likelihood.n_latents, len(z)
        sites = Sites(np.zeros((t, m)), np.zeros((t, m, m)))
        return Params(sites, Hyper(self.covariance.theta, z, self.likelihood.own))

    def at(self, hyper: Hyper, whitened: bool = False) -> Prepared:
        """The model at these hyperparameters, with K(z, z) factorized, in these units.

        The last one is kept, as steps that learn no hyperparameters, and the ends of fits, ask for
        it again.

        Raises
        ------
        numpy.linalg.LinAlgError
            If K(z, z) has no Cholesky factor.
        """
        last, whitened = self._last, bool(whitened)
        same = last is not None and last.inducing.whitened == whitened
        if last is None or not (same and all(map(np.array_equal, last.hyper, hyper))):
            self._last = last = Prepared(self, hyper, whitened)
        return last

    def evaluate(
        self, params: Params, batch: Batch, rng: np.random.Generator, **options: bool
    ) -> tuple[Params, Evaluation]:
        """`Prepared.evaluate`, and the parameters in the units that it takes.

        Those are whitened ones from the first batch on whose bound rounding would spoil.
        """
        here = self.at(params.hyper, params.whitened)
        found = here.evaluate(params.sites, batch, rng, **options)
        precision = found.local.statistics.precision
        n_rows = float(batch.weights @ batch.rows.weights)
        if params.whitened or here.inducing.loses_little(precision, n_rows):
            return params, found
        there = self.at(params.hyper, True)
        sites = between(here.inducing, there.inducing)(params.sites)
        return Params(sites, params.hyper, True), there.evaluate(sites, batch, rng, **options)

    def __getstate__(self) -> dict[str, Any]:
        """What is kept of the last call is no part of the model."""
        return self.__dict__ | {"_last": None}


class Prepared:
    """The model at given hyperparameters: a `fastvi.core.Conjugate` model of the dual parameters.

    A natural-gradient step replaces a share of the dual parameters by the batch's expected
    curvature and slope (Khan and Lin 2017); with a Gaussian likelihood and all rows, the step of
    rate 1 is the optimum. Gradients with respect to K, with the dual parameters held, are sums of
    products of M x M matrices: no factorization is differentiated.

    Parameters
    ----------
    model : SparseVariational
    hyper : Hyper
    whitened : bool
        The units of dual parameters.
    """

    def __init__(self, model: SparseVariational, hyper: Hyper, whitened: bool = False) -> None:
        self.model, self.hyper = model, Hyper(*(np.array(part) for part in hyper))
        self.inducing = Inducing.at(model.covariance, self.hyper.theta, self.hyper.z, whitened)
        self.values = Values(model.covariance.noise(hyper.theta), self.hyper.own)

    @cached_property
    def prior(self) -> Sites:
        """The dual parameters of p(u)."""
        t, m = self.model.likelihood.n_latents, len(self.inducing.z)
        return Sites(np.zeros((t, m)), np.zeros((t, m, m)))

    def expect(self, y: Array, mean: Array, variance: Array, rng: np.random.Generator) -> Any:
        """See `fastvi.models.gp.likelihood.Likelihood`."""
        return self.model.likelihood.expect(y, mean, variance, self.values, rng)

    def _latents(self, params: Sites) -> list[Latent]:
        k, inverse = self.inducing.k, self.inducing.inverse
        latents = []
        for linear, precision in zip(*params):
            name = "covariance plus precision of the sites"
            lower = cholesky_with_jitter(k + precision, name, 0.0, condition=False).lower
            a = inverse_from_cholesky(lower)
            log_det = 2.0 * float(np.log(lower.diagonal()).sum())
            latents.append(Latent(a, inverse - a, a @ linear, log_det))
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
        n, m = len(batch.weights), len(self.inducing.z)
        n_most = min(MAX_TASKS, -(-n // chunk_rows(m)))
        n_tasks = max(1, min(n_most, int(len(latents) * n * m * (m + 100.0) / TASK_FLOPS)))
        streams = [rng]
        if n_tasks > 1:  # spawned ones would depend on more than the generator's state
            streams = [np.random.default_rng(seed) for seed in rng.integers(1 << 63, size=n_tasks)]
        parts = []
        for i, stream in enumerate(streams):
            rows = slice(i * n // n_tasks, (i + 1) * n // n_tasks)
            parts.append(
                Rows(
                    self.inducing, self.expect, latents,
                    tree.map_leaves(lambda part, rows=rows: part[rows], batch), stream, norms=norms,
                    reverse=self._reversed() if slopes else None,
                    is_signed=not self.model.likelihood.is_log_concave,
                    is_thin=slopes and 2 * n < 3 * m,
                )
            )  # fmt: skip
        parallel.run(lambda i: parts[i].run(), n_tasks, self.model.n_threads)
        for other in parts[1:]:
            parts[0].merge(other)
        parts[0].finish()
        return parts[0]

    def global_bound(self, params: Sites) -> float:
        """Minus the divergence of q(u) from p(u), nats."""
        return -sum(self._divergence(latent) for latent in self._latents(params))

    def _divergence(self, latent: Latent) -> float:
        k = self.inducing.k
        trace = float(np.vdot(latent.a, k)) - len(k)
        square = float(latent.weights @ k @ latent.weights)
        return 0.5 * (latent.log_det - self.inducing.log_det + trace + square)

    def confine(self, params: Sites, step: Sites) -> Sites:
        """The step, halved until every K + precision keeps a tenth of what it is."""
        for halvings in range(60):
            short = Sites(*(part * 0.5**halvings for part in step))
            rest = 0.9 * (self.inducing.k + params.precision) + short.precision
            try:
                np.linalg.cholesky(rest)
            except np.linalg.LinAlgError:
                continue
            return short
        return Sites(*(np.zeros_like(part) for part in step))

    def evaluate(
        self,
        params: Sites,
        batch: Batch,
        rng: np.random.Generator,
        *,
        norms: bool = False,
        gradient: bool = True,
    ) -> Evaluation:
        """The local step, the bound, and its gradient with the dual parameters held."""
        latents = self._latents(params)
        rows = self._pass(latents, batch, rng, norms=norms, slopes=gradient)
        local = rows.local()
        bound = local.bound - sum(map(self._divergence, latents))
        return Evaluation(local, bound, self._gradient(latents, rows) if gradient else None)

    def bound(
        self, params: Sites, points: Points, *, gradient: bool = False
    ) -> tuple[float, Hyper | None]:
        """The bound on all rows, nats, and its gradient with the dual parameters held."""
        batch, rng = Batch(points, np.ones(len(points.x))), np.random.default_rng(0)
        found = self.evaluate(params, batch, rng, gradient=gradient)
        return found.bound, found.gradient

    def _gradient(self, latents: list[Latent], rows: Rows) -> Hyper:
        z, theta, covariance = self.inducing, self.hyper.theta, self.model.covariance
        by_k = np.zeros_like(z.k)
        for latent, slope, crossed in zip(latents, rows.slopes, rows.crossed()):
            by_k += self._by_k(latent, slope, crossed)
        if z.whitened:  # L^-T (.) L^-1
            by_k = np.ascontiguousarray(z.slopes(by_k).T)
            z.slopes(by_k)
        jitter_slope(z.plain, z.jitter, by_k)
        of_z = self._reversed()
        of_z.add(z.z, z.columns, by_k, z.plain)
        assert rows.reverse is not None
        by_theta, by_z = rows.reverse.gradient(theta)
        more_theta, more_z = of_z.gradient(theta)
        by_theta += more_theta
        if self.model.likelihood.is_noisy:
            share = rows.by_log_noise / self.values.noise
            by_theta += share * covariance.noise_gradient(theta)
        by_own = np.zeros_like(self.hyper.own) + rows.by_own
        return Hyper(by_theta, by_z + 2.0 * more_z, by_own)

    def _reversed(self) -> Reverse:
        z = self.inducing
        return Reverse(z.covariance, z.program, z.z, self.model.centre)

    def _by_k(self, latent: Latent, slope: Array, crossed: Array) -> Array:
        """Derivative of the bound by K, from `Rows.slopes` and `Rows.crossed`.

        1/2 D K D + K^-1 C K^-1 - A C A - 1/2 w w' - A g w', its symmetric part: D K D is
        K^-1 - 2 A + A K A, and D C (K^-1 + A) has that of K^-1 C K^-1 - A C A. g is the slope
        less K w.
        """
        w = latent.weights
        result = np.empty_like(self.inducing.k)
        square(multiply_rows(self.inducing.lower, latent.d.copy()), 0.5, result)
        half = latent.a @ (slope - self.inducing.k @ w) + 0.5 * w
        kernels.add_symmetric(crossed, half, w, result)
        return result

    def posterior(self, params: Sites) -> list[Posterior]:
        """The posterior of each latent function, for predictions."""
        inducing, result = self.inducing, []
        lower = inducing.lower
        for linear, precision in zip(*params):
            half = solve_rows(lower, precision.copy())
            v = solve_rows(lower, np.ascontiguousarray(half.T))
            inner = np.eye(len(v)) + 0.5 * (v + v.T)
            inner = cholesky_with_jitter(inner, "precision of q(u)", 0.0).lower
            beta = solve_rows(lower, linear[None].copy())
            gamma = solve_rows(inner, solve_rows(inner, beta), transposed=True)
            weights = np.ascontiguousarray(solve_rows(inducing.factor, gamma, transposed=True).T)
            result.append(
                Posterior(
                    inducing.covariance, inducing.program, inducing.z, inducing.columns,
                    inducing.factor, inner, weights,
                )
            )  # fmt: skip
        return result
