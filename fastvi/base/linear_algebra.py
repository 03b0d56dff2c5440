"""Shared by models: sizes of tasks over rows, and factors of matrices with rounding errors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["SUMS_ENTRIES", "TASK_FLOPS", "cholesky"]

TASK_FLOPS = 2e7  # about 1 ms of small matrix products
SUMS_ENTRIES = 1 << 22  # entries of the sums of all tasks together, of which there are at least 4


def cholesky(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lower factor of a positive definite matrix, or of a nearby one if rounding made it
    indefinite.

    The diagonal is increased by a relative rounding error, then by ten times as much, and so on.
    Linearly dependent columns give singular matrices.
    """
    size = np.sqrt(np.diag(matrix))
    scaled = matrix / size / size[:, None]
    growth = 0.0
    while True:
        try:
            lower = np.linalg.cholesky(scaled + growth * np.eye(len(matrix)))
        except np.linalg.LinAlgError:
            growth = max(10.0 * growth, float(np.finfo(np.float64).eps))
            if not growth < 1.0:
                raise
            continue
        return np.asarray(lower * size[:, None])
