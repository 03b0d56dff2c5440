"""Plain twins of latent binary features: one row, one feature and one pair at a time."""

import functools
import itertools
import math

import numpy as np
from scipy.special import betaln, digamma


def sigma(a):
    return 1 / (1 + math.exp(-a)) if a > -700 else 0.0


def sweep(evidence, gram, prior, beta, nu):
    """One sweep over the features of one row that are not fixed."""
    nu = list(nu)
    for k in range(len(prior)):
        others = sum(nu[m] * gram[m][k] for m in range(len(nu)) if m != k)
        nu[k] = sigma(prior[k] + beta * (evidence[k] - gram[k][k] / 2 - others))
    return nu


def entropy(nu):
    return -sum(p * math.log(p) for q in nu for p in (q, 1 - q) if p > 0)


def pairs(nu):
    return [nu[k] if k == m else nu[k] * nu[m] for k in range(len(nu)) for m in range(k + 1)]


def logit_bound(xi):
    """(2 lambda, the bound's constant) of Jaakkola and Jordan at xi."""
    lam = math.tanh(xi / 2) / (4 * xi) if xi > 1e-6 else 1 / 8
    return 2 * lam, -math.log(1 + math.exp(-xi)) - xi / 2 + lam * xi**2


class Model:
    """Coordinate ascent by the book for complete Gaussian data and the finite prior.

    q(A), then noise and variance, twice; then q(pi); then a sweep over each row.
    """

    def __init__(self, X, nu, alpha, noise, variance):
        self.X, self.nu, self.noise, self.variance = X, nu.copy(), noise, variance
        self.N, self.K, self.D = len(X), nu.shape[1], X.shape[1]
        self.first = alpha / self.K

    def moments(self):
        second = self.nu.T @ self.nu
        np.fill_diagonal(second, self.nu.sum(axis=0))
        return second

    def squares(self):
        """E[A A'], summed over the features of the data."""
        return self.mean @ self.mean.T + self.D * self.cov

    def residual(self):
        fit = self.nu @ self.mean
        return (self.X**2 - 2 * self.X * fit).sum() + (self.moments() * self.squares()).sum()

    def globals(self):
        for _ in range(2):
            self.cov = np.linalg.inv(np.eye(self.K) / self.variance + self.moments() / self.noise)
            self.mean = self.cov @ self.nu.T @ self.X / self.noise
            self.noise = self.residual() / self.X.size
            self.variance = np.trace(self.squares()) / (self.K * self.D)
        n = self.nu.sum(axis=0)
        self.a, self.b = self.first + n, 1 + self.N - n

    def rows(self):
        prior = digamma(self.a) - digamma(self.b)
        evidence = self.X @ self.mean.T / self.noise
        gram = self.squares() / self.noise
        self.nu = np.array([sweep(e, gram, prior, 1.0, v) for e, v in zip(evidence, self.nu)])

    def bound(self):
        on, off = (digamma(x) - digamma(self.a + self.b) for x in (self.a, self.b))
        n = self.nu.sum(axis=0)
        value = (n * on + (self.N - n) * off).sum() + sum(map(entropy, self.nu))
        value -= 0.5 * (
            self.X.size * math.log(2 * math.pi * self.noise) + self.residual() / self.noise
        )
        kl = (self.a - self.first) * on + (self.b - 1) * off
        value -= (kl - betaln(self.a, self.b) + betaln(self.first, 1)).sum()
        value += 0.5 * self.D * (np.linalg.slogdet(self.cov)[1] + self.K)
        value -= 0.5 * self.K * self.D * math.log(self.variance)
        return value - 0.5 * np.trace(self.squares()) / self.variance


def assignments(N, K):
    """Every binary matrix (N, K)."""
    for bits in itertools.product((0.0, 1.0), repeat=N * K):
        yield np.array(bits).reshape(N, K)


def log_finite(Z, alpha):
    """log p(Z) with pi_k ~ Beta(alpha / K, 1)."""
    n, first = Z.sum(axis=0), alpha / Z.shape[1]
    return float(np.sum(betaln(first + n, 1 + len(Z) - n) - betaln(first, 1)))


def log_sticks(Z, alpha):
    """log p(Z) with pi_k = v_1 ... v_k, v_k ~ Beta(alpha, 1)."""
    return _log_sticks(tuple(Z.sum(axis=0)), len(Z), alpha)


@functools.cache
def _log_sticks(usage, total, alpha, points=40):
    """By quadrature in v^alpha, which is uniform."""
    x, w = np.polynomial.legendre.leggauss(points)
    v = (0.5 * (x + 1)) ** (1 / alpha)
    pi = np.cumprod(list(itertools.product(v, repeat=len(usage))), axis=1)
    weights = np.prod(list(itertools.product(0.5 * w, repeat=len(usage))), axis=1)
    n = np.array(usage)
    return float(np.log(weights @ np.prod(pi**n * (1 - pi) ** (total - n), axis=1)))


def log_gaussian(X, Z, noise, variance):
    """log p(X | Z), the images summed out."""
    cov = noise * np.eye(len(Z)) + variance * Z @ Z.T
    fit = np.sum(X * np.linalg.solve(cov, X))
    return -0.5 * (X.shape[1] * np.linalg.slogdet(2 * math.pi * cov)[1] + fit)


def log_bernoulli(X, Z, variance, points=40):
    """log p(X | Z), the images summed out by quadrature."""
    x, w = np.polynomial.hermite_e.hermegauss(points)
    images = np.array(list(itertools.product(np.sqrt(variance) * x, repeat=Z.shape[1])))
    weights = np.prod(list(itertools.product(w / w.sum(), repeat=Z.shape[1])), axis=1)
    odds = images @ Z.T  # (points, N)
    total = 0.0
    for column in X.T:
        total += math.log(weights @ np.prod(1 / (1 + np.exp(-(2 * column - 1) * odds)), axis=1))
    return total
