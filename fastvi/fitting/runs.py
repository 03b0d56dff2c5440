"""How each method of `fit` gets from its checked arguments to a posterior: one table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastvi.families.base import Family, Near
from fastvi.fitting.choices import Wanted
from fastvi.fitting.components import at_modes
from fastvi.fitting.courses import COURSES
from fastvi.fitting.delta import delta
from fastvi.fitting.deterministic import deterministic
from fastvi.fitting.laplace import Laplace
from fastvi.fitting.modes import Found
from fastvi.fitting.sgd import Walk, plan
from fastvi.fitting.spans import moments_over
from fastvi.loop import Watch
from fastvi.posteriors.member import Posterior

__all__ = ["Job", "run_of"]


class Job(NamedTuple):
    """A fit that is ready to begin.

    Attributes
    ----------
    wanted : Wanted
    near : Near or None
        Makes a member from a mean and a covariance; None if the fit begins at a given member.
    member : Family
        Where it begins.
    found : Found or None
        What the search for modes has found.
    max_iter : int
    watch : callable
        ``watch(read)`` returns the observers, where ``read(state)`` is the member found so far.
    objective : str
        Its name.
    seed : int
    """

    wanted: Wanted
    near: Near | None
    member: Family
    found: Found | None
    max_iter: int
    watch: Callable[[Callable[[Any], Any]], Watch]
    objective: str
    seed: int

    def posterior(self, member: Family, objective: str = "elbo", **options: Any) -> Posterior:
        """The posterior of a member; `options` are what steps have found."""
        target = self.wanted.target
        return Posterior(
            member, target, names=target.names, objective=objective, seed=self.seed,
            modes=self.found.modes if self.found is not None else (), **options,
        )  # fmt: skip


def run_of(method: str) -> Callable[[Job], Posterior]:
    """Return what carries out a job by a method: stages of ascent, unless it has its own way."""
    return OTHERS.get(method, _over_modes)


def _over_modes(job: Job) -> Posterior:
    """By stages, from a member over all modes that matter if the family can bend over them."""
    if job.near is not None and job.found is not None and job.member.powers.spans:
        moments = moments_over(job.wanted.target, job.found.modes)
        if moments is not None:
            job = job._replace(member=job.near(*moments))
    return _by_stages(job)


def _by_stages(job: Job) -> Posterior:
    options = {
        "tol": job.wanted.tol,
        "max_iter": job.max_iter,
        "rng": np.random.default_rng(job.seed),
    }
    course = COURSES[job.wanted.method](job.wanted, job.member, options)
    watch = job.watch(lambda state: course.read(state.params))
    state, history = course.stages.run(course.begin, watch), course.stages.history
    return job.posterior(
        course.read(state.params), job.objective,
        settled=state.settled, n_iter=len(history), history=history.arrays(),
        remarks=course.stages.remarks(state),
    )  # fmt: skip


def _from_all_modes(job: Job) -> Posterior:
    """By stages, from the modes that matter, unless a member is given."""
    if job.near is not None and job.found is not None:
        member = at_modes(job.member, job.found.modes, job.wanted.n_components)
        job = job._replace(member=member)
    return _by_stages(job)


def _with_fixed_draws(job: Job) -> Posterior:
    start, wanted = job.member.powers.independent, job.wanted
    assert start is not None
    found = deterministic(
        wanted.target, start, n_draws=wanted.n_draws, tol=wanted.tol, max_iter=job.max_iter,
        seed=job.seed,
    )  # fmt: skip
    return job.posterior(
        job.member.from_free((found.mean, np.log(found.sd))),
        settled=found.settled, n_iter=found.n_iter, history=found.history,
    )  # fmt: skip


def _proper_mode(job: Job) -> tuple[Laplace, Near]:
    """Laplace's approximation at the best mode, which the method needs."""
    assert job.near is not None  # members are refused before
    assert job.found is not None
    best, target = job.found.best, job.wanted.target
    if best.cov is None:
        values, slopes = target.attempt(best.mode[None])
        if not (np.isfinite(values[0]) and np.all(np.isfinite(slopes))):
            target.refuse(best.mode[None])
        raise ValueError(
            f"method={job.wanted.method!r} needs a mode with a negative definite Hessian; the "
            f"Hessian at the one found, {best.mode}, is not (is the density unbounded?)"
        )
    return best, job.near


def _at_the_mode(job: Job) -> Posterior:
    found, near = _proper_mode(job)
    if job.wanted.method == "delta":
        found = delta(job.wanted.target, found)
    assert found.cov is not None
    return job.posterior(
        near(found.mode, found.cov), job.wanted.method,
        settled=found.converged, n_iter=found.n_evaluations,
        history={"elbo": np.array([found.log_evidence])},
    )  # fmt: skip


def _by_sgd(job: Job) -> Posterior:
    (found, near), wanted = _proper_mode(job), job.wanted
    assert found.cov is not None
    course = plan(
        wanted.target, found.mode, found.cov, batch_size=wanted.batch_size,
        preconditioner=wanted.preconditioner, learning_rate=wanted.learning_rate,
        averaged=wanted.method == "averaged-sgd", seed=job.seed,
    )  # fmt: skip
    walk = Walk(wanted.target, course, tol=wanted.tol, max_iter=job.max_iter, seed=job.seed)
    state, history = walk.run(job.watch(lambda state: near(*walk.moments(state))))
    return job.posterior(
        near(*walk.moments(state)), wanted.method,
        settled=walk.settled(state), n_iter=len(history),
        history={**history.arrays(), "drift": course.drift},
    )  # fmt: skip


OTHERS: dict[str, Callable[[Job], Posterior]] = {  # than ascents by stages
    "joint": _from_all_modes,
    "boosting": _from_all_modes,
    "fixed-point": _from_all_modes,
    "laplace": _at_the_mode,
    "delta": _at_the_mode,
    "deterministic": _with_fixed_draws,
    "sgd": _by_sgd,
    "averaged-sgd": _by_sgd,
}
