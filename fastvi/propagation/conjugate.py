"""Exponential families besides Gaussians in which expectation propagation can approximate.

A member has natural parameters eta (P,), statistics s(x), and the density exp(eta' s(x) - A(eta))
for a measure of its own, so that products of members are sums of their eta. A site adds to eta, and
what a factor leaves is matched in the expectations of s (Seeger 2005, "Expectation propagation for
exponential families").
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from scipy.special import digamma, gammaln, polygamma

from fastvi.base import checks
from fastvi.base.typing import AnyArray, Array, ArrayLike

__all__ = ["Dirichlet", "Family", "Gamma", "dirichlet", "gamma"]

STEPS = 60  # of Newton's method
CLOSE = 1e-12  # relative change of parameters at its end


class Family(Protocol):
    """A family, and the member that is the prior; arrays of n members are (n, P)."""

    name: str
    natural: Array  # (P,) parameters of the prior

    def parameters(self, eta: Array) -> Array:
        """The usual parameters (n, P); applied to those, the natural ones."""
        ...

    def is_proper(self, eta: Array) -> AnyArray:
        """Whether these are members, (n,)."""
        ...

    def log_normaliser(self, eta: Array) -> Array:
        """A(eta), (n,)."""
        ...

    def expected(self, eta: Array) -> Array:
        """Expectations of the statistics, (n, P)."""
        ...

    def covariance(self, eta: Array) -> Array:
        """Covariances of the statistics, (n, P, P): the Hessian of A."""
        ...

    def matched(self, expected: Array) -> Array:
        """Natural parameters of members with these expectations; NaN if no member has them."""
        ...

    def mean(self, parameters: Array) -> Array:
        """The mean of x, (D,)."""
        ...

    def variance(self, parameters: Array) -> Array:
        """The variances of x, (D,)."""
        ...

    def sample(self, parameters: Array, n: int, rng: np.random.Generator) -> Array:
        """Draws of x, (n, D)."""
        ...


class Gamma:
    """Positive numbers; made by `gamma`. Statistics are log x and x."""

    name = "gamma"

    def __init__(self, shape: float, rate: float) -> None:
        self.natural: Array = np.array([shape, -rate])

    def parameters(self, eta: Array) -> Array:
        """Shapes and rates."""
        return eta * [1.0, -1.0]

    def is_proper(self, eta: Array) -> AnyArray:
        """See `Family`."""
        return np.asarray((eta[:, 0] > 0) & (eta[:, 1] < 0))

    def log_normaliser(self, eta: Array) -> Array:
        """See `Family`."""
        shape, rate = self.parameters(eta).T
        return np.asarray(gammaln(shape) - shape * np.log(rate))

    def expected(self, eta: Array) -> Array:
        """See `Family`."""
        shape, rate = self.parameters(eta).T
        return np.column_stack((digamma(shape) - np.log(rate), shape / rate))

    def covariance(self, eta: Array) -> Array:
        """See `Family`."""
        shape, rate = self.parameters(eta).T
        rows = np.stack((polygamma(1, shape), 1.0 / rate, 1.0 / rate, shape / np.square(rate)))
        return np.asarray(rows.T.reshape(-1, 2, 2))

    def matched(self, expected: Array) -> Array:
        """See `Family`; log a - digamma(a) = log E x - E log x by Newton's method in log a."""
        gap = np.log(expected[:, 1]) - expected[:, 0]
        gap = np.where(gap > 0, gap, np.nan)
        a = (3.0 - gap + np.sqrt(np.square(gap - 3.0) + 24.0 * gap)) / (12.0 * gap)
        for _ in range(STEPS):
            step = (np.log(a) - digamma(a) - gap) / (1.0 - a * polygamma(1, a))
            a = a * np.exp(-np.clip(step, -1.0, 1.0))
            if np.all(~(np.abs(step) > CLOSE)):
                break
        return np.column_stack((a, -a / expected[:, 1]))

    def mean(self, parameters: Array) -> Array:
        """See `Family`."""
        return np.asarray(parameters[:1] / parameters[1])

    def variance(self, parameters: Array) -> Array:
        """See `Family`."""
        return np.asarray(parameters[:1] / parameters[1] ** 2)

    def sample(self, parameters: Array, n: int, rng: np.random.Generator) -> Array:
        """See `Family`."""
        return rng.gamma(parameters[0], 1.0 / parameters[1], (n, 1))


