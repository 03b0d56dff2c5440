"""Sparse variational Gaussian processes for any likelihood: a conjugate model of dual parameters.

M inducing inputs z, T latent functions that share them and the kernel. Their values are u = L v,
with K(z, z) = L L'. The rows' part of the optimal q(v) is a Gaussian factor whose natural
parameters are sums over rows: statistics of a conjugate model, whose prior is 0.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from fastvi.base import parallel, tree
from fastvi.base.blas import solve_rows
from fastvi.base.linear_algebra import cholesky_with_jitter, inverse_from_cholesky
from fastvi.base.typing import Array
from fastvi.core import Batch, Local
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.inducing import Inducing
from fastvi.models.gp.likelihood import Likelihood, Values
from fastvi.models.gp.posterior import Posterior, chunk_rows
from fastvi.models.gp.reverse import Reverse, with_prior
from fastvi.models.gp.rows import Latent, Points, Rows, Seen, Sites
from fastvi.models.gp.sgpr import MAX_TASKS

__all__ = ["Evaluation", "Hyper", "Params", "Prepared", "SparseVariational"]

MOST_SEEN = 1 << 20  # covariances that both passes of a step take
PRECISION = "precision of q(u)"
TASK_FLOPS = 5e8  # a step on a batch is one task: sums of size M x M cost as much as its rows


class Hyper(NamedTuple):
    """Everything that is learned beside q(u); also a gradient with respect to it."""

    theta: Array  # (P,), logarithms of the kernel's hyperparameters, its white noise included
    z: Array  # (M, D), inducing inputs
    own: Array  # (L,), the likelihood's own parameters


class Params(NamedTuple):
    """Everything that is learned."""

    sites: Sites
    hyper: Any  # Hyper, or what a model of several layers has instead


class Target(NamedTuple):
    """What a batch says of q(v): the local step, and the rows' covariances unless they are many."""

    local: Local
    seen: Seen | None


class Evaluation(NamedTuple):
    """What a batch gives: the local step, the bound in nats, and its gradient if asked for."""

    local: Local
    bound: float
    gradient: Any  # in the form of `Params.hyper`, or None
    by_x: Array | None = None  # (n, D), the bound's derivative by the inputs


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

    def under(self, likelihood: Likelihood) -> SparseVariational:
        """The same model with another likelihood."""
        return SparseVariational(self.covariance, likelihood, self.centre, self.n_threads)

    def start(self, z: Array) -> Params:
        """Parameters to start from: the kernel as it was given, and q(u) = p(u)."""
        t, m = self.likelihood.n_latents, len(z)
        sites = Sites(np.zeros((t, m)), np.zeros((t, m, m)))
        return Params(sites, Hyper(self.covariance.theta, z, self.likelihood.own))

    def at(self, hyper: Hyper) -> Prepared:
        """The model at these hyperparameters, with K(z, z) factorized.

        The last one is kept, as steps that learn no hyperparameters, and the ends of fits, ask for
        it again.

        Raises
        ------
        numpy.linalg.LinAlgError
            If K(z, z) has no Cholesky factor.
        """
        last = self._last
        if last is None or not all(map(np.array_equal, last.hyper, hyper)):
            self._last = last = Prepared(self, hyper)
        return last

    def __getstate__(self) -> dict[str, object]:
        """Pickle the model without what `at` has kept."""
        return self.__dict__ | {"_last": None}


