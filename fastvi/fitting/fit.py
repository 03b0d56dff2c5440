"""Fit a log density: `fit` returns a `Posterior`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi import objectives
from fastvi.base import checks
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.progress import progress_bar, show_bound
from fastvi.batches import Batches
from fastvi.core import Batch
from fastvi.families import Blocks, FullRank, LowRank, MeanField
from fastvi.fitting import block_fits
from fastvi.fitting.arguments import batches_of, begin_at, check_target, seed_of
from fastvi.fitting.delta import delta
from fastvi.fitting.stages import NaturalStages, PlainStages
from fastvi.gradients.reparam import reparam
from fastvi.gradients.svrg import corrected
from fastvi.posteriors.member import Posterior
from fastvi.targets.base import Target
from fastvi.targets.standardised import Standardised

__all__ = ["fit"]

Array = NDArray[np.float64]
OBJECTIVES: dict[str, Callable[[], objectives.Objective]] = {
    "elbo": objectives.elbo,
    "iwae": objectives.iwae,
    "chi": objectives.chi,
}
METHODS = ("auto", "natural", "plain", "laplace", "delta", *block_fits.METHODS)


def fit(
    target: Target,
    family: Any = "fullrank",
    *,
    method: str = "auto",
    objective: str | float | objectives.Objective = "elbo",
    n_draws: int | None = None,
    batch_size: int | None = None,
    sampling: str = "uniform",
    variance_reduction: str | tuple[str, ...] | None = None,
    start: Any = None,
    rank: int = 1,
    tol: float = 0.02,
    max_iter: int = 20_000,
    random_state: Any = None,
    progress: bool = False,
) -> Posterior:
    """Approximate a log density by a Gaussian, with nothing to tune.

    The fit starts from Laplace's approximation where the target has one. Natural gradients
    (Khan and Rue 2023) are estimated from draws whose noise vanishes at a perfect fit (Roeder et
    al. 2017), so that steps of unit rate lead most of the way in one; the rate is halved when
    progress drowns in noise, and the fit ends when what is left to gain is small against the
    posterior's own scale, as in Welandawe et al. (2022).

    Parameters
    ----------
    target : Target
        From `fastvi.target`, with a gradient (which method "score" does without).
    family : {"fullrank", "meanfield", "lowrank"} or a member of `fastvi.families`
        A member is where the fit begins. For numbers that are discrete, or neither normal nor
        free, `fastvi.families.blocks`.
    method : {"auto", "natural", "plain", "laplace", "delta", "score", "gumbel", "straight-through"}
        Natural gradients (the default, but for "lowrank"); plain gradients with averaged Adam;
        Laplace's method; the delta method (Wang and Blei 2013). For blocks (and "meanfield"), with
        averaged Adam: score-function gradients, see `fastvi.gradients.score`, their default; and
        relaxed categories, see `fastvi.gradients.gumbel`.
    objective : {"elbo", "iwae", "chi"}, float or Objective
        What is to rise (or, for upper bounds, fall), see `fastvi.objectives`; a number is the order
        of Renyi's divergence.
    n_draws : int, optional
        Draws a step, by default twice the dimension, from 16 to 128; for blocks four times, from 64
        to 256.
    batch_size : int, optional
        Rows of a step, for targets that take rows; all by default. For the ELBO, whose gradients
        are then unbiased.
    sampling : {"uniform", "replacement"}
        Shuffled epochs of rows, or independent draws of them.
    variance_reduction : {None, "svrg"} or some of "control", "baseline", "overdispersion"
        SVRG removes the noise of mini-batches; with method "plain". The others are for method
        "score", a name or a tuple of them, "control" by default and none by ``()``.
    start : (D,) array or dict of str to array, optional
        Where to look for the mode: free numbers, or parameters by name; 0 by default.
    rank : int
        Factors of "lowrank".
    tol : float
        Root mean square error, in posterior standard deviations, that the optimiser may leave in a
        parameter.
    max_iter : int
        Largest number of steps.
    random_state : int, Generator or None
    progress : bool
        Show a bar.

    Returns
    -------
    Posterior

    Raises
    ------
    ValueError
        If an argument is out of its range, options do not go together, the target has no gradient,
        or is none.
    TargetError
        If every draw of a step has a density or gradient that is not finite, or the gradient is
        plainly not that of the density.
    """
    check_target(target)
    tol = checks.number(tol, "tol", 0.0, open_low=True)
    max_iter = checks.integer(max_iter, "max_iter", 1)
    goal, goal_name = _objective(objective)
    method = _method(method, family, variance_reduction)
    n = 2 * target.dim if n_draws is None else checks.integer(n_draws, "n_draws", 2)
    n = n if n_draws is not None else min(max(n, 16), 128)
    if not target.has_gradient and method != "score":
        raise ValueError(
            f"method={method!r} needs the target's gradient, which it has not; wanted a target "
            "with one, gradient='numerical' in fastvi.target, or method='score'"
        )
    seed = seed_of(random_state)
    batches = batches_of(target, batch_size, sampling, seed)
    _together(method, goal, objective, batch_size, variance_reduction)
    with single_threaded_blas(), progress_bar(progress, show_bound) as report:
        member, found = begin_at(target, family, start, rank)
        if method in ("laplace", "delta"):
            return _without_draws(target, method, found, seed)
        options: dict[str, Any] = {
            "tol": tol, "max_iter": max_iter, "rng": np.random.default_rng(seed),
            "report": report,
        }  # fmt: skip
        if method == "natural":
            stages: Any = NaturalStages(
                reparam(target, goal, n_draws=n), member, batches, **options
            )
            stages.run()
            best = stages.params
        elif method in block_fits.METHODS:
            n = block_fits.default_draws(target.dim) if n_draws is None else n
            stages, best = _of_blocks(
                target, goal, n, member, batches, method, variance_reduction, options
            )
        else:
            stages, best = _plain(
                target, goal, n, member, batches, batch_size, variance_reduction, options
            )
    return Posterior(
        best,
        target,
        settled=stages.settled,
        n_iter=len(stages.history),
        history=stages.history.arrays(),
        names=target.names,
        objective=goal_name,
        seed=seed,
    )


def _plain(
    target: Any, goal: Any, n: int, member: Any, batches: Batches, batch_size: int | None,
    variance_reduction: Any, options: dict[str, Any],
) -> tuple[PlainStages, Any]:  # fmt: skip
    """Averaged Adam in the start's units, in which one rate suits all parameters."""
    family = type(member)
    standard = Standardised(target, member.mean, member.units)
    gradient = reparam(standard, goal, n_draws=n, family=family)
    if variance_reduction == "svrg":
        assert batch_size is not None
        n_rows = target.n_rows
        gradient = corrected(
            gradient,
            lambda: Batch(np.arange(n_rows), np.ones(n_rows)),
            every=2 * -(-n_rows // batch_size),
        )
    begin = member.standard().free()
    stages = PlainStages(gradient, begin, batches, family=family, is_upper=goal.is_upper, **options)
    stages.run()
    return stages, family.from_free(stages.params).mapped(member.mean, member.units)


def _of_blocks(
    target: Any, goal: Any, n: int, member: Any, batches: Batches, method: str,
    variance_reduction: Any, options: dict[str, Any],
) -> tuple[PlainStages, Any]:  # fmt: skip
    """Averaged Adam in units that follow the blocks, along gradients that need no frame."""
    begin = block_fits.begin(target, member)
    gradient = block_fits.gradient(target, goal, begin, method, n, variance_reduction)
    stages = PlainStages(
        gradient, begin.free(), batches, family=begin, is_upper=goal.is_upper, **options
    )
    stages.run()
    return stages, block_fits.result(begin.from_free(stages.params), member)


def _method(method: str, family: Any, variance_reduction: Any) -> str:
    method = checks.choice(method, "method", METHODS)
    is_lowrank = family == "lowrank" or isinstance(family, LowRank)
    if method == "auto" and isinstance(family, Blocks):
        method = "score"
    if method in block_fits.METHODS:
        if not isinstance(family, (Blocks, MeanField)) and family != "meanfield":
            raise ValueError(
                f"method={method!r} is for fastvi.families.blocks(...) and 'meanfield'; "
                f"family is {family!r}"
            )
        return method
    if isinstance(family, Blocks):
        raise ValueError(
            f"method={method!r} is for Gaussians; for blocks wanted one of "
            + ", ".join(map(repr, block_fits.METHODS))
        )
    if variance_reduction is not None:
        checks.choice(variance_reduction, "variance_reduction", ("svrg",))
    if method == "auto":
        method = "plain" if is_lowrank or variance_reduction else "natural"
    if method == "natural" and is_lowrank:
        raise ValueError("family='lowrank' has no natural gradients here; wanted method='plain'")
    if method != "plain" and variance_reduction is not None:
        raise ValueError(
            f"variance_reduction='svrg' compares gradients at two members, so that method="
            f"{method!r}, whose gradients are each in a frame of its own, cannot take it; "
            "wanted method='plain'"
        )
    if method in ("laplace", "delta") and family != "fullrank":
        raise ValueError(f"method={method!r} gives a full covariance; wanted family='fullrank'")
    return method


def _together(
    method: str, goal: objectives.Objective, objective: Any, batch_size: Any, reduction: Any
) -> None:
    """Refuse options that do not go together, or that would go unheard."""
    if batch_size is None and reduction == "svrg":
        raise ValueError(
            f"variance_reduction={reduction!r} without batch_size: the gradient of all rows has no "
            "noise of theirs"
        )
    if method in ("laplace", "delta") and (batch_size is not None or objective != "elbo"):
        what = f"objective={objective!r}" if batch_size is None else f"batch_size={batch_size}"
        raise ValueError(
            f"{what} with method={method!r}, which takes all rows and has no objective"
        )
    if batch_size is not None and goal.weights is not objectives.elbo().weights:
        raise ValueError(
            f"batch_size with objective={objective!r}: the noise of mini-batches would be taken "
            "for importance weights; wanted the ELBO, perhaps tempered, or all rows"
        )


def _objective(chosen: Any) -> tuple[objectives.Objective, str]:
    if isinstance(chosen, objectives.Objective):
        return chosen, "given"
    if isinstance(chosen, str) and chosen in OBJECTIVES:
        return OBJECTIVES[chosen](), chosen
    if isinstance(chosen, (int, float)) and not isinstance(chosen, bool):
        return objectives.renyi(chosen), f"renyi({float(chosen):g})"
    raise ValueError(
        f"objective is {chosen!r}; wanted a fastvi.objectives.Objective, the order of a Renyi "
        "divergence, or one of " + ", ".join(map(repr, OBJECTIVES))
    )


def _without_draws(target: Any, method: str, found: Any, seed: int) -> Posterior:
    if found.cov is None:
        values, slopes = target.attempt(found.mode[None])
        if not (np.isfinite(values[0]) and np.all(np.isfinite(slopes))):
            target.refuse(found.mode[None])
        raise ValueError(
            f"method={method!r} needs a mode with a negative definite Hessian; the one found at "
            f"{found.mode} has none (is the density unbounded?)"
        )
    if method == "delta":
        found = delta(target, found)
    member = FullRank.of(found.mode, found.cov)
    return Posterior(
        member,
        target,
        settled=found.converged,
        n_iter=found.n_evaluations,
        history={"bound": np.array([found.log_evidence])},
        names=target.names,
        objective=method,
        seed=seed,
    )
