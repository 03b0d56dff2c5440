"""Passes of expectation propagation: all sites at once, one after another, and the double loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from fastvi.base.typing import Array, Info
from fastvi.core import Algorithm, Batch
from fastvi.propagation import double_loop as outer
from fastvi.propagation.damping import HALVINGS, LEAST, damped, divergence, halved, info
from fastvi.propagation.damping import State as StateOf
from fastvi.propagation.problem import Gaussian, Problem, Reading, Step, gaussian, improper
from fastvi.propagation.sites import Natural

__all__ = ["METHODS", "State"]

INNER_PASSES = 30  # of the double loop

State = StateOf[Step, Reading]


def _moves(problem: Problem, posterior: Gaussian, old: Step, new: Step) -> float:
    """How far new sites would move the posterior, in nats."""
    change = Step(tuple(
        Natural(b.precision - a.precision, b.shift - a.shift)
        for a, b in zip(old.groups, new.groups)
    ))  # fmt: skip
    return divergence(posterior.mean, posterior.root, *problem.sums(change))


def _begun(problem: Problem, start: Step) -> State:
    reading = problem.read(start)
    assert reading is not None
    return State(start, reading, 1.0, np.inf)


def parallel(problem: Problem, damping: float | None) -> Algorithm:
    """All sites at once; a step that leaves no posterior or fewer cavities is halved."""

    def init(start: Step) -> State:
        return _begun(problem, start)._replace(share=1.0 if damping is None else damping)

    def step(state: State, batch: Batch, rng: np.random.Generator) -> tuple[State, Info]:
        reading, share = state.reading, state.share
        change = _moves(problem, reading.posterior, state.sites, reading.matched)
        if damping is None:
            share = damped(share, change / max(state.change, LEAST))
        sites, new, share = halved(
            share, (state.sites, reading), lambda s: state.sites.moved(reading.matched, s),
            problem.read,
        )  # fmt: skip
        found = State(sites, new, share, change)
        return found, info(found)

    return Algorithm(init, step)


def sequential(problem: Problem, damping: float | None) -> Algorithm:
    """One site after another, each next to what the others have become."""
    share = 1.0 if damping is None else damping

    def init(start: Step) -> State:
        return _begun(problem, start)

    def step(state: State, batch: Batch, rng: np.random.Generator) -> tuple[State, Info]:
        posterior = state.reading.posterior
        sites = Step(tuple(Natural(g.precision.copy(), g.shift.copy()) for g in state.sites.groups))
        cov, mean = posterior.root @ posterior.root.T, posterior.mean.copy()
        for k, group in enumerate(problem.groups):
            for i in range(group.n_sites):
                cov, mean = _updated(problem, sites, (k, i), cov, mean, share)
        new = problem.read(sites)
        if new is None:  # by rounding: keep half of the pass
            sites = state.sites.moved(sites, 0.5)
            new = problem.read(sites) or state.reading
        change = _moves(problem, posterior, state.sites, sites) / share**2
        found = State(sites, new, share, change)
        return found, info(found)

    return Algorithm(init, step)


def _updated(
    problem: Problem, sites: Step, which: tuple[int, int], cov: Array, mean: Array, share: float
) -> tuple[Array, Array]:
    """Replace one site in place; the covariance and mean that follow."""
    group, natural = problem.groups[which[0]], sites.groups[which[0]]
    i = which[1]
    part = group.parts(i)
    cross = cov @ part.T  # (D, d)
    inside = part @ cross
    if not inside.any():  # a row of zeros: the factor is constant
        return cov, mean
    own = np.linalg.inv(inside)
    precision = own - problem.power * natural.precision[i]
    if improper(precision[None])[0]:
        return cov, mean
    shift = own @ (part @ mean) - problem.power * natural.shift[i]
    cavity = np.linalg.inv(precision)
    rows = slice(i, i + 1)
    log_z, found = group.match(rows, (cavity @ shift)[None], cavity[None], problem.power)
    _refuse_nan(group.name(i), log_z, found)
    more = share * (found.precision[0] - natural.precision[i])
    pull = share * (found.shift[0] - natural.shift[i])
    total = np.eye(len(inside)) + more @ inside
    if improper((own + more)[None])[0]:
        return cov, mean
    natural.precision[i] += more
    natural.shift[i] += pull
    gain = cross @ np.linalg.solve(total, np.eye(len(inside)))
    mean = mean + gain @ (pull - more @ (part @ mean))
    cov = cov - gain @ more @ cross.T
    return 0.5 * (cov + cov.T), mean


def _refuse_nan(name: str, log_z: Array, found: Natural) -> None:
    if not (np.isfinite(log_z[0]) and np.isfinite(found.precision[0]).all()):
        raise ValueError(
            f"{name}: the tilted moments are not finite, or have no variance (log Z is "
            f"{log_z[0]:.6g}); wanted finite moments"
        )


def double_loop(problem: Problem, damping: float | None) -> Algorithm:
    """Minimise EP's free energy, which always converges; see `fastvi.propagation.double_loop`."""

    def init(start: Step) -> State:
        state = _begun(problem, start)
        marginals = problem.marginals(state.reading.posterior)
        return state._replace(marginals=marginals, best=(start, marginals, -np.inf))

    return outer.double_loop(outer.Loop(
        init, problem.read, partial(_inner, problem),
        lambda reading: problem.marginals(reading.posterior), Step.moved, _distance,
    ))  # fmt: skip


