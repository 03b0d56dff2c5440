"""Priors of a Gaussian mixture from checked arguments and from the data."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastvi.base import checks
from fastvi.base.typing import AnyArray, Array, ArrayLike, DTypeLike
from fastvi.models.mixture.model import Prior
from fastvi.models.mixture.rows import Frame

__all__ = ["data_frame", "make_prior"]

WEIGHT_PRIORS = ("dirichlet_process", "dirichlet_distribution")


def data_frame(X: AnyArray, spherical: bool) -> Frame:
    """Means of columns, and powers of two near their standard deviations (1 for constant ones)."""
    centre = X.mean(axis=0, dtype=np.float64)
    deviation = X.std(axis=0, dtype=np.float64)
    rounding = 4 * np.finfo(X.dtype).eps * np.abs(X).max(axis=0)
    deviation[deviation <= rounding] = 0.0
    if spherical:
        deviation[:] = np.sqrt(np.square(deviation).mean())
    scale = np.ones(len(centre))
    varies = deviation > 0
    scale[varies] = np.exp2(np.round(np.log2(deviation[varies])))
    return Frame(centre, scale)


def make_prior(
    X: AnyArray,
    covariance_type: str,
    n_components: int,
    frame: Frame,
    reg_covar: float,
    *,
    weights: str,
    concentration: float | None,
    mean_precision: float | None,
    mean: ArrayLike | None,
    dof: float | None,
    scatter: ArrayLike | None,
) -> Prior:
    """Make the prior, with scikit-learn's defaults for None.

    Raises
    ------
    ValueError
        If a parameter is out of its range or has the wrong shape.
    """
    n_features = X.shape[1]
    kind = checks.choice(weights, "weight_concentration_prior_type", WEIGHT_PRIORS)
    if concentration is None:
        concentration = 1.0 / n_components
    if dof is None:
        dof = float(n_features)
    return Prior(
        _positive(concentration, "weight_concentration_prior"),
        kind == "dirichlet_process",
        _positive(1.0 if mean_precision is None else mean_precision, "mean_precision_prior"),
        X.mean(axis=0, dtype=np.float64) if mean is None else _mean(mean, frame, X.dtype),
        checks.number(dof, "degrees_of_freedom_prior", n_features - 1.0, open_low=True),
        _default_scatter(X, covariance_type, frame, reg_covar)
        if scatter is None
        else _scatter(scatter, covariance_type, n_features),
    )


def _positive(value: object, name: str) -> float:
    return checks.number(value, name, 0.0, open_low=True)


def _array(value: ArrayLike, name: str, shape: tuple[int, ...]) -> Array:
    array = np.array(value, dtype=np.float64)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; wanted {shape}")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} holds NaN or infinity; wanted finite numbers")
    return array


def _mean(value: ArrayLike, frame: Frame, dtype: DTypeLike) -> Array:
    """Check that a mean is not so far away, in coordinates of the frame, that squares overflow."""
    name = "mean_prior"
    mean = _array(value, name, frame.centre.shape)
    with np.errstate(over="ignore"):
        most = float(np.max(np.abs(mean - frame.centre) / frame.scale))
    limit = 1e-3 * float(np.sqrt(np.finfo(dtype).max))
    if most > limit:
        raise ValueError(
            f"{name} is {most:g} standard deviations away from the mean of X; "
            f"wanted at most {limit:g}"
        )
    return mean


def _scatter(value: ArrayLike, covariance_type: str, d: int) -> Any:
    """Check that a given inverse scale has the type's shape and is positive definite."""
    name = "covariance_prior"
    if covariance_type == "spherical":
        return np.float64(_positive(value, name))
    if covariance_type == "diag":
        diagonal = _array(value, name, (d,))
        if not np.all(diagonal > 0):
            raise ValueError(f"{name} holds {diagonal.min():g}; wanted variances > 0")
        return diagonal
    matrix = _array(value, name, (d, d))
    if not np.allclose(matrix, matrix.T) or not _is_positive(matrix):
        raise ValueError(f"{name} must be symmetric and positive definite")
    return matrix


def _default_scatter(X: AnyArray, covariance_type: str, frame: Frame, reg_covar: float) -> Any:
    """Return the covariance of X, made positive definite by `reg_covar` if necessary."""
    if covariance_type in ("diag", "spherical"):
        variances = X.var(axis=0, ddof=1, dtype=np.float64)
        constant = variances <= 1e-14 * frame.scale**2
        if covariance_type == "spherical":
            scatter, singular = variances.mean(), bool(np.all(constant))
        else:
            scatter, singular = variances, bool(np.any(constant))
        more: Any = reg_covar
    else:
        scatter = np.atleast_2d(np.cov(X.T, dtype=np.float64))
        scatter = 0.5 * (scatter + scatter.T)
        singular = not _is_positive(scatter / np.outer(frame.scale, frame.scale))
        more = reg_covar * np.eye(len(scatter))
    if not singular:
        return scatter
    if reg_covar == 0:
        raise ValueError(
            "the covariance of X is singular; wanted reg_covar > 0, or a covariance_prior"
        )
    return scatter + more


def _is_positive(matrix: Array) -> bool:
    """Whether a matrix is positive definite beyond rounding, scaled to unit diagonal."""
    size = np.sqrt(np.maximum(np.diag(matrix), np.finfo(np.float64).tiny))
    least = np.linalg.eigvalsh(matrix / size / size[:, None])[0]
    return bool(least > 10 * len(matrix) * np.finfo(np.float64).eps)
