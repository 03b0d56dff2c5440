"""Bayesian PCA and factor analysis without scikit-learn: the conjugate model of the loadings."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import gammaln, psi

from fastvi.base import parallel
from fastvi.base.linear_algebra import SUMS_ENTRIES, TASK_FLOPS
from fastvi.core import Batch, Coordinates, Local, scale
from fastvi.kernels import factors as kernels
from fastvi.models.factors.coordinates import factor_coordinates
from fastvi.models.factors.rows import block_rows
from fastvi.models.factors.units import Units

__all__ = ["Factors", "Hyperparameters", "Loadings", "Posterior"]


class Loadings(NamedTuple):
    """Parameters of the global factors, for D features and K factors.

    The first four are the expected sufficient statistics of rows and factors, with z and the
    loadings w_d extended by 1 and the mean mu_d. They are natural parameters of p(w, tau | z), from
    which `Factors.posterior` computes q(w) and q(tau). The others are rates of the Gamma
    distributions of the noise precisions (1 or D of them) and of the factor precisions.
    """

    n_rows: NDArray[np.float64]  # (1,)
    latent: NDArray[np.float64]  # (K + 1, K + 1), sums of E[z z']
    cross: NDArray[np.float64]  # (D, K + 1), sums of x E[z']
    squares: NDArray[np.float64]  # (D,), sums of x^2
    noise_rates: NDArray[np.float64]  # (1,) or (D,)
    factor_rates: NDArray[np.float64]  # (K,)


class Hyperparameters(NamedTuple):
    """Shapes and rates of Gamma priors, and the prior precision of the mean around 0."""

    noise_shape: float = 1e-6
    noise_rate: float = 1e-6
    factor_shape: float = 1e-6
    factor_rate: float = 1e-6
    mean_precision: float = 1e-6


class Posterior(NamedTuple):
    """Global factors, and the local step that follows from them.

    With ``basis' latent basis = I`` and D features of G noise precisions (1 or D), the covariance
    of (w_d, mu_d) is ``basis diag(spreads_d) basis'``.
    """

    mean: NDArray[np.float64]  # (D, K + 1) of (w, mu)
    basis: NDArray[np.float64]  # (K + 1, K + 1)
    spreads: NDArray[np.float64]  # (G, K + 1)
    log_det: float  # of the precisions of all (w_d, mu_d)
    squares: NDArray[np.float64]  # (K + 1,) E[sum_d w_dk^2]
    noise_shape: float
    noise_rates: NDArray[np.float64]  # (G,)
    factor_rates: NDArray[np.float64]  # (K,)
    gram: NDArray[np.float64]  # (K + 1, K + 1) E[sum_d tau_d w_d w_d']
    latent: NDArray[np.float64]  # (K, K) covariance of q(z)
    encoder: NDArray[np.float64]  # (D + 1, K + 1): (x, 1) @ encoder = (E[z], 1)

    @property
    def noise_precisions(self) -> NDArray[np.float64]:
        """E[tau], (G,)."""
        return self.noise_shape / self.noise_rates


class Factors:
    """The conjugate model of `fastvi.BayesianPCA` and `fastvi.BayesianFactorAnalysis`.

    ``x_n = W z_n + mu + noise`` with z standard normal, columns of W normal with precision alpha_k
    and noise of precision tau: one for all features, as in Bishop (1999), "Variational principal
    components", or one for each. The posterior is q(z) q(w, mu) q(tau) q(alpha); q(w, mu) is
    Gaussian, joint over loadings and mean of a feature, which contains Bishop's q(w) q(mu).

    A local step is a full sweep of coordinate ascent: the scale of each factor, q(w, mu) from the
    statistics in `params`, then q(tau) and q(alpha) from it, then q(z). The new rates depend only
    on `params`, so mini-batches add neither noise nor bias to them, and the bound (at those q)
    never falls with all rows and step 1.

    Parameters
    ----------
    n_features, n_factors : int
    per_feature : bool
        Whether each feature has its own noise precision.
    hyper : Hyperparameters
    log_volume : float
        Log density of data in the caller's units minus that in the model's, in nats per row.
    n_threads : int
        Threads to use; results do not depend on it.
    """

    def __init__(
        self,
        n_features: int,
        n_factors: int,
        *,
        per_feature: bool,
        hyper: Hyperparameters = Hyperparameters(),  # noqa: B008  immutable
        log_volume: float = 0.0,
        n_threads: int = 1,
    ) -> None:
        self.n_features, self.n_factors = n_features, n_factors
        self.hyper = hyper
        self.log_volume = log_volume
        self.n_threads = n_threads
        self.n_noises = n_features if per_feature else 1
        self.shared = n_features // self.n_noises  # features per noise precision
        self.factor_shape = hyper.factor_shape + 0.5 * n_features
        self.prior = Loadings(
            np.zeros(1),
            np.zeros((n_factors + 1, n_factors + 1)),
            np.zeros((n_features, n_factors + 1)),
            np.zeros(n_features),
            np.full(self.n_noises, hyper.noise_rate),
            np.full(n_factors, hyper.factor_rate),
        )
        self._last: tuple[Loadings, Posterior] | None = None

    def start(
        self, count: float, loadings: NDArray[np.float64], noise: NDArray[np.float64]
    ) -> Loadings:
        """Return parameters near loadings (D, K) and noise variances (G,) for `n_rows` rows."""
        latent = count * np.eye(self.n_factors + 1)
        cross = count * np.column_stack((loadings, np.zeros(self.n_features)))
        squares = count * (np.square(loadings).sum(axis=1) + noise)
        noise_rates = self._noise_shape(count) * noise
        factor_rates = self.hyper.factor_rate + 0.5 * np.square(loadings).sum(axis=0)
        return Loadings(np.array([float(count)]), latent, cross, squares, noise_rates, factor_rates)

    def noise_shape(self, params: Loadings) -> float:
        """Shape of q(tau)."""
        return self._noise_shape(float(params.n_rows[0]))

    def _noise_shape(self, count: float) -> float:
        return self.hyper.noise_shape + 0.5 * self.shared * count

    @property
    def coordinates(self) -> Coordinates:
        """See `factor_coordinates`."""
        return factor_coordinates(self)

    def posterior(self, params: Loadings) -> Posterior:
        """Compute q(w, mu), then q(tau) and q(alpha), and the local step that follows."""
        if self._last is None or not all(map(np.array_equal, self._last[0], params)):
            kept = Loadings(*(part.copy() for part in params))  # steps write into params
            self._last = kept, self._posterior(params)
        return self._last[1]

    def _posterior(self, params: Loadings) -> Posterior:
        params = Units.best(params, self.factor_shape, self.hyper).apply(params)
        shape = self.noise_shape(params)
        tau = shape / params.noise_rates
        precisions = np.append(self.factor_shape / params.factor_rates, self.hyper.mean_precision)
        lower = np.linalg.cholesky(params.latent)
        inverse = solve_triangular(lower, np.eye(len(lower)), lower=True)
        # One eigendecomposition diagonalises the precisions diag(alpha) + tau_d latent for all d.
        values, vectors = np.linalg.eigh((inverse * precisions) @ inverse.T)
        basis = inverse.T @ vectors
        sums = np.maximum(values, 0.0) + tau[:, None]
        spreads = 1.0 / sums
        projected = params.cross @ basis
        means = tau[:, None] * spreads * projected
        mean = means @ basis.T
        residual = params.squares - np.sum(means * (2.0 * projected - means), axis=1)
        residual = np.maximum(residual, 0.0) + spreads.sum(axis=1)  # rounding may make it negative
        noise_rates = self.hyper.noise_rate + 0.5 * residual.reshape(self.n_noises, -1).sum(axis=1)
        squares = np.square(mean).sum(axis=0)
        squares += np.square(basis) @ (self.shared * spreads.sum(axis=0))
        log_det = self.n_features * 2.0 * np.log(np.diag(lower)).sum()
        log_det += self.shared * np.log(sums).sum()
        tau = shape / noise_rates
        gram = mean.T @ (tau[:, None] * mean)
        gram += (basis * (self.shared * tau @ spreads)) @ basis.T
        latent, encoder = self._local_step(mean, tau, gram)
        factor_rates = self.hyper.factor_rate + 0.5 * squares[:-1]
        return Posterior(
            mean, basis, spreads, float(log_det), squares, shape, noise_rates, factor_rates,
            gram, latent, encoder,
        )  # fmt: skip

    def _local_step(
        self, mean: NDArray[np.float64], tau: NDArray[np.float64], gram: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Covariance of q(z) and the matrix that maps (x, 1) to (E[z], 1)."""
        k = self.n_factors
        latent = np.linalg.inv(np.eye(k) + gram[:k, :k])
        latent = 0.5 * (latent + latent.T)
        encoder = np.zeros((self.n_features + 1, k + 1))
        encoder[:-1, :k] = (tau[:, None] * mean[:, :k]) @ latent
        encoder[-1, :k] = -latent @ gram[:k, k]
        encoder[-1, k] = 1.0
        return latent, encoder

    def local(
        self,
        params: Loadings,
        batch: Batch,
        start: Any,
        rng: np.random.Generator,
        *,
        norms: bool = False,
    ) -> Local:
        """Fit the factors of a batch; see `fastvi.core.Conjugate`.

        `Local.variables` are their means and covariance, ((n, K + 1), (K, K)).
        """
        q = self.posterior(params)
        work = _Blocks(batch, q, norms)
        latent, cross, squares = work.run(self.n_threads)
        k, count = self.n_factors, squares[-1:]
        latent[:k, :k] += count * q.latent
        statistics = Loadings(
            count, latent, cross[:-1], squares[:-1],
            q.noise_rates - self.hyper.noise_rate, q.factor_rates - self.hyper.factor_rate,
        )  # fmt: skip
        bound = self._local_bound(q, statistics)
        common = sum(float(np.sum(np.square(rates))) for rates in statistics[-2:])
        return Local(statistics, bound, (work.means, q.latent), work.norms, common)

    def _local_bound(self, q: Posterior, sums: Loadings) -> float:
        """E_q[log p(x, z | w, tau) - log q(z)] of rows with these statistics, in nats."""
        d, k, count = self.n_features, self.n_factors, float(sums.n_rows[0])
        tau = np.broadcast_to(q.noise_precisions, d)
        fit = tau @ (sums.squares - 2.0 * np.sum(q.mean * sums.cross, axis=1))
        fit += np.sum(q.gram * sums.latent)
        log_tau = self.shared * np.sum(psi(q.noise_shape) - np.log(q.noise_rates))
        log_det = float(np.linalg.slogdet(q.latent)[1])
        constant = log_tau - d * np.log(2.0 * np.pi) + k + log_det + 2.0 * self.log_volume
        return float(0.5 * (count * constant - fit - np.trace(sums.latent[:k, :k])))

    def global_bound(self, params: Loadings) -> float:
        """E_q[log p - log q] of loadings, mean, noise and precisions, in nats."""
        q, hyper = self.posterior(params), self.hyper
        d, k = self.n_features, self.n_factors
        entropy = 0.5 * (d * (k + 1) - q.log_det)  # log(2 pi) cancels with the priors
        mean = 0.5 * (d * np.log(hyper.mean_precision) - hyper.mean_precision * q.squares[-1])
        factors = np.sum(gammaln(self.factor_shape) - self.factor_shape * np.log(q.factor_rates))
        factors += k * _log_normalizer(hyper.factor_shape, hyper.factor_rate)
        log_tau, tau = psi(q.noise_shape) - np.log(q.noise_rates), q.noise_precisions
        noise = np.sum(
            _log_normalizer(hyper.noise_shape, hyper.noise_rate)
            - _log_normalizer(q.noise_shape, q.noise_rates)
            + (hyper.noise_shape - q.noise_shape) * log_tau
            + (q.noise_rates - hyper.noise_rate) * tau
        )
        return float(entropy + mean + factors + noise)

    def confine(self, params: Loadings, step: Loadings) -> Loadings:
        """Return the step, halved until every positive parameter keeps a tenth of its value."""
        for halvings in range(60):
            short: Loadings = scale(step, 0.5**halvings)
            kept = [
                np.all(before + change >= 0.1 * before)
                for before, change in zip(params, short)
                if before is not params.latent and before is not params.cross
            ]
            try:
                np.linalg.cholesky(0.9 * params.latent + short.latent)
            except np.linalg.LinAlgError:
                continue
            if all(kept):
                return short
        nothing: Loadings = scale(step, 0.0)
        return nothing


