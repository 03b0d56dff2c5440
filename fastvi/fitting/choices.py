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
from fastvi.families.powers import Pace
from fastvi.fitting.deterministic import n_draws_for
from fastvi.gradients.reduction import OF_SCORES, Reduction, Setting, reductions_of
from fastvi.objectives import Objective
from fastvi.targets.base import Target

__all__ = [
    "METHODS",
    "Method",
    "Wanted",
    "boosting_of",
    "method_of",
    "n_draws_of",
    "objective_of",
]

OBJECTIVES: dict[str, Callable[[], Objective]] = {
    "elbo": objectives.elbo,
    "iwae": objectives.iwae,
    "chi": objectives.chi,
}


class Method(NamedTuple):
    """What a method of `fit` needs, and what it has no use for.

    Attributes
    ----------
    needs : str
        In words, what a family must have.
    has : callable
        Whether a family with these powers has it.
    from_mode : bool
        It begins at a mode, and not at a member.
    by_scores : bool
        Its gradients are not pathwise, and take more draws.
    by_values : bool
        It needs no gradient of the target.
    resumes : bool
        It takes steps of the loop, from which it can be resumed.
    batches : bool
        It can take mini-batches of rows.
    objectives : bool
        It has a choice of objectives.
    grows : bool
        It fits a mixture, and adds components.
    walks : bool
        It has a preconditioner and a learning rate.
    """

    needs: str
    has: Callable[[Powers], bool]
    from_mode: bool = False
    by_scores: bool = False
    by_values: bool = False
    resumes: bool = True
    batches: bool = True
    objectives: bool = True
    grows: bool = False
    walks: bool = False


def _relaxed(powers: Powers) -> bool:
    return powers.score is not None and powers.score.product.powers.relaxed is not None


def _full(powers: Powers) -> bool:
    return powers.full_covariance


def _plain(powers: Powers) -> bool:
    return powers.pathwise is not None and powers.frame is not None


_LAPLACE = Method(
    "a full covariance", _full, from_mode=True, resumes=False, batches=False, objectives=False
)
_SGD = Method("a full covariance", _full, from_mode=True, objectives=False, walks=True)
_GROWING = Method("components", lambda powers: powers.components is not None, grows=True)
_RELAXED = Method("relaxed categories", _relaxed, by_scores=True)
METHODS: dict[str, Method] = {
    "natural": Method("natural gradients", lambda powers: powers.natural is not None),
    "plain": Method("draws that move smoothly with noise", _plain),
    "laplace": _LAPLACE,
    "delta": _LAPLACE,
    "deterministic": Method(
        "independent normal numbers", lambda powers: powers.independent is not None,
        resumes=False, batches=False, objectives=False,
    ),
    "joint": _GROWING,
    "boosting": _GROWING,
    "fixed-point": _GROWING._replace(batches=False),
    "score": Method(
        "score functions", lambda powers: powers.score is not None, by_scores=True, by_values=True
    ),
    "auxiliary": Method(
        "discrete numbers given an auxiliary one", lambda powers: powers.auxiliary is not None,
        by_scores=True, by_values=True,
    ),
    "gumbel": _RELAXED,
    "straight-through": _RELAXED,
    "sgd": _SGD,
    "averaged-sgd": _SGD,
}  # fmt: skip
BOOSTING = ("elbo", "hellinger", "low-rank")
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
    preconditioner: str = "full"
    learning_rate: float = 1.0
    n_components: int | None = None
    boosting: str | int = "elbo"

    def check(self, objective: str | float | Objective) -> None:
        """Refuse options that contradict each other or would be ignored."""
        method, batch_size = self.method, self.batch_size
        known = METHODS[method]
        if batch_size is None and method == "plain" and self.tools:
            raise ValueError(
                f"variance_reduction={self.tools[0].name!r} without batch_size: the gradient of "
                "all rows has no noise of theirs"
            )
        if batch_size is not None and not known.batches:
            raise ValueError(
                f"batch_size={batch_size} with method={method!r}, which takes all rows and has no "
                "choice of objectives"
            )
        if self.boosting != "elbo" and method != "boosting":
            raise ValueError(
                f"boosting={self.boosting!r} with method={method!r}; it is for method='boosting'"
            )
        if self.boosting != "elbo" and batch_size is not None:
            raise ValueError(
                f"batch_size={batch_size} with boosting={self.boosting!r}, which takes all rows"
            )
        if objective != "elbo" and not known.objectives:
            raise ValueError(
                f"objective={objective!r} with method={method!r}, which has no choice of objectives"
            )
        if not known.walks and (self.preconditioner, self.learning_rate) != ("full", 1.0):
            raise ValueError(
                f"preconditioner={self.preconditioner!r} and learning_rate={self.learning_rate:g} "
                f"with method={method!r}; they are for method='sgd' and 'averaged-sgd'"
            )
        if known.grows and self.goal.weights is not objectives.elbo().weights:
            raise ValueError(
                f"objective={objective!r} with method={method!r}; wanted the ELBO, perhaps tempered"
            )
        if not known.grows and self.n_components is not None:
            raise ValueError(
                f"n_components={self.n_components} with method={method!r}; wanted "
                "family='mixture', or None"
            )
        if batch_size is not None and self.goal.weights is not objectives.elbo().weights:
            raise ValueError(
                f"batch_size with objective={objective!r}: the noise of mini-batches would be "
                "taken for importance weights; wanted the ELBO, perhaps tempered, or all rows"
            )

    @property
    def window(self) -> int:
        """Steps in two passes over mini-batches; 0 without these."""
        return 2 * -(-(self.target.n_rows or 0) // self.batch_size) if self.batch_size else 0

    def identity(self, family: object, start: object, n_starts: object) -> JsonObject:
        """Return what must be the same for a checkpoint to be resumed from."""
        names = (
            "method", "goal", "n_draws", "batch_size", "sampling", "tools", "tol", "preconditioner",
            "learning_rate", "n_components", "boosting",
        )  # fmt: skip
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


def method_of(
    method: str, member: Family, tools: tuple[Reduction, ...] | None
) -> tuple[str, tuple[Reduction, ...]]:
    """Return the method and its tools; "auto" chooses by the powers of the family."""
    method = checks.choice(method, "method", ("auto", *METHODS))
    able = [name for name, known in METHODS.items() if known.has(member.powers)]
    if method == "auto":
        method = next(
            name for name in ("natural", "plain", "joint", "score", "auxiliary")
            if name in able and not (name == "natural" and tools)
        )  # fmt: skip
    if method not in able:
        raise ValueError(
            f"method={method!r} is for families with {METHODS[method].needs}, which "
            f"{name_of(member)!r} does not have; wanted one of " + ", ".join(map(repr, able))
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


def boosting_of(boosting: object) -> str | int:
    """Return the kind of boosting by name, or the rank of low-rank components."""
    if isinstance(boosting, str):
        return checks.choice(boosting, "boosting", BOOSTING)
    return checks.integer(boosting, "boosting", 1)


def n_draws_of(n_draws: int | None, method: str, dim: int, pace: Pace) -> int:
    """Return the number of draws per step, by default one that suits the method and the family."""
    if n_draws is not None:
        return checks.integer(n_draws, "n_draws", 2)
    if method == "deterministic":
        return n_draws_for(dim)
    if METHODS[method].by_scores:  # more than pathwise gradients need
        return min(max(4 * dim, 64), 256)
    if pace.n_draws is not None:
        return pace.n_draws
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