class Dirichlet:
    """Shares of a whole; made by `dirichlet`. Statistics are the logarithms of shares."""

    name = "dirichlet"

    def __init__(self, alpha: Array) -> None:
        self.natural = alpha

    def parameters(self, eta: Array) -> Array:
        """Concentrations."""
        return eta

    def is_proper(self, eta: Array) -> AnyArray:
        """See `Family`."""
        return np.asarray(np.all(eta > 0, axis=1))

    def log_normaliser(self, eta: Array) -> Array:
        """See `Family`."""
        return np.asarray(gammaln(eta).sum(axis=1) - gammaln(eta.sum(axis=1)))

    def expected(self, eta: Array) -> Array:
        """See `Family`."""
        return np.asarray(digamma(eta) - digamma(eta.sum(axis=1, keepdims=True)))

    def covariance(self, eta: Array) -> Array:
        """See `Family`."""
        own, common = polygamma(1, eta), polygamma(1, eta.sum(axis=1))
        return np.asarray(own[:, None] * np.eye(eta.shape[1]) - common[:, None, None])

    def matched(self, expected: Array) -> Array:
        """See `Family`; by Newton's method in log alpha (Minka 2000, "Estimating a Dirichlet")."""
        shares = np.exp(expected)
        whole = shares.sum(axis=1, keepdims=True)
        # Jensen: the logarithms of expected shares are larger, by about (K - 1) / (2 alpha_0)
        loss = np.maximum(-np.log(whole), 1e-12)
        alpha = shares / whole * (0.5 * (expected.shape[1] - 1) / loss) + 0.5
        alpha[~(whole[:, 0] < 1.0)] = np.nan
        for _ in range(STEPS):
            total = alpha.sum(axis=1, keepdims=True)
            off = digamma(alpha) - digamma(total) - expected
            slope, common = polygamma(1, alpha), polygamma(1, total)
            shared = (off / slope).sum(axis=1, keepdims=True)
            shared /= 1.0 / common - (1.0 / slope).sum(axis=1, keepdims=True)
            step = (off + shared) / slope / alpha
            alpha = alpha * np.exp(-np.clip(step, -1.0, 1.0))
            if np.all(~(np.abs(step) > CLOSE)):
                break
        return np.asarray(alpha)

    def mean(self, parameters: Array) -> Array:
        """See `Family`."""
        return np.asarray(parameters / parameters.sum())

    def variance(self, parameters: Array) -> Array:
        """See `Family`."""
        mean = self.mean(parameters)
        return np.asarray(mean * (1.0 - mean) / (1.0 + parameters.sum()))

    def sample(self, parameters: Array, n: int, rng: np.random.Generator) -> Array:
        """See `Family`."""
        return rng.dirichlet(parameters, n)


def gamma(shape: float, rate: float) -> Gamma:
    """A Gamma prior of a positive number, for `fastvi.ep`.

    Moments of its factors (`fastvi.propagation.factors`) are given shapes and rates, (m, 2), and
    return expectations of log x and x.

    Parameters
    ----------
    shape, rate : float
        Above 0.

    Examples
    --------
    >>> from fastvi import propagation
    >>> prior = propagation.gamma(2.0, 1.0)
    >>> prior.natural  # shape, and minus the rate
    array([ 2., -1.])
    """
    numbers = (
        checks.number(value, name, 0.0, open_low=True)
        for name, value in (("shape", shape), ("rate", rate))
    )
    return Gamma(*numbers)


def dirichlet(alpha: ArrayLike) -> Dirichlet:
    """A Dirichlet prior of K shares, for `fastvi.ep`; with K = 2 a Beta distribution.

    Moments of its factors (`fastvi.propagation.factors`) are given concentrations, (m, K), and
    return expectations of the logarithms of shares.

    Parameters
    ----------
    alpha : (K,) array
        Concentrations, above 0.

    Examples
    --------
    >>> import numpy as np
    >>> import fastvi
    >>> from fastvi import propagation
    >>> from scipy.special import digamma
    >>> def tilted(p, alpha, power):  # a mixture of known densities p, whose shares are x
    ...     total = alpha.sum(axis=1, keepdims=True)
    ...     z = (alpha * p).sum(axis=1, keepdims=True)
    ...     return np.log(z / total)[:, 0], digamma(alpha) - digamma(total + 1.0) + p / z
    >>> factors = propagation.factors([[0.9, 0.1], [0.8, 0.2]], tilted)
    >>> found = fastvi.ep(factors, propagation.dirichlet(np.ones(2)))
    >>> bool(found.mean[0] > 0.5)
    True
    """
    found = np.array(alpha, np.float64)
    if found.ndim != 1 or len(found) < 2 or not np.all(found > 0) or not np.isfinite(found).all():
        raise ValueError(f"alpha is {alpha!r}; wanted at least two numbers above 0")
    return Dirichlet(found)
