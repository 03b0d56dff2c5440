"""Plain twins of Bayesian PCA and factor analysis: one row and one feature at a time."""

import math

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaln, psi

LOG_2PI = math.log(2 * math.pi)


def standardize(x, centre, factor):
    return np.array([[*((row - centre) * factor), 1.0] for row in x.astype(float)])


def weigh(rows, latent, weights):
    """(weight * latent, sum of weight * x^2)."""
    weighted = np.array([w * z for w, z in zip(weights, latent)])
    return weighted, sum((w * x**2 for w, x in zip(weights, rows)), np.zeros(rows.shape[1]))


def statistics_norm(x, z, covariance):
    """Norm of 1, E[z z'], x z' and x^2 of a row (x, 1) whose factors are (z, 1)."""
    parts = [1.0], np.outer(z, z) + covariance, np.outer(x[:-1], z), x[:-1] ** 2
    return math.sqrt(sum(np.sum(np.square(part)) for part in parts))


def column_squares(x, centre):
    return sum(((row - centre) ** 2 for row in x.astype(float)), np.zeros(x.shape[1]))


def best_square(N, D, S, half_Q, a0, b0):
    """The x > 0 that is best for z_k <- sqrt(x) z_k and w_k <- w_k / sqrt(x).

    E[log p(z)] and the entropies give (N - D) / 2 log x - S x / 2, and precisions at their best
    -(a0 + D / 2) log(b0 + Q / (2 x)).
    """

    def slope(log_x):  # times x
        x = math.exp(log_x)
        pull = (a0 + D / 2) * (half_Q / x) / (b0 + half_Q / x)
        return (N - D) / 2 - S * x / 2 + pull

    return math.exp(brentq(slope, -60, 60, xtol=1e-15, rtol=1e-14))


class Model:
    """Coordinate ascent by the book: q(w, mu), q(tau), q(alpha), q(z), one after another."""

    def __init__(self, X, Z, hyper, per_feature, tau, half_Q, rescale=True):
        """Start from means Z and unit covariance of the factors."""
        self.X, self.hyper, self.per_feature, self.rescale = X, hyper, per_feature, rescale
        self.Z, self.z_cov = Z.copy(), np.eye(Z.shape[1])
        self.half_Q = half_Q  # E[sum_d w_dk^2] / 2
        self.alpha_shape = hyper.factor_shape + X.shape[1] / 2
        self.alpha_rate = hyper.factor_rate + half_Q
        shared = 1 if per_feature else X.shape[1]
        self.tau_shape = hyper.noise_shape + shared * len(X) / 2
        self.tau_rate = self.tau_shape / tau

    def moments(self):
        """Sums of E[z z'], x E[z'] and x^2, with (z, 1)."""
        ones = np.column_stack((self.Z, np.ones(len(self.Z))))
        latent = ones.T @ ones
        latent[:-1, :-1] += len(self.Z) * self.z_cov
        return latent, self.X.T @ ones, np.square(self.X).sum(axis=0)

    def update(self):
        hyper, (N, D), K = self.hyper, self.X.shape, self.Z.shape[1]
        if self.rescale:
            for k in range(K):
                S = np.sum(self.Z[:, k] ** 2) + N * self.z_cov[k, k]
                x = best_square(N, D, S, self.half_Q[k], hyper.factor_shape, hyper.factor_rate)
                self.Z[:, k] *= math.sqrt(x)
                self.z_cov[k] *= math.sqrt(x)
                self.z_cov[:, k] *= math.sqrt(x)
                self.alpha_rate[k] = hyper.factor_rate + self.half_Q[k] / x
        latent, cross, squares = self.moments()
        tau = np.broadcast_to(self.tau_shape / self.tau_rate, D)
        prior = np.diag(np.append(self.alpha_shape / self.alpha_rate, hyper.mean_precision))
        self.cov = np.array([np.linalg.inv(prior + tau[d] * latent) for d in range(D)])
        self.mean = np.array([tau[d] * self.cov[d] @ cross[d] for d in range(D)])
        outer = [self.cov[d] + np.outer(self.mean[d], self.mean[d]) for d in range(D)]
        errors = np.array(
            [squares[d] - 2 * self.mean[d] @ cross[d] + np.sum(outer[d] * latent) for d in range(D)]
        )
        self.tau_rate = hyper.noise_rate + 0.5 * (errors if self.per_feature else errors.sum())
        self.half_Q = 0.5 * np.diag(sum(outer))[:K]
        self.alpha_rate = hyper.factor_rate + self.half_Q
        tau = np.broadcast_to(self.tau_shape / self.tau_rate, D)
        gram = sum(tau[d] * outer[d] for d in range(D))
        self.z_cov = np.linalg.inv(np.eye(K) + gram[:K, :K])
        self.Z = np.array(
            [
                self.z_cov @ (sum(tau[d] * x[d] * self.mean[d, :K] for d in range(D)) - gram[:K, K])
                for x in self.X
            ]
        )

    def elbo(self):
        """Each expectation written out."""
        hyper, D, K = self.hyper, self.X.shape[1], self.Z.shape[1]
        a, b = self.tau_shape, np.atleast_1d(self.tau_rate)
        tau, log_tau = (np.broadcast_to(part, D) for part in (a / b, psi(a) - np.log(b)))
        total = 0.0
        for x, z in zip(self.X, self.Z):
            one = np.append(z, 1.0)
            second = np.outer(one, one) + np.pad(self.z_cov, (0, 1))
            for d in range(D):
                w = self.cov[d] + np.outer(self.mean[d], self.mean[d])
                error = x[d] ** 2 - 2 * x[d] * self.mean[d] @ one + np.sum(w * second)
                total += 0.5 * (log_tau[d] - LOG_2PI - tau[d] * error)
            total += 0.5 * (K + np.linalg.slogdet(self.z_cov)[1] - np.trace(second[:K, :K]))
        alpha = self.alpha_shape / self.alpha_rate
        log_alpha = psi(self.alpha_shape) - np.log(self.alpha_rate)
        precision = np.append(alpha, hyper.mean_precision)
        log_precision = np.append(log_alpha, math.log(hyper.mean_precision))
        for d in range(D):
            square = np.diag(self.cov[d]) + self.mean[d] ** 2
            total += 0.5 * np.sum(log_precision - precision * square + 1)
            total += 0.5 * np.linalg.slogdet(self.cov[d])[1]
        for rate in b:
            total -= gamma_divergence(a, rate, hyper.noise_shape, hyper.noise_rate)
        for rate in self.alpha_rate:
            total -= gamma_divergence(self.alpha_shape, rate, hyper.factor_shape, hyper.factor_rate)
        return total


def gamma_divergence(a, b, a0, b0):
    """KL(Gamma(a, b) || Gamma(a0, b0))."""
    log_x, x = psi(a) - math.log(b), a / b
    log_q = a * math.log(b) - gammaln(a) + (a - 1) * log_x - b * x
    return log_q - (a0 * math.log(b0) - gammaln(a0) + (a0 - 1) * log_x - b0 * x)
