"""Where fits start: the best of several random starts, on a sample of the rows."""

from __future__ import annotations

from copy import copy

import numpy as np

from fastvi.base.typing import Array
from fastvi.core import Batch
from fastvi.models.features.model import BetaBernoulli, Parameters
from fastvi.models.features.pruning import Ascended, ascended, pruned
from fastvi.models.features.rows import Rows, Sweeps, pair_numbers

__all__ = ["at_random", "best_start", "centred", "ordered", "scaled_to", "with_variances"]

SAMPLE = 2000  # rows of a start
TEMPERATURES = (3.0, 1.0, 10.0)  # with which starts begin, in turn
COOLING, SETTLING = 20, 20  # passes
HOTTEST, SLOWLY = 10.0, 120  # temperature and passes of a tempered start
FIRST_VARIANCE = 4.0  # of log odds


def best_start(
    model: BetaBernoulli,
    rows: Rows,
    n_init: int,
    rng: np.random.Generator,
    first: tuple[float | None, float | None] = (None, None),
    tempering: str | None = None,
) -> Parameters:
    """Return the parameters of the start with the largest bound, for all rows.

    A start has random features for rows, and the noise begins at the variance of the data. The
    temperature falls from its first value to 1 (that of the likelihood alone, if `tempering` says
    how), then features are taken out without which the bound is larger. Images keep their prior
    variance meanwhile: the first ones are averages over random rows, from which it would be learned
    to be nearly 0. `first` are the noise and the variance of images, if they are known.
    """
    n_rows = len(rows.values)
    if n_rows > SAMPLE:
        chosen = np.sort(rng.choice(n_rows, SAMPLE, replace=False))
        rows = Rows(*(part[chosen] for part in rows))
    batch = Batch(rows, np.ones(len(rows.values)))
    starts = [
        _start(model, batch, TEMPERATURES[i % len(TEMPERATURES)], rng, first, tempering)
        for i in range(n_init)
    ]
    best = max(starts, key=lambda state: state.bound)
    return ordered(scaled_to(best.found, n_rows))


def _start(
    model: BetaBernoulli,
    batch: Batch,
    temperature: float,
    rng: np.random.Generator,
    first: tuple[float | None, float | None],
    tempering: str | None,
) -> Ascended:
    steady = copy(model)
    steady.learns_variances = False
    if tempering is not None:
        state = _tempered(steady, batch, tempering == "variational", rng, first)
    else:
        state = at_random(model, batch, rng, first)
        for beta in np.geomspace(1.0 / temperature, 1.0, COOLING):
            state, _ = ascended(steady, state, batch, Sweeps(np.full(1, beta)))
    for _ in range(SETTLING):
        state, _ = ascended(model, state, batch)
    return pruned(model, _with_rare_features(model, state, batch), batch)


def _tempered(
    model: BetaBernoulli,
    batch: Batch,
    inferred: bool,
    rng: np.random.Generator,
    first: tuple[float | None, float | None],
) -> Ascended:
    """Passes in which the noise has a larger variance than it is known to have.

    Its likelihood to the power of 1 / T, normalised, is that of noise of T times the variance. T
    falls from 10, or is `inferred`: its best value, at least 1, is that of the expected residuals.
    """
    noise = first[0]
    assert noise is not None  # the estimator refuses others
    learning = copy(model)
    learning.learns_noise = inferred
    state = at_random(learning, batch, rng, (None, first[1]) if inferred else first)
    for temperature in np.geomspace(HOTTEST, 1.0, SLOWLY):
        now = temperature * noise
        if inferred:
            now = max(learning.found(state.found).noise, noise)
        hot = state.found._replace(noise=np.array([now]))
        state, _ = ascended(model, state._replace(found=hot), batch)
    last = state.found._replace(noise=np.array([noise]))
    return state._replace(found=last)


def _with_rare_features(model: BetaBernoulli, state: Ascended, batch: Batch) -> Ascended:
    """With an intercept, exchange features that most rows have and their absence."""
    nu = state.nu
    common = np.flatnonzero(state.found.usage > 0.5 * state.found.n_rows)
    if nu is None or not model.intercept or not common.size:
        return state
    nu[common] = 1.0 - nu[common]
    state, _ = ascended(model, state._replace(nu=nu), batch, Sweeps(np.ones(0)))
    for _ in range(SETTLING):
        state, _ = ascended(model, state, batch)
    return state


def at_random(
    model: BetaBernoulli,
    batch: Batch,
    rng: np.random.Generator,
    first: tuple[float | None, float | None],
) -> Ascended:
    """Return random features of rows, and the sums over rows that they give."""
    values, seen, squares = batch.rows
    n_rows, n_values = len(values), float(seen.sum() if seen.size else values.size)
    square = float(squares.sum()) / max(n_values, 1.0) or 1.0
    noise = 1.0 if model.binary else square
    variance = FIRST_VARIANCE if model.binary else square
    noise, variance = (x if y is None else y for x, y in zip((noise, variance), first))
    params = model.prior._replace(
        n_rows=np.array([float(n_rows)]),
        n_values=np.array([n_values]),
        usage=np.full(model.n_features, 0.5 * n_rows),
        squares=np.array([square * n_values]),
        betas=np.ones((model.n_features, 2)),
        noise=np.array([noise]),
        variances=np.array([variance, max(variance, square)]),
    )
    nu = np.ones((len(model.prior.cross), n_rows))
    nu[: model.n_features] = rng.beta(0.3, 0.3, (model.n_features, n_rows)).clip(0.02, 0.98)
    return ascended(model, Ascended(params, nu, -np.inf), batch, Sweeps(np.ones(0)))[0]


def scaled_to(params: Parameters, n_rows: float) -> Parameters:
    """Return the parameters for another number of rows like those seen."""
    ratio = n_rows / float(params.n_rows[0])
    sums = (part * ratio for part in params[:7])  # betas are at least as large as their prior's
    return Parameters(*sums, *(part.copy() for part in params[7:]))


def with_variances(params: Parameters, given: tuple[float | None, float | None]) -> Parameters:
    """Return the parameters with these variances of the noise and of images, unless None."""
    noise, variance = given
    if noise is not None:
        params = params._replace(noise=np.array([noise]))
    if variance is not None:
        params = params._replace(variances=np.append(variance, params.variances[1:]))
    return params


def ordered(params: Parameters) -> Parameters:
    """Return the parameters with the most common features first."""
    n_free, size = len(params.usage), len(params.cross)
    order = np.append(np.argsort(-params.usage, kind="stable"), np.arange(n_free, size))
    low, high = pair_numbers(size)
    first, second = np.maximum(order[low], order[high]), np.minimum(order[low], order[high])
    free = order[:n_free]
    return params._replace(
        usage=params.usage[free],
        second=params.second[first * (first + 1) // 2 + second],
        cross=params.cross[order],
        betas=params.betas[free],
    )


def centred(X: Array) -> Array:
    """Return the means of the columns, without missing values."""
    seen = ~np.isnan(X)
    return np.asarray(np.where(seen, X, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1))
