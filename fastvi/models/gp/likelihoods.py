"""Likelihoods of latent Gaussian processes: expectations for the bound, and predictions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import expit, ndtr, softmax

from fastvi.base import checks
from fastvi.base.typing import Array
from fastvi.kernels import likelihoods as kernels
from fastvi.models.gp.likelihood import Expectation, Likelihood, Values

__all__ = [
    "LIKELIHOODS",
    "LINKS",
    "Bernoulli",
    "Gaussian",
    "Measured",
    "Poisson",
    "Softmax",
    "StudentT",
    "named",
    "of_classes",
    "softmax_probabilities",
]

N_NODES = 24
N_DRAWS = 32  # of `Softmax`, per row and step
N_PREDICTIVE_DRAWS = 2000


@functools.cache
def _nodes() -> tuple[Array, Array]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(N_NODES)
    return nodes, weights / weights.sum()


class _OneLatent(Likelihood):
    n_latents = 1

    def _closed_form(
        self, function: Callable[..., None], y: Array, mean: Array, variance: Array, *others: Any
    ) -> Expectation:
        """What a compiled `function` of single columns writes into the last of its arguments."""
        out = np.empty((4, len(y)))
        columns = np.ascontiguousarray(mean[:, 0]), np.ascontiguousarray(variance[:, 0])
        function(y, *columns, *others, out)
        return Expectation(out[0], out[1][:, None], out[2][:, None], out[3])

    def _quadrature(
        self, kind: int, y: Array, mean: Array, variance: Array, noise: float, df: float
    ) -> Expectation:
        function = functools.partial(kernels.quadrature, kind)
        return self._closed_form(function, y, mean, variance, noise, df, *_nodes())

    def joint(self, mean: Array, covariance: Array, values: Values) -> tuple[Array, Array]:
        """See `Likelihood`; for targets that are f plus independent noise."""
        diagonal = covariance.diagonal()[:, None]
        mean, variance = self.predict(mean[:, None], diagonal, values)
        covariance = covariance.copy()
        np.fill_diagonal(covariance, variance)
        return mean, covariance


class Gaussian(_OneLatent):
    """The target is f plus Gaussian noise."""

    name = "gaussian"
    is_noisy = True
    is_conjugate = True
    shares_noise = True

    def expect(
        self, y: Array, mean: Array, variance: Array, values: Values, rng: np.random.Generator
    ) -> Expectation:
        """See `Likelihood`; in closed form."""
        return self._closed_form(kernels.gaussian, y, mean, variance, values.noise)

    def predict(self, mean: Array, variance: Array, values: Values) -> tuple[Array, Array]:
        """See `Likelihood`."""
        return mean[:, 0], variance[:, 0] + values.noise

    def sample(self, f: Array, values: Values, rng: np.random.RandomState) -> Array:
        """See `Likelihood`."""
        return np.asarray(f + np.sqrt(values.noise) * rng.standard_normal(f.shape))


class Measured(Gaussian):
    """As `Gaussian`, for rows (n,) that have known variances of noise as well.

    Parameters
    ----------
    known : (n,) array
    """

    shares_noise = False

    def __init__(self, known: Array) -> None:
        self.known = known

    def expect(
        self, y: Array, mean: Array, variance: Array, values: Values, rng: np.random.Generator
    ) -> Expectation:
        """See `Likelihood`; of these rows."""
        total = values.noise + self.known
        residual = y - mean[:, 0]
        square = (np.square(residual) + variance[:, 0]) / total
        value = -0.5 * (np.log(2.0 * np.pi * total) + square)
        by_noise = 0.5 * (square - 1.0) * values.noise / total
        return Expectation(value, (residual / total)[:, None], (-0.5 / total)[:, None], by_noise)


class StudentT(_OneLatent):
    """The target is f plus noise of Student's t with `df` > 2, whose squared scale is `noise`."""

    name = "student-t"
    is_noisy = True
    is_log_concave = False

    def __init__(self, df: float = 4.0) -> None:
        self.df = df

    def expect(
        self, y: Array, mean: Array, variance: Array, values: Values, rng: np.random.Generator
    ) -> Expectation:
        """See `Likelihood`; by quadrature."""
        return self._quadrature(kernels.STUDENT, y, mean, variance, values.noise, self.df)

    def predict(self, mean: Array, variance: Array, values: Values) -> tuple[Array, Array]:
        """See `Likelihood`."""
        return mean[:, 0], variance[:, 0] + values.noise * self.df / (self.df - 2.0)

    def sample(self, f: Array, values: Values, rng: np.random.RandomState) -> Array:
        """See `Likelihood`."""
        return np.asarray(f + np.sqrt(values.noise) * rng.standard_t(self.df, f.shape))


