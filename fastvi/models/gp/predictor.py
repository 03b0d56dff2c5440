"""Predictions of a fitted Gaussian process with nothing in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastvi.base.typing import Array
from fastvi.models.gp.likelihood import Likelihood, Values
from fastvi.models.gp.posterior import Function, Latent, Posterior

__all__ = [
    "ClassPredictor",
    "DensePredictor",
    "GaussianProcessPredictor",
    "Predictive",
    "TargetPredictor",
]


class Predictive(NamedTuple):
    """What predictions of targets take: the posterior of each latent function, and a likelihood."""

    posteriors: Sequence[Latent]
    likelihood: Likelihood
    values: Values
    y_mean: Any = 0.0  # targets are the likelihood's times the scale, plus the mean: of all
    y_scale: Any = 1.0  # outputs, or (n_outputs,)

    def targets(self, mean: Array, variance: Array) -> tuple[Array, Array]:
        """Means and variances of targets, (n,) or (n, n_outputs), from those of the latents."""
        mean, variance = self.likelihood.predict(mean, variance, self.values)
        return mean * self.y_scale + self.y_mean, variance * self.y_scale**2

    def joint(self, mean: Array, covariance: Array, output: int = 0) -> tuple[Array, Array]:
        """Mean (n,) and covariance (n, n) of an output's targets, from those of its latent."""
        mean, covariance = self.likelihood.joint(mean, covariance, self.values)
        offset, scale = self._units(output)
        return mean * scale + offset, covariance * scale**2

    def sample(self, f: Array, rng: np.random.RandomState, output: int = 0) -> Array:
        """A target for each value of the latent of an output."""
        offset, scale = self._units(output)
        return self.likelihood.sample(f, self.values, rng) * scale + offset

    def _units(self, output: int) -> tuple[float, float]:
        return float(np.ravel(self.y_mean)[output]), float(np.ravel(self.y_scale)[output])

    def latents(self, x: Array, n_threads: int = 1) -> tuple[Array, Array]:
        """Means and variances of the latent functions, (n, T) each."""
        means, variances = [], []
        for posterior in self.posteriors:
            mean, variance = posterior.predict(x, n_threads=n_threads)
            assert variance is not None
            means.append(mean[:, 0])
            variances.append(variance)
        return np.stack(means, axis=1), np.stack(variances, axis=1)


class GaussianProcessPredictor:
    """Mean and standard deviation at rows given as float64 in C order; nothing is checked.

    Rows of another width read memory that is not theirs: use `predict` for unchecked data. The
    standard deviation includes the white noise. Call it from one thread at a time.

    Parameters
    ----------
    posterior : Posterior
    noise : float
        Variance to be added to the function's.
    mean, scale : (T,) array
        Of the targets: predictions are multiplied by `scale` before `mean` is added.
    flat : bool
        Return (n,) instead of (n, T).
    """

    def __init__(
        self, posterior: Posterior, noise: float, mean: Array, scale: Array, flat: bool
    ) -> None:
        self._noise, self._flat = noise, flat
        self._mean = mean[0] if flat else mean
        self._scale = scale[0] if flat else scale
        weights = posterior.weights * scale
        self._function = Function(posterior, weights[:, 0] if flat else weights)
        self(self._function.point)  # compiles

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation at x (n, n_features), (n,) or (n, n_targets) each.

        Parameters
        ----------
        x : (n, n_features) float64 array in C order
        """
        mean, variance = self._function(x)
        deviation = np.sqrt(variance + self._noise)
        if not self._flat:
            deviation = deviation[:, None]
        return mean + self._mean, deviation * self._scale


class TargetPredictor:
    """Mean and standard deviation of targets under a likelihood; nothing is checked.

    Rows are float64 in C order. Call it from one thread at a time.

    Parameters
    ----------
    predictive : Predictive
    """

    def __init__(self, predictive: Predictive) -> None:
        self._predictive = predictive
        self._functions = [posterior.compiled() for posterior in predictive.posteriors]
        self(self._functions[0].point)  # compiles

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation at x (n, n_features), (n,) or (n, n_outputs) each.

        Parameters
        ----------
        x : (n, n_features) float64 array in C order
        """
        mean, variance = self._predictive.targets(*self._latents(x))
        return mean, np.sqrt(variance)

    def _latents(self, x: Array) -> tuple[Array, Array]:
        parts = [function(x) for function in self._functions]
        mean, variance = (np.stack(part, axis=1) for part in zip(*parts))
        return mean, variance


class ClassPredictor(TargetPredictor):
    """Probabilities of classes; nothing is checked. Arguments as of `TargetPredictor`."""

    def __call__(self, x: Array) -> Array:  # type: ignore[override]
        """Probabilities at x (n, n_features), (n, n_classes).

        Parameters
        ----------
        x : (n, n_features) float64 array in C order
        """
        _, likelihood, values, *_ = self._predictive
        return likelihood.probabilities(*self._latents(x), values)


class DensePredictor:
    """Probabilities of classes from all rows of a fit; nothing is checked.

    Parameters
    ----------
    probabilities : callable
        Of rows.
    """

    def __init__(self, probabilities: Callable[[Array], Array]) -> None:
        self._probabilities = probabilities

    def __call__(self, x: Array) -> Array:
        """Probabilities at x (n, n_features), (n, n_classes).

        Parameters
        ----------
        x : (n, n_features) float64 array in C order
        """
        return self._probabilities(x)
