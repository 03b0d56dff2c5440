"""Functions shared by Gaussian families."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from fastvi.base.typing import AnyArray, Array
from fastvi.families.base import stored

__all__ = ["Step", "antithetic", "divergence", "entropy", "retraction", "stored_scales"]

FARTHEST = 2.0  # longest step of the mean: standard deviations per coordinate, root mean square


class Step(NamedTuple):
    """A natural gradient, or a part of one, in the frame in which the member is standard normal.

    `mean` (D,) moves the mean; `spread` (D, D) or (D,) is subtracted from the precision. At unit
    rate it leads to the optimum of a Gaussian target.
    """

    mean: Array
    spread: Array

    def gain(self) -> float:
        """Squared length: the gain of a unit-rate step as a symmetrised divergence in nats."""
        return float(np.vdot(self.mean, self.mean) + 0.5 * np.vdot(self.spread, self.spread))


def antithetic(n: int, width: int, rng: np.random.Generator) -> Array:
    """Draw standard normal noise (n, width), in pairs of opposite sign.

    Means of linear functions then have no noise. The last draw has no partner if n is odd.
    """
    half = rng.standard_normal((n - n // 2, width))
    return np.concatenate((half, -half[: n // 2]))


def retraction(step: Step) -> Step:
    """Shorten a step beyond which a quadratic model is not reliable.

    The variance at most doubles in one step of widening, and the mean moves by at most `FARTHEST`
    standard deviations per coordinate.
    """
    mean, spread = step
    length = float(np.sqrt(mean @ mean / len(mean)))
    if length > FARTHEST:
        mean = mean * (FARTHEST / length)
    norm = float(np.abs(spread).max()) if spread.ndim == 1 else float(np.linalg.norm(spread, 2))
    if norm > 1.0:
        spread = spread / norm
    return Step(mean, spread)


def divergence(a: Any, b: Any) -> float:
    """Symmetrised KL divergence between Gaussians with `mean`, `cov` and `log_det`, in nats."""
    return _relative(a, b) + _relative(b, a)


def _relative(a: Any, b: Any) -> float:
    """KL(a || b)."""
    away = b.mean - a.mean
    inverse = np.linalg.inv(b.cov)
    trace = float(np.sum(inverse * a.cov))
    square = float(away @ inverse @ away)
    return float(0.5 * (trace + square - len(away)) + b.log_det - a.log_det)


def entropy(a: Any) -> float:
    """Entropy of a Gaussian with `dim` and `log_det`, in nats."""
    return float(a.log_det + 0.5 * a.dim * (1.0 + np.log(2 * np.pi)))


def stored_scales(arrays: Mapping[str, AnyArray], name: str, dim: int) -> Array:
    """Read positive scales (dim,) from a file, as `fastvi.families.base.stored` does."""
    scales = stored(arrays, name, (dim,))
    if not np.all(scales > 0):
        raise ValueError(f"{name} must hold scales > 0")
    return scales
