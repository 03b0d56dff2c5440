"""Fits of log densities: `fit` returns a `Posterior`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastvi import objectives
from fastvi.base import checks
from fastvi.base.parallel import resolve_n_jobs, single_threaded_blas
from fastvi.base.typing import JsonObject, Options, Path, PointLike, RandomState
from fastvi.batches import Batches
from fastvi.checkpoints import Watching
from fastvi.core import Batch, Gradient
from fastvi.families import name_of
from fastvi.families.base import Family, Near, Powers
from fastvi.fitting.arguments import batches_of, begin_near, family_of, starts_of
from fastvi.fitting.compiled import compiled_steps
from fastvi.fitting.delta import delta
from fastvi.fitting.deterministic import deterministic, n_draws_for
from fastvi.fitting.modes import Found, search
from fastvi.fitting.stages import NaturalStages, PlainStages, Stages
from fastvi.fitting.watching import watch_of
from fastvi.gradients.gumbel import annealed, gumbel
from fastvi.gradients.reduction import OF_SCORES, Reduction, Setting, reductions_of
from fastvi.gradients.reparam import reparam
from fastvi.gradients.score import score
from fastvi.loop import FitState
from fastvi.objectives import Objective
from fastvi.posteriors.member import Posterior
from fastvi.targets.base import Target, check_target
from fastvi.targets.standardised import Standardised

__all__ = ["fit"]

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
COOLING = 1.0, 0.1, 500  # it ends before a fit can have settled; many draws bear the noise
TOOLS = {"plain": ("svrg",), "score": OF_SCORES}  # that reduce the noise of a method's gradients


def fit(
    target: Target,
    family: str | Family | Near = "fullrank",
    *,
    method: str = "auto",
    objective: str | float | Objective = "elbo",
    n_draws: int | None = None,
    batch_size: int | None = None,
    sampling: str = "uniform",
    variance_reduction: str | Reduction | Sequence[str | Reduction] | None = None,
    start: PointLike | None = None,
    n_starts: str | int = "auto",
    tol: float = 0.02,
    max_iter: int = 20_000,
    verdict: bool = True,
    n_jobs: int | None = None,
    random_state: RandomState = None,
    verbose: bool = False,
    callback: Callable[[FitState], bool | None] | None = None,
    checkpoint: Path | None = None,
    checkpoint_interval: float = 60.0,
    resume: bool = False,
) -> Posterior:
    """Approximate a log density by a Gaussian, without tuning.

    A search for modes comes first, and the fit starts from Laplace's approximation at the mode with
    the highest evidence, if there is one. Natural gradients (Khan and Rue 2023) are estimated from
    draws whose noise vanishes at a perfect fit (Roeder et al. 2017), so that one step of unit rate
    leads most of the way. The rate is halved when progress is lost in noise, and the fit ends when
    the remaining gain is small relative to the scale of the posterior, as in Welandawe et al.
    (2022).

    Parameters
    ----------
    target : Target
        A target from `fastvi.target`, with a gradient (except for method "score").
    family : {"fullrank", "meanfield", "lowrank"}, a member, or callable
        The fit starts from a given member of `fastvi.families`. A callable makes one from a mean
        and a covariance, such as ``fastvi.families.lowrank(rank=3)``. For variables that are
        discrete or not Gaussian, use `fastvi.families.blocks`.
    method : {"auto", "natural", "plain", "laplace", "delta", "deterministic", "score", "gumbel", \
"straight-through"}
        Natural gradients, the default if the family has them; plain gradients with averaged Adam,
        the default of "lowrank"; Laplace's method; the delta method (Wang and Blei 2013). For
        "meanfield", fixed draws and a second-order optimiser (Giordano, Ingram and Broderick 2024),
        whose history has the Monte Carlo errors of the answer, `mean_error` and `sd_error`. For
        blocks (and "meanfield"), with averaged Adam: score-function gradients, see
        `fastvi.gradients.score`, the default of blocks; and relaxed categories, see
        `fastvi.gradients.gumbel`.
    objective : {"elbo", "iwae", "chi"}, float or Objective
        The objective to maximise (or, for upper bounds, minimise), see `fastvi.objectives`; a
        number is the order of a Rényi divergence.
    n_draws : int, optional
        Draws per step, by default twice the dimension, from 16 to 128; for score-function gradients
        and relaxed categories four times the dimension, from 64 to 256; with
        fixed draws four times the dimension, from 30 to 120.
    batch_size : int, optional
        Rows per step, for targets that take rows; all by default. For the ELBO, whose gradients
        are then unbiased.
    sampling : {"uniform", "replacement"}
        Shuffled epochs of rows, or independent draws of them.
    variance_reduction : str, a tool of fastvi.gradients, or list of these, optional
        With method "plain", "svrg" or `fastvi.gradients.svrg` removes the noise of mini-batches.
        With method "score", some of "control", "baseline" and "overdispersion", or the tools that
        the functions of `fastvi.gradients` with these names make; "control" by default, and none
        by ``[]``.
    start : (D,) array or dict of str to array, optional
        Where the first path to a mode begins: unconstrained, or parameters by name; 0 by default.
    n_starts : "auto" or int
        Paths of the search for modes, all but the first from points spread widely; by default from
        8 to 24, the more the more modes are found. With 1 the fit starts from the mode that `start`
        leads to. There is no search for methods and targets without gradients.
    tol : float
        Largest root mean square error of a parameter, in posterior standard deviations, that the
        optimizer may leave.
    max_iter : int
        Largest number of steps.
    n_jobs : int, optional
        Threads of the search for modes; results have the same bits for any number.
    verdict : bool
        Judge the fit at its end, see `Posterior.verdict`; otherwise only when the verdict is asked
        for.
    random_state : int, RandomState, Generator or None
    verbose : bool
        Show a bar.
    callback : callable, optional
        ``callback(state)`` with a `fastvi.loop.FitState` after each stage of the fit, whose
        `params` are the member found so far; True stops the fit.
    checkpoint : path, optional
        A file for the state of the fit, saved at the ends of stages and of the fit.
    checkpoint_interval : float
        Least seconds between saves.
    resume : bool
        Continue from `checkpoint` if the file exists, with the same bits as an uninterrupted fit.
        `max_iter` may differ.

    Returns
    -------
    Posterior

    Raises
    ------
    ValueError
        If an argument is out of its range, options are incompatible, the family lacks what the
        method needs, or the target has no gradient.
    TargetError
        If no draw of a step has a finite density and gradient, or the gradient is clearly wrong.
    """
    check_target(target)
    tol = checks.number(tol, "tol", 0.0, open_low=True)
    max_iter = checks.integer(max_iter, "max_iter", 1)
    n_paths, n_threads = starts_of(n_starts), resolve_n_jobs(n_jobs)
    checks.flag(verdict, "verdict")
    goal, goal_name = _objective(objective)
    chosen = family_of(target, family)
    tools = None if variance_reduction is None else reductions_of(variance_reduction)
    method, tools = _method(method, chosen.member, tools)
    if method != "score":
        target.require_gradient(f"method={method!r} needs")
    watching = Watching(callback, checkpoint, checkpoint_interval, resume)
    seed = watching.seed(random_state)
    wanted = _Wanted(
        target, method, goal, _n_draws(n_draws, method, target.dim),
        batches_of(target, batch_size, sampling, seed), batch_size, sampling, tools, tol,
    )  # fmt: skip
    _together(wanted, objective)
    if method in WITHOUT_STEPS and checkpoint is not None:
        raise ValueError(f"checkpoint with method={method!r}, which has no steps; wanted None")
    if chosen.near is None and start is not None:
        raise ValueError("start is given, but the fit begins at the member of family given")
    with single_threaded_blas():
        member, near, found = chosen.member, chosen.near, None
        if near is not None:
            member, found = begin_near(
                target, near, start, seed, n_starts=n_paths, n_threads=n_threads,
                by_gradient=method != "score",
            )  # fmt: skip
        elif method not in BY_SCORES:
            found = search(target, member.mean, n_paths, seed, n_threads)
        elif n_paths is not None:
            raise ValueError(
                f"n_starts={n_paths} with method={method!r} and a member, for which no modes are "
                "searched; wanted 'auto'"
            )
        if method in MODES:
            return _judged(_without_draws(target, method, near, found, seed), verdict)
        if method == "deterministic":
            fixed = _with_fixed_draws(wanted, member, found, max_iter, seed)
            return _judged(fixed, verdict)
        options = {"tol": tol, "max_iter": max_iter, "rng": np.random.default_rng(seed)}
        course = COURSES[method](wanted, member, options)
        watch = watch_of(
            watching, target, seed, wanted.identity(family, start, n_paths), verbose=verbose,
            read=lambda s: course.read(s.params),
        )  # fmt: skip
        state = course.stages.run(course.begin, watch)
    history = course.stages.history
    posterior = Posterior(
        course.read(state.params),
        target,
        settled=state.settled,
        n_iter=len(history),
        history=history.arrays(),
        names=target.names,
        objective=goal_name,
        seed=seed,
        modes=found.modes if found is not None else (),
    )
    return _judged(posterior, verdict)


def _judged(posterior: Posterior, verdict: bool) -> Posterior:
    """The posterior, with its verdict if that is wanted now."""
    if verdict:
        _ = posterior.verdict
    return posterior


class _Wanted(NamedTuple):
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

    def identity(self, family: object, start: object, n_starts: object) -> JsonObject:
        """What must be the same for a checkpoint to be taken up."""
        names = "method", "goal", "n_draws", "batch_size", "sampling", "tools", "tol"
        chosen = {name: getattr(self, name) for name in names}
        return {"family": family, "start": start, "n_starts": n_starts, **chosen}

    def reduced(self, gradient: Gradient) -> Gradient:
        """The gradient with the tools around it."""
        if not self.tools:
            return gradient
        n_rows = self.target.n_rows or 0
        n_batches = -(-n_rows // self.batch_size) if self.batch_size else 1
        everything = Batch(np.arange(n_rows), np.ones(n_rows))
        setting = Setting(lambda: everything, n_batches, alone=len(self.tools) == 1)
        for tool in self.tools:
            gradient = tool.reduce(gradient, setting)
        return gradient


class _Course(NamedTuple):
    """Stages, the parameters to begin with, and ``read(params)``, the member they stand for."""

    stages: Stages
    begin: Any
    read: Callable[[Any], Family]


def _natural(wanted: _Wanted, member: Family, options: Options) -> _Course:
    """Along natural gradients, whose parameters are the member itself."""
    target, goal, n = wanted.target, wanted.goal, wanted.n_draws
    compiled = compiled_steps(target, goal, member, n_draws=n, natural=True)
    gradient = reparam(target, goal, n_draws=n)
    passes = 2 * -(-(target.n_rows or 0) // wanted.batch_size) if wanted.batch_size else 0
    stages = NaturalStages(gradient, wanted.batches, compiled=compiled, window=passes, **options)
    return _Course(stages, member, lambda params: params)


def _plain(wanted: _Wanted, member: Family, options: Options) -> _Course:
    """Averaged Adam in the start's units, in which one rate suits all parameters."""
    frame = member.powers.frame
    assert frame is not None
    centre, units, like = member.mean, frame.units, frame.standard()
    target, goal, n = Standardised(wanted.target, centre, units), wanted.goal, wanted.n_draws
    gradient, compiled = wanted.reduced(reparam(target, goal, n_draws=n, family=like)), None
    if not wanted.tools:
        compiled = compiled_steps(target, goal, like, n_draws=n, natural=False)
    stages = PlainStages(
        gradient, wanted.batches, like=like, is_upper=goal.is_upper, compiled=compiled, **options
    )
    return _Course(stages, like.free(), lambda params: like.from_free(params).mapped(centre, units))


