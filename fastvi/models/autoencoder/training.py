"""Training of autoencoders: the algorithm that the loop drives."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastvi.base.typing import Array, Info, Tree
from fastvi.batches import Batches
from fastvi.core import Algorithm, Batch, Optimizer
from fastvi.kernels import autoencoder as kernels
from fastvi.kernels import autoencoder_steps as steps
from fastvi.models.autoencoder.lagging import Lagging
from fastvi.models.autoencoder.model import Autoencoder, Single
from fastvi.models.autoencoder.rows import Rows
from fastvi.models.plan import Plan

__all__ = ["Goal", "State", "failure", "training"]

DECAY, DECAY_SQUARE, EPSILON = 0.9, 0.999, 1e-8  # of Adam


class Goal(NamedTuple):
    """What to maximise, and how fast to get there."""

    kind: int
    n_draws: int
    alpha: float
    free: float
    warmup: float  # steps in which the weight of the divergence rises from 0 to 1
    lags: bool  # whether the encoder takes steps alone at first, see `lagging`
    learning_rate: float


class State(NamedTuple):
    """Parameters, and what the next step needs besides them."""

    params: Single
    moments: Single  # of Adam, or of length 0
    optimizer: Any  # state of another optimizer, or 0
    n_steps: int
    good: Single  # parameters after the last pass
    failed: int  # the layer whose output was not finite, or -1
    lagging: Array  # of `Lagging`, or of length 0


def training(
    model: Autoencoder,
    rows: Rows,
    batches: Batches,
    goal: Goal,
    n_batch: int,
    optimizer: Optimizer | None,
) -> Plan:
    """Return the plan of gradient ascent on batches of up to `n_batch` rows, by Adam if
    `optimizer` is None.

    A step whose bound is not finite changes nothing, nor do those after it.
    """
    work = model.work(rows, n_batch, goal.n_draws)
    grads = np.empty(model.n_params, np.float32)
    nan = float("nan")
    lagging = Lagging(model, rows, goal.learning_rate) if goal.lags else None

    def init(params: Single) -> State:
        moments = np.zeros(0 if optimizer else 2 * len(params), np.float32)
        state = optimizer.init(params) if optimizer else 0
        lag = np.zeros(0) if lagging is None else lagging.begin()
        return State(params, moments, state, 0, params.copy(), steps.FINE, lag)

    def step(state: State, batch: Batch, rng: np.random.Generator) -> tuple[State, Info]:
        if state.failed != steps.FINE:
            return state, {"local_elbo": nan, "kl": nan, "rate": 0.0, "failed": state.failed}
        t = state.n_steps + 1
        beta = min(1.0, t / goal.warmup) if goal.warmup > 0 else 1.0
        objective = kernels.Objective(goal.kind, goal.n_draws, goal.alpha, beta, goal.free)
        rate = 0.0 if optimizer else goal.learning_rate
        in_step = 0.0 if lagging else rate / (1.0 - DECAY**t)
        adam = steps.Adam(DECAY, DECAY_SQUARE, in_step, 1.0 / (1.0 - DECAY_SQUARE**t), EPSILON)
        key = rng.integers(1, 2**64, dtype=np.uint64)
        bound, divergence, failed = model.step(
            objective, state.params, rows, batch.rows, key, adam, state.moments, work, grads
        )
        if failed != steps.FINE:
            failure = {"local_elbo": nan, "kl": nan, "rate": 0.0, "failed": failed}
            return state._replace(failed=failed), failure
        state = state._replace(n_steps=t)
        if optimizer:
            change, inner, rate = optimizer.update(grads, state.optimizer, state.params)
            state.params[...] += change
            state = state._replace(optimizer=inner)
        if lagging:
            lagging.update(state.lagging, bound, state.params, state.moments, grads)
        constant = rows.constants[batch.rows].mean()
        info = {"local_elbo": (bound + constant) * rows.n_rows, "kl": divergence, "rate": rate}
        return state, info

    def keep(state: State) -> State:
        if state.failed == steps.FINE and np.isfinite(state.params).all():
            state.good[...] = state.params
            if lagging:
                lagging.after_pass(state.lagging, state.params)
        return state

    def read(state: State) -> Tree:
        if state.failed != steps.FINE:
            return state.good
        return optimizer.read(state.optimizer, state.params) if optimizer else state.params

    def again(_: Autoencoder) -> Plan:
        return training(model, rows, batches, goal, n_batch, optimizer)

    return Plan(Algorithm(init, step, keep), batches, lambda params: params, read, again)


def failure(history: dict[str, Any]) -> int | None:
    """Return the number of the layer at which a fit ended, if it did."""
    column = history.get("failed")
    if column is None or not len(column) or np.isnan(column[-1]):
        return None
    return int(column[-1])