class _LogCounts(_OneLatent):
    """Logarithms of counts as Gaussian targets of precision y + 1/2, where fits of counts start.

    The weighted least squares from which generalized linear models are fitted (McCullagh and
    Nelder 1989, section 2.5): from f = 0, a Newton step on counts far above 1 overshoots past what
    exp can hold.
    """

    name = "log-counts"

    def expect(
        self, y: Array, mean: Array, variance: Array, values: Values, rng: np.random.Generator
    ) -> Expectation:
        """See `Likelihood`; in closed form."""
        precision = y + 0.5
        residual = np.log(precision) - mean[:, 0]
        value = -0.5 * precision * (np.square(residual) + variance[:, 0])
        by_mean, by_variance = precision * residual, -0.5 * precision
        return Expectation(value, by_mean[:, None], by_variance[:, None], np.zeros(len(y)))


class Poisson(_OneLatent):
    """The target is a count of mean exp(f)."""

    name = "poisson"
    start = _LogCounts()

    def check(self, y: Array) -> None:
        """See `Likelihood`."""
        if not np.all((y >= 0) & (y == np.floor(y))):
            raise ValueError("y must hold non-negative integers where likelihood is 'poisson'")

    def expect(
        self, y: Array, mean: Array, variance: Array, values: Values, rng: np.random.Generator
    ) -> Expectation:
        """See `Likelihood`; in closed form."""
        return self._closed_form(kernels.poisson, y, mean, variance)

    def predict(self, mean: Array, variance: Array, values: Values) -> tuple[Array, Array]:
        """See `Likelihood`."""
        rate = np.exp(mean[:, 0] + 0.5 * variance[:, 0])
        return rate, rate + np.square(rate) * np.expm1(variance[:, 0])

    def joint(self, mean: Array, covariance: Array, values: Values) -> tuple[Array, Array]:
        """See `Likelihood`."""
        rate, variance = self.predict(mean[:, None], covariance.diagonal()[:, None], values)
        covariance = np.outer(rate, rate) * np.expm1(covariance)
        np.fill_diagonal(covariance, variance)
        return rate, covariance

    def sample(self, f: Array, values: Values, rng: np.random.RandomState) -> Array:
        """See `Likelihood`."""
        return rng.poisson(np.exp(f)).astype(np.float64)


class Bernoulli(_OneLatent):
    """The target is 1 with probability sigma(f), the logistic or the normal distribution function.

    Parameters
    ----------
    link : {"logit", "probit"}
    """

    def __init__(self, link: str = "logit") -> None:
        self.name = f"bernoulli-{link}"
        self.kind = kernels.PROBIT if link == "probit" else kernels.LOGIT

    def check(self, y: Array) -> None:
        """See `Likelihood`."""
        if not np.all((y == 0) | (y == 1)):
            raise ValueError(f"y must hold only 0 and 1 where likelihood is {self.name!r}")

    def expect(
        self, y: Array, mean: Array, variance: Array, values: Values, rng: np.random.Generator
    ) -> Expectation:
        """See `Likelihood`; by quadrature."""
        return self._quadrature(self.kind, y, mean, variance, values.noise, 1.0)

    def predict(self, mean: Array, variance: Array, values: Values) -> tuple[Array, Array]:
        """See `Likelihood`; in closed form for "probit", to 2e-9 for "logit"."""
        from fastvi.models.logistic.links import log_mean_sigmoid

        m, v = mean[:, 0], variance[:, 0]
        if self.kind == kernels.PROBIT:
            p = ndtr(m / np.sqrt(1.0 + v))
        else:
            p = np.exp(np.minimum(log_mean_sigmoid(-np.abs(m), v), np.log(0.5)))
            p = np.where(m > 0, 1.0 - p, p)
        return p, p * (1.0 - p)

    def joint(self, mean: Array, covariance: Array, values: Values) -> tuple[Array, Array]:
        """See `Likelihood`."""
        raise ValueError(
            f"the covariance of targets has no closed form where likelihood is {self.name!r}; "
            "use sample_y"
        )

    def probabilities(self, mean: Array, variance: Array, values: Values) -> Array:
        """See `Likelihood`."""
        positive, _ = self.predict(mean, variance, values)
        return np.column_stack((1.0 - positive, positive))

    def sample(self, f: Array, values: Values, rng: np.random.RandomState) -> Array:
        """See `Likelihood`."""
        p = ndtr(f) if self.kind == kernels.PROBIT else expit(f)
        return np.asarray(rng.uniform(size=f.shape) < p, np.float64)


