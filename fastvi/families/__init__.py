"""Families of approximating distributions.

What a member of a family can do is in `fastvi.families.base`. Every family is one line of
`FAMILIES`; nothing outside of this folder knows one by its type.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base import checks
from fastvi.families.base import Draws, Family, Near, Powers
from fastvi.families.fullrank import FullRank
from fastvi.families.kinds import (
    Block,
    bernoulli,
    beta,
    categorical,
    gamma,
    gaussian,
    lognormal,
    one_hot,
    poisson,
)
from fastvi.families.lowrank import LowRank, lowrank
from fastvi.families.meanfield import MeanField
from fastvi.families.products import Blocks, blocks

__all__ = [
    "FAMILIES",
    "Block",
    "Blocks",
    "Draws",
    "Family",
    "FullRank",
    "LowRank",
    "MeanField",
    "Powers",
    "Registered",
    "bernoulli",
    "beta",
    "blocks",
    "categorical",
    "gamma",
    "gaussian",
    "is_member",
    "load",
    "lognormal",
    "lowrank",
    "name_of",
    "one_hot",
    "poisson",
    "sample",
]


class Registered(NamedTuple):
    """A family: the class of its members, and how to make one near a Gaussian.

    `near` is None where that does not make sense; fits then begin at a member that is given.
    """

    member: Any
    near: Near | None


FAMILIES: dict[str, Registered] = {
    "fullrank": Registered(FullRank, FullRank.of),
    "meanfield": Registered(MeanField, MeanField.of),
    "lowrank": Registered(LowRank, LowRank.of),
    "blocks": Registered(Blocks, None),
}


def is_member(value: Any) -> bool:
    """Whether it is a member of a family here."""
    return any(type(value) is family.member for family in FAMILIES.values())


def name_of(member: Family) -> str:
    """The name of a member's family."""
    return next(name for name, family in FAMILIES.items() if type(member) is family.member)


def load(name: str, arrays: Mapping[str, NDArray[Any]], dim: int) -> Family:
    """The member of a family that a file holds, see `fastvi.families.base.Family.load`."""
    member: Family = FAMILIES[name].member.load(arrays, dim)
    return member


def sample(member: Family, n: int, random_state: Any = None) -> NDArray[np.float64]:
    """Draw n points (n, D) of a member.

    Parameters
    ----------
    member : Family
    n : int
    random_state : int, RandomState, Generator or None
    """
    rng = checks.generator(random_state, "random_state")
    return member.draw(checks.integer(n, "n", 0), rng).points
