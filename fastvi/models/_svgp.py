"""Sparse variational Gaussian processes for any likelihood: a conjugate model of dual parameters.

M inducing inputs z, T latent functions that share them and the kernel. The rows' part of the
optimal q(u) is a Gaussian factor whose natural parameters, in units of K(z, z), are sums over rows:
statistics of a conjugate model, whose prior is 0.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from fastvi import parallel
from fastvi.core import Algorithm, Batch, Local, Optimizer, add
from fastvi.kernels import rows as kernels
from fastvi.models._blas import (
    add_crossed,
    add_product,
    add_square,
    multiply_rows,
    solve_rows,
    square,
)
from fastvi.models._covariance import Covariance, Reverse
from fastvi.models._likelihoods import Likelihood
from fastvi.models._sgpr import MAX_TASKS, Posterior, cholesky, chunk_rows, jitter_slope

__all__ = ["Evaluation", "Hyper", "PointSource", "Points", "Sites", "SparseVariational", "learn"]

Array = NDArray[np.float64]
TASK_FLOPS = 5e8  # a step on a batch is one task: sums of size M x M cost as much as its rows
JITTER = 1e-9  # in relation to the norm; explicit inverses need more than factors do


class Sites(NamedTuple):
    """Dual parameters: q(u) has precision K^-1 + K^-1 precision K^-1, times its mean K^-1 linear.

    Adam, Chang, Khan and Solin (2021), "Dual parameterization of sparse variational Gaussian
    processes", eq. 13 and 14.
    """

    linear: Array  # (T, M)
    precision: Array  # (T, M, M)


class Hyper(NamedTuple):
    """Logarithms of hyperparameters, and inducing inputs in standard deviations of columns."""

    theta: Array
    z: Array


class Points(NamedTuple):
    """Rows of inputs (n, D) and targets (n,)."""

    x: Array
    y: Array


class PointSource:
    """Rows in memory."""

    def __init__(self, x: Array, y: Array) -> None:
        self.rows = Points(x, y)
        self.n_rows = len(x)

    def all(self) -> Points:
        """Every row, in order."""
        return self.rows

    def take(self, rows: NDArray[np.integer[Any]]) -> Points:
        """The rows with these numbers."""
        return Points(self.rows.x[rows], self.rows.y[rows])


class Evaluation(NamedTuple):
    """What a batch gives: the local step, and the gradient of the bound by hyperparameters."""

    local: Local
    bound: float
    by_theta: Array
    by_z: Array


class _Latent(NamedTuple):
    """One latent function: A = (K + precision)^-1, D = K^-1 - A, and A linear."""

    a: Array
    d: Array
    weights: Array
    log_det: float  # of K + precision


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
        self.theta, self.z = theta, np.ascontiguousarray(z)
        self.program = self.covariance.program(theta)
        self.noise = self.covariance.noise(theta)
        self.columns = self.covariance.scaled(self.program, self.z)
        m = len(z)
        self.plain = self.covariance.fill(self.program, self.z, self.columns, np.empty((m, m)))
        name = "covariance of the inducing inputs"
        self.lower, self.jitter, _ = cholesky(self.plain, name, JITTER, condition=False)
        self.k = self.plain + self.jitter * np.eye(m)
        self.inverse = _inverse(self.lower)
        self.log_det = 2.0 * float(np.log(self.lower.diagonal()).sum())

    def start(self) -> Sites:
        """Parameters to begin with: q(u) = p(u)."""
        return Sites(*(part.copy() for part in self.prior))

    def _latents(self, params: Sites) -> list[_Latent]:
        latents = []
        for linear, precision in zip(*params):
            name = "covariance plus precision of the sites"
            lower = cholesky(self.k + precision, name, 0.0, condition=False).lower
            a = _inverse(lower)
            log_det = 2.0 * float(np.log(lower.diagonal()).sum())
            latents.append(_Latent(a, self.inverse - a, a @ linear, log_det))
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
        latents: list[_Latent],
        batch: Batch,
        rng: np.random.Generator,
        *,
        norms: bool = False,
        slopes: bool = False,
    ) -> _Rows:
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
                _Rows(self, latents, part, stream, norms=norms, reverse=reverse, is_thin=is_thin)
            )
        parallel.run(lambda i: parts[i].run(), n_tasks, self.n_threads)
        for other in parts[1:]:
            parts[0].merge(other)
        parts[0].finish()
        return parts[0]

    def global_bound(self, params: Sites) -> float:
        """Minus the divergence of q(u) from p(u), nats."""
        return -sum(self._divergence(latent) for latent in self._latents(params))

    def _divergence(self, latent: _Latent) -> float:
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

    def evaluate(self, params: Sites, batch: Batch, rng: np.random.Generator) -> Evaluation:
        """The local step and the gradient by theta and z, with the dual parameters held."""
        latents = self._latents(params)
        rows = self._pass(latents, batch, rng, slopes=True)
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

    def _by_k(self, latent: _Latent, slope: Array, crossed: Array) -> Array:
        """Derivative of the bound by K, from `_Rows.slopes` and `_Rows.crossed`.

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


