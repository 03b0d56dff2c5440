"""Natural gradients of conditionally conjugate models (Hoffman et al. 2013, eq. 14)."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastvi.core import Batch, Conjugate, Gradient, RowGradient, RowStatistics

__all__ = ["natural"]


def natural(model: Conjugate, *, remember: bool = False) -> Gradient:
    """Prior plus expected sufficient statistics minus parameters.

    A step of rate rho along it is SVI; rate 1 with a batch of all data is coordinate ascent.

    Parameters
    ----------
    model : Conjugate
        Gives the statistics of a batch through its local step.
    remember : bool
        For coordinate ascent: every batch holds the same rows, and the bound must not fall. Local
        steps start afresh, which finds better optima than going on from the last ones, but where
        the whole bound would fall they go back to those.
    """

    def estimate(
        state: Any, params: Any, batch: Batch, rng: np.random.Generator
    ) -> tuple[Any, Any, dict[str, float]]:
        statistics, bound, local = model.local(params, batch, None, rng)
        info = {"local_bound": bound}
        if remember:
            last, last_bound = state
            fixed = model.global_bound(params)
            if bound + fixed < last_bound:
                statistics, bound, local = model.local(params, batch, last, rng)
            bound += fixed
            state = local, bound
            info = {"bound": bound}
        return _difference(model.prior, statistics, params), state, info

    return Gradient(lambda params: (None, -np.inf) if remember else None, estimate)


def _difference(prior: Any, statistics: Any, params: Any) -> Any:
    if isinstance(statistics, RowStatistics):
        return RowGradient(statistics.rows, statistics.values, anchor=prior)
    if isinstance(params, tuple):
        parts = (_difference(*triple) for triple in zip(prior, statistics, params))
        return type(params)(*parts)
    return prior + statistics - params
