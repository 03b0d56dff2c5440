"""Base class of hidden Markov models with posteriors over their parameters."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from fastvi.base import checks, tree
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import Array, ArrayLike, RandomState, RowsLike
from fastvi.batches import Source
from fastvi.checkpoints import Watching
from fastvi.core import Conjugate
from fastvi.models.estimator import generator_of
from fastvi.models.files import Saved
from fastvi.models.sequences.arguments import prior
from fastvi.models.sequences.estimator import HiddenMarkovModel, Monitor
from fastvi.models.sequences.flow import Flow, advanced, begun
from fastvi.models.sequences.model import Rows
from fastvi.models.sequences.pruning import pruned
from fastvi.models.sequences.subchains import Subchains
from fastvi.models.sequences.variational import (
    ChainPosterior,
    ConjugateStates,
    VariationalHiddenMarkov,
)

__all__ = ["VariationalModel", "broadcast", "concentrations"]

FREE = frozenset((  # what may change between calls of `partial_fit`
    "algorithm", "n_iter", "tol", "verbose", "init_params", "implementation", "n_init", "n_jobs",
    "random_state", "batch_size", "subchain_length", "buffer", "buffer_tol",
    "total_samples",
))  # fmt: skip


class VariationalModel(HiddenMarkovModel):
    """What variational hidden Markov models with any kind of states have in common.

    Predictions use the posterior means, which are the attributes of the model without posteriors.
    """

    _over_shards = False

    _chain_letters: ClassVar = {"s": "startprob_posterior_", "t": "transmat_posterior_"}
    # Axes of states, counted from the last, of priors and of attributes with posteriors
    _chain_axes: ClassVar[dict[str, tuple[int, ...]]] = {
        "startprob_prior": (-1,), "transmat_prior": (-2, -1),
        "startprob_posterior_": (-1,), "transmat_posterior_": (-2, -1),
    }  # fmt: skip
    _with_any_sign: ClassVar[tuple[str, ...]] = ()  # posteriors' attributes with numbers below 0
    startprob_posterior_: Array
    transmat_posterior_: Array
    n_rows_seen_: int
    subchain_length: int
    buffer: int
    buffer_tol: float | None
    total_samples: float | None

    # Hooks of a subclass

    def _posterior_shapes(self, n_features: int) -> dict[str, tuple[int | None, ...]]:
        """Shapes of the attributes with posteriors of states; None is any length."""
        raise NotImplementedError

    @property
    def _state_axes(self) -> dict[str, tuple[int, ...]]:
        """Of priors and posteriors of the chain and of states, as `_chain_axes`."""
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

    def partial_fit(self, X: RowsLike, lengths: ArrayLike | None = None) -> Self:
        """Take a step on every `batch_size` sub-chains of these sequences (by default on all).

        The first call after `fit` or `load` goes on from there, with shorter steps the more rows
        `fit` has seen. Priors that are made from the data are those of the first call, and so is
        `random_state`; states, given priors, `params` and `optimizer` must not change.

        Parameters
        ----------
        {X}
        {lengths}

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X is invalid, `lengths` do not add up to its rows, or a parameter must not change.
        """
        self._advance(X, lengths)
        return self

    def _partial_fit(self, X: RowsLike, lengths: ArrayLike | None) -> None:
        flow: Flow | None = self.__dict__.get("_flow")
        if flow is not None:
            self._refuse_changes(set(self.get_params(deep=False)) - FREE)
        first = not hasattr(self, "n_features_in_")
        X = self._checked(X, reset=first)
        stream = self._stream(X, lengths)
        rows = self._arranged(stream, X) if flow is None else flow.template.of(stream, X)
        n_seen = stream.n_rows + getattr(self, "n_rows_seen_", 0)
        with single_threaded_blas():
            flow = self._flowing(rows, X) if flow is None else flow
            flow, history = advanced(
                flow, self._source(rows), self._population(n_seen), self.batch_size
            )
        self._flow, self.n_rows_seen_ = flow, n_seen
        self._take(flow.model, tree.copy(flow.read()))
        self.history_, self.converged_ = history, False
        self.n_iter_ = getattr(self, "n_iter_", 0) + 1
        self.__dict__.pop("elbo_", None)
        self.monitor_ = Monitor([], self.n_iter_, self.tol, self.n_iter)

    def prune(self, X: RowsLike, lengths: ArrayLike | None = None) -> Self:
        """Find the number of states by the bound.

        States with less than one row leave first. Then the smallest state is taken out, the others
        are fitted again from where they were, and if the bound is larger so it stays out; if not,
        the next one is tried, until all have been. Two states that share what one could have are
        found as well. Each attempt is a fit of at most `n_iter` iterations on all rows.

        Bounds are those of models with as many states as are left, so default priors, which depend
        on their number, change with it; priors that were given as arrays lose the entries of the
        states that leave.

        Parameters
        ----------
        {X}
        {lengths}

        Returns
        -------
        model
            A fitted model with `n_components` of at most as many; this one stays as it is.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model is not fitted.
        ValueError
            If X is invalid, or `lengths` do not add up to its rows.

        References
        ----------
        Beal (2003), "Variational algorithms for approximate Bayesian inference", sections 2.3 and
        3.4, on bounds for the choice of models.
        """
        self._parameters()  # which must be there
        return pruned(self, X, lengths)

    def _flowing(self, rows: Rows, X: Array) -> Flow:
        """Begin steps on batches, where a fit ended or afresh."""
        fitted = self if self.__sklearn_is_fitted__() else None
        seed = self._seed(Watching())
        kept, seen = self._to_begin_with(X), getattr(self, "n_rows_seen_", 0)
        given = self._given(fitted, everything=fitted is not None)
        model, params = self._begin(rows, kept, given, seed)
        return begun(
            model, tree.copy(params), rows, self._source(rows), self.optimizer, seed,
            self.batch_size, seen / rows.stream.n_rows,
        )  # fmt: skip

    def _population(self, n_seen: int) -> float:
        """Rows that batches of a stream stand for."""
        if self.total_samples is None:
            return float(n_seen)
        return checks.number(self.total_samples, "total_samples", 1.0)

    def _source(self, rows: Rows) -> Source:
        """Where batches come from."""
        length = checks.integer(self.subchain_length, "subchain_length", 1)
        buffer = checks.integer(self.buffer, "buffer", 0)
        tol = None if self.buffer_tol is None else checks.number(self.buffer_tol, "buffer_tol", 0.0)
        return Subchains(rows, length, buffer, tol)

    def _begin(
        self, rows: Rows, X: Array, given: dict[str, Any], random_state: RandomState
    ) -> tuple[Conjugate, Any]:
        k, rng, n_sequences = self.n_components, generator_of(random_state), len(rows.stream.first)
        start_prior = 1.0 / k if self.startprob_prior is None else self.startprob_prior
        pairs_prior = 1.0 / k if self.transmat_prior is None else self.transmat_prior
        start_prior = concentrations(start_prior, "startprob_prior", k)
        pairs_prior = concentrations(pairs_prior, "transmat_prior", k, k)
        start, pairs = given.get("startprob_posterior_"), given.get("transmat_posterior_")
        if start is None:
            start = _drawn(start_prior, rng) * n_sequences
        if pairs is None:
            pairs = _drawn(pairs_prior, rng) * (rows.stream.n_rows / k)
        start = concentrations(start, "startprob_posterior_", k)
        pairs = concentrations(pairs, "transmat_posterior_", k, k)
        states = self._conjugate(rows)
        params = ChainPosterior(
            np.where(start_prior > 0, start, 0.0),
            np.where(pairs_prior > 0, pairs, 0.0),
            self._start_posterior(states, X, given, random_state),
        )
        model = VariationalHiddenMarkov(states, start_prior, pairs_prior, self.params)
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
        found = {name: np.asarray(getattr(self, name)) for name in names}
        found["n_rows_seen_"] = np.asarray(float(self.n_rows_seen_))
        return super()._saved() | found

    def _restore(self, saved: Saved) -> None:
        super()._restore(saved)
        k = self.n_components
        chain: dict[str, tuple[int, ...]]
        chain = {"startprob_posterior_": (k,), "transmat_posterior_": (k, k)}
        for name, size in chain.items():
            setattr(self, name, concentrations(saved.array(name, *size), name, *size))
        for name, shape in self._posterior_shapes(saved.n_features).items():
            read = saved.array if name in self._with_any_sign else saved.positive
            setattr(self, name, read(name, *shape))
        self.n_rows_seen_ = int(saved.array("n_rows_seen_"))


def _drawn(prior: Array, rng: np.random.RandomState) -> Array:
    """Draw sparse distributions where the prior allows them.

    Of many states some would be 0, which concentrations cannot be.
    """
    k = prior.shape[-1]
    found = rng.dirichlet(np.full(k, 1.0 / k), size=prior.size // k).reshape(prior.shape)
    found = np.where(prior > 0, np.maximum(found, 1e-10), 0.0)
    return np.asarray(found / found.sum(axis=-1, keepdims=True))


def concentrations(values: ArrayLike, name: str, *shape: int) -> Array:
    """Check concentrations of distributions along the last axis, of which some may be 0."""
    whole = prior(values, name, *shape)
    if not np.all(whole.sum(axis=-1) > 0):
        raise ValueError(f"{name} must hold numbers > 0 in every row")
    return whole


def broadcast(values: ArrayLike, name: str, *shape: int) -> Array:
    """Check numbers above 0, of this shape or of one that can be repeated to it."""
    whole = prior(values, name, *shape)
    if not np.all(whole > 0):
        raise ValueError(f"{name} must hold numbers > 0")
    return whole
