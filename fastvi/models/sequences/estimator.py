"""Base class of hidden Markov models fitted by expectation maximisation, as in hmmlearn."""

from __future__ import annotations

import os
import warnings
from numbers import Integral
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from fastvi.base import checks, tree
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import Array, ArrayLike, RandomState, RowsLike
from fastvi.batches import Source
from fastvi.checkpoints import Callback, Watching
from fastvi.core import Batch, Conjugate, Optimizer
from fastvi.models.estimator import generator_of
from fastvi.models.files import Saved
from fastvi.models.fits import Fit
from fastvi.models.sequences.arguments import distribution, prior
from fastvi.models.sequences.model import HiddenMarkov, Parameters, Rows, Sequences
from fastvi.models.sequences.predictions import DECODERS, Decoder
from fastvi.models.sequences.stream import Stream

__all__ = ["HiddenMarkovModel", "Monitor"]


class Monitor(NamedTuple):
    """How a fit went: the log likelihood before each iteration, nats, and when it was to end."""

    history: list[float]
    iter: int
    tol: float
    n_iter: int

    @property
    def converged(self) -> bool:
        """Whether the last iteration gained less than `tol`, or was the last one allowed."""
        gains = np.diff(self.history[-2:])
        return self.iter == self.n_iter or bool(len(gains) and gains[-1] < self.tol)