def _log_normalizer(shape: Any, rate: Any) -> Any:
    """Log of rate^shape / Gamma(shape)."""
    return shape * np.log(rate) - gammaln(shape)


class _Blocks:
    """One local step: tasks of about 1 ms, in blocks of rows that fit in the cache."""

    def __init__(self, batch: Batch, q: Posterior, norms: bool) -> None:
        self.rows, self.weights = batch.rows, batch.weights
        self.encoder = q.encoder.astype(self.rows.dtype)
        self.covariance = np.pad(q.latent, (0, 1))
        n_rows, width = self.rows.shape
        n_latent = len(self.covariance)
        self.means = np.empty((n_rows, n_latent), self.rows.dtype)
        self.norms = np.empty(n_rows) if norms else None
        self.n_block = block_rows(width + n_latent)
        most = max(4, SUMS_ENTRIES // (width * n_latent))
        target = max(TASK_FLOPS / (4 * width * n_latent + 100), n_rows / most)
        self.bounds = parallel.split(np.arange(n_rows + 1), target)

    def run(
        self, n_threads: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Sums of E[z] E[z]', (x, 1) E[z]' and (x, 1)^2."""
        n_tasks, (width, n_latent) = len(self.bounds) - 1, self.encoder.shape
        latent = np.zeros((n_tasks, n_latent, n_latent))
        cross, squares = np.zeros((n_tasks, width, n_latent)), np.zeros((n_tasks, width))

        def task(i: int) -> None:
            for a in range(self.bounds[i], self.bounds[i + 1], self.n_block):
                b = min(a + self.n_block, self.bounds[i + 1])
                self._block(a, b, latent[i], cross[i], squares[i])

        parallel.run(task, n_tasks, n_threads)
        return latent.sum(axis=0), cross.sum(axis=0), squares.sum(axis=0)

    def _block(
        self,
        a: int,
        b: int,
        latent: NDArray[np.float64],
        cross: NDArray[np.float64],
        squares: NDArray[np.float64],
    ) -> None:
        rows, means = self.rows[a:b], self.means[a:b]
        np.matmul(rows, self.encoder, out=means)
        weighted = np.empty_like(means)
        kernels.weigh(rows, means, self.weights[a:b], weighted, squares)
        latent += means.T @ weighted
        cross += rows.T @ weighted
        if self.norms is not None:
            kernels.statistics_norms(rows, means, self.covariance, self.norms[a:b])


class Gaussian:
    """N(x | mean, W W' + diag(noise)), computed from the K x K matrix M = I + W' noise^-1 W.

    Parameters
    ----------
    mean : (D,) array
    loadings : (D, K) array
    noise : (D,) array
        Variances.
    """

    def __init__(
        self, mean: NDArray[np.float64], loadings: NDArray[np.float64], noise: NDArray[np.float64]
    ) -> None:
        self.mean, self.loadings, self.noise = mean, loadings, noise
        self.root = 1.0 / np.sqrt(noise)
        self.whitened = self.root[:, None] * loadings
        lower = np.linalg.cholesky(np.eye(loadings.shape[1]) + self.whitened.T @ self.whitened)
        self.log_det = 2.0 * np.log(np.diag(lower)).sum() + np.log(noise).sum()
        self.half = solve_triangular(lower, self.whitened.T, lower=True)  # half' half = A M^-1 A'
        self.encoder = solve_triangular(lower, self.half, lower=True, trans="T").T

    def log_density(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log density of rows (n, D), in nats.

        x' C^-1 x is the minimum over z of |x - W z|^2 / noise + |z|^2, in which nothing cancels.
        """
        rest = (x - self.mean) * self.root
        z = rest @ self.encoder
        rest -= z @ self.whitened.T
        square = np.einsum("ij,ij->i", rest, rest) + np.einsum("ij,ij->i", z, z)
        constant = self.log_det + x.shape[1] * np.log(2.0 * np.pi)
        return np.asarray(-0.5 * (square + constant))

    def covariance(self) -> NDArray[np.float64]:
        """C, (D, D)."""
        return np.asarray(self.loadings @ self.loadings.T + np.diag(self.noise))

    def precision(self) -> NDArray[np.float64]:
        """C^-1, (D, D)."""
        half = self.half * self.root
        return np.asarray(np.diag(np.square(self.root)) - half.T @ half)
