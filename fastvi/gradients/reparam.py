"""Reparameterization gradients of any objective, for families with pathwise draws."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from fastvi.base import tree
from fastvi.base.typing import Info, Tree
from fastvi.core import Batch, Gradient
from fastvi.families.base import Family
from fastvi.objectives import Objective, elbo
from fastvi.targets.base import Target

__all__ = ["reparam"]

T = TypeVar("T")


def reparam(
    target: Target,
    objective: Objective | None = None,
    *,
    n_draws: int,
    family: Family | None = None,
    sticking: bool = True,
) -> Gradient:
    """Pathwise gradients (Kingma and Welling 2014; Rezende et al. 2014).

    Parameters
    ----------
    target : Target
        A target with a gradient, raised to the objective's power.
    objective : Objective, optional
        The ELBO by default.
    n_draws : int
        Draws per step, in antithetic pairs if the family supports them.
    family : Family, optional
        If given, gradients are plain ones with respect to the `free` parameters of members of this
        form. By default they are natural gradients, whose parameters are the member itself.
    sticking : bool
        Leave out the derivative of the density of q with respect to its parameters, which has mean
        zero: "Sticking the landing" (Roeder et al. 2017). The noise then vanishes when q equals the
        target. Otherwise the gradient of the entropy is computed in closed form, which exists only
        for the ELBO.

    Returns
    -------
    Gradient
        Its `info` has `elbo` (of another objective: its value) in nats, its standard error
        `elbo_error`, and `rejected`, the number of draws whose density or gradient was not finite,
        which are left out.

    Raises
    ------
    ValueError
        If the target has no gradient, the family has no pathwise gradients, or `sticking` is False
        with an objective other than the ELBO or a family without a closed-form entropy.
    """
    objective = elbo() if objective is None else objective
    target.require_gradient("reparameterization needs")
    if family is not None and family.powers.pathwise is None:
        raise ValueError("family has no pathwise gradients; wanted fastvi.gradients.score")
    if not sticking and objective.weights is not elbo().weights:
        raise ValueError("sticking=False supports only the ELBO")
    if not sticking and family is not None and family.powers.entropy is None:
        raise ValueError("sticking=False needs a family with a closed-form entropy")

    def estimate(
        state: T, params: Tree, batch: Batch, rng: np.random.Generator
    ) -> tuple[Tree, T, Info]:
        q: Any = params if family is None else family.from_free(params)
        draws = q.draw(n_draws, rng)
        values, slopes = target.attempt(draws.points, batch)
        finite = np.isfinite(values) & np.all(np.isfinite(slopes), axis=1)
        n_rejected = int(np.count_nonzero(~finite))
        if n_rejected == n_draws:
            target.refuse(draws.points, batch)
        if n_rejected:
            draws, values, slopes = draws.kept(finite), values[finite], slopes[finite]
        log_w = objective.power * values - q.log_prob_of(draws)
        weights = objective.weights(log_w)
        pull = q.natural if family is None else q.pullback
        gradient = pull(draws, objective.power * slopes, -1.0 if sticking else 0.0, weights)
        if not sticking:
            entropy = q.natural_entropy() if family is None else q.entropy_pullback()
            gradient = tree.map_leaves(np.add, gradient, entropy)
        with np.errstate(over="ignore"):
            error = float(np.std(log_w) / np.sqrt(len(log_w)))
        info = {"elbo": objective.bound(log_w), "elbo_error": error, "rejected": n_rejected}
        return gradient, state, info

    return Gradient(lambda params: None, estimate)
