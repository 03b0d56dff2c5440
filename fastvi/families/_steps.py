"""What Gaussian families share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Step", "antithetic", "retraction"]

Array = NDArray[np.float64]
FARTHEST = 2.0  # standard deviations a coordinate that a step moves the mean, root mean square


class Step(NamedTuple):
    """A natural gradient, or a part of one, in the frame where the member is standard normal.

    `mean` (D,) moves the mean; `spread` (D, D) or (D,) is subtracted from the precision. At unit
    rate it leads to the optimum of a Gaussian target, so that its squared length
    ``|mean|^2 + |spread|^2 / 2`` estimates the symmetrised divergence that is left to gain.
    """

    mean: Array
    spread: Array


def antithetic(n: int, width: int, rng: np.random.Generator) -> Array:
    """Standard normal noise (n, width), in pairs of opposite sign.

    The mean of linear functions then has no noise. The last is alone if n is odd.
    """
    half = rng.standard_normal((n - n // 2, width))
    return np.concatenate((half, -half[: n // 2]))


def retraction(step: Step) -> Step:
    """The step, shortened where a quadratic model could not be trusted that far.

    The spread has at most unit norm in one step of widening, in which the variance doubles, and
    the mean moves by at most `FARTHEST` standard deviations a coordinate.
    """
    mean, spread = step
    length = float(np.sqrt(mean @ mean / len(mean)))
    if length > FARTHEST:
        mean = mean * (FARTHEST / length)
    norm = float(np.abs(spread).max()) if spread.ndim == 1 else float(np.linalg.norm(spread, 2))
    if norm > 1.0:
        spread = spread / norm
    return Step(mean, spread)
