"""The scale of theta beside that of beta, which counts say nothing about, only priors.

Multiplying theta by x and dividing beta by x leaves every expected count as it is, so coordinate
ascent, which holds one of them fixed, moves along x by small steps only. A fit must begin at the
best x; having it there after each pass as well (Qi and Jaakkola 2007, "Parameter expanded
variational Bayesian methods") gained no more than 1e-4 of the bound.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.kernels.poisson import GammaPrior

__all__ = ["common_scale"]

MAX_ITER = 50
LARGEST_STEP = 2.0  # of log x


def common_scale(
    rows: GammaPrior,
    columns: GammaPrior,
    n_components: int,
    row_sums: NDArray[Any],
    row_weights: NDArray[Any],
    column_sums: NDArray[Any],
) -> float:
    """The best x for all components together, by Newton's method in log x, which is concave.

    row_sums, row_weights (D,) and column_sums (I,): sums of E[theta] and E[beta] over components.
    """
    slope = n_components * (
        float(row_weights.sum()) * rows.shape - len(column_sums) * columns.shape
    )
    log_scale = 0.0
    for _ in range(MAX_ITER):
        x = np.exp(log_scale)
        down, down_curvature = _pull(rows, n_components, x * row_sums, row_weights)
        up, up_curvature = _pull(columns, n_components, column_sums / x, np.ones(1))
        step = (slope - down + up) / max(down_curvature + up_curvature, 1e-300)
        step = float(np.clip(step, -LARGEST_STEP, LARGEST_STEP))
        log_scale += step
        if abs(step) < 1e-8:
            break
    return float(np.exp(log_scale))


def _pull(
    prior: GammaPrior, n_components: int, sums: NDArray[Any], weights: NDArray[Any]
) -> tuple[float, float]:
    """Minus the first and second derivatives in log x of what `rate_bound` has, summed."""
    if prior.rate_shape == 0:
        total = prior.mean_rate * float((weights * sums).sum())
        return total, total
    share = sums / (prior.rate_shape / prior.mean_rate + sums)
    shape = prior.rate_shape + n_components * prior.shape
    first = shape * float((weights * share).sum())
    return first, shape * float((weights * share * (1.0 - share)).sum())
