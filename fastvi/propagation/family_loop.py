"""The inner loop of the double loop in families: Newton's method."""

from __future__ import annotations

from functools import partial

import numpy as np

from fastvi.base.typing import Array
from fastvi.core import Algorithm
from fastvi.propagation import double_loop as outer
from fastvi.propagation.damping import HALVINGS, halved
from fastvi.propagation.factors import FamilyProblem, Reading, State

__all__ = ["double_loop"]

NEWTON = 30  # steps


def double_loop(problem: FamilyProblem, damping: float | None) -> Algorithm:
    """Minimise EP's free energy; see `fastvi.propagation.double_loop`."""

    def init(sites: Array) -> State:
        first = problem.read(sites)
        assert first is not None
        # A marginal as narrow as the posterior: next to that of the prior, cavities without sites
        # of informative factors are improper
        sites, reading, _ = halved(
            1.0, (sites, first), lambda s: sites + s * (first.matched - sites), problem.read
        )
        best = sites, reading.eta, -np.inf
        return State(sites, reading, 1.0, np.inf, reading.eta, best)

    return outer.double_loop(outer.Loop(
        init, problem.read, partial(_inner, problem), lambda reading: reading.eta,
        lambda marginal, other, share: marginal + share * (other - marginal), problem.divergence,
    ))  # fmt: skip


def _inner(
    problem: FamilyProblem, sites: Array, marginal: Array, aim: float
) -> tuple[Array, Reading, float]:
    """The best sites for this marginal, to within `aim` nats of a step; also the last one."""
    reading = problem.read(sites, marginal)
    assert reading is not None
    rest = np.inf
    for _ in range(NEWTON):
        direction, slope = _newton(problem, sites, marginal, reading)
        rest = 0.5 * abs(slope)
        if rest <= aim:
            break
        found = outer.lower(
            reading, partial(_along, sites, direction),
            lambda tried: problem.read(tried, marginal), HALVINGS,
        )  # fmt: skip
        if found is None:
            break
        sites, reading = found
    return sites, reading, rest


def _along(sites: Array, direction: Array, share: float) -> Array:
    return sites + share * direction


def _newton(
    problem: FamilyProblem, sites: Array, marginal: Array, reading: Reading
) -> tuple[Array, float]:
    """Newton's step (n, P) of the sites, and the slope along it.

    The gradient is E_q[s] - E_i[s] for site i, and the Hessian has the blocks cov_q[s] for all
    pairs of sites and power cov_i[s] on the diagonal, where those of the tilted distributions are
    taken from members with the same expectations.
    """
    family, power = problem.family, problem.power
    tilted = marginal + power * (reading.matched - sites)
    gradient = family.expected(reading.eta[None]) - family.expected(tilted)
    whole = family.covariance(reading.eta[None])[0]
    inverse = np.linalg.inv(power * family.covariance(tilted))
    alone = -np.einsum("nij,nj->ni", inverse, gradient)
    both = np.eye(len(whole)) + inverse.sum(axis=0) @ whole
    common = whole @ np.linalg.solve(both, alone.sum(axis=0))
    direction = alone - inverse @ common
    return direction, float(np.vdot(gradient, direction))
