"""Predictions of deep Gaussian processes: mixtures over draws of the hidden units."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm, qmc

from fastvi.base import parallel
from fastvi.base.typing import Array
from fastvi.models.gp.deep.model import DeepPrepared
from fastvi.models.gp.predictive import AtTimes, log_densities
from fastvi.models.gp.predictor import Predictive

__all__ = ["DeepPredictive", "DeepPredictor"]

CHUNK_ROWS = 1 << 12  # times draws
JITTER = 1e-10  # of joint covariances, as a share of their diagonals


class DeepPredictive:
    """What predictions take; it never changes.

    All rows have the same S draws, so that the predictions of a row do not depend on the others.

    Parameters
    ----------
    here : DeepPrepared
    last : Predictive
        Of the last layer.
    n_draws : int
        S.
    """

    def __init__(self, here: DeepPrepared, last: Predictive, n_draws: int) -> None:
        self.here, self.last = here, last
        recognition = here.model.recognition
        n_latents = 0 if recognition is None else recognition.n_latents
        sizes = [n_latents, *(layer.hidden.mean.shape[0] for layer in here.layers)]
        self._n_draws = n_draws if sum(sizes) else 1
        uniform = qmc.Halton(max(sum(sizes), 1), seed=0).random(self._n_draws)
        normal = norm.ppf(np.clip(uniform, 1e-12, 1.0 - 1e-12))
        ends = np.cumsum([0, *sizes])
        self._latent, *self._normal = [normal[:, start:end] for start, end in pairwise(ends)]

    def latents(self, X: Array, n_threads: int = 1) -> tuple[Array, Array]:
        """Means and variances of the last layer's functions, (S, n, T) each."""
        t, n, s = len(self.last.posteriors), len(X), self._n_draws
        mean, variance = np.empty((2, s, n, t))
        size = max(1, CHUNK_ROWS // s)

        def task(i: int) -> None:
            rows = slice(i * size, min((i + 1) * size, n))
            x = self.here.model.standardised(X[rows])
            inputs = self._last_inputs(np.concatenate([x] * s))
            shape = (s, len(x), t)
            for whole, part in zip((mean, variance), self.last.latents(inputs)):
                whole[:, rows] = part.reshape(shape)

        parallel.run(task, -(-n // size), n_threads)
        return mean, variance

    def _last_inputs(self, x: Array) -> Array:
        n = len(x) // self._n_draws
        x = np.concatenate((x, np.repeat(self._latent, n, axis=0)), axis=1)
        normal = [np.repeat(each, n, axis=0) for each in self._normal]
        return self.here.draw(x, normal).inputs[-1]

    def targets(self, X: Array, n_threads: int = 1) -> tuple[Array, Array]:
        """Means and variances of targets, (n,) or (n, n_outputs)."""
        parts = [self.last.targets(*each) for each in zip(*self.latents(X, n_threads))]
        means, variances = (np.stack(each) for each in zip(*parts))
        mean = means.mean(axis=0)
        return mean, variances.mean(axis=0) + np.square(means - mean).mean(axis=0)

    def probabilities(self, X: Array, n_threads: int = 1) -> Array:
        """Probabilities of classes, (n, n_classes)."""
        likelihood, values = self.last.likelihood, self.last.values
        latents = zip(*self.latents(X, n_threads))
        parts = [likelihood.probabilities(*each, values) for each in latents]
        return np.asarray(np.mean(parts, axis=0))

    def log_densities(self, X: Array, y: Array, n_threads: int = 1) -> Array:
        """Log densities of targets (n,) or (n, n_outputs), nats."""
        logs = []
        for mean, variance in zip(*self.latents(X, n_threads)):
            each = log_densities(AtTimes(self.last, mean, variance), y)
            logs.append(each if each.ndim == 1 else each.sum(axis=1))
        return np.asarray(logsumexp(logs, axis=0) - np.log(self._n_draws))

    def sample(self, X: Array, n_samples: int, rng: Any) -> Array:
        """Joint draws of targets at all rows, (n, n_outputs, n_samples)."""
        rows, n_latents = self.here.model.standardised(X), self._latent.shape[1]
        draws = []
        for _ in range(n_samples):
            latent = rng.standard_normal((len(rows), n_latents))
            at = x = np.concatenate((rows, latent), axis=1)
            for layer in self.here.layers:
                units = np.stack([_normal(m, c, rng) for m, c in zip(*layer.joint(at))], axis=1)
                at = np.concatenate((units, x), axis=1) if self.here.model.connected else units
            functions = (posterior.joint(at) for posterior in self.last.posteriors)
            draws.append(
                [
                    self.last.sample(_normal(mean[:, 0], covariance, rng), rng, t)
                    for t, (mean, covariance) in enumerate(functions)
                ]
            )
        return np.asarray(draws).transpose(2, 1, 0)


def _normal(mean: Array, covariance: Array, rng: Any) -> Array:
    """A draw of N(mean, covariance), which may be singular to rounding."""
    size = covariance.diagonal().max(initial=0.0)
    values, vectors = np.linalg.eigh(covariance + JITTER * size * np.eye(len(mean)))
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    return np.asarray(mean + root @ rng.standard_normal(len(mean)))


class DeepPredictor:
    """Predictions at rows given as float64 in C order; nothing is checked.

    Parameters
    ----------
    function : callable
        Of rows.
    """

    def __init__(self, function: Callable[[Array], Any]) -> None:
        self._function = function

    def __call__(self, x: Array) -> Any:
        """What the estimator's `compiled` says, at x (n, n_features)."""
        return self._function(x)
