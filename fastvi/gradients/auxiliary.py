"""Gradients of families of discrete numbers that depend on an auxiliary continuous one."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from fastvi.base.typing import Info, Tree
from fastvi.core import Batch, Gradient
from fastvi.families.base import Family
from fastvi.objectives import Objective, elbo
from fastvi.targets.base import Target

__all__ = ["auxiliary"]

T = TypeVar("T")


def auxiliary(
    target: Target, objective: Objective | None = None, *, n_draws: int, family: Family
) -> Gradient:
    """Gradients of the ELBO's bound, from values of the log density.

    Scores given the auxiliary numbers, with the mean of the other draws as baseline, and the
    gradients of the bound at fixed draws (Ranganath, Tran and Blei 2016, eq. 13).

    Parameters
    ----------
    target : Target
        It needs no gradient.
    objective : Objective, optional
        The ELBO (the default), perhaps tempered.
    n_draws : int
    family : Family
        A member, whose form the fit keeps.

    Raises
    ------
    ValueError
        If the family has no auxiliary numbers, or the objective is not the ELBO.
    """
    goal = elbo() if objective is None else objective
    if goal.weights is not elbo().weights:
        raise ValueError("gradients by auxiliary numbers support only the ELBO, possibly tempered")
    if family.powers.auxiliary is None:
        raise ValueError(
            "family has no auxiliary numbers; wanted fastvi.families.hierarchical(...)"
        )

    def estimate(
        state: T, params: Tree, batch: Batch, rng: np.random.Generator
    ) -> tuple[Tree, T, Info]:
        q: Any = family.from_free(tuple(np.array(leaf) for leaf in params))
        draws = q.draw(n_draws, rng)
        values = target.attempt(draws.points, batch, with_gradient=False)[0]
        ratios = goal.power * values - q.log_prob_of(draws)
        finite = np.isfinite(ratios)
        n_rejected = int(np.count_nonzero(~finite))
        if n_rejected == n_draws:
            target.refuse(draws.points, batch)
        ratios = np.where(finite, ratios, ratios[finite].min())
        info = {
            "elbo": float(ratios.mean()), "elbo_error": float(ratios.std() / np.sqrt(n_draws)),
            "rejected": n_rejected,
        }  # fmt: skip
        return q.auxiliary_pullback(draws, ratios), state, info

    return Gradient(lambda params: None, estimate, pathwise=False)
