"""Likelihoods of latent Gaussian processes: expectations for the bound, and predictions."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr

from fastvi.kernels import likelihoods as kernels

__all__ = [
    "Bernoulli",
    "Expectation",
    "Gaussian",
    "Likelihood",
    "Poisson",
    "PoissonStart",
    "Softmax",
    "StudentT",
]

Array = NDArray[np.float64]
N_NODES = 24
N_DRAWS = 32  # of `Softmax`, a row and step
N_PREDICTIVE_DRAWS = 2000


class Expectation(NamedTuple):
    """E[log p(y | f)] of rows (n,), and derivatives by mean and variance (n, T) and log noise."""

    value: Array
    by_mean: Array
    by_variance: Array
    by_log_noise: Array


class Likelihood(Protocol):
    """Of a target given `n_latents` values of the function; `noise` is that of the kernel.

    `is_noisy` says whether it has noise, `is_log_concave` whether log p is concave in f.
    """

    n_latents: int
    is_noisy: bool
    is_log_concave: bool

    def expect(
        self, y: Array, mean: Array, variance: Array, noise: float, rng: np.random.Generator
    ) -> Expectation:
        """Expected log-likelihoods of rows, latents of mean and variance (n, T)."""
        ...

    def predict(self, mean: Array, variance: Array, noise: float) -> tuple[Array, Array]:
        """Mean and variance of targets, (n,) each."""
        ...

    def sample(self, f: Array, noise: float, rng: np.random.RandomState) -> Array:
        """A target for each value of the function (one latent), of any shape."""
        ...


@functools.cache
def _nodes() -> tuple[Array, Array]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(N_NODES)
    return nodes, weights / weights.sum()


def _expectation(out: Array) -> Expectation:
    return Expectation(out[0], out[1][:, None], out[2][:, None], out[3])


class _OneLatent(Likelihood):
    n_latents = 1
    is_noisy = False
    is_log_concave = True

    def _quadrature(
        self, kind: int, y: Array, mean: Array, variance: Array, noise: float, df: float
    ) -> Expectation:
        out = np.empty((4, len(y)))
        columns = np.ascontiguousarray(mean[:, 0]), np.ascontiguousarray(variance[:, 0])
        kernels.quadrature(kind, y, *columns, noise, df, *_nodes(), out)
        return _expectation(out)


class Gaussian(_OneLatent):
    """The target is f plus noise."""

    is_noisy = True

    def expect(
        self, y: Array, mean: Array, variance: Array, noise: float, rng: np.random.Generator
    ) -> Expectation:
        """See `Likelihood`; a closed form."""
        out = np.empty((4, len(y)))
        columns = np.ascontiguousarray(mean[:, 0]), np.ascontiguousarray(variance[:, 0])
        kernels.gaussian(y, *columns, noise, out)
        return _expectation(out)

    def predict(self, mean: Array, variance: Array, noise: float) -> tuple[Array, Array]:
        """See `Likelihood`."""
        return mean[:, 0], variance[:, 0] + noise

    def sample(self, f: Array, noise: float, rng: np.random.RandomState) -> Array:
        """See `Likelihood`."""
        return np.asarray(f + np.sqrt(noise) * rng.standard_normal(f.shape))


class StudentT(_OneLatent):
    """The target is f plus noise of Student's t with `df` > 2, whose squared scale is `noise`."""

    is_noisy = True
    is_log_concave = False

    def __init__(self, df: float = 4.0) -> None:
        self.df = df

    def expect(
        self, y: Array, mean: Array, variance: Array, noise: float, rng: np.random.Generator
    ) -> Expectation:
        """See `Likelihood`; by quadrature."""
        return self._quadrature(kernels.STUDENT, y, mean, variance, noise, self.df)

    def predict(self, mean: Array, variance: Array, noise: float) -> tuple[Array, Array]:
        """See `Likelihood`."""
        return mean[:, 0], variance[:, 0] + noise * self.df / (self.df - 2.0)

    def sample(self, f: Array, noise: float, rng: np.random.RandomState) -> Array:
        """See `Likelihood`."""
        return np.asarray(f + np.sqrt(noise) * rng.standard_t(self.df, f.shape))


