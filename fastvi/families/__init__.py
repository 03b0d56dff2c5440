"""Families of approximating distributions.

A member of a family is a point: a NamedTuple of arrays that draws, knows its log density, and pulls
what draws say back into a gradient. `Natural` gradients are steps in its own frame, where it is the
standard normal, and ``moved(step)`` takes one; plain gradients are of its `free` parameters.
`Blocks` of other kinds of numbers, discrete ones among them, are for score-function gradients.
"""

from typing import Any

from fastvi.families._blocks import (
    Block,
    Blocks,
    bernoulli,
    beta,
    blocks,
    categorical,
    gamma,
    gaussian,
    lognormal,
    one_hot,
    poisson,
)
from fastvi.families.fullrank import FullRank
from fastvi.families.lowrank import LowRank
from fastvi.families.meanfield import MeanField

__all__ = [
    "FAMILIES",
    "MEMBERS",
    "Block",
    "Blocks",
    "FullRank",
    "LowRank",
    "MeanField",
    "bernoulli",
    "beta",
    "blocks",
    "categorical",
    "gamma",
    "gaussian",
    "lognormal",
    "one_hot",
    "poisson",
]

FAMILIES: dict[str, Any] = {"fullrank": FullRank, "meanfield": MeanField, "lowrank": LowRank}
MEMBERS: dict[str, Any] = {**FAMILIES, "blocks": Blocks}
