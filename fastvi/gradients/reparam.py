"""Reparameterization gradients of any objective, for families that draw by moving noise."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from fastvi.base import tree
from fastvi.core import Batch, Gradient
from fastvi.fitting.compiled import blocks_of
from fastvi.objectives import Objective, elbo

__all__ = ["reparam"]


def reparam(
    target: Any,
    objective: Objective | None = None,
    *,
    n_draws: int,
    family: Any = None,
    sticking: bool = True,
) -> Gradient:
    """Pathwise gradients (Kingma and Welling 2014; Rezende et al. 2014).

    Parameters
    ----------
    target : Target
        With gradient; raised to the objective's power.
    objective : Objective, optional
        The ELBO by default.
    n_draws : int
        Draws a step, in antithetic pairs.
    family : type, optional
        Plain gradients of the `free` parameters of this family; by default natural gradients of the
        member itself.
    sticking : bool
        Leave out what differentiates the density of q and has mean zero: "Sticking the landing"
        (Roeder et al. 2017), whose noise vanishes where q equals the target. Without it, the
        entropy's gradient is taken in closed form; the ELBO alone has that form.

    Returns
    -------
    Gradient
        Its `info` has `bound` in nats, its standard error `bound_error`, and `rejected`, the number
        of draws whose density or gradient was not finite, which are left out.

    Raises
    ------
    ValueError
        If the target has no gradient, or `sticking` is False for another objective than the ELBO.
    """
    objective = elbo() if objective is None else objective
    if not target.has_gradient:
        raise ValueError(
            "reparameterization needs the target's gradient, which this target has not; "
            "wanted gradient='score', or a target with one"
        )
    if not sticking and objective.weights is not elbo().weights:
        raise ValueError("sticking=False is for the ELBO; other objectives have no such form")

    def estimate(
        state: Any, params: Any, batch: Batch, rng: np.random.Generator
    ) -> tuple[Any, Any, dict[str, Any]]:
        q = params if family is None else family.from_free(params)
        eps = q.noise(n_draws, rng)
        Z = q.draw(eps)
        values, slopes = target.attempt(Z, batch)
        finite = np.isfinite(values) & np.all(np.isfinite(slopes), axis=1)
        n_rejected = int(np.count_nonzero(~finite))
        if n_rejected == n_draws:
            target.refuse(Z, batch)
        if n_rejected:
            eps, values, slopes = eps[finite], values[finite], slopes[finite]
        log_w = objective.power * values - q.log_prob_of(eps)
        weights = objective.weights(log_w)
        pull = q.natural if family is None else q.plain
        gradient = pull(objective.power * slopes, eps, weights, sticking)
        if not sticking:
            entropy = q.entropy_natural() if family is None else q.entropy_plain()
            gradient = tree.map_leaves(np.add, gradient, entropy)
        with np.errstate(over="ignore"):
            error = float(np.std(log_w) / np.sqrt(len(log_w)))
        info = {"bound": objective.bound(log_w), "bound_error": error, "rejected": n_rejected}
        return gradient, state, info

    is_elbo = sticking and objective[:2] == elbo()[:2]
    blocks = partial(blocks_of, target, objective.power, n_draws, family) if is_elbo else None
    return Gradient(lambda params: None, estimate, blocks=blocks)
