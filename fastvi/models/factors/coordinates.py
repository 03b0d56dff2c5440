"""Unconstrained coordinates of factor models."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastvi.base.linear_algebra import cholesky_from_free, free_from_cholesky, gradient_by_free
from fastvi.base.typing import Array, Tree
from fastvi.core import Coordinates
from fastvi.models.factors.units import Units

__all__ = ["factor_coordinates"]


class Free(NamedTuple):
    """The regression of features on factors, and logarithms of rates.

    `n_rows` (1,) is fixed, `latent` are coordinates of the mean of z z', `slopes` the least-squares
    coefficients, and `residuals` the logarithms of the residual mean squares.
    """

    n_rows: Array
    latent: Array  # (K + 1, K + 1)
    slopes: Array  # (D, K + 1)
    residuals: Array  # (D,)
    noise_rates: Array  # (G,)
    factor_rates: Array  # (K,)


def factor_coordinates(model: Any) -> Coordinates:
    """Coordinates of a `fastvi.models.factors.model.Factors`."""

    def free(params: Tree) -> Free:
        n = params.n_rows[0]
        slopes = np.linalg.solve(params.latent, params.cross.T).T
        left = params.squares - np.sum(slopes * params.cross, axis=1)
        left = np.maximum(left, np.finfo(float).eps * params.squares + np.finfo(float).tiny)
        return Free(
            params.n_rows, free_from_cholesky(np.linalg.cholesky(params.latent / n)), slopes,
            np.log(left / n), np.log(params.noise_rates), np.log(params.factor_rates),
        )  # fmt: skip

    def params(free: Free) -> Tree:
        n = free.n_rows[0]
        lower = cholesky_from_free(free.latent)
        latent = n * lower @ lower.T
        cross = free.slopes @ latent
        squares = n * np.exp(free.residuals) + np.sum(free.slopes * cross, axis=1)
        rates = np.exp(free.noise_rates), np.exp(free.factor_rates)
        return type(model.prior)(free.n_rows.copy(), latent, cross, squares, *rates)

    def gradient(params: Tree, natural: Tree) -> Free:
        slope = _by_params(model, params, natural)
        at = free(params)
        n, squares = params.n_rows[0], slope.squares[:, None]
        lower = np.linalg.cholesky(params.latent / n)
        latent = slope.latent + _symmetric(slope.cross.T @ at.slopes)
        latent += at.slopes.T @ (squares * at.slopes)
        return Free(
            np.zeros(1),
            gradient_by_free(lower, n * latent),
            (slope.cross + 2.0 * squares * at.slopes) @ params.latent,
            slope.squares * n * np.exp(at.residuals),
            slope.noise_rates * params.noise_rates,
            slope.factor_rates * params.factor_rates,
        )

    return Coordinates(free, params, gradient)


def _by_params(model: Any, params: Tree, natural: Tree) -> Tree:
    """Return derivatives of the rows' bound by the parameters, except by the number of rows.

    They go back through `Factors.posterior`: q(tau), q(alpha) and the moments of q(w, mu), whose
    precision for feature d is ``diag(alpha) + tau_d latent``, and the units of the factors.
    Statistics are those of the natural gradient's batch; q(z) is optimal, so its derivative
    vanishes.
    """
    rows = type(natural)(*(g + p - b for g, p, b in zip(natural, params, model.prior)))
    units = Units.best(params, model.factor_shape, model.hyper)
    own, q = units.apply(params), model.posterior(params)
    tau = model.noise_shape(params) / own.noise_rates  # (G,), with which q(w, mu) was fitted
    alpha = np.append(model.factor_shape / own.factor_rates, model.hyper.mean_precision)
    covariance = np.einsum("ij,gj,kj->gik", q.basis, q.spreads, q.basis)  # (G, K + 1, K + 1)
    by_mean, by_covariance, by_error = _by_moments(model, q, own, rows, covariance)

    # mean_d = tau_d covariance_d cross_d
    features = np.arange(model.n_features) * len(tau) // model.n_features
    wide, each = covariance[features], tau[features, None]
    pulled = np.einsum("dij,dj->di", wide, by_mean)
    by_precision = -covariance @ by_covariance @ covariance
    products = _symmetric(np.einsum("di,dj->dij", pulled, q.mean))
    by_precision -= products.reshape(len(tau), -1, *products.shape[1:]).sum(axis=1)
    by_tau = np.einsum("gij,ij->g", by_precision, own.latent)
    by_tau += np.sum(pulled * own.cross, axis=1).reshape(len(tau), -1).sum(axis=1)
    error = by_error[features]
    latent = np.einsum("g,gij->ij", tau, by_precision)
    latent += q.mean.T @ (error[:, None] * q.mean)
    latent += np.einsum("g,gij->ij", model.shared * by_error, covariance)
    by_alpha = np.diagonal(by_precision, axis1=1, axis2=2).sum(axis=0)
    return units.pull(
        own,
        type(natural)(
            np.zeros(1), latent, each * pulled - 2.0 * error[:, None] * q.mean, error,
            -by_tau * tau / own.noise_rates, (-by_alpha * alpha)[:-1] / own.factor_rates,
        ),
    )  # fmt: skip


def _by_moments(
    model: Any, q: Any, own: Tree, rows: Any, covariance: Array
) -> tuple[Array, Array, Array]:
    """Return derivatives of the bound by E[w_d] (D, K + 1), the covariances, and squared errors.

    The errors (G,) are those expected under the parameters, from which q(tau) follows.
    """
    n_noises, features = len(q.noise_rates), model.n_features
    group = np.arange(features) * n_noises // features

    def errors(of: Any) -> Array:
        fit = of.squares - 2.0 * np.sum(q.mean * of.cross, axis=1)
        fit += np.sum(q.mean @ of.latent * q.mean, axis=1)
        fit += np.einsum("gij,ij->g", covariance, of.latent)[group]
        return np.asarray(fit.reshape(n_noises, -1).sum(axis=1))

    seen, rates = q.noise_shape, q.noise_rates
    by_rate = seen * (model.hyper.noise_rate + 0.5 * errors(rows)) / np.square(rates)
    by_rate -= (model.hyper.noise_shape + 0.5 * model.shared * rows.n_rows[0]) / rates
    by_error = 0.5 * by_rate
    by_squares = np.append(
        -0.5 * model.factor_shape / q.factor_rates, -0.5 * model.hyper.mean_precision
    )
    tau = q.noise_precisions[group, None]
    by_mean = -tau * (q.mean @ rows.latent - rows.cross) + 2.0 * by_squares * q.mean
    by_mean += 2.0 * by_error[group, None] * (q.mean @ own.latent - own.cross)
    by_covariance = -0.5 * q.noise_precisions[:, None, None] * rows.latent
    by_covariance = by_covariance + by_error[:, None, None] * own.latent
    by_covariance += np.diag(by_squares) + 0.5 * np.linalg.inv(covariance)
    return by_mean, model.shared * by_covariance, by_error


def _symmetric(matrices: Array) -> Array:
    return np.asarray(0.5 * (matrices + np.swapaxes(matrices, -1, -2)))
