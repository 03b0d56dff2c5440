"""Hidden Markov models that emit symbols or counts, with posteriors over their parameters."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fastvi.base.typing import Array, ArrayLike, RandomState
from fastvi.core import Optimizer
from fastvi.models.estimator import generator_of
from fastvi.models.sequences.discrete import CategoricalHMM
from fastvi.models.sequences.discrete_states import Categorical, Poisson
from fastvi.models.sequences.poisson import PoissonHMM
from fastvi.models.sequences.rows import FeatureRows, TableRows
from fastvi.models.sequences.variational_estimator import VariationalModel, broadcast
from fastvi.models.sequences.variational_states import (
    Dirichlets,
    GammaRates,
    VariationalCategorical,
    VariationalPoisson,
)

__all__ = ["VariationalCategoricalHMM", "VariationalPoissonHMM"]


class VariationalCategoricalHMM(VariationalModel, CategoricalHMM):
    """A hidden Markov model that emits symbols, with a posterior over all its parameters.

    A drop-in replacement for hmmlearn's class of this name: from the same start it has the same
    posteriors and bounds after each iteration.

    Parameters
    ----------
    n_components : int, default=1
        Largest number of states; with sparse priors, those that the data do not need lose their
        rows.
    startprob_prior, transmat_prior : float or array, optional
        Concentrations of Dirichlet priors, by default 1 / n_components. Larger numbers on the
        diagonal of `transmat_prior` make states sticky.
    emissionprob_prior : float or array, optional
        Concentrations of Dirichlet priors of rows of `emissionprob_`, by default 1 / n_symbols.
    n_features : int, optional
        Number of symbols, by default one more than the largest that `fit` sees.
    {decoder}
    {steps}
    {subchains}

    Attributes
    ----------
    {chain_found}
    emissionprob_ : (n_components, n_symbols) array
        Posterior means of the symbols' probabilities.
    startprob_posterior_, transmat_posterior_, emissionprob_posterior_ : arrays
        Concentrations of Dirichlet posteriors.
    {fit_found}
    n_rows_seen_ : int
        Rows of all calls so far.

    References
    ----------
    MacKay (1997), "Ensemble learning for hidden Markov models"; Beal (2003), "Variational
    algorithms for approximate Bayesian inference", section 3.4.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import VariationalCategoricalHMM
    >>> X = np.repeat([0, 1, 0, 2], 40)[:, None]
    >>> model = VariationalCategoricalHMM(3, random_state=0).fit(X)
    >>> len(set(model.predict(X)))
    3
    """

    _letters: ClassVar = {"e": "emissionprob_posterior_"}
    emissionprob_posterior_: Array

    def __init__(
        self,
        n_components: int = 1,
        startprob_prior: ArrayLike | None = None,
        transmat_prior: ArrayLike | None = None,
        emissionprob_prior: ArrayLike | None = None,
        n_features: int | None = None,
        algorithm: str = "viterbi",
        random_state: RandomState = None,
        n_iter: int = 100,
        tol: float = 1e-6,
        verbose: bool = False,
        params: str = "ste",
        init_params: str = "ste",
        implementation: str = "log",
        n_init: int = 1,
        n_jobs: int | None = None,
        *,
        batch_size: int | None = None,
        optimizer: Optimizer | str | float | None = None,
        subchain_length: int = 1000,
        buffer: int = 50,
        buffer_tol: float | None = None,
        total_samples: float | None = None,
    ) -> None:
        self._share(locals())
        self.emissionprob_prior = emissionprob_prior
        self.n_features = n_features

    def _posterior_shapes(self, n_features: int) -> dict[str, tuple[int | None, ...]]:
        return {"emissionprob_posterior_": (self.n_components, None)}

    @property
    def _state_axes(self) -> dict[str, tuple[int, ...]]:
        names = "emissionprob_prior", "emissionprob_posterior_"
        return self._chain_axes | dict.fromkeys(names, (-2,))

    def _states(self, n_features: int) -> Categorical:
        return Categorical()

    def _prior(self, n_symbols: int) -> Array:
        given = self.emissionprob_prior
        prior = 1.0 / n_symbols if given is None else given
        return broadcast(prior, "emissionprob_prior", self.n_components, n_symbols)

    def _conjugate(self, rows: TableRows) -> VariationalCategorical:
        return VariationalCategorical(self._prior(rows.n_codes), self.params)

    def _start_posterior(
        self,
        states: VariationalCategorical,
        X: Array,
        given: dict[str, Any],
        random_state: RandomState,
    ) -> Dirichlets:
        prior, found = states.prior.concentrations, given.get("emissionprob_posterior_")
        if found is None:
            rng = generator_of(random_state)
            shares = np.array([rng.dirichlet(row) for row in prior])
            found = np.maximum(shares, 1e-10) * (len(X) / self.n_components)
        return Dirichlets(broadcast(found, "emissionprob_posterior_", *prior.shape))

    def _take_posterior(self, states: VariationalCategorical, params: Dirichlets) -> None:
        found = params.concentrations
        self.emissionprob_posterior_ = found
        self.emissionprob_ = found / found.sum(axis=1, keepdims=True)


class VariationalPoissonHMM(VariationalModel, PoissonHMM):
    """A hidden Markov model that emits Poisson counts, with a posterior over all its parameters.

    Parameters
    ----------
    n_components : int, default=1
        Largest number of states; with sparse priors, those that the data do not need lose their
        rows.
    startprob_prior, transmat_prior : float or array, optional
        Concentrations of Dirichlet priors, by default 1 / n_components. Larger numbers on the
        diagonal of `transmat_prior` make states sticky.
    lambdas_prior, lambdas_weight : float or array, optional
        Shape and rate of Gamma priors of mean counts; by default 1 and the inverse of the mean of
        all counts.
    {decoder}
    {steps}
    {subchains}

    Attributes
    ----------
    {chain_found}
    lambdas_ : (n_components, n_features) array
        Posterior means of mean counts.
    startprob_posterior_, transmat_posterior_ : arrays
        Concentrations of Dirichlet posteriors.
    lambdas_shape_, lambdas_rate_ : (n_components, n_features) arrays
        Gamma posteriors of mean counts.
    {fit_found}
    n_rows_seen_ : int
        Rows of all calls so far.

    References
    ----------
    Beal (2003), "Variational algorithms for approximate Bayesian inference", section 3.4.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import VariationalPoissonHMM
    >>> X = np.random.default_rng(0).poisson(np.repeat([1.0, 20.0], 50))[:, None]
    >>> model = VariationalPoissonHMM(2, random_state=0).fit(X)
    >>> len(set(model.predict(X)))
    2
    """

    _letters: ClassVar = {"l": "lambdas_shape_ lambdas_rate_"}
    lambdas_shape_: Array
    lambdas_rate_: Array

    def __init__(
        self,
        n_components: int = 1,
        startprob_prior: ArrayLike | None = None,
        transmat_prior: ArrayLike | None = None,
        lambdas_prior: ArrayLike | None = None,
        lambdas_weight: ArrayLike | None = None,
        algorithm: str = "viterbi",
        random_state: RandomState = None,
        n_iter: int = 100,
        tol: float = 1e-6,
        verbose: bool = False,
        params: str = "stl",
        init_params: str = "stl",
        implementation: str = "log",
        n_init: int = 1,
        n_jobs: int | None = None,
        *,
        batch_size: int | None = None,
        optimizer: Optimizer | str | float | None = None,
        subchain_length: int = 1000,
        buffer: int = 50,
        buffer_tol: float | None = None,
        total_samples: float | None = None,
    ) -> None:
        self._share(locals())
        self.lambdas_prior = lambdas_prior
        self.lambdas_weight = lambdas_weight

    def _posterior_shapes(self, n_features: int) -> dict[str, tuple[int | None, ...]]:
        shape = self.n_components, n_features
        return {"lambdas_shape_": shape, "lambdas_rate_": shape}

    @property
    def _state_axes(self) -> dict[str, tuple[int, ...]]:
        names = "lambdas_prior", "lambdas_weight", "lambdas_shape_", "lambdas_rate_"
        return self._chain_axes | dict.fromkeys(names, (-2,))

    def _states(self, n_features: int) -> Poisson:
        return Poisson()

    def _conjugate(self, rows: FeatureRows) -> VariationalPoisson:
        shape = self.n_components, len(rows.centre)
        a = 1.0 if self.lambdas_prior is None else self.lambdas_prior
        b = 1.0 / rows.mean if self.lambdas_weight is None else self.lambdas_weight
        prior = GammaRates(
            broadcast(a, "lambdas_prior", *shape), broadcast(b, "lambdas_weight", *shape)
        )
        return VariationalPoisson(prior, self.params)

    def _start_posterior(
        self,
        states: VariationalPoisson,
        X: Array,
        given: dict[str, Any],
        random_state: RandomState,
    ) -> GammaRates:
        a, b = given.get("lambdas_shape_"), given.get("lambdas_rate_")
        shape = states.prior.shapes.shape
        if a is None or b is None:
            rates = self._start(X, {}, generator_of(random_state)).rates
            b = states.prior.rates + len(X) / len(rates)
            a = rates * b
        return GammaRates(
            broadcast(a, "lambdas_shape_", *shape), broadcast(b, "lambdas_rate_", *shape)
        )

    def _take_posterior(self, states: VariationalPoisson, params: GammaRates) -> None:
        self.lambdas_shape_, self.lambdas_rate_ = params
        self.lambdas_ = params.shapes / params.rates