def _by_scores(wanted: _Wanted, member: Family, options: Options) -> _Course:
    """Averaged Adam in units that follow the parts, along gradients that need no frame."""
    form = member.powers.score
    assert form is not None
    product, target, goal = form.product, wanted.target, wanted.goal
    if wanted.method == "score":
        found = score(target, goal, n_draws=wanted.n_draws, family=product)
        gradient = wanted.reduced(found)
    else:
        gradient = gumbel(
            target, goal, n_draws=wanted.n_draws, family=product, temperature=annealed(*COOLING),
            straight_through=wanted.method == "straight-through",
        )  # fmt: skip
    stages = PlainStages(
        gradient, wanted.batches, like=product, is_upper=goal.is_upper, units=product.step_units,
        **options,
    )  # fmt: skip
    return _Course(stages, product.free(), lambda params: form.back(product.from_free(params)))


COURSES: dict[str, Callable[[_Wanted, Family, Options], _Course]] = {
    "natural": _natural,
    "plain": _plain,
    **dict.fromkeys(BY_SCORES, _by_scores),
}


# Arguments


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


def _method(
    method: str, member: Family, tools: tuple[Reduction, ...] | None
) -> tuple[str, tuple[Reduction, ...]]:
    """The method, chosen by the powers of the family where that is left open, and its tools."""
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


