"""Latent variables that are categories, for autoencoders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.base import checks
from fastvi.base.typing import Array
from fastvi.kernels import autoencoder_categories as kernels
from fastvi.kernels.autoencoder import Objective, Work
from fastvi.kernels.autoencoder_stages import add_prior
from fastvi.models.autoencoder.choice import Option, count
from fastvi.models.autoencoder.priors import Normal
from fastvi.models.autoencoder.rows import Frame

__all__ = ["CATEGORIES", "Categorical", "Uniform"]

Single = NDArray[np.float32]

GRADIENTS = {
    "relaxed": kernels.SOFT, "straight_through": kernels.STRAIGHT, "score": kernels.SCORE,
}  # fmt: skip


def _temperature(value: Any, name: str) -> float:
    return checks.number(value, name, 0.01, 100.0)


def _gradient(value: Any, name: str) -> str:
    return checks.choice(value, name, tuple(GRADIENTS))


CATEGORIES = {
    "n_levels": count(10, 2),
    "temperature": Option(2.0 / 3.0, _temperature),  # Maddison et al. 2017
    "gradient": Option("relaxed", _gradient),
}


class _Tape:
    """What draws leave for the reverse pass."""

    def __init__(self, n_rows: int, n_all: int, n_latent: int) -> None:
        self.soft = np.empty(n_all * n_latent, np.float32)
        self.shares = np.empty(n_all, np.float32)
        self.chances, self.logs, self.slopes = np.empty((3, n_rows * n_latent), np.float32)


class Categorical:
    """Independent categories, whose logits the encoder makes, one hot to the decoder.

    The divergence is in closed form. Draws for gradients are relaxed, or hard with the slopes of
    relaxed ones, or hard with the score function.
    """

    objectives = ("elbo",)

    def __init__(self, n_components: int, options: Mapping[str, Any]) -> None:
        self.n_levels = int(options["n_levels"])
        self.n_latent = self.n_outputs = n_components * self.n_levels
        self.n_noise = 2 * self.n_latent
        self.temperature = float(options["temperature"])
        self.gradient = GRADIENTS[options["gradient"]]

    def settle(self, first: int) -> int:
        """See `Family`."""
        return 0

    def start(self, params: Single, rng: np.random.Generator) -> None:
        """See `Family`."""

    def work(self, n: int, n_all: int) -> _Tape:
        """See `Family`."""
        return _Tape(n, n_all, self.n_latent)

    def _drawn(self, posterior: Single, eps: Single, is_hard: bool, work: _Tape, z: Single) -> None:
        size = len(posterior)
        kernels.category_chances(posterior, self.n_levels, work.chances[:size], work.logs[:size])
        kernels.category_draws(
            posterior, self.n_latent, self.n_levels, eps, self.temperature, is_hard,
            work.soft[: len(z)], z,
        )  # fmt: skip

    def draw(
        self, params: Single, posterior: Single, eps: Single, work: _Tape, z: Single, log_q: Array
    ) -> None:
        """See `Family`; log densities are their expectations."""
        self._drawn(posterior, eps, self.gradient != kernels.SOFT, work, z)
        size = len(posterior)
        kernels.category_entropies(work.chances[:size], work.logs[:size], self.n_latent, log_q)

    def exact(
        self, params: Single, posterior: Single, eps: Single, work: _Tape, z: Single, log_q: Array
    ) -> None:
        """See `Family`."""
        self._drawn(posterior, eps, True, work, z)
        kernels.category_densities(z, work.logs[: len(posterior)], self.n_latent, log_q)

    def slopes(
        self, objective: Objective, params: Single, posterior: Single, inner: Work, work: _Tape,
        grads: Single,
    ) -> None:  # fmt: skip
        """See `Family`."""
        n_all = len(posterior) // self.n_latent * objective.n_draws
        size, own = n_all * self.n_latent, slice(len(posterior))
        back, shares, of_rows = inner.back[:size], work.shares[:n_all], work.slopes[own]
        weights = inner.weights[:n_all]
        add_prior(weights, objective.beta, inner.pull[:size], back, shares)
        of_rows.fill(0.0)
        kernels.entropy_slopes(
            work.chances[own], work.logs[own], self.n_latent, self.n_levels, shares, of_rows
        )
        if self.gradient == kernels.SCORE:
            likelihoods = inner.values[:n_all] - objective.beta * inner.densities[:n_all]
            gains = (weights * _centred(likelihoods, objective.n_draws)).astype(np.float32)
            kernels.score_slopes(inner.z[:size], work.chances[own], self.n_latent, gains, of_rows)
        else:
            kernels.path_slopes(
                work.soft[:size], back, self.n_latent, self.n_levels, self.temperature, of_rows
            )
        posterior[...] = of_rows

    def moments(self, params: Single, found: Single) -> Single:
        """See `Family`: chances, and standard deviations of one hot numbers."""
        chances, logs = np.empty((2, found.size), np.float32)
        kernels.category_chances(found.ravel(), self.n_levels, chances, logs)
        spread = np.maximum(chances * (1 - chances), np.finfo(np.float32).tiny)
        both = [part.reshape(found.shape) for part in (chances, 0.5 * np.log(spread))]
        return np.concatenate(both, axis=1)


def _centred(values: Array, n_draws: int) -> Array:
    """Return values (R,) less the mean of a row's other draws, or with one draw of other rows."""
    groups = values.reshape(-1, n_draws) if n_draws > 1 else values.reshape(1, -1)
    n = groups.shape[1]
    others = (groups.sum(axis=1, keepdims=True) - groups) / max(n - 1, 1)
    return np.asarray((groups - others).ravel())


class Uniform(Normal):
    """Categories with equal chances."""

    def __init__(self, n_latent: int, frame: Frame, options: Mapping[str, Any]) -> None:
        super().__init__(n_latent, frame, options)
        self.n_levels = int(options["n_levels"])

    def densities(self, z: Single, work: Any, values: Array) -> None:
        """See `Prior`."""
        values.fill(-(self.n_latent // self.n_levels) * np.log(self.n_levels))

    def slopes(
        self, z: Single, weights: Single, beta: float, work: Any, pull: Single, grads: Single
    ) -> None:
        """See `Prior`."""
        pull.fill(0.0)

    def draws(self, params: Single, n: int, rng: np.random.RandomState) -> Array:
        """See `Prior`."""
        chosen = rng.randint(self.n_levels, size=(n, self.n_latent // self.n_levels))
        return np.asarray(np.eye(self.n_levels)[chosen].reshape(n, -1))
