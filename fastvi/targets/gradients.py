"""Gradients against finite differences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastvi.base.typing import Array
from fastvi.targets.failures import TargetError, describe

__all__ = ["ROUNDING", "compare"]

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