class Poisson(_OneLatent):
    """The target is a count of mean exp(f)."""

    def expect(
        self, y: Array, mean: Array, variance: Array, noise: float, rng: np.random.Generator
    ) -> Expectation:
        """See `Likelihood`; a closed form."""
        out = np.empty((4, len(y)))
        columns = np.ascontiguousarray(mean[:, 0]), np.ascontiguousarray(variance[:, 0])
        kernels.poisson(y, *columns, out)
        return _expectation(out)

    def predict(self, mean: Array, variance: Array, noise: float) -> tuple[Array, Array]:
        """See `Likelihood`."""
        rate = np.exp(mean[:, 0] + 0.5 * variance[:, 0])
        return rate, rate + np.square(rate) * np.expm1(variance[:, 0])

    def sample(self, f: Array, noise: float, rng: np.random.RandomState) -> Array:
        """See `Likelihood`."""
        return rng.poisson(np.exp(f)).astype(np.float64)


class PoissonStart(Poisson):
    """Logarithms of counts as Gaussian targets of precision y + 1/2, where fits of counts begin.

    The weighted least squares that generalized linear models begin with (McCullagh and Nelder
    1989, section 2.5): from f = 0 a step of Newton's on counts far above 1 overshoots past what
    exp can hold.
    """

    def expect(
        self, y: Array, mean: Array, variance: Array, noise: float, rng: np.random.Generator
    ) -> Expectation:
        """See `Likelihood`; the value is not that of counts."""
        precision = y + 0.5
        residual = np.log(precision) - mean[:, 0]
        value = -0.5 * precision * (np.square(residual) + variance[:, 0])
        by_variance = -0.5 * precision
        return Expectation(
            value, (precision * residual)[:, None], by_variance[:, None], np.zeros(len(y))
        )


class Bernoulli(_OneLatent):
    """The target is 1 with probability sigma(f), the logistic function or the normal one's."""

    def __init__(self, link: str = "logit") -> None:
        self.kind = kernels.PROBIT if link == "probit" else kernels.LOGIT

    def expect(
        self, y: Array, mean: Array, variance: Array, noise: float, rng: np.random.Generator
    ) -> Expectation:
        """See `Likelihood`; by quadrature."""
        return self._quadrature(self.kind, y, mean, variance, noise, 1.0)

    def predict(self, mean: Array, variance: Array, noise: float) -> tuple[Array, Array]:
        """See `Likelihood`; a closed form, or to 2e-9."""
        from fastvi.models.logistic.model import log_mean_sigmoid

        m, v = mean[:, 0], variance[:, 0]
        if self.kind == kernels.PROBIT:
            p = ndtr(m / np.sqrt(1.0 + v))
        else:
            p = np.exp(np.minimum(log_mean_sigmoid(-np.abs(m), v), np.log(0.5)))
            p = np.where(m > 0, 1.0 - p, p)
        return p, p * (1.0 - p)

    def sample(self, f: Array, noise: float, rng: np.random.RandomState) -> Array:
        """See `Likelihood`."""
        p = ndtr(f) if self.kind == kernels.PROBIT else expit(f)
        return np.asarray(rng.uniform(size=f.shape) < p, np.float64)


class Softmax(Likelihood):
    """The target is one of `n_latents` classes, 0, 1, ..., with probabilities softmax(f)."""

    is_noisy = False
    is_log_concave = True

    def __init__(self, n_latents: int) -> None:
        self.n_latents = n_latents

    def expect(
        self, y: Array, mean: Array, variance: Array, noise: float, rng: np.random.Generator
    ) -> Expectation:
        """See `Likelihood`; by 32 draws a row, antithetic in pairs."""
        half = rng.standard_normal((len(y), N_DRAWS // 2, self.n_latents))
        draws = np.concatenate((half, -half), axis=1)
        value, by_mean, by_variance = np.empty(len(y)), np.empty_like(mean), np.empty_like(mean)
        kernels.softmax(y.astype(np.int64), mean, variance, draws, value, by_mean, by_variance)
        return Expectation(value, by_mean, by_variance, np.zeros(len(y)))

    def probabilities(self, mean: Array, variance: Array) -> Array:
        """Of the classes, (n, n_latents), by 2000 draws that are the same for every row."""
        rng = np.random.default_rng(0)
        half = rng.standard_normal((N_PREDICTIVE_DRAWS // 2, self.n_latents))
        out = np.empty(mean.shape)
        kernels.softmax_probabilities(mean, variance, np.concatenate((half, -half)), out)
        return out

    def predict(self, mean: Array, variance: Array, noise: float) -> tuple[Any, Any]:
        """Not a number but a class: see `probabilities`."""
        raise NotImplementedError

    def sample(self, f: Array, noise: float, rng: np.random.RandomState) -> Array:
        """Of several latents: not needed."""
        raise NotImplementedError