class _Rows:
    """One pass over a batch in chunks; sums of what the local step and the gradient take."""

    def __init__(
        self,
        model: SparseVariational,
        latents: list[_Latent],
        batch: Batch,
        rng: np.random.Generator,
        *,
        norms: bool = False,
        reverse: Reverse | None = None,
        is_thin: bool = False,
    ) -> None:
        self.model, self.latents, self.rng, self.reverse = model, latents, rng, reverse
        (self.x, self.y), self.weights = batch.rows, batch.weights
        n_latents, m = len(latents), len(model.z)
        self.linear, self.precision = np.zeros((n_latents, m)), np.zeros((n_latents, m, m))
        self.slopes = np.zeros((n_latents, m))  # sum_i dE_i/dm_i k_i
        self.is_thin = is_thin
        is_signed = reverse is not None and not model.likelihood.is_log_concave
        self.curvatures = np.zeros((n_latents if is_signed or self.is_thin else 0, m, m))
        self.squares = np.zeros(len(self.x)) if norms else None
        self.bound = self.by_log_noise = 0.0

    def crossed(self) -> list[Array]:
        """D C (K^-1 + A) of each latent function, with C = sum_i dE_i/dv_i k_i k_i'.

        Of fewer rows than inducing inputs, the rows of k D and k (K^-1 + A) give it sooner.
        """
        if self.is_thin:
            return list(self.curvatures)
        curvatures = self.curvatures if len(self.curvatures) else -0.5 * self.precision
        inverse = self.model.inverse
        return [
            latent.d @ (c @ (inverse + latent.a)) for latent, c in zip(self.latents, curvatures)
        ]

    def run(self) -> None:
        """Add up these rows; of `precision` only the lower triangle."""
        n, m = len(self.x), len(self.model.z)
        size = chunk_rows(m)
        buffers = np.empty((2 + len(self.latents), min(n, size), m))
        for start in range(0, n, size):
            rows = slice(start, min(start + size, n))
            self._chunk(rows, *np.split(buffers[:, : rows.stop - start], [1, 2]))

    def merge(self, other: _Rows) -> None:
        """Take the sums over the rows that follow as well."""
        for name in ("linear", "precision", "slopes", "curvatures"):
            total = getattr(self, name)
            total += getattr(other, name)
        self.bound += other.bound
        self.by_log_noise += other.by_log_noise
        if self.squares is not None and other.squares is not None:
            self.squares = np.concatenate((self.squares, other.squares))
        if self.reverse is not None and other.reverse is not None:
            self.reverse.merge(other.reverse)

    def finish(self) -> None:
        """Complete what was summed by triangles."""
        for total in self.precision:
            kernels.mirror(total)

    def local(self) -> Local:
        """The local step that the sums give."""
        norms = None if self.squares is None else np.sqrt(self.squares)
        return Local(Sites(self.linear, self.precision), self.bound, None, norms)

    def _chunk(self, rows: slice, k: Array, scratch: Array, products: Array) -> None:
        model, k, scratch = self.model, k[0], scratch[0]
        x, weights = self.x[rows], self.weights[rows]
        model.covariance.fill(model.program, x, model.columns, k)
        n_latents = len(self.latents)
        mean, variance = np.empty((2, n_latents, len(x)))
        diagonal = model.covariance.diagonal(model.program, x)
        for latent, product, m, v in zip(self.latents, products, mean, variance):
            np.matmul(k, latent.d, out=product)
            kernels.moments(k, product, latent.weights, diagonal, m, v)
        mean, variance = mean.T, variance.T
        np.maximum(variance, 1e-12 * diagonal[:, None], out=variance)
        expected = model.likelihood.expect(self.y[rows], mean, variance, model.noise, self.rng)
        self.bound += float(weights @ expected.value)
        self.by_log_noise += float(weights @ expected.by_log_noise)
        first = weights[:, None] * expected.by_mean
        second = weights[:, None] * expected.by_variance
        curvature = np.maximum(-2.0 * second, 0.0)
        for t in range(n_latents):
            self.linear[t] += (first[:, t] + curvature[:, t] * mean[:, t]) @ k
            self.slopes[t] += first[:, t] @ k
            kernels.scale_rows(k, np.sqrt(curvature[:, t]), scratch)
            add_square(scratch, self.precision[t])
            if len(self.curvatures):
                self._curve(t, k, products[t], second[:, t].copy(), scratch)
        if self.squares is not None:
            self._norms(rows, k, expected.by_mean, -2.0 * expected.by_variance, mean)
        if self.reverse is not None:
            self._backward(x, k, products, first, second, scratch)

    def _curve(self, t: int, k: Array, product: Array, second: Array, scratch: Array) -> None:
        """Add to C, or to what `crossed` gives."""
        if self.is_thin:
            scratch[...] = -0.5 * product
            add_product(k, self.model.inverse, scratch)
            kernels.scale_rows(scratch, 2.0 * second, scratch)
            add_crossed(product, scratch, self.curvatures[t])
        else:
            kernels.scale_rows(k, second, scratch)
            add_crossed(scratch, k, self.curvatures[t])

    def _norms(self, rows: slice, k: Array, first: Array, curvature: Array, mean: Array) -> None:
        assert self.squares is not None
        length = np.einsum("ij,ij->i", k, k)[:, None]
        curvature = np.maximum(curvature, 0.0)
        linear = np.square(first + curvature * mean)
        self.squares[rows] = (length * (linear + np.square(curvature) * length)).sum(axis=1)

    def _backward(
        self, x: Array, k: Array, products: Array, first: Array, second: Array, adjoint: Array
    ) -> None:
        assert self.reverse is not None
        adjoint[...] = 0.0
        for t, (latent, product) in enumerate(zip(self.latents, products)):
            slopes = first[:, t].copy(), -2.0 * second[:, t]
            kernels.add_adjoints(*slopes, latent.weights, product, adjoint)
        self.reverse.add(x, self.model.columns, adjoint, k)
        self.reverse.add_diagonal(x, second.sum(axis=1))


