"""Pathwise gradients of relaxed categories: Gumbel-softmax and straight-through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastvi.base import checks
from fastvi.base.typing import Array, Info
from fastvi.core import Batch, Gradient
from fastvi.families.base import Product
from fastvi.objectives import Objective, elbo
from fastvi.targets.base import Target

__all__ = ["annealed", "gumbel"]

Schedule = Callable[[int], float]


def annealed(start: float = 1.0, stop: float = 0.5, n_steps: int = 1000) -> Schedule:
    """Temperatures that fall geometrically from `start` to `stop`, and then stay there.

    Parameters
    ----------
    start, stop : float
        Temperatures; low ones have little bias and much noise (Jang et al. 2017, section 2.2).
    n_steps : int

    Returns
    -------
    callable
        ``temperature(step)`` for step numbers from 0.

    Raises
    ------
    ValueError
        If a temperature is not above 0, or n_steps below 1.
    """
    for name, value in (("start", start), ("stop", stop)):
        checks.number(value, name, 0.0, open_low=True)
    n_steps = checks.integer(n_steps, "n_steps", 1)

    def temperature(step: int) -> float:
        return float(start * (stop / start) ** min(step / n_steps, 1.0))

    return temperature


def gumbel(
    target: Target,
    objective: Objective | None = None,
    *,
    n_draws: int,
    family: Product,
    temperature: float | Schedule = 0.5,
    straight_through: bool = False,
) -> Gradient:
    """Gradients of the ELBO through draws between the categories (Jang, Gu and Poole 2017).

    E_q[log p(z)] is differentiated at draws softmax((logits + Gumbel noise) / temperature), which
    approach categories as the temperature falls to 0. The entropy of the categories is computed in
    closed form. The gradient is biased at any temperature; that of `fastvi.gradients.score` is not.

    Parameters
    ----------
    target : Target
        A target with a gradient, defined at and between one-hot vectors, and for Bernoulli
        variables in [0, 1].
    objective : Objective, optional
        The ELBO (the default), possibly tempered.
    n_draws : int
        Draws per step.
    family : Product
        A member whose form the fit keeps, made of ``one_hot``, ``bernoulli``, ``gaussian`` and
        ``lognormal`` blocks.
    temperature : float or callable
        A number above 0, or one for each step, such as `annealed`.
    straight_through : bool
        Evaluate the target at categories, and pull its gradient back as if it were at the soft
        draws (Bengio, Leonard and Courville 2013).

    Returns
    -------
    Gradient
        With respect to ``family.free()``. Its `info` has `temperature`, `elbo` at categories in
        nats, its standard error `elbo_error`, and `rejected`, the number of draws left out because
        the density or its gradient is not finite.

    Raises
    ------
    ValueError
        If the target has no gradient or another dimension, a block is of an unsupported kind, or
        the objective is not the ELBO.
    """
    goal = elbo() if objective is None else objective
    _check(target, goal, family)
    n_draws = checks.integer(n_draws, "n_draws", 1)
    if not callable(temperature):
        checks.number(temperature, "temperature", 0.0, open_low=True)

    def estimate(
        step: int, params: Array, batch: Batch, rng: np.random.Generator
    ) -> tuple[Array, int, Info]:
        q: Any = family.from_free(params)
        heat = float(temperature(step)) if callable(temperature) else float(temperature)
        noise, soft, hard = q.relaxed(heat, n_draws, rng)
        values, slopes = target.attempt(hard if straight_through else soft, batch)
        finite = np.isfinite(values) & np.all(np.isfinite(slopes), axis=1)
        if not np.any(finite):
            target.refuse(hard if straight_through else soft, batch)
        if not straight_through:
            values = target.attempt(hard, batch, with_gradient=False)[0]
        values = values[np.isfinite(values)]
        out, rest = q.relaxed_pullback(
            heat, noise[finite], soft[finite], goal.power * slopes[finite]
        )
        log_p = goal.power * values if len(values) else np.array([-np.inf])
        info = {
            "elbo": float(log_p.mean()) + rest,
            "elbo_error": float(np.std(log_p) / np.sqrt(len(log_p))) if len(values) else np.inf,
            "rejected": int(np.count_nonzero(~finite)),
            "temperature": heat,
        }
        return out, step + 1, info

    return Gradient(lambda params: 0, estimate)


def _check(target: Target, goal: Objective, family: Product) -> None:
    if goal.weights is not elbo().weights:
        raise ValueError("Gumbel-softmax gradients support only the ELBO, possibly tempered")
    target.require_gradient("Gumbel-softmax needs")
    if family.powers.relaxed is None:
        raise ValueError(
            "family has blocks without relaxed draws; wanted one_hot, bernoulli, gaussian and "
            "lognormal blocks"
        )
    if family.dim != target.dim:
        raise ValueError(f"family draws {family.dim} numbers; the target takes {target.dim}")
