"""Several targets per row, each with a latent function of its own."""

from __future__ import annotations

import numpy as np

from fastvi.base.typing import Array
from fastvi.models.gp.likelihood import Expectation, Likelihood, Values

__all__ = ["Several", "several"]


class Several(Likelihood):
    """Columns of targets that are independent given their latent functions.

    All have the likelihood of one, with the same parameters, which has one latent function.

    Parameters
    ----------
    one : Likelihood
    n_latents : int
        Number of columns.
    """

    def __init__(self, one: Likelihood, n_latents: int) -> None:
        self.one, self.n_latents = one, n_latents
        for name in (
            "name", "own", "is_noisy", "is_log_concave", "is_conjugate",
        ):  # fmt: skip
            setattr(self, name, getattr(one, name))
        self.start = None if one.start is None else Several(one.start, n_latents)

    def check(self, y: Array) -> None:
        """See `Likelihood`."""
        self.one.check(y)

    def expect(
        self, y: Array, mean: Array, variance: Array, values: Values, rng: np.random.Generator
    ) -> Expectation:
        """See `Likelihood`; sums over the columns."""
        shape = mean.shape
        moments = mean.reshape(-1, 1), variance.reshape(-1, 1)
        found = self.one.expect(np.ascontiguousarray(y).reshape(-1), *moments, values, rng)
        own = found.by_own
        return Expectation(
            found.value.reshape(shape).sum(axis=1),
            found.by_mean.reshape(shape),
            found.by_variance.reshape(shape),
            found.by_log_noise.reshape(shape).sum(axis=1),
            None if own is None else own.reshape(*shape, -1).sum(axis=1),
        )

    def predict(self, mean: Array, variance: Array, values: Values) -> tuple[Array, Array]:
        """See `Likelihood`; (n, T) each."""
        found = self.one.predict(mean.reshape(-1, 1), variance.reshape(-1, 1), values)
        return found[0].reshape(mean.shape), found[1].reshape(mean.shape)

    def joint(self, mean: Array, covariance: Array, values: Values) -> tuple[Array, Array]:
        """See `Likelihood`; of one column."""
        return self.one.joint(mean, covariance, values)

    def sample(self, f: Array, values: Values, rng: np.random.RandomState) -> Array:
        """See `Likelihood`."""
        return self.one.sample(f, values, rng)


def several(one: Likelihood, n_outputs: int) -> Likelihood:
    """The likelihood of so many columns of targets."""
    return one if n_outputs == 1 else Several(one, n_outputs)
