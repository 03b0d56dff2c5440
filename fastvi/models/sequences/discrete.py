"""Hidden Markov models whose states emit symbols, one or several, as hmmlearn's classes."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastvi.base import checks
from fastvi.base.typing import Array, ArrayLike, RandomState, RowsLike
from fastvi.kernels.chain_filter import MULTINOMIAL
from fastvi.models.files import Saved
from fastvi.models.sequences.arguments import distribution, prior
from fastvi.models.sequences.discrete_states import (
    Categorical,
    Multinomial,
    Probabilities,
    count_rows,
    multinomial_base,
    plain_features,
)
from fastvi.models.sequences.estimator import HiddenMarkovModel
from fastvi.models.sequences.online import Likelihood
from fastvi.models.sequences.rows import FeatureRows, TableRows
from fastvi.models.sequences.stream import Stream

__all__ = ["CategoricalHMM", "Discrete", "MultinomialHMM"]


class Discrete(HiddenMarkovModel):
    """States that emit non-negative integers."""

    def _checked(self, X: RowsLike, reset: bool) -> Array:
        X = self._array(X, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan")
        missing = np.isnan(X).all(axis=1)
        if missing.all():
            raise ValueError("all rows of X are missing")
        kept = X[~missing]
        with np.errstate(invalid="ignore"):
            valid = np.all((kept >= 0) & (kept == np.floor(kept)) & (kept < 2.0**53))
        if not valid:
            raise ValueError(
                "X must hold non-negative integers; a row that is missing is NaN throughout"
            )
        return np.asarray(X)


class _WithProbabilities(Discrete):
    """States with probabilities of symbols."""

    _letters: ClassVar = {"e": "emissionprob_"}
    _read_from = ("emissionprob_",)
    emissionprob_prior: ArrayLike | None
    emissionprob_: Array

    def _width(self, X: Array) -> int:
        """Count the symbols."""
        return int(X.shape[1])

    def _start(self, X: Array, given: dict[str, Any], rng: np.random.RandomState) -> Probabilities:
        k, found = self.n_components, given.get("emissionprob_")
        if found is None:
            found = rng.rand(k, self._width(X))
            found /= found.sum(axis=1, keepdims=True)
        return Probabilities(distribution(found, "emissionprob_", k, self._width(X)))

    def _take_states(self, states: Probabilities) -> None:
        self.emissionprob_ = states.probabilities

    def _read(self) -> Probabilities:
        found = np.asarray(self.emissionprob_)
        width = found.shape[-1] if found.ndim else 0
        return Probabilities(distribution(found, "emissionprob_", self.n_components, width))

    def _n_free(self, states: Probabilities) -> int:
        return states.probabilities.size - len(states.probabilities)

    def _restore_states(self, saved: Saved, k: int) -> None:
        self.emissionprob_ = saved.array("parameters_.states.probabilities", k, None)


class CategoricalHMM(_WithProbabilities):
    """A hidden Markov model whose states emit symbols, fitted by expectation maximisation.

    A drop-in replacement for hmmlearn's class of this name: from the same start it has the same
    parameters after each iteration, to rounding.

    Parameters
    ----------
    n_components : int, default=1
        Number of states.
    {chain}
    emissionprob_prior : float or array, default=1.0
        Concentrations of Dirichlet priors of rows of `emissionprob_`.
    n_features : int, optional
        Number of symbols, by default one more than the largest that `fit` sees.
    {decoder}
    {steps}

    Attributes
    ----------
    {chain_found}
    emissionprob_ : (n_components, n_symbols) array
        Probabilities of symbols in each state.
    {fit_found}

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import CategoricalHMM
    >>> X = np.repeat([0, 1, 0, 1], 30)[:, None]
    >>> CategoricalHMM(2, random_state=0).fit(X).emissionprob_.shape
    (2, 2)
    """

    def __init__(
        self,
        n_components: int = 1,
        startprob_prior: ArrayLike = 1.0,
        transmat_prior: ArrayLike = 1.0,
        *,
        emissionprob_prior: ArrayLike = 1.0,
        n_features: int | None = None,
        algorithm: str = "viterbi",
        random_state: RandomState = None,
        n_iter: int = 10,
        tol: float = 1e-2,
        verbose: bool = False,
        params: str = "ste",
        init_params: str = "ste",
        implementation: str = "log",
        n_init: int = 1,
        n_jobs: int | None = None,
    ) -> None:
        self._share(locals())
        self.emissionprob_prior = emissionprob_prior
        self.n_features = n_features

    def _checked(self, X: RowsLike, reset: bool) -> Array:
        X = super()._checked(X, reset)
        if X.shape[1] != 1:
            raise ValueError(f"X has {X.shape[1]} columns; wanted one, of symbols")
        n = self.n_features
        if not reset:
            n = np.shape(self.emissionprob_)[1]
        elif n is not None:
            n = checks.integer(n, "n_features", 1)
        if n is not None and np.nanmax(X) >= n:
            raise ValueError(f"X holds symbol {np.nanmax(X):.0f}; the model has symbols below {n}")
        return X

    def _width(self, X: Array) -> int:
        return int(np.nanmax(X)) + 1 if self.n_features is None else self.n_features

    def _start(self, X: Array, given: dict[str, Any], rng: np.random.RandomState) -> Probabilities:
        prior(self.emissionprob_prior, "emissionprob_prior", self.n_components, self._width(X))
        return super()._start(X, given, rng)

    def _states(self, n_features: int) -> Categorical:
        return Categorical(np.asarray(self.emissionprob_prior, float), self.params)

    def _arranged(self, stream: Stream, X: Array) -> TableRows:
        codes: NDArray[np.int64] = np.where(stream.is_missing, 0, X[:, 0]).astype(np.int64)
        return TableRows(stream, codes, self._width(X))

    def _likelihood(self, states: Probabilities) -> Likelihood:
        return Likelihood.of_symbols(Categorical().coefficients(None, states))

    def _emit(self, states: Probabilities, state: int, rng: np.random.RandomState) -> list[int]:
        return [int((np.cumsum(states.probabilities[state]) > rng.rand()).argmax())]


class MultinomialHMM(_WithProbabilities):
    """A hidden Markov model whose states emit counts of symbols.

    A drop-in replacement for hmmlearn's class of this name. Rows may have different totals.

    Parameters
    ----------
    n_components : int, default=1
        Number of states.
    n_trials : int, optional
        Total of the rows that `sample` draws; by default that of the rows given to `fit`, if they
        all have the same.
    {chain}
    {decoder}
    {steps}

    Attributes
    ----------
    {chain_found}
    emissionprob_ : (n_components, n_features) array
        Probabilities of symbols in each state.
    {fit_found}

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import MultinomialHMM
    >>> rng = np.random.default_rng(0)
    >>> X = np.vstack([rng.multinomial(10, p, 40) for p in ([0.9, 0.1], [0.1, 0.9])])
    >>> model = MultinomialHMM(2, random_state=0).fit(X)
    >>> sorted(model.emissionprob_[:, 0].round(1))
    [np.float64(0.1), np.float64(0.9)]
    """

    def __init__(
        self,
        n_components: int = 1,
        n_trials: int | None = None,
        startprob_prior: ArrayLike = 1.0,
        transmat_prior: ArrayLike = 1.0,
        algorithm: str = "viterbi",
        random_state: RandomState = None,
        n_iter: int = 10,
        tol: float = 1e-2,
        verbose: bool = False,
        params: str = "ste",
        init_params: str = "ste",
        implementation: str = "log",
        n_init: int = 1,
        n_jobs: int | None = None,
    ) -> None:
        self._share(locals())
        self.n_trials = n_trials

    def _states(self, n_features: int) -> Multinomial:
        return Multinomial(self.params)

    def _arranged(self, stream: Stream, X: Array) -> FeatureRows:
        return count_rows(stream, X, multinomial_base)

    def _start(self, X: Array, given: dict[str, Any], rng: np.random.RandomState) -> Probabilities:
        totals = np.unique(X.sum(axis=1))
        self._total = int(totals[0]) if len(totals) == 1 else None
        return super()._start(X, given, rng)

    def _likelihood(self, states: Probabilities) -> Likelihood:
        features = plain_features(states.probabilities.shape[1])
        coefficients = Multinomial().coefficients(None, states)
        return Likelihood.of_features(features, MULTINOMIAL, coefficients)

    def _saved(self) -> dict[str, object]:
        total = getattr(self, "_total", None)
        return super()._saved() | {"total_": np.asarray(-1.0 if total is None else float(total))}

    def _restore(self, saved: Saved) -> None:
        super()._restore(saved)
        total = float(saved.array("total_"))
        self._total = int(total) if total >= 0 else None

    def _emit(self, states: Probabilities, state: int, rng: np.random.RandomState) -> Array:
        given = getattr(self, "_total", None) if self.n_trials is None else self.n_trials
        totals = np.unique([] if given is None else given)
        if len(totals) != 1:
            raise ValueError(f"n_trials is {given!r}; wanted the one total of the rows to draw")
        total = int(totals[0])
        probabilities = states.probabilities[state]
        return np.asarray(rng.multinomial(total, probabilities / probabilities.sum()))
