"""Fits of log densities: `fit` returns a `Posterior`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fastvi.base import checks
from fastvi.base.parallel import resolve_n_jobs, single_threaded_blas
from fastvi.base.typing import Path, PointLike, RandomState
from fastvi.checkpoints import Watching
from fastvi.families.base import Family, Near
from fastvi.fitting.arguments import Chosen, batches_of, begin_near, family_of, starts_of
from fastvi.fitting.choices import (
    BY_SCORES,
    MODES,
    WITHOUT_STEPS,
    Wanted,
    method_of,
    n_draws_of,
    objective_of,
)
from fastvi.fitting.courses import COURSES, Course
from fastvi.fitting.delta import delta
from fastvi.fitting.deterministic import deterministic
from fastvi.fitting.modes import Found, search
from fastvi.fitting.watching import watch_of
from fastvi.gradients.reduction import Reduction, reductions_of
from fastvi.loop import FitState, Watch
from fastvi.objectives import Objective
from fastvi.posteriors.member import Posterior
from fastvi.targets.base import Target, check_target

__all__ = ["fit"]


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
        and relaxed categories four times the dimension, from 64 to 256; for fixed draws four times
        the dimension, from 30 to 120.
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
        Paths of the search for modes, all but the first from widely spread points; by default from
        8 to 24, more if more modes are found. With 1 the fit starts from the mode that `start`
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
    goal, goal_name = objective_of(objective)
    chosen = family_of(target, family)
    tools = None if variance_reduction is None else reductions_of(variance_reduction)
    method, tools = method_of(method, chosen.member, tools)
    if method != "score":
        target.require_gradient(f"method={method!r} needs")
    watching = Watching(callback, checkpoint, checkpoint_interval, resume)
    seed = watching.seed(random_state)
    wanted = Wanted(
        target, method, goal, n_draws_of(n_draws, method, target.dim),
        batches_of(target, batch_size, sampling, seed), batch_size, sampling, tools, tol,
    )  # fmt: skip
    wanted.check(objective)
    if method in WITHOUT_STEPS and checkpoint is not None:
        raise ValueError(f"checkpoint with method={method!r}, which has no steps; wanted None")
    if chosen.near is None and start is not None:
        raise ValueError("start is given, but the fit begins at the member of family given")
    if chosen.near is None and method in MODES:
        raise ValueError(
            f"method={method!r} begins at no member; wanted the name of a family, such as "
            "family='fullrank'"
        )
    with single_threaded_blas():
        member, found = _first(wanted, chosen, start, n_paths, n_threads, seed)
        if method in MODES:
            posterior = _without_draws(target, method, chosen.near, found, seed)
        elif method == "deterministic":
            posterior = _with_fixed_draws(wanted, member, found, max_iter, seed)
        else:
            options = {"tol": tol, "max_iter": max_iter, "rng": np.random.default_rng(seed)}
            course = COURSES[method](wanted, member, options)
            watch = watch_of(
                watching, target, seed, wanted.identity(family, start, n_paths), verbose=verbose,
                read=lambda s: course.read(s.params),
            )  # fmt: skip
            posterior = _by_stages(target, course, watch, found, goal_name, seed)
    if verdict:
        _ = posterior.verdict
    return posterior


def _first(
    wanted: Wanted,
    chosen: Chosen,
    start: PointLike | None,
    n_paths: int | None,
    n_threads: int,
    seed: int,
) -> tuple[Family, Found | None]:
    """Return the member to begin with, and what a search for modes has found."""
    target, method, member = wanted.target, wanted.method, chosen.member
    if chosen.near is not None:
        return begin_near(
            target, chosen.near, start, seed, n_starts=n_paths, n_threads=n_threads,
            by_gradient=method != "score",
        )  # fmt: skip
    if method not in BY_SCORES:
        return member, search(target, member.mean, n_paths, seed, n_threads)
    if n_paths is not None:
        raise ValueError(
            f"n_starts={n_paths} with method={method!r} and a member, for which no modes are "
            "searched; wanted 'auto'"
        )
    return member, None


def _by_stages(
    target: Target,
    course: Course,
    watch: Watch,
    search: Found | None,
    goal_name: str,
    seed: int,
) -> Posterior:
    state, history = course.stages.run(course.begin, watch), course.stages.history
    return Posterior(
        course.read(state.params),
        target,
        settled=state.settled,
        n_iter=len(history),
        history=history.arrays(),
        names=target.names,
        objective=goal_name,
        seed=seed,
        modes=search.modes if search is not None else (),
    )


def _with_fixed_draws(
    wanted: Wanted, member: Family, search: Found | None, max_iter: int, seed: int
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
    assert near is not None  # members are refused before
    assert search is not None
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
