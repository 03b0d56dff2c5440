"""Bounds of the log marginal likelihood that estimators hand out after a fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from fastvi.parallel import single_threaded_blas

__all__ = ["log_marginal_likelihood"]

Array = NDArray[np.float64]
BoundAt = Callable[[Array, bool], tuple[float, Array | None]]


def log_marginal_likelihood(
    estimator: Any, bound_at: BoundAt | None, theta: Any, eval_gradient: bool, clone_kernel: bool
) -> Any:
    """What the methods of this name return.

    ``bound_at(theta, gradient)`` gives the bound and its gradient, or None; without rows there is
    no such function.
    """
    check_is_fitted(estimator, "kernel_")
    if theta is None:
        if eval_gradient:
            raise ValueError("Gradient can only be evaluated for theta!=None")
        if not hasattr(estimator, "log_marginal_likelihood_value_"):
            raise ValueError("partial_fit keeps no rows to evaluate the bound on; call fit for it")
        return estimator.log_marginal_likelihood_value_
    if bound_at is None:
        raise ValueError(
            "a model from a file or from partial_fit holds no rows; fit it to evaluate other theta"
        )
    theta, wanted = np.array(theta, np.float64), estimator.kernel_.theta.shape
    if theta.shape != wanted or not np.all(np.isfinite(theta)):
        raise ValueError(f"theta has shape {theta.shape}; wanted {wanted[0]} finite numbers")
    if not clone_kernel:
        estimator.kernel_.theta = theta
    with single_threaded_blas():
        value, gradient = bound_at(theta, eval_gradient)
    return (value, gradient) if eval_gradient else value