class Softmax(Likelihood):
    """The target is one of `n_latents` classes, 0, 1, ..., with probabilities softmax(f)."""

    name = "softmax"

    def __init__(self, n_latents: int) -> None:
        self.n_latents = n_latents

    def expect(
        self, y: Array, mean: Array, variance: Array, values: Values, rng: np.random.Generator
    ) -> Expectation:
        """See `Likelihood`; by 32 draws per row, antithetic in pairs."""
        half = rng.standard_normal((len(y), N_DRAWS // 2, self.n_latents))
        draws = np.concatenate((half, -half), axis=1)
        value, by_mean, by_variance = np.empty(len(y)), np.empty_like(mean), np.empty_like(mean)
        kernels.softmax(y.astype(np.int64), mean, variance, draws, value, by_mean, by_variance)
        return Expectation(value, by_mean, by_variance, np.zeros(len(y)))

    def probabilities(self, mean: Array, variance: Array, values: Values) -> Array:
        """See `Likelihood`; by 2000 draws, the same for every row."""
        rng = np.random.default_rng(0)
        half = rng.standard_normal((N_PREDICTIVE_DRAWS // 2, self.n_latents))
        out = np.empty(mean.shape)
        kernels.softmax_probabilities(mean, variance, np.concatenate((half, -half)), out)
        return out


def softmax_probabilities(mean: Array, covariance: Array) -> Array:
    """E softmax(f) (n, T) of f ~ N(mean, covariance), (n, T) and (n, T, T), by 2000 draws."""
    rng = np.random.default_rng(0)
    half = rng.standard_normal((N_PREDICTIVE_DRAWS // 2, mean.shape[1]))
    size = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    scaled = covariance / (size[:, :, None] * size[:, None, :])
    lower = np.linalg.cholesky(scaled + 1e-9 * np.eye(mean.shape[1])) * size[:, :, None]
    found = np.empty_like(mean)
    for i, (m, L) in enumerate(zip(mean, lower)):
        moved = half @ L.T
        found[i] = 0.5 * (softmax(m + moved, axis=1) + softmax(m - moved, axis=1)).mean(axis=0)
    return found


LINKS = ("logit", "probit")
LIKELIHOODS: dict[str, Callable[[float], Likelihood]] = {
    "gaussian": lambda df: Gaussian(),
    "student-t": StudentT,
    "poisson": lambda df: Poisson(),
    "bernoulli-logit": lambda df: Bernoulli("logit"),
    "bernoulli-probit": lambda df: Bernoulli("probit"),
}


def named(name: Any, df: Any) -> Likelihood:
    """The likelihood of this name, with `df` degrees of freedom where it has them.

    Raises
    ------
    ValueError
        If the name is unknown, or the likelihood has degrees of freedom and `df` is not above 2.
    """
    name = checks.choice(name, "likelihood", tuple(LIKELIHOODS))
    if name == StudentT.name:
        df = checks.number(df, "df", 2.0, open_low=True)
    return LIKELIHOODS[name](df)


def of_classes(n_classes: int, link: Any) -> Likelihood:
    """The likelihood of so many classes, of which two have a `link`.

    Raises
    ------
    ValueError
        If the link is unknown.
    """
    checks.choice(link, "link", LINKS)
    return Bernoulli(link) if n_classes == 2 else Softmax(n_classes)