def _n_draws(n_draws: int | None, method: str, dim: int) -> int:
    if n_draws is not None:
        return checks.integer(n_draws, "n_draws", 2)
    if method == "deterministic":
        return n_draws_for(dim)
    if method in BY_SCORES:  # more than pathwise gradients need
        return min(max(4 * dim, 64), 256)
    return min(max(2 * dim, 16), 128)


def _together(wanted: _Wanted, objective: str | float | Objective) -> None:
    """Refuse options that do not go together, or that would go unheard."""
    method, batch_size = wanted.method, wanted.batch_size
    if batch_size is None and method == "plain" and wanted.tools:
        raise ValueError(
            f"variance_reduction={wanted.tools[0].name!r} without batch_size: the gradient of all "
            "rows has no noise of theirs"
        )
    if method in WITHOUT_STEPS and (batch_size is not None or objective != "elbo"):
        what = f"objective={objective!r}" if batch_size is None else f"batch_size={batch_size}"
        raise ValueError(
            f"{what} with method={method!r}, which takes all rows and has no choice of objectives"
        )
    if batch_size is not None and wanted.goal.weights is not objectives.elbo().weights:
        raise ValueError(
            f"batch_size with objective={objective!r}: the noise of mini-batches would be taken "
            "for importance weights; wanted the ELBO, perhaps tempered, or all rows"
        )


