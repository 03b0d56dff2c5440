"""The double loop for families: it minimises the free energy of expectation propagation.

With the marginal that factors see kept fixed, minus the free energy is convex in the sites, and
Newton's method minimises it. The marginal then becomes the posterior, which never raises the energy
(Heskes and Zoeter 2002; Opper and Winther 2005). It goes further as long as that lowers it.
"""

from __future__ import annotations

import numpy as np

from fastvi.base.typing import Array, Info
from fastvi.core import Algorithm, Batch
from fastvi.propagation.damping import HALVINGS, halved
from fastvi.propagation.factors import FamilyProblem, Reading, State, info

__all__ = ["double_loop"]

NEWTON = 30  # steps of the inner loop
INNER_SHARE = 0.01  # of the last outer change, to which the inner loop converges
SLACK = 1e-13  # relative rounding error of evidences
STRETCH = 1.5  # factor of outer steps that keep lowering the energy


def double_loop(problem: FamilyProblem, damping: float | None) -> Algorithm:
    """A pass is an inner minimum and a step of the marginal; `damping` has no use."""

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

    def step(state: State, batch: Batch, rng: np.random.Generator) -> tuple[State, Info]:
        assert state.marginal is not None
        assert state.best is not None
        marginal, best, share = state.marginal, state.best, state.share * STRETCH
        aim = INNER_SHARE * state.change if np.isfinite(state.change) else 1e-3
        sites, reading, rest = _inner(problem, state.sites, marginal, aim)
        if not reading.evidence >= best[2] - SLACK * abs(best[2]) and state.share > 1.0:
            sites, marginal, _ = best  # gone too far
            reading, share = problem.read(sites, marginal) or reading, 1.0
        change = max(rest, problem.divergence(marginal, reading.eta))
        best = sites, marginal, reading.evidence
        after, reached = _outer(problem, sites, marginal, reading, share)
        return State(sites, reading, reached, change, after, best), info(reading, change, reached)

    return Algorithm(init, step)


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
        found = _lower(problem, sites, marginal, reading, direction) if rest > aim else None
        if found is None:
            break
        sites, reading = found
    return sites, reading, rest


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


def _lower(
    problem: FamilyProblem, sites: Array, marginal: Array, reading: Reading, direction: Array
) -> tuple[Array, Reading] | None:
    """Go in this direction, as far as the evidence falls; None if it does not."""
    for k in range(HALVINGS):
        tried = sites + 0.5**k * direction
        new = problem.read(tried, marginal)
        if new is not None and new.evidence < reading.evidence - SLACK * abs(reading.evidence):
            return tried, new
    return None


def _outer(
    problem: FamilyProblem, sites: Array, marginal: Array, reading: Reading, share: float
) -> tuple[Array, float]:
    """Move the marginal towards the posterior, as far as cavities stay proper."""
    for _ in range(HALVINGS):
        tried = marginal + share * (reading.eta - marginal)
        if problem.family.is_proper(tried[None])[0]:
            new = problem.read(sites, tried)
            if new is not None and not new.failed:
                return tried, share
        share *= 0.5
    return marginal, 1.0
