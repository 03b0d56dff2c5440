"""Where fits and posteriors of switching systems begin."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastvi.base.typing import Array
from fastvi.core import Batch
from fastvi.models.statespace.regimes import (
    GaussianChain,
    Regimes,
    SwitchingPriors,
    in_basis,
    states_of,
    step_logs,
    switches_of,
)  # fmt: skip
from fastvi.models.statespace.rows import SequenceRows, Source
from fastvi.models.statespace.start import begin
from fastvi.models.statespace.switching import SwitchingModel

__all__ = ["first_regimes", "one_regime", "posterior"]

ONE_REGIME = 20  # steps of expectation maximisation
TRIES, ROUNDS = 6, 30  # random segmentations, and rounds of each
HOT, COOLING = 10.0, 0.75  # temperature of the first round, and what each one leaves of it
MOST_SWEEPS = 200


def one_regime(
    rows: SequenceRows, k: int, priors: SwitchingPriors, rng: np.random.RandomState | None
) -> Regimes:
    """A system with one regime, whose noise of states is standard normal."""
    system = begin(rows, k, {}, rng, 1)
    params = Regimes(
        np.ones(1), np.ones((1, 1)), np.hstack((system.transition, np.zeros((k, 1))))[None],
        system.noise[None], system.mean, system.covariance, system.loadings, system.offsets,
        system.rows_noise, np.ones((rows.n_rows, 1)),
    )  # fmt: skip
    model = SwitchingModel(params, priors._replace(moves=np.ones((1, 1))))
    batch, generator = Source(rows).batch(), np.random.default_rng(0)
    for _ in range(ONE_REGIME):
        params = _advanced(model, params, batch, generator)
    return in_basis(params, np.linalg.inv(np.linalg.cholesky(params.noises[0])))


def _advanced(
    model: SwitchingModel, params: Regimes, batch: Batch, rng: np.random.Generator
) -> Regimes:
    found: Regimes = model.local(params, batch, None, rng).statistics
    return found


def first_regimes(
    rows: SequenceRows,
    system: Regimes,
    priors: SwitchingPriors,
    rng: np.random.RandomState,
) -> Regimes:
    """Regimes of the states of a system with one: the best of some random segmentations.

    Rounds begin hot: logs of the switches' weights are divided by a temperature that falls to 1.
    """
    n_regimes, best = len(priors.moves), -np.inf
    states, _ = states_of(system, rows)
    k = len(system.mean)
    for _ in range(TRIES):
        params = Regimes(
            np.full(n_regimes, 1.0 / n_regimes), _sticky(n_regimes),
            np.zeros((n_regimes, k, k + 1)), np.zeros((n_regimes, k, k)), system.mean,
            system.covariance + 1e-3 * np.eye(k), system.loadings, system.offsets,
            system.rows_noise, _segments(rows.n_rows, n_regimes, rng),
        )  # fmt: skip
        model = SwitchingModel(params, priors)
        for step in range(ROUNDS):
            steps, noises = model.dynamics(rows, states, params.weights)
            params = params._replace(steps=steps, noises=noises)
            heat = 1.0 + HOT * COOLING**step
            expected, weights = switches_of(params, rows, step_logs(params, rows, states) / heat)
            moves = np.maximum(expected.pairs + priors.moves - 1.0, 1e-3)
            params = params._replace(
                moves=moves / moves.sum(axis=1, keepdims=True), weights=weights
            )
        if expected.log_norm > best:
            best, found = expected.log_norm, params
    return found


def _sticky(n: int) -> Array:
    stay = 0.95 if n > 1 else 1.0
    return np.full((n, n), (1.0 - stay) / max(n - 1, 1)) * (1 - np.eye(n)) + stay * np.eye(n)


def _segments(n: int, n_regimes: int, rng: np.random.RandomState) -> Array:
    """Random segments, in which one regime has nearly all weight, (n, M)."""
    n_segments = min(n, 5 * n_regimes)
    ends: Any = np.sort(rng.choice(n, n_segments - 1, replace=False))
    labels = rng.permutation(np.arange(n_segments) % n_regimes)
    own = labels[np.searchsorted(ends, np.arange(n), side="right")]
    return np.asarray(0.8 * np.eye(n_regimes)[own] + 0.2 / n_regimes)


def posterior(
    params: Regimes, system: Regimes, rows: SequenceRows, tol: float
) -> tuple[GaussianChain, Array, float]:
    """States, switches and the bound for known parameters: the better of two fixed points.

    One begins with switches that are equally likely, the other with those that the states of a
    system with one regime speak for.
    """
    n, m = rows.n_rows, len(params.start)
    even = params._replace(weights=np.full((n, m), 1.0 / m))
    states, _ = states_of(system._replace(weights=np.ones((n, 1))), rows)
    _, weights = switches_of(even, rows, step_logs(even, rows, states))
    found: list[Any] = []
    for begin_at in (even, even._replace(weights=weights)):
        model, now, bound = SwitchingModel(begin_at, None, learns=False), begin_at, -np.inf
        for _ in range(MOST_SWEEPS):
            local: Any = model.local(now, Source(rows).batch(), None, np.random.default_rng(0))
            now, gain, bound = local.statistics, local.bound - bound, local.bound
            if gain < tol:
                break
        found.append((local.variables, now.weights, bound))
    chosen: tuple[GaussianChain, Array, float] = max(found, key=lambda one: float(one[2]))
    return chosen
