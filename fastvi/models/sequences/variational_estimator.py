"""Base class of hidden Markov models with posteriors over their parameters."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fastvi.base.typing import Array, ArrayLike, RandomState
from fastvi.core import Conjugate
from fastvi.models.estimator import generator_of
from fastvi.models.files import Saved
from fastvi.models.sequences.estimator import HiddenMarkovModel, prior
from fastvi.models.sequences.model import Rows
from fastvi.models.sequences.variational import (
    ChainPosterior,
    ConjugateStates,
    VariationalHiddenMarkov,
)

__all__ = ["VariationalModel", "broadcast"]


class VariationalModel(HiddenMarkovModel):
    """What variational hidden Markov models with any kind of states have in common.

    Predictions use the posterior means, which are the attributes of the model without posteriors.
    """

    _chain_letters: ClassVar = {"s": "startprob_posterior_", "t": "transmat_posterior_"}
    _with_any_sign: ClassVar[tuple[str, ...]] = ()  # posteriors' attributes with numbers below 0
    startprob_posterior_: Array
    transmat_posterior_: Array

    # Hooks of a subclass

    def _posterior_shapes(self, n_features: int) -> dict[str, tuple[int | None, ...]]:
        """Shapes of the attributes with posteriors of states; None is any length."""
        raise NotImplementedError

    def _conjugate(self, rows: Any) -> ConjugateStates:
        """Return the kind of states, with its priors."""
        raise NotImplementedError

    def _start_posterior(
        self, states: Any, X: Array, given: dict[str, Any], random_state: RandomState
    ) -> Any:
        """Return natural parameters of states to begin at."""
        raise NotImplementedError

    def _take_posterior(self, states: Any, params: Any) -> None:
        """Set the attributes of states, and those of their posteriors."""
        raise NotImplementedError

    # Fitting

    def _begin(
        self, rows: Rows, X: Array, given: dict[str, Any], random_state: RandomState
    ) -> tuple[Conjugate, Any]:
        k, rng, n_sequences = self.n_components, generator_of(random_state), len(rows.stream.first)
        start, pairs = given.get("startprob_posterior_"), given.get("transmat_posterior_")
        if start is None:
            start = _drawn(k, 1, rng)[0] * n_sequences
        if pairs is None:
            pairs = _drawn(k, k, rng) * (rows.stream.n_rows / k)
        states = self._conjugate(rows)
        params = ChainPosterior(
            broadcast(start, "startprob_posterior_", k),
            broadcast(pairs, "transmat_posterior_", k, k),
            self._start_posterior(states, X, given, random_state),
        )
        start_prior = 1.0 / k if self.startprob_prior is None else self.startprob_prior
        pairs_prior = 1.0 / k if self.transmat_prior is None else self.transmat_prior
        model = VariationalHiddenMarkov(
            states,
            broadcast(start_prior, "startprob_prior", k),
            broadcast(pairs_prior, "transmat_prior", k, k),
            self.params,
        )
        return model, params

    def _take(self, model: Any, params: ChainPosterior) -> None:
        self.startprob_prior_, self.transmat_prior_ = model.prior.start, model.prior.transitions
        self.startprob_posterior_, self.transmat_posterior_ = params.start, params.transitions
        self.startprob_ = params.start / params.start.sum()
        self.transmat_ = params.transitions / params.transitions.sum(axis=1, keepdims=True)
        self._take_posterior(model.states, params.states)

    # Files

    def _saved(self) -> dict[str, object]:
        names = [*self._chain_letters.values(), *self._posterior_shapes(1)]
        return super()._saved() | {name: np.asarray(getattr(self, name)) for name in names}

    def _restore(self, saved: Saved) -> None:
        super()._restore(saved)
        k = self.n_components
        chain = {"startprob_posterior_": (k,), "transmat_posterior_": (k, k)}
        for name, shape in (chain | self._posterior_shapes(saved.n_features)).items():
            read = saved.array if name in self._with_any_sign else saved.positive
            setattr(self, name, read(name, *shape))


def _drawn(k: int, size: int, rng: np.random.RandomState) -> Array:
    """Draw distributions (size, k); of many states some would be 0, which concentrations cannot."""
    return np.maximum(rng.dirichlet(np.full(k, 1.0 / k), size=size), 1e-10)


def broadcast(values: ArrayLike, name: str, *shape: int) -> Array:
    """Check numbers above 0, of this shape or of one that can be repeated to it."""
    whole = prior(values, name, *shape)
    if not np.all(whole > 0):
        raise ValueError(f"{name} must hold numbers > 0")
    return whole
