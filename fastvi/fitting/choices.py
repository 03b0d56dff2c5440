"""What `fit` is asked for: methods, objectives and the options that go with them, checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastvi import objectives
from fastvi.base import checks
from fastvi.base.typing import JsonObject
from fastvi.batches import Batches
from fastvi.core import Batch, Gradient
from fastvi.families import name_of
from fastvi.families.base import Family, Powers
from fastvi.fitting.deterministic import n_draws_for
from fastvi.gradients.reduction import OF_SCORES, Reduction, Setting, reductions_of
from fastvi.objectives import Objective
from fastvi.targets.base import Target

__all__ = [
    "BY_SCORES",
    "MODES",
    "WITHOUT_STEPS",
    "Wanted",
    "method_of",
    "n_draws_of",
    "objective_of",
]

OBJECTIVES: dict[str, Callable[[], Objective]] = {
    "elbo": objectives.elbo,
    "iwae": objectives.iwae,
    "chi": objectives.chi,
}
NEEDS = {  # what a family must have for a method
    "natural": "natural gradients",
    "plain": "draws that move smoothly with noise",
    "laplace": "a full covariance",
    "delta": "a full covariance",
    "deterministic": "independent normal numbers",
    "score": "score functions",
    "gumbel": "relaxed categories",
    "straight-through": "relaxed categories",
}
MODES, BY_SCORES = ("laplace", "delta"), ("score", "gumbel", "straight-through")
WITHOUT_STEPS = (*MODES, "deterministic")  # of the loop
TOOLS = {"plain": ("svrg",), "score": OF_SCORES}  # that reduce the noise of a method's gradients


class Wanted(NamedTuple):
    """Arguments of `fit`, checked."""

    target: Target
    method: str
    goal: Objective
    n_draws: int
    batches: Batches
    batch_size: int | None
    sampling: str
    tools: tuple[Reduction, ...]
    tol: float

    def check(self, objective: str | float | Objective) -> None:
        """Refuse options that contradict each other or would be ignored."""
        method, batch_size = self.method, self.batch_size
        if batch_size is None and method == "plain" and self.tools:
            raise ValueError(
                f"variance_reduction={self.tools[0].name!r} without batch_size: the gradient of "
                "all rows has no noise of theirs"
            )
        if method in WITHOUT_STEPS and (batch_size is not None or objective != "elbo"):
            what = f"objective={objective!r}" if batch_size is None else f"batch_size={batch_size}"
            raise ValueError(
                f"{what} with method={method!r}, which takes all rows and has no choice of "
                "objectives"
            )
        if batch_size is not None and self.goal.weights is not objectives.elbo().weights:
            raise ValueError(
                f"batch_size with objective={objective!r}: the noise of mini-batches would be "
                "taken for importance weights; wanted the ELBO, perhaps tempered, or all rows"
            )

    def identity(self, family: object, start: object, n_starts: object) -> JsonObject:
        """Return what must be the same for a checkpoint to be resumed from."""
        names = "method", "goal", "n_draws", "batch_size", "sampling", "tools", "tol"
        chosen = {name: getattr(self, name) for name in names}
        return {"family": family, "start": start, "n_starts": n_starts, **chosen}

    def reduced(self, gradient: Gradient) -> Gradient:
        """Return the gradient, wrapped in the tools."""
        if not self.tools:
            return gradient
        n_rows = self.target.n_rows or 0
        n_batches = -(-n_rows // self.batch_size) if self.batch_size else 1
        everything = Batch(np.arange(n_rows), np.ones(n_rows))
        setting = Setting(lambda: everything, n_batches, alone=len(self.tools) == 1)
        for tool in self.tools:
            gradient = tool.reduce(gradient, setting)
        return gradient


def _can(method: str, powers: Powers) -> bool:
    """Whether a family has what a method needs."""
    if method == "natural":
        return powers.natural is not None
    if method == "plain":
        return powers.pathwise is not None and powers.frame is not None
    if method in MODES:
        return powers.full_covariance
    if method == "deterministic":
        return powers.independent is not None
    if method == "score":
        return powers.score is not None
    return powers.score is not None and powers.score.product.powers.relaxed is not None


def method_of(
    method: str, member: Family, tools: tuple[Reduction, ...] | None
) -> tuple[str, tuple[Reduction, ...]]:
    """Return the method and its tools; "auto" chooses by the powers of the family."""
    method = checks.choice(method, "method", ("auto", *NEEDS))
    able = [name for name in NEEDS if _can(name, member.powers)]
    if method == "auto":
        method = next(
            name for name in ("natural", "plain", "score")
            if name in able and not (name == "natural" and tools)
        )  # fmt: skip
    if method not in able:
        raise ValueError(
            f"method={method!r} is for families with {NEEDS[method]}, which {name_of(member)!r} "
            "does not have; wanted one of " + ", ".join(map(repr, able))
        )
    if tools is None:
        return method, reductions_of("control") if method == "score" else ()
    for tool in tools:
        if tool.name not in TOOLS.get(method, ()):
            suited = [name for name, names in TOOLS.items() if tool.name in names]
            raise ValueError(
                f"variance_reduction={tool.name!r} does not work on the gradients of "
                f"method={method!r}; wanted "
                + (" or ".join(f"method={name!r}" for name in suited) or "another tool, or None")
            )
    return method, tools


def n_draws_of(n_draws: int | None, method: str, dim: int) -> int:
    """Return the number of draws per step, by default one that suits the method."""
    if n_draws is not None:
        return checks.integer(n_draws, "n_draws", 2)
    if method == "deterministic":
        return n_draws_for(dim)
    if method in BY_SCORES:  # more than pathwise gradients need
        return min(max(4 * dim, 64), 256)
    return min(max(2 * dim, 16), 128)


def objective_of(chosen: str | float | Objective) -> tuple[Objective, str]:
    """Return the objective and its name."""
    if isinstance(chosen, Objective):
        return chosen, "given"
    if isinstance(chosen, str) and chosen in OBJECTIVES:
        return OBJECTIVES[chosen](), chosen
    if isinstance(chosen, (int, float)) and not isinstance(chosen, bool):
        return objectives.renyi(chosen), f"renyi({float(chosen):g})"
    raise ValueError(
        f"objective is {chosen!r}; wanted a fastvi.objectives.Objective, the order of a Renyi "
        "divergence, or one of " + ", ".join(map(repr, OBJECTIVES))
    )