class HiddenMarkovModel(Decoder):
    """What hidden Markov models with any kind of states have in common.

    A subclass has a constructor, and hooks that say what its states are. As in hmmlearn,
    predictions use the attributes with parameters, which can be set by hand.
    """

    _over_shards = True
    _shared = (
        "n_components", "startprob_prior", "transmat_prior", "algorithm", "n_iter", "tol", "params",
        "init_params", "implementation", "n_init", "random_state", "verbose", "n_jobs",
        "batch_size", "optimizer", "subchain_length", "buffer", "buffer_tol",
        "total_samples",
    )  # fmt: skip
    # Letters of `params` and `init_params`: names of attributes
    _chain_letters: ClassVar[dict[str, str]] = {"s": "startprob_", "t": "transmat_"}
    _letters: ClassVar[dict[str, str]]
    _read_from: ClassVar[tuple[str, ...]]  # attributes that hold the states' parameters

    n_iter: int
    params: str
    init_params: str
    implementation: str
    n_init: int
    startprob_prior: ArrayLike | None
    transmat_prior: ArrayLike | None
    startprob_: Array
    transmat_: Array
    monitor_: Monitor

    # What the loop asks for, and these models do not offer
    batch_size: int | None = None
    optimizer: Optimizer | str | float | None = None
    sampling = "uniform"
    variance_reduction = None
    trace_noise = False
    warm_start = True  # parameters that `init_params` does not name are kept

    @property
    def max_iter(self) -> int:  # type: ignore[override]
        """The name of `n_iter` in other estimators."""
        return self.n_iter

    # Hooks of a subclass

    def _start(self, X: Array, given: dict[str, Any], rng: np.random.RandomState) -> Any:
        """Return parameters of states to begin at; `given` holds attributes to keep."""
        raise NotImplementedError

    def _read(self) -> Any:
        """Check the attributes of states, and return them as parameters."""
        raise NotImplementedError

    def _take_states(self, states: Any) -> None:
        """Set the attributes of states."""
        raise NotImplementedError

    # Fitting

    def fit(
        self,
        X: RowsLike,
        lengths: ArrayLike | None = None,
        *,
        callback: Callback | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_interval: float = 60.0,
        resume: bool = False,
    ) -> Self:
        """Fit the parameters. A fit that fails or is interrupted leaves the model as it was.

        Parameters
        ----------
        {X}
        {lengths}
        {watching}

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X is invalid, `lengths` do not add up to its rows, or a parameter is out of its
            range.
        """
        self._become(Watching(callback, checkpoint, checkpoint_interval, resume), X, lengths)
        return self

    def _fit(
        self, last: Self | None, watching: Watching, X: RowsLike, lengths: ArrayLike | None
    ) -> None:
        X = self._checked(X, reset=True)
        stream = self._stream(X, lengths)
        k = checks.integer(self.n_components, "n_components", 1)
        checks.choice(self.algorithm, "algorithm", DECODERS)
        checks.integer(self.n_iter, "n_iter", 1)
        seed = self._seed(watching)
        fixed: RandomState = self.random_state if isinstance(self.random_state, Integral) else seed
        kept = self._to_begin_with(X)
        if len(kept) < k:
            raise ValueError(f"X has {len(kept)} rows that are not missing; wanted at least {k}")
        rows, given = self._arranged(stream, X), self._given(last)
        n_init = checks.integer(self.n_init, "n_init", 1)
        if n_init > 1 and watching.checkpoint is not None:
            raise ValueError(f"checkpoint is given with n_init={n_init}; wanted n_init=1")
        draws = generator_of(seed)
        starts = [fixed, *(int(draws.randint(2**31 - 1)) for _ in range(n_init - 1))]
        with single_threaded_blas():
            runs = [self._run(rows, kept, given, start, watching, seed) for start in starts]
            bounds = [self._bound(model, run, rows) for model, run in runs]
        model, best = runs[int(np.argmax(bounds))]
        self._report(best)
        self._take(model, best.params)
        self.elbo_, self.n_rows_seen_ = max(bounds), stream.n_rows
        bounds = [float(bound) for bound in self.history_.get("elbo", [self.elbo_])]
        self.monitor_ = Monitor(bounds, self.n_iter_, self.tol, self.n_iter)

    def _run(
        self,
        rows: Rows,
        X: Array,
        given: dict[str, Any],
        start: RandomState,
        watching: Watching,
        seed: int,
    ) -> tuple[Conjugate, Fit]:
        """Fit from one start."""
        model, params = self._begin(rows, X, given, start)
        fitted = self._ascend(
            model, self._source(rows), tree.copy(params), watching,
            data=(X, rows.stream.first, rows.stream.is_missing, *tree.leaves(params)),
            tol=0.0 if self.tol == -np.inf else checks.number(self.tol, "tol", -np.inf),
            seed=seed,
        )  # fmt: skip
        return model, fitted

    def _begin(
        self, rows: Rows, X: Array, given: dict[str, Any], random_state: RandomState
    ) -> tuple[Conjugate, Any]:
        """Return the model, and parameters to start from; `given` holds attributes to keep."""
        k, rng = self.n_components, generator_of(random_state)
        start = given.get("startprob_")
        start = rng.dirichlet(np.full(k, 1.0 / k)) if start is None else start
        pairs = given.get("transmat_")
        pairs = rng.dirichlet(np.full(k, 1.0 / k), size=k) if pairs is None else pairs
        states = self._start(X, given, generator_of(random_state))
        params = Parameters(
            distribution(start, "startprob_", k), distribution(pairs, "transmat_", k, k), states
        )
        model = HiddenMarkov(
            self._states(X.shape[1]), params,
            prior(self.startprob_prior, "startprob_prior", k),
            prior(self.transmat_prior, "transmat_prior", k, k), self.params,
        )  # fmt: skip
        return model, params

    def _source(self, rows: Rows) -> Source:
        """Where batches come from."""
        return Sequences(rows)

    def _bound(self, model: Conjugate, run: Fit, rows: Rows) -> float:
        """Return the bound of a fit, for which mini-batches need another pass."""
        if "elbo" in run.history:
            return float(run.history["elbo"][-1])
        whole = Batch(rows, np.ones(1))
        local = model.local(run.params, whole, None, np.random.default_rng(0))
        return local.bound + model.global_bound(run.params)

    def _given(self, last: Self | None, everything: bool = False) -> dict[str, Any]:
        """Return attributes that were set by hand or fitted, and that `init_params` leaves.

        With `everything`, also those that it names.
        """
        names = self._chain_letters | self._letters
        for name in ("params", "init_params"):
            unknown = set(getattr(self, name)) - set(names)
            if unknown:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}; wanted letters of {''.join(names)!r}"
                )
        source = self if last is None else last
        drawn = "" if everything else self.init_params
        letters = [letter for letter in names if letter not in drawn]
        kept = [name for letter in letters for name in names[letter].split()]
        lost = {name for letter in drawn for name in names[letter].split() if name in vars(self)}
        if lost:
            warnings.warn(
                f"{', '.join(sorted(lost))}, set by hand, will be overwritten: init_params is "
                f"{self.init_params!r}",
                stacklevel=5,
            )
        found = {name: getattr(source, name, None) for name in kept}
        return {name: value for name, value in found.items() if value is not None}

    def _stream(self, X: Array, lengths: ArrayLike | None) -> Stream:
        has_gaps = not np.isfinite(X.sum())
        missing = self._is_missing(X) if has_gaps else np.zeros(len(X), bool)
        return Stream(checks.sequence_lengths(lengths, len(X)), missing, self._n_threads)

    def _is_missing(self, X: Array) -> NDArray[np.bool_]:
        """Rows that kernels pass over, (n,)."""
        return np.asarray(np.isnan(X).all(axis=1))

    def _to_begin_with(self, X: Array) -> Array:
        """Rows without gaps, from which a start is computed."""
        missing = np.isnan(X).all(axis=1)
        return X[~missing] if missing.any() else X

    def _take(self, model: Any, params: Any) -> None:
        """Set the attributes with parameters."""
        self.startprob_, self.transmat_ = params.start, params.transitions
        self._take_states(params.states)

    def _parameters(self) -> Parameters:
        """Check the attributes, and return them as parameters."""
        check_is_fitted(self)
        k = checks.integer(self.n_components, "n_components", 1)
        start = distribution(self.startprob_, "startprob_", k)
        return Parameters(start, distribution(self.transmat_, "transmat_", k, k), self._read())

    def _parameters_of_fit(self) -> dict[str, Any]:
        # Attributes may be set by hand: `_saved` checks that parameters suit them.
        return dict(self.get_params(deep=False))

    def __sklearn_is_fitted__(self) -> bool:
        return all(hasattr(self, n) for n in ("startprob_", "transmat_", *self._read_from))

    # Files

    def _saved(self) -> dict[str, object]:
        return {"parameters_": self._parameters()}

    def _for_library(self) -> dict[str, Array]:
        form, base, *likelihood = self._likelihood(self._parameters().states)
        names = "centre", "factor", "coefficients", "table"
        found = dict(zip(names, likelihood)) | self._parameters().weights._asdict()
        return found | {"form": np.array([form, base], np.float64)}

    def _restore(self, saved: Saved) -> None:
        k = checks.integer(self.n_components, "n_components", 1)
        start, pairs = (
            saved.array("parameters_.start", k),
            saved.array("parameters_.transitions", k, k),
        )
        self.startprob_, self.transmat_ = start, pairs
        self._restore_states(saved, k)
        self._parameters()
        self.monitor_ = Monitor(
            [float(x) for x in self.history_.get("elbo", ())], self.n_iter_, self.tol, self.n_iter
        )

    def _restore_states(self, saved: Saved, k: int) -> None:
        """Set the attributes of states from a file."""
        raise NotImplementedError
