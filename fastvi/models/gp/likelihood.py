"""What fits and predictions ask of a likelihood; the members are in `fastvi.models.gp.likelihoods`.

Nothing outside those files asks which likelihood it is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastvi.base.typing import Array

__all__ = ["Expectation", "Likelihood", "Values"]

NONE: Array = np.empty(0)


class Expectation(NamedTuple):
    """E[log p(y | f)] of n rows and its derivatives, for T independent Gaussian latents per row.

    `by_own` has the derivatives with respect to the likelihood's own parameters, if it has any.
    """

    value: Array  # (n,)
    by_mean: Array  # (n, T)
    by_variance: Array  # (n, T), half the expected second derivative
    by_log_noise: Array  # (n,)
    by_own: Array | None = None  # (n, L)


class Values(NamedTuple):
    """The parameters of a likelihood: the kernel's white noise, and its own, unconstrained (L,)."""

    noise: float = 0.0
    own: Array = NONE


class Likelihood:
    """The distribution of a target given `n_latents` values of the latent functions.

    A likelihood is a value that never changes; what a fit learns of it comes in as `Values`. A new
    one needs the attributes and `expect`, and then what its targets can do: numbers have `predict`,
    `joint` and `sample`, classes have `probabilities`. Scores follow from these.

    Attributes
    ----------
    name : str
        What estimators and their files call it.
    n_latents : int
        T, the number of latent functions; they share the kernel.
    own : (L,) array
        Its own parameters to start from, unconstrained, such as log scales or the logarithms of
        gaps between cut points. They are learned along with the kernel.
    is_noisy : bool
        Whether the variance of the kernel's white noise is a parameter of it.
    is_log_concave : bool
        Whether log p(y | f) is concave in f: then no expected curvature is negative.
    is_conjugate : bool
        Whether one natural-gradient step of rate 1 on all rows is the optimum of q(u).
    shares_noise : bool
        Whether targets are f plus Gaussian noise of one variance, that of the kernel's white noise.
    start : Likelihood or None
        Another likelihood, one step on which gives the dual parameters that a fit starts from.
        With None it starts from q(u) = p(u).
    """

    name: str
    n_latents: int
    own: Array = NONE
    is_noisy: bool = False
    is_log_concave: bool = True
    is_conjugate: bool = False
    shares_noise: bool = False
    start: Likelihood | None = None

    def check(self, y: Array) -> None:
        """Raise ValueError if `y` (n,) holds a target that the likelihood gives no mass."""
        return

    def expect(
        self, y: Array, mean: Array, variance: Array, values: Values, rng: np.random.Generator
    ) -> Expectation:
        """Expected log-likelihoods of rows, with latents of mean and variance (n, T).

        `rng` is for estimates by Monte Carlo.
        """
        raise NotImplementedError

    def predict(self, mean: Array, variance: Array, values: Values) -> tuple[Array, Array]:
        """Mean and variance of the targets, (n,) each, from those of the latents, (n, T)."""
        raise NotImplementedError

    def joint(self, mean: Array, covariance: Array, values: Values) -> tuple[Array, Array]:
        """Mean (n,) and covariance (n, n) of the targets, from those of one latent function.

        Raises
        ------
        ValueError
            If the covariance has no closed form.
        """
        raise NotImplementedError

    def probabilities(self, mean: Array, variance: Array, values: Values) -> Array:
        """Probabilities of the classes, (n, n_classes), from moments of the latents, (n, T)."""
        raise NotImplementedError

    def sample(self, f: Array, values: Values, rng: np.random.RandomState) -> Array:
        """A target for each value `f` of one latent function, of any shape."""
        raise NotImplementedError
