"""The relative scale of theta and beta, which only the priors determine.

Multiplying theta by x and dividing beta by x does not change expected counts, so coordinate ascent,
which keeps one of them fixed, changes x only slowly. A fit must start at the best x. Resetting x
after each pass (Qi and Jaakkola 2007, "Parameter expanded variational Bayesian methods") gained at
most 1e-4 of the bound.
"""

from __future__ import annotations

import numpy as np

from fastvi.base.typing import AnyArray
from fastvi.kernels.poisson import GammaPrior

__all__ = ["common_scale"]

MAX_ITER = 50
LARGEST_STEP = 2.0  # largest step of log x


def common_scale(
    rows: GammaPrior,
    columns: GammaPrior,
    n_components: int,
    row_sums: AnyArray,
    row_weights: AnyArray,
    column_sums: AnyArray,
) -> float:
    """Return the best x for all components, by Newton's method on the bound, concave in log x.

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
    prior: GammaPrior, n_components: int, sums: AnyArray, weights: AnyArray
) -> tuple[float, float]:
    """Return the sums of minus the first and second derivatives of `rate_bound` in log x."""
    if prior.rate_shape == 0:
        total = prior.mean_rate * float((weights * sums).sum())
        return total, total
    share = sums / (prior.rate_shape / prior.mean_rate + sums)
    shape = prior.rate_shape + n_components * prior.shape
    first = shape * float((weights * share).sum())
    return first, shape * float((weights * share * (1.0 - share)).sum())