class LearnState(NamedTuple):
    """Dual parameters, hyperparameters, and the states of their optimizers."""

    sites: Sites
    hyper: Hyper
    natural: Any
    adaptive: Any


def learn(
    model: SparseVariational,
    natural: Optimizer,
    adaptive: Optimizer | None,
    scale: Array,
    bounds: Array,
    moves: bool = True,
) -> Algorithm:
    """Natural gradients for q(u), and `adaptive` for the rest, from one pass over the batch.

    Its `init` takes the `Sites` to start from, which it owns from then on. `scale` (D,) is what
    columns are measured in, `bounds` (P, 2) are kept by theta, and the inducing inputs stay where
    they are unless `moves`; without `adaptive` theta does too. ``info["bound"]`` is the batch's
    estimate of the bound before the step, nats.
    """

    def init(sites: Sites) -> LearnState:
        hyper = Hyper(model.theta.copy(), model.z / scale)
        start = None if adaptive is None else adaptive.init(hyper)
        return LearnState(sites, hyper, natural.init(sites), start)

    def step(
        state: LearnState, batch: Batch, rng: np.random.Generator
    ) -> tuple[LearnState, dict[str, Any]]:
        sites, hyper, natural_state, adaptive_state = state
        if adaptive is None:
            local = model.local(sites, batch, None, rng)
            bound = local.bound + model.global_bound(sites)
        else:
            result = model.evaluate(sites, batch, rng)
            local, bound = result.local, result.bound
        direction = Sites(*(new - old for new, old in zip(local.statistics, sites)))
        change, natural_state, rate = natural.update(direction, natural_state, sites)
        sites = add(sites, change)
        if adaptive is not None:
            by_z = result.by_z * scale if moves else np.zeros_like(result.by_z)
            gradient = Hyper(result.by_theta, by_z)
            change, adaptive_state, _ = adaptive.update(gradient, adaptive_state, hyper)
            hyper = add(hyper, change)
            np.clip(hyper.theta, bounds[:, 0], bounds[:, 1], out=hyper.theta)
            model.move(hyper.theta.copy(), hyper.z * scale)
        info = {"bound": bound, "rate": rate, "local_bound": local.bound}
        return LearnState(sites, hyper, natural_state, adaptive_state), info

    return Algorithm(init, step)


def _inverse(lower: Array) -> Array:
    """(L L')^-1, by LAPACK on the transpose, which is upper triangular in its order."""
    inverse, info = lapack.dpotri(lower.T, lower=0)
    assert info == 0
    result: Array = inverse.T
    kernels.mirror(result)
    return result
