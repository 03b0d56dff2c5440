"""Checks of gradients against finite differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fastvi.base.typing import Array
from fastvi.targets.failures import TargetError, describe

if TYPE_CHECKING:
    from fastvi.targets.base import Target

__all__ = ["ROUNDING", "compare", "screen"]

ROUNDING = 4e-15  # relative error of a log density: some additions of terms as large as the sum


def compare(
    name: str,
    names: Sequence[str],
    points: Array,
    grads: Array,
    wanted: Array,
    rtol: float,
    rounding: Array,
) -> float:
    """Return the largest error of gradients (k, n), relative to their components or to 1.

    Raises
    ------
    TargetError
        If an error exceeds rtol and the rounding (k, 1) of the differences, or these are not
        finite.
    """
    scale = np.maximum(1.0, np.maximum(np.abs(grads), np.abs(wanted)))
    error = np.abs(grads - wanted) / scale
    excess = np.where(np.isfinite(error), error - rtol - rounding / scale, np.inf)
    if (excess > 0).any():
        s, j = (int(i) for i in np.unravel_index(np.argmax(excess), excess.shape))
        raise TargetError(
            f"{name}: the gradient's component {j} ({names[j]}) is {grads[s, j]:.8g}, and by "
            f"finite differences {wanted[s, j]:.8g}, at {describe(names, points[s])}",
            points[s].copy(),
            j,
        )
    return float(error.max(initial=0.0))


def screen(target: Target, z: Array) -> None:
    """Refuse a gradient that is clearly wrong, at the cost of four values.

    Checks one direction near z (dim,); if that looks wrong, `Target.check_gradient` decides.

    Raises
    ------
    TargetError
        As in `Target.check_gradient`.
    """
    from fastvi.kernels import targets

    along, at = np.random.default_rng(0).standard_normal((2, target.dim))
    at = z + 0.1 * at
    along *= targets.STEP * np.maximum(1.0, np.abs(at))
    steps = np.array([[0.0], [1.0], [-1.0], [2.0], [-2.0]])
    values, slopes = target.attempt(at + steps * along)
    if not (np.all(np.isfinite(values)) and np.all(np.isfinite(slopes[0]))):
        return  # handled by the fit
    parts = slopes[0] * along
    wanted = (8.0 * (values[1] - values[2]) - (values[3] - values[4])) / 12.0
    room = 1e-3 * np.abs(parts).sum() + 100 * ROUNDING * np.abs(values).max()
    if np.abs(parts.sum() - wanted) > max(room, 1e-3 * np.abs(wanted)):
        target.check_gradient(at)
