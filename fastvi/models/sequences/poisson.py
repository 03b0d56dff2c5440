"""Hidden Markov models whose states emit Poisson counts, as hmmlearn's class."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fastvi.base.typing import Array, ArrayLike, RandomState
from fastvi.kernels.chain_filter import POISSON
from fastvi.models.files import Saved
from fastvi.models.sequences.arguments import prior
from fastvi.models.sequences.discrete import Discrete
from fastvi.models.sequences.discrete_states import (
    Poisson,
    Rates,
    count_rows,
    plain_features,
    poisson_base,
)
from fastvi.models.sequences.online import Likelihood
from fastvi.models.sequences.rows import FeatureRows
from fastvi.models.sequences.stream import Stream

__all__ = ["PoissonHMM"]


class PoissonHMM(Discrete):
    """A hidden Markov model whose states emit independent Poisson counts.

    A drop-in replacement for hmmlearn's class of this name: from the same start it has the same
    parameters after each iteration, to rounding (under a prior of `lambdas_`, where hmmlearn gives
    each state the rows of all, each state has its own).

    Parameters
    ----------
    n_components : int, default=1
        Number of states.
    {chain}
    lambdas_prior, lambdas_weight : float or array, default=0.0
        Shape and rate of Gamma priors of `lambdas_`: prior counts, and prior rows.
    {decoder}
    {steps}

    Attributes
    ----------
    {chain_found}
    lambdas_ : (n_components, n_features) array
        Mean counts in each state.
    {fit_found}

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import PoissonHMM
    >>> X = np.random.default_rng(0).poisson(np.repeat([1.0, 20.0], 50))[:, None]
    >>> model = PoissonHMM(2, random_state=0).fit(X)
    >>> sorted(model.lambdas_[:, 0].round())
    [np.float64(1.0), np.float64(20.0)]
    """

    _letters: ClassVar = {"l": "lambdas_"}
    _read_from = ("lambdas_",)
    lambdas_prior: ArrayLike | None
    lambdas_weight: ArrayLike | None
    lambdas_: Array

    def __init__(
        self,
        n_components: int = 1,
        startprob_prior: ArrayLike = 1.0,
        transmat_prior: ArrayLike = 1.0,
        lambdas_prior: ArrayLike = 0.0,
        lambdas_weight: ArrayLike = 0.0,
        algorithm: str = "viterbi",
        random_state: RandomState = None,
        n_iter: int = 10,
        tol: float = 1e-2,
        verbose: bool = False,
        params: str = "stl",
        init_params: str = "stl",
        implementation: str = "log",
        n_init: int = 1,
        n_jobs: int | None = None,
    ) -> None:
        self._share(locals())
        self.lambdas_prior = lambdas_prior
        self.lambdas_weight = lambdas_weight

    def _states(self, n_features: int) -> Poisson:
        shape = self.n_components, n_features
        return Poisson(
            prior(self.lambdas_prior, "lambdas_prior", *shape),
            prior(self.lambdas_weight, "lambdas_weight", *shape),
            self.params,
        )

    def _start(self, X: Array, given: dict[str, Any], rng: np.random.RandomState) -> Rates:
        rates, shape = given.get("lambdas_"), (self.n_components, X.shape[1])
        if rates is None:
            mean, variance = max(X.mean(), 1e-3), max(X.var(), 1e-3)
            rates = rng.gamma(shape=mean**2 / variance, scale=variance / mean, size=shape)
            rates = np.maximum(rates, 1e-3 * mean)
        return _rates(rates, shape)

    def _take_states(self, states: Rates) -> None:
        self.lambdas_ = states.rates

    def _read(self) -> Rates:
        return _rates(self.lambdas_, (self.n_components, np.asarray(self.lambdas_).shape[-1]))

    def _arranged(self, stream: Stream, X: Array) -> FeatureRows:
        return count_rows(stream, X, poisson_base)

    def _likelihood(self, states: Rates) -> Likelihood:
        features = plain_features(states.rates.shape[1])
        return Likelihood.of_features(features, POISSON, Poisson().coefficients(None, states))

    def _emit(self, states: Rates, state: int, rng: np.random.RandomState) -> Array:
        return np.asarray(rng.poisson(states.rates[state]))

    def _n_free(self, states: Rates) -> int:
        return states.rates.size

    def _restore_states(self, saved: Saved, k: int) -> None:
        self.lambdas_ = saved.array("parameters_.states.rates", k, saved.n_features)


def _rates(rates: Any, shape: tuple[int, int]) -> Rates:
    """Check rates."""
    found = np.array(rates, np.float64)
    if found.shape != shape or not np.all(found >= 0) or not np.isfinite(found).all():
        raise ValueError(f"lambdas_ must hold rates >= 0 of shape {shape}; got {found.shape}")
    return Rates(found)
