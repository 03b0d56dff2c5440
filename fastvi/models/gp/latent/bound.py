"""The collapsed bound of a Gaussian process latent variable model, and its gradient by hand.

Titsias and Lawrence (2010), "Bayesian Gaussian process latent variable model", eq. 13 to 16. N
rows y of T columns, M inducing inputs z, q(x) = N(mean, diag(variance)) in Q dimensions, prior
N(0, I).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastvi.base.blas import solve_rows
from fastvi.base.linear_algebra import cholesky_with_jitter, jitter_slope
from fastvi.base.typing import Array
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.latent.expectations import Expectations
from fastvi.models.gp.optimum import Optimum, Rows, sandwich
from fastvi.models.gp.posterior import Posterior
from fastvi.models.gp.recognition import NO_NETWORK, Network
from fastvi.models.gp.reverse import Reverse

__all__ = ["Inputs", "LatentBound", "LatentRegression", "expectations"]

# Variance of the inducing values beside the function's, as a share of its own. Rounding of Psi_2 is
# magnified by the condition of K(z, z), which long length scales make large.
OWN = 1e-6


class Inputs(NamedTuple):
    """What is learned; also a gradient."""

    theta: Array  # (P,), logarithms of the kernel's hyperparameters
    z: Array  # (M, Q)
    mean: Array  # (N, Q)
    log_variance: Array  # (N, Q)
    network: Network = NO_NETWORK  # that reads q(x) off rows, if one does


class LatentBound(NamedTuple):
    """The bound in nats, its gradient (None if not asked for), and what predictions take."""

    value: float
    gradient: Inputs | None
    posterior: Posterior
    jitter: float


class LatentRegression:
    """The bound of rows y.

    Parameters
    ----------
    covariance : Covariance
        A constant times an RBF, and white noise.
    y : (N, T) float64 array
        Of mean 0.
    n_threads : int
        Results do not depend on it.
    """

    def __init__(self, covariance: Covariance, y: Array, n_threads: int = 1) -> None:
        self.covariance, self.y, self.n_threads = covariance, y, n_threads
        self.square = float(np.vdot(y, y))

    def bound(self, inputs: Inputs, *, gradient: bool = True) -> LatentBound:
        """The bound at these parameters.

        Raises
        ------
        numpy.linalg.LinAlgError
            If K(z, z) or I + V has no Cholesky factor.
        """
        covariance, (theta, z) = self.covariance, inputs[:2]
        mean, variance, z = inputs.mean, np.exp(inputs.log_variance), np.ascontiguousarray(z)
        m = len(z)
        program, noise = covariance.program(theta), covariance.noise(theta)
        columns = covariance.scaled(program, z)
        plain = covariance.fill(program, z, columns, np.empty((m, m)))
        of_rows = expectations(covariance, theta, z, self.n_threads)
        own = OWN * of_rows.c
        shifted = plain + own * np.eye(m)
        factor = cholesky_with_jitter(shifted, "covariance of the inducing inputs")
        lower = factor.lower
        first = of_rows.first(mean, variance)
        v = sandwich(lower, of_rows.second(mean, variance)) / noise
        beta = solve_rows(lower, (first.T @ self.y).T.copy()).T / noise
        rows = Rows(float(len(self.y)), self.square, len(self.y) * of_rows.c)
        optimum = Optimum.of(v, beta, noise, rows)
        weights = optimum.weights(lower)
        value = optimum.value - divergence(mean, inputs.log_variance).sum()
        posterior = Posterior(covariance, program, z, columns, lower, optimum.inner, weights)
        found = LatentBound(float(value), None, posterior, own + factor.jitter)
        if not gradient:
            return found
        by_v = optimum.slope()
        by_k = optimum.slope_of_prior(by_v, lower)
        jitter_slope(shifted, factor.jitter, by_k)
        by_own = own * by_k.trace()
        by_second = sandwich(lower, by_v, transposed=True) / noise
        by_second = 0.5 * (by_second + by_second.T)
        slopes = of_rows.reverse(mean, variance, self.y @ weights.T / noise, by_second)
        reverse = Reverse(covariance, program, z, np.zeros(z.shape[1]))
        reverse.add(z, columns, by_k, plain)
        by_theta, by_z = reverse.gradient(theta)
        by_c = slopes.by_log_c + by_own - 0.5 * self.y.shape[1] * rows.variance / noise
        by_theta += by_hyperparameters(covariance, theta, by_c, -2.0 * of_rows.a * slopes.by_a)
        by_theta += optimum.slope_of_noise(by_v) * covariance.noise_gradient(theta)
        by_log = variance * slopes.by_variance - 0.5 * (variance - 1.0)
        slope = Inputs(by_theta, slopes.by_z + 2.0 * by_z, slopes.by_mean - mean, by_log)
        return found._replace(gradient=slope)


def divergence(mean: Array, log_variance: Array) -> Array:
    """KL(q(x) || p(x)) of each row, nats."""
    parts = np.square(mean) + np.exp(log_variance) - log_variance - 1.0
    return np.asarray(0.5 * parts.sum(axis=1))


def expectations(covariance: Covariance, theta: Array, z: Array, n_threads: int) -> Expectations:
    """Those of an RBF kernel at the logarithms `theta` of its hyperparameters."""
    program = covariance.program(theta)
    return Expectations(
        float(program.amplitudes[0]),
        np.square(program.scales[0]),
        np.ascontiguousarray(z),
        n_threads,
    )


def by_hyperparameters(
    covariance: Covariance, theta: Array, by_log_c: float, by_log_l: Array
) -> Array:
    """The derivative by theta, given those by the logarithms of c and of length scales (Q,)."""
    gradient, node = np.zeros(len(covariance.values)), covariance.nodes[0]
    np.add.at(gradient, list(node.amplitudes), by_log_c)
    lengths = by_log_l if len(node.lengths) > 1 else by_log_l.sum()
    gradient[list(node.lengths)] += lengths
    return np.asarray(gradient[covariance.free])
