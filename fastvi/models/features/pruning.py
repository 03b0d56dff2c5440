"""Coordinate ascent that takes out features that the data do not need."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastvi.base import tree
from fastvi.base.typing import Array, Info
from fastvi.core import Algorithm, Batch, Local
from fastvi.gradients.natural import noise_of
from fastvi.models.features.model import BetaBernoulli, Parameters
from fastvi.models.features.rows import ONE_SWEEP, Sweeps, pair_numbers

__all__ = ["Ascended", "ascended", "pruned", "pruning"]

TRIAL = 10  # passes, at most, after which the bound must have risen
TRIAL_SWEEPS = Sweeps(np.ones(2))


class Ascended(NamedTuple):
    """Parameters found by a pass, the rows' probabilities (K, n), and the bound before it."""

    found: Parameters
    nu: Array | None
    bound: float


def ascended(
    model: BetaBernoulli, state: Ascended, batch: Batch, sweeps: Sweeps | None = None
) -> tuple[Ascended, Local]:
    """Make a pass of coordinate ascent, from fresh probabilities if there are none."""
    if sweeps is None and state.nu is None:
        local = model.local(state.found, batch, None, np.random.default_rng(0))
    else:
        local = model.sweep(state.found, batch, state.nu, sweeps or ONE_SWEEP)
    bound = local.bound + model.global_bound(state.found)
    found = tree.map_leaves(np.add, model.prior, local.statistics)
    return Ascended(found, local.variables, bound), local


def pruned(model: BetaBernoulli, state: Ascended, batch: Batch) -> Ascended:
    """Take out every feature without which the bound becomes larger, those of least weight first.

    At least one is left.
    """
    before = -np.inf
    while state.bound > before:
        before = state.bound
        found = model.found(state.found)
        size = np.zeros(model.n_features)
        free = found.used[found.used < model.n_features]
        size[free] = state.found.usage[free] * found.squares[: len(free)]
        for k in free[np.argsort(size[free], kind="stable")]:
            if np.count_nonzero(state.found.usage > 0) > 1:
                state = _tried(model, state, batch, _without(model, state, int(k)))
    return state


def _tried(model: BetaBernoulli, state: Ascended, batch: Batch, trial: Ascended) -> Ascended:
    """Continue from another state if that raises the bound, else return the first."""
    last = -np.inf
    for left in range(TRIAL, 0, -1):
        trial, _ = ascended(model, trial, batch, TRIAL_SWEEPS)
        if trial.bound > state.bound:
            return trial
        if state.bound - trial.bound > left * (trial.bound - last):  # passes gain less and less
            break
        last = trial.bound
    return state


def _without(model: BetaBernoulli, state: Ascended, k: int) -> Ascended:
    params = Parameters(*(part.copy() for part in state.found))
    assert state.nu is not None
    nu = state.nu.copy()
    rows, columns = pair_numbers(len(nu))
    params.second[(rows == k) | (columns == k)] = 0.0
    params.usage[k], params.cross[k], nu[k] = 0.0, 0.0, 0.0
    return Ascended(params, nu, state.bound)


def pruning(model: BetaBernoulli, *, tol: float, noise: bool = False) -> Algorithm:
    """Coordinate ascent that tries to take out features when it would end.

    Once a pass raises the bound by less than `tol` nats, each feature is taken out in turn, and
    stays out if the bound rises. It never falls.

    Parameters
    ----------
    model : BetaBernoulli
    tol : float
    noise : bool
        Report the noise of the gradient, as `fastvi.gradients.natural` does.

    Returns
    -------
    Algorithm
        Each batch must hold all rows. A state's `found` is what the fit has found.
    """

    def step(state: Ascended, batch: Batch, rng: np.random.Generator) -> tuple[Ascended, Info]:
        last, before = state.bound, state.found
        shape = (len(model.prior.cross), len(batch.weights))
        if state.nu is not None and state.nu.shape != shape:  # kernels do not check checkpoints
            raise ValueError("the local variables of the checkpoint have other shapes")
        state, local = ascended(model, state, batch)
        info = {"rate": 1.0, "local": local}
        if noise:
            local = model.sweep(before, batch, state.nu, Sweeps(np.ones(0)), norms=True)
            info |= noise_of(local, batch.weights)
        if state.bound - last < tol:
            state = pruned(model, state, batch)
        return state, {**info, "elbo": state.bound}

    return Algorithm(lambda params: Ascended(params, None, -np.inf), step)
