"""What an estimator of Poisson factors is asked for, checked and turned into a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastvi.base import checks
from fastvi.base.typing import DTypeLike
from fastvi.models.poisson.model import Fitted, GammaPrior, PoissonFactors

__all__ = ["check_form", "model_of", "row_iterations"]

ROW_ITER = 20  # in a fit, in which the factors of columns keep changing


def model_of(
    given: Mapping[str, Any], n_columns: int, dtype: DTypeLike, n_threads: int
) -> PoissonFactors:
    """Return the model of counts in `n_columns`; `given` are the parameters of the estimator.

    Raises
    ------
    ValueError
        If a parameter is out of its range.
    """
    n_components = checks.integer(given["n_components"], "n_components", 1)
    learned = checks.flag(given["hierarchical"], "hierarchical")
    low, high = checks.PRIOR_RANGE

    def prior(*names: str) -> GammaPrior:
        shape, rate, rate_shape = (checks.number(given[name], name, low, high) for name in names)
        return GammaPrior(shape, rate, rate_shape if learned else 0.0)

    return PoissonFactors(
        n_components,
        prior("a", "b_prime", "a_prime"),
        prior("c", "d_prime", "c_prime"),
        n_columns,
        max_iter=row_iterations(given["max_row_iter"], ROW_ITER),
        tol=checks.number(given["row_tol"], "row_tol", 0.0),
        dtype=dtype,
        n_threads=n_threads,
    )


def row_iterations(max_row_iter: int | None, default: int) -> int:
    """Return the largest number of iterations on a row's factors."""
    found = checks.optional_integer(max_row_iter, "max_row_iter", 1)
    return default if found is None else found


def check_form(last: Fitted, given: Mapping[str, Any], n_columns: int, what: str) -> None:
    """Refuse to continue from factors of another form, beyond whose ends kernels would read.

    Raises
    ------
    ValueError
        If the numbers of components or columns, or the hierarchies, differ.
    """
    n_components = checks.integer(given["n_components"], "n_components", 1)
    if last.n_columns != n_columns or last.model.n_components != n_components:
        raise ValueError(
            f"{what} continues from {last.model.n_components} components of {last.n_columns} "
            f"columns; X and n_components ask for {n_components} of {n_columns}"
        )
    if last.model.hierarchical != checks.flag(given["hierarchical"], "hierarchical"):
        raise ValueError(f"{what} continues from factors with another value of hierarchical")
