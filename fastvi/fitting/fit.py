"""Fits of log densities: `fit` returns a `Posterior`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastvi.base import checks
from fastvi.base.parallel import resolve_n_jobs, single_threaded_blas
from fastvi.base.typing import Path, PointLike, RandomState
from fastvi.checkpoints import Watching
from fastvi.cluster.active import refuse_shards
from fastvi.families.base import Family, Near
from fastvi.fitting.arguments import Chosen, batches_of, begin_near, family_of, starts_of
from fastvi.fitting.choices import (
    METHODS,
    Wanted,
    boosting_of,
    method_of,
    n_draws_of,
    objective_of,
)
from fastvi.fitting.modes import Found, search
from fastvi.fitting.runs import Job, run_of
from fastvi.fitting.sgd import PRECONDITIONERS
from fastvi.fitting.tempering import annealed, tempering_of
from fastvi.fitting.watching import watch_of
from fastvi.gradients.reduction import Reduction, reductions_of
from fastvi.loop import FitState
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
    n_components: int | None = None,
    boosting: str | int = "elbo",
    batch_size: int | None = None,
    sampling: str = "uniform",
    variance_reduction: str | Reduction | Sequence[str | Reduction] | None = None,
    preconditioner: str = "full",
    learning_rate: float = 1.0,
    start: PointLike | None = None,
    n_starts: str | int = "auto",
    tempering: str | None = None,
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
    family : {"fullrank", "meanfield", "lowrank", "mixture", "copula", "pair-copula", \
"hierarchical", "vgp", "planar", "radial", "realnvp", "iaf", "maf", "nsf", "hamiltonian", \
"langevin"}, a member, or callable
        The fit starts from a given member of `fastvi.families`. A callable makes one from a mean
        and a covariance, such as ``fastvi.families.lowrank(rank=3)`` or
        ``fastvi.families.copula("spline")`` or ``fastvi.families.flow("maf", n_layers=8)``, see
        docs/flows.md. For variables that are
        discrete or not Gaussian, use `fastvi.families.blocks`.
    method : {"auto", "natural", "plain", "laplace", "delta", "deterministic", "joint", \
"boosting", "fixed-point", "score", "auxiliary", "gumbel", "straight-through", "sgd", \
"averaged-sgd"}
        Natural gradients, the default if the family has them; plain gradients with averaged Adam,
        the default of other families; Laplace's method; the delta method (Wang and Blei 2013). For
        "meanfield", fixed draws and a second-order optimiser (Giordano, Ingram and Broderick 2024),
        whose history has the Monte Carlo errors of the answer, `mean_error` and `sd_error`. For
        "mixture", natural gradients of all components (Arenz et al. 2023); boosting, in which
        earlier components stay and the last one added and the weights are fitted; or fixed-point
        updates of all components, without a step size. For blocks (and "meanfield"), with averaged
        Adam: score-function gradients, see `fastvi.gradients.score`, the default of blocks; and
        relaxed categories, see `fastvi.gradients.gumbel`. For targets that take rows, the moments
        of stochastic gradient descent of constant rate, see `fastvi.fitting.sgd`: of its iterates,
        or of their averages over a pass, whose covariance is that of the mode over data sets
        (`Posterior.sandwich`).
    objective : {"elbo", "iwae", "chi"}, float or Objective
        The objective to maximise (or, for upper bounds, minimise), see `fastvi.objectives`; a
        number is the order of a Rényi divergence.
    n_draws : int, optional
        Draws per step, by default twice the dimension, from 16 to 128; for score-function gradients
        and relaxed categories four times the dimension, from 64 to 256; for flows 256; for fixed
        draws four times the dimension, from 30 to 120.
    n_components : int, optional
        Components of family "mixture"; by default they are added until one gains less than 0.05
        nats, ten at most. Those that end without weight are removed.
    boosting : {"elbo", "hellinger", "low-rank"} or int
        What a component of method "boosting" is fitted to: the ELBO (Guo et al. 2016); the
        Hellinger distance (UBVI, Campbell and Li 2019), whose mixture has up to
        n_components (n_components + 1) / 2 parts, the products of its components; or the ELBO with
        covariances of low rank plus a diagonal (Miller, Foti and Adams 2017), of rank 1 or a given
        number.
    batch_size : int, optional
        Rows per step, for targets that take rows; all by default, and a hundredth of them, up to
        100, for "sgd". For the ELBO, whose gradients are then unbiased.
    sampling : {"uniform", "replacement"}
        Shuffled epochs of rows, or independent draws of them, which "sgd" always takes.
    variance_reduction : str, a tool of fastvi.gradients, or list of these, optional
        With method "plain", "svrg" or `fastvi.gradients.svrg` removes the noise of mini-batches.
        With method "score", some of "control", "baseline" and "overdispersion", or the tools that
        the functions of `fastvi.gradients` with these names make; "control" by default, and none
        by ``[]``.
    preconditioner : {"full", "diagonal", "scalar"}
        Of "sgd" and "averaged-sgd".
    learning_rate : float
        Of these, as a multiple of the rate that suits the preconditioner best.
    start : (D,) array or dict of str to array, optional
        Where the first path to a mode begins: unconstrained, or parameters by name; 0 by default.
    n_starts : "auto" or int
        Paths of the search for modes, all but the first from widely spread points; by default from
        8 to 24, more if more modes are found. With 1 the fit starts from the mode that `start`
        leads to. There is no search for methods and targets without gradients.
    tempering : {None, "anneal"}
        "anneal" fits the target at temperatures from 32 down first, each from where the last fit
        ended, to find better optima than the modes that the search found. For temperatures that
        are inferred see `fastvi.reweighted_fit`.
    tol : float
        Largest root mean square error of a parameter, in posterior standard deviations, that the
        optimizer may leave.
    max_iter : int
        Largest number of steps; of passes over the data for "sgd" and "averaged-sgd".
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

    Examples
    --------
    >>> import fastvi
    >>> def logp(z):  # and its gradient
    ...     return -0.5 * (z - 1.0) @ (z - 1.0), 1.0 - z
    >>> target = fastvi.targets.from_callable(logp, dim=2)
    >>> posterior = fastvi.fit(target, random_state=0)
    >>> posterior.mean.round(2), posterior.verdict.word
    (array([1., 1.]), 'good')
    """
    check_target(target)
    if target.n_rows is not None:
        refuse_shards("fastvi.fit of a target with rows")
    tol = checks.number(tol, "tol", 0.0, open_low=True)
    max_iter = checks.integer(max_iter, "max_iter", 1)
    n_paths, n_threads = starts_of(n_starts), resolve_n_jobs(n_jobs)
    checks.flag(verdict, "verdict")
    goal, goal_name = objective_of(objective)
    chosen = family_of(target, family)
    tools = None if variance_reduction is None else reductions_of(variance_reduction)
    method, tools = method_of(method, chosen.member, tools)
    if not METHODS[method].by_values:
        target.require_gradient(f"method={method!r} needs")
    watching = Watching(callback, checkpoint, checkpoint_interval, resume)
    seed = watching.seed(random_state)
    wanted = Wanted(
        target, method, goal,
        n_draws_of(n_draws, method, target.dim, chosen.member.powers.pace),
        batches_of(target, batch_size, sampling, seed), batch_size, sampling, tools, tol,
        checks.choice(preconditioner, "preconditioner", PRECONDITIONERS),
        checks.number(learning_rate, "learning_rate", 0.0, open_low=True),
        None if n_components is None else checks.integer(n_components, "n_components", 1),
        boosting_of(boosting),
    )  # fmt: skip
    wanted.check(objective)
    if not METHODS[method].resumes and checkpoint is not None:
        raise ValueError(f"checkpoint with method={method!r}, which has no steps; wanted None")
    cools = tempering_of(tempering, wanted.method, checkpoint)
    if chosen.near is None and start is not None:
        raise ValueError("start is given, but the fit begins at the member of family given")
    if chosen.near is None and METHODS[method].from_mode:
        raise ValueError(
            f"method={method!r} begins at no member; wanted the name of a family, such as "
            "family='fullrank'"
        )
    with single_threaded_blas():
        member, found = _first(wanted, chosen, start, n_paths, n_threads, seed)
        identity = wanted.identity(family, start, n_paths)
        job = Job(
            wanted, chosen.near, member, found, max_iter,
            lambda read: watch_of(watching, target, seed, identity, verbose=verbose, read=read),
            goal_name, seed,
        )  # fmt: skip
        posterior = annealed(job, run_of(method)) if cools else run_of(method)(job)
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
            by_gradient=not METHODS[method].by_values,
        )  # fmt: skip
    if not METHODS[method].by_scores:
        return member, search(target, member.mean, n_paths, seed, n_threads)
    if n_paths is not None:
        raise ValueError(
            f"n_starts={n_paths} with method={method!r} and a member, for which no modes are "
            "searched; wanted 'auto'"
        )
    return member, None
