"""Natural gradients of conditionally conjugate models (Hoffman et al. 2013, eq. 14)."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastvi.base import tree
from fastvi.base.typing import AnyArray, Info, Tree
from fastvi.core import Batch, Conjugate, Gradient, Local, RowGradient, RowStatistics, dense

__all__ = ["difference", "natural", "noise_of", "squared_norm_of", "without_noise"]


def without_noise(info: Info) -> Info:
    """Drop the noise from the report on a gradient that a wrapper has changed."""
    return {key: x for key, x in info.items() if key not in ("noise", "squared_norm")}


def natural(
    model: Conjugate,
    *,
    remember: bool = False,
    noise: bool = False,
    squared_norm: bool = False,
) -> Gradient:
    """The natural gradient: prior plus expected sufficient statistics minus parameters.

    A step of rate rho along it is SVI; rate 1 with a batch of all data is coordinate ascent.

    Parameters
    ----------
    model : Conjugate
        Its local step computes the statistics of a batch.
    remember : bool
        For coordinate ascent, in which every batch holds the same rows and the bound must not fall.
        Local steps start afresh, which finds better optima than continuing from the last local
        variables. If the bound would fall, they continue from those (if the model supports that).
    noise : bool
        Report the estimated trace of the gradient's covariance as ``info["noise"]``, and the norm
        of each row's statistics as ``info["norms"]``.
    squared_norm : bool
        Report the squared norm of the gradient, which is made dense for this.

    Returns
    -------
    Gradient
        Its `info` has `local_elbo` (with `remember`: `elbo`, the ELBO), in nats, and the
        `fastvi.core.Local` itself as ``info["local"]``.
    """

    def estimate(
        state: Tree, params: Tree, batch: Batch, rng: np.random.Generator
    ) -> tuple[Tree, Tree, Info]:
        local = model.local(params, batch, None, rng, norms=noise)
        info: Info = {"local_elbo": local.bound}
        if remember:
            last, last_bound = state
            fixed = model.global_bound(params)
            if local.bound + fixed < last_bound and last is not None:
                if not tree.like(last, local.variables):  # kernels do not check checkpoints
                    raise ValueError("the local variables of the checkpoint have other shapes")
                local = model.local(params, batch, last, rng, norms=noise)
            state = local.variables, local.bound + fixed
            info = {"elbo": state[1]}
        direction = difference(model.prior, local.statistics, params)
        if noise:
            info |= noise_of(local, batch.weights)
        if squared_norm:
            info["squared_norm"] = squared_norm_of(dense(direction, params))
        return direction, state, {**info, "local": local}

    return Gradient(lambda params: (None, -np.inf) if remember else None, estimate)


def difference(prior: Any, statistics: Tree, params: Tree) -> Tree:
    """Return prior plus statistics minus parameters, part by part."""
    if isinstance(statistics, RowStatistics):
        return RowGradient(statistics.rows, statistics.values, anchor=prior)
    if isinstance(params, tuple):
        parts = (difference(*triple) for triple in zip(prior, statistics, params))
        return tree.rebuild(params, parts)
    return prior + statistics - params


def noise_of(local: Local, weights: AnyArray) -> Info:
    """Report `noise`, the trace of the covariance of a sum of n weighted rows, and `norms`.

    The n w_i S_i are n unbiased estimates whose mean is the sum; the variance of their mean is
    their sample variance divided by n.
    """
    n = len(weights)
    total = squared_norm_of(local.statistics) - local.common
    spread = n * float(np.square(np.asarray(weights, float) * local.norms).sum()) - total
    return {"noise": max(spread, 0.0) / (n - 1) if n > 1 else np.nan, "norms": local.norms}


def squared_norm_of(gradient: Tree) -> float:
    """Squared norm of all parts of a dense gradient, or of the rows of statistics."""
    if isinstance(gradient, RowStatistics):
        return squared_norm_of(gradient.values)
    if isinstance(gradient, tuple):
        return sum(map(squared_norm_of, gradient))
    return float(np.vdot(gradient, gradient))
