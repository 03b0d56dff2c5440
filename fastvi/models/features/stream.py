"""Binary features of a stream of rows: the steps of `partial_fit`."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from fastvi import optimizers
from fastvi.base import checks, tree
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import AnyArray, Array, DTypeLike, RowsLike, Tree
from fastvi.batches import InMemory, ShuffledEpochs
from fastvi.checkpoints import Watching
from fastvi.models.features.model import BetaBernoulli, Parameters
from fastvi.models.features.predictions import FeaturePredictions
from fastvi.models.features.rows import rows_of
from fastvi.models.features.start import best_start, scaled_to, with_variances
from fastvi.models.plan import Plan, plan
from fastvi.models.streaming import one_more_pass

__all__ = ["FeatureStream"]

BATCH_SIZE = 256  # rows per step
TEMPERINGS = ("anneal", "variational")
FIXED = (  # by the first call of a stream
    "n_components", "alpha", "prior", "likelihood", "fit_intercept", "noise_variance",
    "feature_variance", "structured", "optimizer",
)  # fmt: skip


class _Stream(NamedTuple):
    """What the next `partial_fit` needs; `state` is that of the plan's algorithm."""

    model: BetaBernoulli
    plan: Plan
    state: Tree
    seed: int


class FeatureStream(FeaturePredictions):
    """The part of the estimator that takes steps on some rows."""

    n_init: int
    tempering: str | None
    noise_variance: float | None
    total_samples: float | None
    n_batch_iter_: int
    _dtype: DTypeLike
    _n_seen: int
    _is_stream: bool  # a stream from scratch, not after a fit
    _stream: _Stream

    def _tempering(self) -> str | None:
        """The way in which starts are tempered."""
        chosen = self.tempering
        if chosen is None:
            return None
        if self.noise_variance is None:
            raise ValueError(
                f"tempering={chosen!r} without noise_variance: noise that is learned falls with "
                "the residuals by itself; wanted a noise_variance, or tempering=None"
            )
        return checks.choice(chosen, "tempering", TEMPERINGS)

    # Hooks of the estimator

    def _to_fit(self, X: RowsLike, reset: bool = True) -> AnyArray:
        raise NotImplementedError

    def _frame(self, X: AnyArray) -> Array:
        raise NotImplementedError

    def _given_variances(self) -> tuple[float | None, float | None]:
        raise NotImplementedError

    def _make_model(self, n_features: int, missing: bool) -> BetaBernoulli:
        raise NotImplementedError

    def _check_form(self, model: BetaBernoulli, what: str) -> None:
        raise NotImplementedError

    def _take(
        self, model: BetaBernoulli, params: Parameters, centre: Array, dtype: DTypeLike
    ) -> None:
        raise NotImplementedError

    # Streams

    def partial_fit(self, X: RowsLike, y: object = None) -> Self:
        """Take mini-batch steps on some rows of a stream of `total_samples`.

        It continues from an earlier `fit` or `partial_fit`, and extends its `history_`, in which
        each call is an epoch. The first call on a new estimator finds its features in the rows that
        it is given, as `fit` does; later calls change them, but add none. Steps take `batch_size`
        rows (256 by default), without variance reduction and with uniform sampling. After a `fit`
        to N rows steps have by default the rate n / (N + n t).

        `batch_size`, `total_samples` and `n_jobs` are those of each call; `random_state` is that of
        the first call, or of the first after `fit` or unpickling, and what the model and
        `optimizer` were there must stay.

        Parameters
        ----------
        X : (n_rows, n_features) array
            NaN is a missing value, if the first rows held some.
        y : ignored

        Raises
        ------
        ValueError
            If a parameter is out of its range or must not change, or X is invalid.
        """
        stream = self.__dict__.get("_stream")
        with tree.borrowed(stream and stream.state) as state:
            self._advance(X, state)
        return self

    def _partial_fit(self, X: RowsLike, borrowed: Tree) -> None:
        first = not self.__sklearn_is_fitted__()
        if "_stream" in vars(self):
            self._refuse_changes(FIXED)
        X = self._to_fit(X, reset=first)
        centre = self._frame(X) if first else self._centre
        seen = len(X) + (0 if first else self._n_seen)
        population = float(seen)
        if self.total_samples is not None:
            population = checks.number(self.total_samples, "total_samples", 1.0)
        batch_size = checks.integer(self.batch_size or BATCH_SIZE, "batch_size", 1)
        stream = self.__dict__.get("_stream") or self._begin_stream(
            X, centre, population, batch_size, first
        )
        model, chosen, state, seed = stream
        state = state if borrowed is None else borrowed
        if not model.each and np.isnan(X).any():
            raise ValueError("X holds NaN, unlike the rows of the first call; wanted none")
        model.n_threads = self._n_threads
        source = InMemory(rows_of(X, centre, always_seen=model.each))
        batches = ShuffledEpochs(source, batch_size, seed, population)
        before = {} if first else self.history_
        state, history = one_more_pass(chosen.algorithm, state, batches, seed, before)
        for name in ("elbo_", "converged_"):
            self.__dict__.pop(name, None)
        dtype = X.dtype if first else self._dtype
        self._take(model, tree.copy(chosen.read(state)), centre, dtype)
        self._is_stream = first or self._is_stream
        self._stream = _Stream(model, chosen, state, seed)
        self.history_ = history.arrays()
        self._n_seen, self.n_batch_iter_ = seen, len(history)
        self.n_iter_ = 1 if first else self.n_iter_

    def _begin_stream(
        self, X: AnyArray, centre: Array, population: float, batch_size: int, first: bool
    ) -> _Stream:
        """Begin with the features of the first rows, or with those that there are."""
        missing = bool(np.isnan(X).any()) if first else self._model.each
        model, seed = self._make_model(X.shape[1], missing), self._seed(Watching())
        rows = rows_of(X, centre, always_seen=model.each)
        if first:
            n_init = checks.integer(self.n_init, "n_init", 1)
            rng = np.random.default_rng(seed)
            with single_threaded_blas():
                params = best_start(
                    model, rows, n_init, rng, self._given_variances(), self._tempering()
                )
            params = scaled_to(params, population)
        else:
            self._check_form(model, "partial_fit")
            given = with_variances(self._params, self._given_variances())
            params = scaled_to(given, population)
        optimizer, n_steps = self.optimizer, 0 if first else self.n_batch_iter_
        if optimizer is None and not (first or self._is_stream):
            n_batches = self._n_seen / min(batch_size, len(X))  # new rows get their share
            optimizer, n_steps = optimizers.robbins_monro(n_batches, 1.0), 0
        source = InMemory(rows)
        batches = ShuffledEpochs(source, batch_size, 0)
        chosen = plan(model, source, optimizer=optimizer, batches=batches)
        state = chosen.algorithm.init(chosen.begin(params))
        if isinstance(state.optimizer, int):
            state = state._replace(optimizer=state.optimizer + n_steps)
        return _Stream(model, chosen, state, seed)

    def __getstate__(self) -> dict[str, object]:
        # A copy: on Python 3.11 scikit-learn returns the live dict.
        state: dict[str, object] = dict(super().__getstate__())
        state.pop("_stream", None)
        return state