def _inner(
    problem: Problem, sites: Step, marginals: Step, aim: float
) -> tuple[Step, Reading, float]:
    """Minimise the energy over the sites, to within `aim` nats of a step; also the last one."""
    reading = problem.read(sites, marginals)
    assert reading is not None
    rest = np.inf
    for _ in range(INNER_PASSES):
        now = problem.marginals(reading.posterior)
        steep = _shifted(problem, sites, reading.matched, marginals, now, 1.0)
        rest = _moves(problem, reading.posterior, sites, steep)
        if rest <= aim:
            break
        found = None
        for target, n_halvings in (
            (_balanced(problem, sites, reading, marginals), 3), (steep, HALVINGS)
        ):  # fmt: skip
            if found is None and target is not None:
                found = outer.lower(
                    reading, partial(sites.moved, target),
                    lambda tried: problem.read(tried, marginals), n_halvings,
                )  # fmt: skip
        if found is None:
            break
        sites, reading = found
    return sites, reading, rest


def _shifted(
    problem: Problem, sites: Step, matched: Step, marginals: Step, now: Step, share: float
) -> Step:
    """Sites plus a share of natural parameters of tilted moments minus others: downhill."""
    return Step(tuple(
        Natural(*(
            site + share * (fixed + problem.power * (new - site) - own)
            for site, new, fixed, own in zip(*parts)
        ))
        for parts in zip(sites.groups, matched.groups, marginals.groups, now.groups)
    ))  # fmt: skip


def _balanced(problem: Problem, sites: Step, reading: Reading, marginals: Step) -> Step | None:
    """As `_shifted`, where posterior and sites move together, as if factors were Gaussian.

    Each number of x has about N d / D sites, which would otherwise all go the whole way.
    """
    power = problem.power
    tilted = _shifted(problem, problem.start(), reading.matched, marginals, problem.start(), 1.0)
    less = Step(tuple(
        Natural(t.precision - power * s.precision, t.shift - power * s.shift)
        for t, s in zip(tilted.groups, sites.groups)
    ))  # fmt: skip
    precision, shift = problem.sums(less)
    count = 1.0 + sum(g.n_sites * g.width for g in problem.groups) / problem.prior.mean.size / power
    q = reading.posterior
    goal = gaussian((q.precision + precision / power) / count, (q.shift + shift / power) / count)
    if goal is None:
        return None
    there = problem.marginals(goal)
    return _shifted(problem, sites, reading.matched, marginals, there, 1.0 / power)


def _distance(old: Step, new: Step) -> float:
    """How far marginals move, in nats: the largest of all sites."""
    most = 0.0
    for a, b in zip(old.groups, new.groups):
        cov = np.linalg.inv(b.precision)
        change, shift = b.precision - a.precision, b.shift - a.shift
        mean = np.einsum("nij,nj->ni", cov, b.shift)
        moved = shift - np.einsum("nij,nj->ni", change, mean)
        spread = change @ cov
        nats = 0.25 * np.einsum("nij,nji->n", spread, spread)
        nats += 0.5 * np.einsum("ni,nij,nj->n", moved, cov, moved)
        most = max(most, float(nats.max()))
    return most


METHODS: dict[str, Callable[[Problem, float | None], Algorithm]] = {
    "parallel": parallel,
    "sequential": sequential,
    "double_loop": double_loop,
}
