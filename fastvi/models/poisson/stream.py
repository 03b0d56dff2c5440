"""Poisson factors of a stream of rows: the steps of `partial_fit`."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from fastvi import optimizers
from fastvi.base import checks
from fastvi.base.bags import Bags
from fastvi.base.typing import DTypeLike, RowsLike, Tree
from fastvi.batches import ShuffledEpochs
from fastvi.checkpoints import Watching
from fastvi.models.counts import DocumentSource
from fastvi.models.plan import SAMPLING, Plan, plan
from fastvi.models.poisson.model import Factors, Fitted, PoissonFactors
from fastvi.models.poisson.options import check_form, model_of
from fastvi.models.poisson.predictions import PoissonPredictions
from fastvi.models.streaming import one_more_pass

__all__ = ["PoissonStream", "random_start"]

BATCH_SIZE = 256  # rows per step
FIXED = (  # by the first call of a stream
    "a", "a_prime", "b_prime", "c", "c_prime", "d_prime", "optimizer", "max_row_iter", "row_tol",
)  # fmt: skip


class _Stream(NamedTuple):
    """What the next `partial_fit` needs; `state` is that of the plan's algorithm."""

    model: PoissonFactors
    plan: Plan
    state: Tree
    seed: int


class PoissonStream(PoissonPredictions):
    """The part of the estimator that takes steps on some rows."""

    total_samples: float | None
    n_batch_iter_: int
    _n_seen: int
    _is_stream: bool  # a stream from scratch, not after a fit
    _stream: _Stream

    def partial_fit(self, X: RowsLike, y: object = None) -> Self:
        """Take mini-batch steps on some rows of a stream of `total_samples`.

        It continues from an earlier `fit` or `partial_fit`, and extends its `history_`, in which
        each call is an epoch. Steps take `batch_size` rows (256 by default), in an order drawn from
        `random_state`, without variance reduction and with uniform sampling. By default, steps
        after a `fit` to N rows have the rate n / (N + n t), so that new rows get their share.

        The first call, or the first after `fit` or unpickling, fixes the priors, `optimizer`,
        `max_row_iter` and `row_tol` of steps, which must not change until the next `fit`, and
        `random_state`. `n_components` and `hierarchical` must never change. `batch_size`,
        `total_samples` and `n_jobs` are those of each call.

        Parameters
        ----------
        X : (n_rows, n_features) CSR matrix or array
            Counts.
        y : ignored

        Raises
        ------
        ValueError
            If a parameter or a count is out of its range, or a parameter must not change.
        """
        return self._go_on(X)

    def _partial_fit(self, X: RowsLike, borrowed: Tree) -> None:
        first = not self.__sklearn_is_fitted__()
        bags = self._counts(X, reset=first)
        if not first:
            check_form(self._found, self.get_params(deep=False), bags.n_words, "partial_fit")
        if "_stream" in vars(self):
            self._refuse_changes(FIXED)
        checks.choice(self.sampling, "sampling", SAMPLING)
        n_rows = len(bags.indptr) - 1
        seen = n_rows + (0 if first else self._n_seen)
        population = float(seen)
        if self.total_samples is not None:
            population = checks.number(self.total_samples, "total_samples", 1.0)
        batch_size = BATCH_SIZE if self.batch_size is None else self.batch_size
        batch_size = checks.integer(batch_size, "batch_size", 1)
        n_threads = self._n_threads
        source = DocumentSource(*bags)
        model, chosen, state, seed = self.__dict__.get("_stream") or self._begin_stream(
            bags, source, population, batch_size, first
        )
        state = state if borrowed is None else borrowed
        model.n_threads = n_threads
        batches = ShuffledEpochs(source, batch_size, seed, population)
        before = {} if first else self.history_
        state, history = one_more_pass(chosen.algorithm, state, batches, seed, before)
        for name in ("elbo_", "converged_"):
            self.__dict__.pop(name, None)
        self._found, self._is_stream = Fitted(model, chosen.read(state)), first or self._is_stream
        self._stream = _Stream(model, chosen, state, seed)
        self.history_ = history.arrays()
        self._n_seen, self.n_batch_iter_ = seen, len(history)
        self.n_iter_ = 1 if first else self.n_iter_

    def _begin_stream(
        self,
        bags: Bags,
        source: DocumentSource,
        population: float,
        batch_size: int,
        first: bool,
    ) -> _Stream:
        """Begin with random or with existing factors."""
        model = self._make_model(bags.n_words, bags.counts.dtype)
        seed = self._seed(Watching())
        if first:
            params = random_start(model, bags, population, seed)
        else:
            params = self._found.parameters(model)
        batches = ShuffledEpochs(source, BATCH_SIZE, 0)
        optimizer, n_steps = self.optimizer, 0 if first else self.n_batch_iter_
        if optimizer is None and not (first or self._is_stream):
            # rows after a fit get their share, n / (N + n)
            n_batches = self._n_seen / min(batch_size, source.n_rows)
            optimizer, n_steps = optimizers.robbins_monro(n_batches, 1.0), 0
        chosen = plan(model, source, optimizer=optimizer, batches=batches)
        state = chosen.algorithm.init(chosen.begin(params))
        if isinstance(state.optimizer, int):
            state = state._replace(optimizer=state.optimizer + n_steps)
        return _Stream(model, chosen, state, seed)

    def _make_model(self, n_columns: int, dtype: DTypeLike) -> PoissonFactors:
        return model_of(self.get_params(deep=False), n_columns, dtype, self._n_threads)


def random_start(model: PoissonFactors, bags: Bags, n_rows: float, seed: int) -> Factors:
    """Return random factors of the sizes that `n_rows` rows like those of `bags` suggest."""
    scale = n_rows / (len(bags.indptr) - 1)
    sums = scale * np.bincount(bags.indices, bags.counts, bags.n_words)
    return model.start(sums, n_rows, np.random.default_rng(seed))
