"""Natural gradients for q(u) and another optimizer for the rest, as an algorithm."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base.blas import solve_rows
from fastvi.core import Algorithm, Batch, Optimizer, add
from fastvi.gradients.natural import noise_of, squared_norm_of
from fastvi.models.gp.model import SparseVariational
from fastvi.models.gp.rows import Sites

__all__ = ["Hyper", "LearnState", "carried", "learn"]

Array = NDArray[np.float64]


class Hyper(NamedTuple):
    """Logarithms of hyperparameters, and inducing inputs in standard deviations of columns."""

    theta: Array
    z: Array


class LearnState(NamedTuple):
    """Dual parameters, hyperparameters, and the states of their optimizers."""

    sites: Sites
    hyper: Hyper
    natural: Any
    adaptive: Any


def learn(
    model: SparseVariational,
    natural: Optimizer,
    adaptive: Optimizer | None,
    scale: Array,
    bounds: Array,
    moves: bool = True,
    carries: bool = False,
    noise: bool = False,
) -> Algorithm:
    """Natural gradients for q(u), and `adaptive` for the rest, from one pass over the batch.

    Its `init` takes the `Sites` to start from, which it owns from then on. `scale` (D,) is what
    columns are measured in, `bounds` (P, 2) are kept by theta, and the inducing inputs stay where
    they are unless `moves`; without `adaptive` theta does too. Where they move, dual parameters
    are held, or go along if it `carries`: see `carried`. ``info["bound"]`` is the batch's estimate
    of the bound before the step, nats; with `noise` there is also what plans of batches that adapt
    ask of `fastvi.gradients.natural`.
    """

    def init(sites: Sites) -> LearnState:
        hyper = Hyper(model.theta.copy(), model.z / scale)
        start = None if adaptive is None else adaptive.init(hyper)
        return LearnState(sites, hyper, natural.init(sites), start)

    def step(
        state: LearnState, batch: Batch, rng: np.random.Generator
    ) -> tuple[LearnState, dict[str, Any]]:
        sites, hyper, natural_state, adaptive_state = state
        if adaptive is None:
            local = model.local(sites, batch, None, rng, norms=noise)
            bound = local.bound + model.global_bound(sites)
        else:
            result = model.evaluate(sites, batch, rng, norms=noise)
            local, bound = result.local, result.bound
        if not np.isfinite(bound):
            raise FloatingPointError(
                f"the bound of a batch is {bound}: a step went too far; try a smaller "
                "natural_rate or learning_rate, or learn_inducing_points=False"
            )
        direction = Sites(*(new - old for new, old in zip(local.statistics, sites)))
        change, natural_state, rate = natural.update(direction, natural_state, sites)
        sites = add(sites, change)
        if adaptive is not None:
            by_z = result.by_z * scale if moves else np.zeros_like(result.by_z)
            gradient = Hyper(result.by_theta, by_z)
            change, adaptive_state, _ = adaptive.update(gradient, adaptive_state, hyper)
            hyper = add(hyper, change)
            np.clip(hyper.theta, bounds[:, 0], bounds[:, 1], out=hyper.theta)
            z = hyper.z * scale
            if moves and carries:
                sites = carried(model, sites, z)
            model.move(hyper.theta.copy(), z)
        info = {"bound": bound, "rate": rate, "local_bound": local.bound}
        if noise:
            info |= noise_of(local, batch.weights) | {"squared_norm": squared_norm_of(direction)}
        return LearnState(sites, hyper, natural_state, adaptive_state), info

    return Algorithm(init, step)


def carried(model: SparseVariational, sites: Sites, z: Array) -> Sites:
    """The dual parameters for inducing inputs z (M, D): of nearly the same factor of f.

    They are sums of K(z, x_i) times numbers, and K(z, z_old) K(z_old, z_old)^-1 takes K(z_old, x)
    to what z_old says of K(z, x); all of it where x is in z_old.
    """
    k = np.empty((len(z), len(model.z)))
    model.covariance.fill(model.program, np.ascontiguousarray(z), model.columns, k)
    c = solve_rows(model.lower, solve_rows(model.lower, k), transposed=True)
    linear, precision = sites.linear @ c.T, c @ sites.precision @ c.T
    return Sites(linear, 0.5 * (precision + precision.transpose(0, 2, 1)))
