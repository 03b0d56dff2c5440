"""Autoencoders of a stream of rows: the steps of `partial_fit`."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np

from fastvi import loop, optimizers
from fastvi.base import checks, tree
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import RowsLike, Tree
from fastvi.batches import NumberedRows, ShuffledEpochs
from fastvi.checkpoints import Watching
from fastvi.core import Optimizer
from fastvi.models.autoencoder.model import Autoencoder
from fastvi.models.autoencoder.options import goal_of, likelihood_of, model_of
from fastvi.models.autoencoder.predictions import AutoencoderPredictions
from fastvi.models.autoencoder.rows import Rows, frame_of, rows_of
from fastvi.models.autoencoder.training import State, failure, training
from fastvi.models.plan import Plan

__all__ = ["AutoencoderStream"]

FORM = (
    "n_components", "likelihood", "hidden_layer_sizes", "activation", "noise", "family", "prior",
    "decoder", "n_parts", "image_shape", "options", "kl",
)  # fmt: skip


class _Stream(NamedTuple):
    """What the next `partial_fit` needs."""

    state: State
    seed: int


class AutoencoderStream(AutoencoderPredictions):
    """The part of the estimator that takes steps on rows."""

    n_batch_iter_: int
    _stream: _Stream

    def _plan(self, model: Autoencoder, rows: Rows, seed: int) -> Plan:
        """Return the plan of steps on rows."""
        n_batch = min(checks.integer(self.batch_size, "batch_size", 1), rows.n_rows)
        n_batches = -(-rows.n_rows // n_batch)
        goal = goal_of(self.get_params(deep=False), model, n_batches)
        batches = ShuffledEpochs(NumberedRows(rows.n_rows), n_batch, seed)
        chosen: Optimizer | None = optimizers.chosen(self.optimizer)
        return training(model, rows, batches, goal, n_batch, chosen)

    def _ended(self, model: Autoencoder, history: dict[str, Any]) -> str | None:
        """Say at which layer a fit ended because numbers were not finite, if it did."""
        number = failure(history)
        if number is None:
            return None
        n_passes = int(history["epoch"][-1])
        return (
            f"the bound is not finite in pass {n_passes + 1}, from {model.layer_name(number)} on; "
            "lower learning_rate"
        )

    def partial_fit(self, X: RowsLike, y: object = None) -> Self:
        """Take steps on some rows of a stream, each of them once.

        It continues from an earlier `fit` or `partial_fit`, and extends its `history_`, in which
        each call is an epoch. The first call, or the first after `fit`, copying or loading, starts
        a new Adam or `optimizer`, which must then stay the same. The networks and the
        likelihood must never change; all other parameters are those of each call.

        Parameters
        ----------
        X : (n_rows, n_features) array or CSR matrix
        y : ignored

        Raises
        ------
        ValueError
            If a parameter is out of its range or must not change, or X is invalid.
        FloatingPointError
            If the bound is not finite; the estimator is then as it was before.
        """
        stream = self.__dict__.get("_stream")
        with tree.borrowed(stream and stream.state) as state:
            self._advance(X, state)
        return self

    def _partial_fit(self, X: RowsLike, borrowed: Tree) -> None:
        first = not self.__sklearn_is_fitted__()
        if not first:
            self._refuse_changes(FORM if borrowed is None else (*FORM, "optimizer"))
        X = self._checked(X, reset=first)
        seed = self._seed(Watching()) if borrowed is None else self._stream.seed
        if first:
            given = self.get_params(deep=False)
            model = model_of(given, frame_of(likelihood_of(given), X))
        else:
            model = self._model
        rows = rows_of(model.frame, X)
        plan = self._plan(model, rows, seed)
        state = borrowed
        if state is None:
            start = model.start(rows, np.random.default_rng(seed)) if first else self._params.copy()
            state = plan.algorithm.init(start)
        history = loop.History()
        if not first:
            history.columns = {key: column.tolist() for key, column in self.history_.items()}
        epoch = int(history.columns["epoch"][-1]) + 1 if len(history) else 0
        with single_threaded_blas():
            state, history = loop.run(
                plan.algorithm, state, plan.batches, n_epochs=epoch + 1,
                rng=np.random.default_rng([seed, epoch]), position=loop.Position(epoch),
                history=history,
            )  # fmt: skip
        ended = self._ended(model, history.arrays())
        if ended is not None:
            raise FloatingPointError(ended)
        self.__dict__.pop("elbo_", None)
        self._take(model, plan.read(state).copy(), rows, seed)
        self._stream = _Stream(state, seed)
        self.history_ = history.arrays()
        self.n_batch_iter_ = len(history)
        self.n_iter_ = 1 if first else self.n_iter_

    def __getstate__(self) -> dict[str, object]:
        # A copy: on Python 3.11 scikit-learn returns the live dict.
        state: dict[str, object] = dict(super().__getstate__())
        state.pop("_stream", None)
        return state