class Prepared:
    """The model at given hyperparameters: a `fastvi.core.Conjugate` model of the dual parameters.

    A natural-gradient step replaces a share of the dual parameters by the batch's expected
    curvature and slope (Khan and Lin 2017); with a Gaussian likelihood and all rows, the step of
    rate 1 is the optimum. Gradients with respect to hyperparameters hold the dual parameters, and
    so the mean and the covariance of q(v).

    Parameters
    ----------
    model : SparseVariational
    hyper : Hyper
    """

    def __init__(self, model: SparseVariational, hyper: Hyper) -> None:
        self.model, self.hyper = model, Hyper(*(np.array(part) for part in hyper))
        self.inducing = Inducing.at(model.covariance, self.hyper.theta, self.hyper.z)
        self.values = Values(model.covariance.noise(hyper.theta), self.hyper.own)

    @cached_property
    def prior(self) -> Sites:
        """The dual parameters of p(u)."""
        t, m = self.model.likelihood.n_latents, len(self.inducing.z)
        return Sites(np.zeros((t, m)), np.zeros((t, m, m)))

    def expect(self, y: Array, mean: Array, variance: Array, rng: np.random.Generator) -> Any:
        """See `fastvi.models.gp.likelihood.Likelihood`."""
        return self.model.likelihood.expect(y, mean, variance, self.values, rng)

    def expected(self, params: Sites, points: Points, rng: np.random.Generator) -> Array:
        """E[log p(y | f)] of each row, (n,) nats."""
        found = [posterior.predict(points.x) for posterior in self.posterior(params)]
        mean = np.concatenate([each for each, _ in found], axis=1)
        variance = np.stack([each for _, each in found if each is not None], axis=1)
        expectation = self.expect(points.y, mean, variance, rng)
        return np.asarray(expectation.value)

    def _latents(self, params: Sites) -> list[Latent]:
        m, latents = len(self.inducing.z), []
        for linear, precision in zip(*params):
            inner = precision.copy()
            inner.flat[:: m + 1] += 1.0
            lower = cholesky_with_jitter(inner, PRECISION, 0.0, condition=False).lower
            a = inverse_from_cholesky(lower)
            weights = a @ linear
            log_det = 2.0 * float(np.log(lower.diagonal()).sum())
            divergence = 0.5 * (log_det + float(a.trace()) - m + float(weights @ weights))
            np.negative(a, out=a)
            a.flat[:: m + 1] += 1.0
            latents.append(Latent(a, weights, divergence))
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

    def target(
        self, params: Sites, batch: Batch, rng: np.random.Generator, *, norms: bool = False
    ) -> Target:
        """Sites after a natural-gradient step of rate 1: those of `local`, without its bound.

        If the likelihood is conjugate, that is the same wherever the step starts: also from p(v),
        whose moments take no products.
        """
        z, n = self.inducing, len(batch.weights)
        latents = [] if self.model.likelihood.is_conjugate else self._latents(params)
        seen = None
        if n * len(z.z) <= MOST_SEEN:
            values = z.covariances(batch.rows.x, np.empty((n, len(z.z))))
            seen = Seen(values, z.whitened(values))
        return Target(self._pass(latents, batch, rng, norms=norms, seen=seen).local(), seen)

    def _pass(
        self,
        latents: list[Latent],
        batch: Batch,
        rng: np.random.Generator,
        *,
        norms: bool = False,
        slopes: bool = False,
        seen: Seen | None = None,
        sums: bool = True,
        inputs: bool = False,
    ) -> Rows:
        """Sums over a batch, by tasks whose number depends on the work only."""
        n, m, n_latents = len(batch.weights), len(self.inducing.z), self.model.likelihood.n_latents
        n_most = min(MAX_TASKS, -(-n // chunk_rows(m)))
        n_tasks = max(1, min(n_most, int(n_latents * n * m * (m + 100.0) / TASK_FLOPS)))
        streams = [rng]
        if n_tasks > 1:  # spawned ones would depend on more than the generator's state
            streams = [np.random.default_rng(seed) for seed in rng.integers(1 << 63, size=n_tasks)]
        parts = []
        for i, stream in enumerate(streams):
            rows = slice(i * n // n_tasks, (i + 1) * n // n_tasks)
            parts.append(
                Rows(
                    self.inducing, self.expect, n_latents, latents,
                    tree.map_leaves(lambda part, rows=rows: part[rows], batch), stream, norms=norms,
                    reverse=self._reversed() if slopes else None,
                    seen=None if seen is None else Seen(*(part[rows] for part in seen)),
                    is_turned=slopes and self._turns(n), sums=sums, inputs=inputs,
                )
            )  # fmt: skip
        parallel.run(lambda i: parts[i].run(), n_tasks, self.model.n_threads)
        for other in parts[1:]:
            parts[0].merge(other)
        parts[0].finish()
        return parts[0]

    def _turns(self, n: int) -> bool:
        """Whether the slope of the prior is summed row by row: it has to be, or it takes less."""
        return n < len(self.inducing.z) or not self.model.likelihood.is_log_concave

    def global_bound(self, params: Sites) -> float:
        """Minus the divergence of q(u) from p(u), nats."""
        return -sum(latent.divergence for latent in self._latents(params))

    def confine(self, params: Sites, step: Sites) -> Sites:
        """The step, halved until every I + precision keeps a tenth of what it is."""
        for halvings in range(60):
            short = Sites(*(part * 0.5**halvings for part in step))
            rest = 0.9 * (np.eye(len(self.inducing.z)) + params.precision) + short.precision
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
        given: Target | None = None,
        inputs: bool = False,
    ) -> Evaluation:
        """The local step, the bound, and its gradient with the dual parameters held.

        With `inputs` there is also its derivative by the rows' inputs.

        `given` is what `target` said of the batch. Its statistics are then those of the local step,
        unless the gradient takes new ones.
        """
        latents = self._latents(params)
        known = given is not None and (
            self.model.likelihood.is_conjugate or self._turns(len(batch.weights))
        )
        rows = self._pass(
            latents, batch, rng, norms=norms, slopes=gradient,
            seen=None if given is None else given.seen, sums=not known, inputs=inputs,
        )  # fmt: skip
        if given is not None and known:
            rows.linear, rows.precision = given.local.statistics
        local = rows.local()
        bound = local.bound - sum(latent.divergence for latent in latents)
        return Evaluation(local, bound, self._gradient(rows) if gradient else None, rows.by_x)

    def bound(
        self, params: Sites, points: Points, *, gradient: bool = False
    ) -> tuple[float, Hyper | None]:
        """The bound on all rows, nats, and its gradient with the dual parameters held."""
        batch, rng = Batch(points, np.ones(len(points.x))), np.random.default_rng(0)
        found = self.evaluate(params, batch, rng, gradient=gradient)
        return found.bound, found.gradient

    def _gradient(self, rows: Rows) -> Hyper:
        theta, covariance = self.hyper.theta, self.model.covariance
        assert rows.reverse is not None
        by_theta, by_z = with_prior(rows.reverse, self.inducing, rows.by_rows(), theta)
        if self.model.likelihood.is_noisy:
            share = rows.by_log_noise / self.values.noise
            by_theta += share * covariance.noise_gradient(theta)
        by_own = np.zeros_like(self.hyper.own) + rows.by_own
        return Hyper(by_theta, by_z, by_own)

    def _reversed(self) -> Reverse:
        z = self.inducing
        return Reverse(z.covariance, z.program, z.z, self.model.centre)

    def posterior(self, params: Sites) -> list[Posterior]:
        """The posterior of each latent function, for predictions."""
        z, result = self.inducing, []
        for linear, precision in zip(*params):
            inner = cholesky_with_jitter(np.eye(len(linear)) + precision, PRECISION, 0.0).lower
            gamma = solve_rows(inner, linear[None].copy())
            gamma = solve_rows(z.factor, solve_rows(inner, gamma, transposed=True), transposed=True)
            weights = np.ascontiguousarray(gamma.T)
            result.append(
                Posterior(z.covariance, z.program, z.z, z.columns, z.factor, inner, weights)
            )
        return result