def _objective(chosen: str | float | Objective) -> tuple[Objective, str]:
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


def _with_fixed_draws(
    wanted: _Wanted, member: Family, search: Found | None, max_iter: int, seed: int
) -> Posterior:
    start, target = member.powers.independent, wanted.target
    assert start is not None
    found = deterministic(
        target, start, n_draws=wanted.n_draws, tol=wanted.tol, max_iter=max_iter, seed=seed
    )
    return Posterior(
        member.from_free((found.mean, np.log(found.sd))),
        target,
        settled=found.settled,
        n_iter=found.n_iter,
        history=found.history,
        names=target.names,
        seed=seed,
        modes=search.modes if search is not None else (),
    )


def _without_draws(
    target: Target, method: str, near: Near | None, search: Found | None, seed: int
) -> Posterior:
    if near is None or search is None:
        raise ValueError(
            f"method={method!r} begins at no member; wanted the name of a family, such as "
            "family='fullrank'"
        )
    found = search.best
    if found.cov is None:
        values, slopes = target.attempt(found.mode[None])
        if not (np.isfinite(values[0]) and np.all(np.isfinite(slopes))):
            target.refuse(found.mode[None])
        raise ValueError(
            f"method={method!r} needs a mode with a negative definite Hessian; the Hessian at the "
            f"one found, {found.mode}, is not (is the density unbounded?)"
        )
    if method == "delta":
        found = delta(target, found)
    assert found.cov is not None
    return Posterior(
        near(found.mode, found.cov),
        target,
        settled=found.converged,
        n_iter=found.n_evaluations,
        history={"elbo": np.array([found.log_evidence])},
        names=target.names,
        objective=method,
        seed=seed,
        modes=search.modes,
    )
