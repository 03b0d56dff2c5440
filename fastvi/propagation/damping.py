"""How far sites go in a pass, and how far a pass moves the Gaussian that they make."""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from fastvi.base.typing import Array, Info

__all__ = [
    "HALVINGS", "LEAST", "Read", "Sites", "State", "damped", "divergence", "halved", "info",
]  # fmt: skip

HALVINGS = 30
CALM = 0.5  # sites whose change, in nats, keeps more of its size than this are damped
SHORTER, LONGER = 0.7, 1.1  # factors of the share of the way that sites go
LEAST_DAMPING = 0.05
LEAST = float(np.finfo(np.float64).tiny)


def damped(share: float, ratio: float) -> float:
    """Share of the way that sites go next, given by how much the change of the last pass grew."""
    if not ratio <= (CALM if share == 1.0 else 1.0):
        return max(SHORTER * share, LEAST_DAMPING)
    return min(LONGER * share, 1.0)


class _Read(Protocol):
    """What sites amount to."""

    @property
    def evidence(self) -> float:
        """The estimate of log Z, in nats."""
        ...

    @property
    def failed(self) -> Sized:
        """Factors without a proper cavity."""
        ...


Sites = TypeVar("Sites")
Read = TypeVar("Read", bound=_Read)


class State(NamedTuple, Generic[Sites, Read]):
    """Sites, what they amount to, the damping, and how a pass last moved the posterior."""

    sites: Sites
    reading: Read
    share: float
    change: float  # nats, as if it had not been damped
    marginals: Sites | None = None  # that factors see in the double loop
    best: tuple[Sites, Sites, float] | None = None  # sites, marginals and evidence before them


def info(state: State[Sites, Read]) -> Info:
    """What histories tell of a pass."""
    return {
        "log_evidence": state.reading.evidence,
        "change": state.change,
        "rate": state.share,
        "n_failed": len(state.reading.failed),
    }


def halved(
    share: float,
    old: tuple[Sites, Read],
    moved: Callable[[float], Sites],
    read: Callable[[Sites], Read | None],
) -> tuple[Sites, Read, float]:
    """Sites after a step that leaves a posterior and no more failed factors, and its share.

    `share` is halved until ``moved(share)`` is such a step; the old sites are kept if none is.
    """
    for _ in range(HALVINGS):
        sites = moved(share)
        new = read(sites)
        if new is not None and len(new.failed) <= len(old[1].failed):
            return sites, new, share
        share *= 0.5
    return *old, share


def divergence(mean: Array, root: Array, precision: Array, shift: Array) -> float:
    """Divergence of a Gaussian from one whose natural parameters differ by so much, in nats.

    To second order; ``N(mean, root root')`` is the Gaussian, and `precision` (D, D) and `shift`
    (D,) are what is added to its precision and to its precision times mean.
    """
    spread = root.T @ precision @ root
    moved = root.T @ (shift - precision @ mean)
    return float(0.25 * np.square(spread).sum() + 0.5 * moved @ moved)
