"""What `fastvi.fit` needs for blocks: where to begin, and which gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.base import checks
from fastvi.core import Gradient
from fastvi.families import Blocks, MeanField, blocks, gaussian
from fastvi.gradients.gumbel import annealed, gumbel
from fastvi.gradients.score import baseline, control_variates, overdispersed, score
from fastvi.objectives import Objective

__all__ = ["METHODS", "begin", "default_draws", "gradient", "result"]

METHODS = ("score", "gumbel", "straight-through")
COOLING = 1.0, 0.1, 500  # it ends before a fit can have settled; many draws bear the noise
TOOLS = ("control", "baseline", "overdispersion")


def begin(target: Any, member: Any) -> Blocks:
    """The member to begin with, as blocks.

    Raises
    ------
    ValueError
        If it is of another family, or of another number of numbers than the target.
    """
    if isinstance(member, MeanField):
        member = blocks(gaussian(member.mean, member.sd))
    if not isinstance(member, Blocks):
        raise ValueError(
            f"family is {type(member).__name__}; wanted fastvi.families.blocks(...), or "
            "'meanfield', for methods " + ", ".join(METHODS)
        )
    if member.dim != target.dim:
        raise ValueError(f"family draws {member.dim} numbers; the target takes {target.dim}")
    return member


def default_draws(dim: int) -> int:
    """Draws a step, more than pathwise gradients need."""
    return min(max(4 * dim, 64), 256)


def gradient(
    target: Any, goal: Objective, member: Blocks, method: str, n_draws: int, tools: Any
) -> Gradient:
    """The gradient of a method, with the tools of variance reduction that are asked for."""
    if method == "score":
        return _reduced(score(target, goal, n_draws=n_draws, family=member), tools)
    if tools is not None:
        raise ValueError(f"variance_reduction={tools!r} is for method='score'; wanted None")
    return gumbel(
        target, goal, n_draws=n_draws, family=member, temperature=annealed(*COOLING),
        straight_through=method == "straight-through",
    )  # fmt: skip


def _reduced(found: Gradient, tools: Any) -> Gradient:
    """Control variates by default; overdispersion is innermost, whatever the order asked for."""
    tools = "control" if tools is None else tools
    wanted = tools if isinstance(tools, tuple | list) else (tools,)
    for tool in wanted:
        checks.choice(tool, "variance_reduction", TOOLS)
    if "overdispersion" in wanted:
        found = overdispersed(found, centred=len(wanted) > 1)
    if "baseline" in wanted:
        found = baseline(found)
    return control_variates(found) if "control" in wanted else found


def result(member: Blocks, like: Any) -> Any:
    """The member as one of the family that was asked for."""
    if not isinstance(like, MeanField):
        return member
    pairs: NDArray[np.float64] = member.values.reshape(-1, 2)
    return MeanField(pairs[:, 0].copy(), np.exp(pairs[:, 1]))
