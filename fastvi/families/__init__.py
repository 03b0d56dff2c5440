"""Families of approximating distributions.

A member of a family is a point: a NamedTuple of arrays that draws, knows its log density, and pulls
what draws say back into a gradient. `Natural` gradients are steps in its own frame, where it is the
standard normal, and ``moved(step)`` takes one; plain gradients are of its `free` parameters.
"""

from typing import Any

from fastvi.families.fullrank import FullRank
from fastvi.families.lowrank import LowRank
from fastvi.families.meanfield import MeanField

__all__ = ["FAMILIES", "FullRank", "LowRank", "MeanField"]

FAMILIES: dict[str, Any] = {"fullrank": FullRank, "meanfield": MeanField, "lowrank": LowRank}
