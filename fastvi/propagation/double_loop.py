"""The outer loop of the double loop, for sites of any kind (Heskes and Zoeter 2002).

With the marginals that factors see kept fixed, minus the free energy of expectation propagation is
convex in the sites, and an inner loop minimises it. Marginals then become those of the posterior,
which never raises the energy (Opper and Winther 2005). They go further as long as that lowers it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple

import numpy as np

from fastvi.base.typing import Info
from fastvi.core import Algorithm, Batch
from fastvi.propagation.damping import HALVINGS, Read, Sites, State, info

__all__ = ["Loop", "double_loop", "lower"]

INNER_SHARE = 0.01  # of the last outer change, to which the inner loop converges
FIRST_AIM = 1e-3  # nats to which it converges at first
STRETCH = 1.5  # factor of outer steps that keep lowering the energy
OUTER_SLACK, INNER_SLACK = 1e-12, 1e-13  # relative rounding errors of evidences


class Loop(NamedTuple, Generic[Sites, Read]):
    """What the outer loop asks of a problem; marginals are as sites are."""

    init: Callable[[Sites], State[Sites, Read]]
    read: Callable[[Sites, Sites], Read | None]  # of sites and marginals
    inner: Callable[[Sites, Sites, float], tuple[Sites, Read, float]]  # also its last step, in nats
    target: Callable[[Read], Sites]  # marginals of the posterior
    moved: Callable[[Sites, Sites, float], Sites]  # marginals, a share of the way to others
    distance: Callable[[Sites, Sites], float]  # of marginals, in nats


def double_loop(loop: Loop[Sites, Read]) -> Algorithm:
    """A pass is an inner minimum and a step of the marginals."""

    def step(
        state: State[Sites, Read], batch: Batch, rng: np.random.Generator
    ) -> tuple[State[Sites, Read], Info]:
        assert state.marginals is not None
        assert state.best is not None
        aim = INNER_SHARE * state.change if np.isfinite(state.change) else FIRST_AIM
        sites, reading, rest = loop.inner(state.sites, state.marginals, aim)
        share, best, marginals = state.share * STRETCH, state.best, state.marginals
        if not reading.evidence >= best[2] - OUTER_SLACK * abs(best[2]) and state.share > 1.0:
            sites, marginals, _ = best  # gone too far
            reading, share = loop.read(sites, marginals) or reading, 1.0
        target = loop.target(reading)
        change = max(rest, loop.distance(marginals, target))
        best = sites, marginals, reading.evidence
        after, reached = _outer(loop, sites, marginals, target, share)
        state = State(sites, reading, reached, change, after, best)
        return state, info(state)

    return Algorithm(loop.init, step)


def _outer(
    loop: Loop[Sites, Read], sites: Sites, marginals: Sites, target: Sites, share: float
) -> tuple[Sites, float]:
    """Move the marginals towards those of the posterior, as far as cavities stay proper."""
    for _ in range(HALVINGS):
        tried = loop.moved(marginals, target, share)
        new = loop.read(sites, tried)
        if new is not None and not new.failed:
            return tried, share
        share *= 0.5
    return marginals, 1.0


def lower(
    reading: Read,
    moved: Callable[[float], Sites],
    read: Callable[[Sites], Read | None],
    n_halvings: int,
) -> tuple[Sites, Read] | None:
    """Sites that ``moved(share)`` returns and of lower evidence, as far as it falls; None if it
    does not.
    """
    for k in range(n_halvings):
        tried = moved(0.5**k)
        new = read(tried)
        slack = INNER_SLACK * abs(reading.evidence)
        if new is not None and new.evidence < reading.evidence - slack:
            return tried, new
    return None
