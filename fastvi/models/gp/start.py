"""Kernels and inducing inputs that fits of Gaussian processes begin with."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from fastvi.base import checks
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.inducing import distinct_rows, greedy, subset
from fastvi.models.gp.objective import column_scales

__all__ = [
    "SELECTIONS",
    "all_or_nothing",
    "check_sizes",
    "default_kernel",
    "initial_inducing",
    "kmeans",
    "with_noise",
]

Array = NDArray[np.float64]
SELECTIONS = ("kmeans", "greedy", "subset")
KMEANS_ROWS = 100  # rows a centre that k-means looks at
LARGEST = 1e75
Method = TypeVar("Method", bound=Callable[..., Any])


def all_or_nothing(method: Method) -> Method:
    """A fit that, where it fails or is interrupted, leaves the estimator's attributes as before.

    Half a fit would be taken for a whole one, with columns that its model does not have.
    """

    @functools.wraps(method)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = dict(vars(self))
        try:
            return method(self, *args, **kwargs)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    return cast(Method, run)


def check_sizes(values: Array, name: str, least: float = 0.0) -> None:
    """Refuse numbers whose products of four are out of float64's range.

    Raises
    ------
    ValueError
        If the largest is above 1e75, or below `least` and not 0.
    """
    largest = float(np.abs(values).max(initial=0.0))
    if largest > LARGEST or 0.0 < largest < least:
        raise ValueError(
            f"{name} holds numbers up to {largest:.1e}; wanted them between {least:.0e} and "
            f"{LARGEST:.0e} in size: scale {name}"
        )


def default_kernel(X: Array, power: float) -> Any:
    """A constant times an RBF with a length scale a column, at scales of the data."""
    scale = column_scales(X) * np.sqrt(X.shape[1])
    rbf = RBF(scale, [(1e-3 * s, 1e3 * s) for s in scale])
    return _bounded(ConstantKernel, power, "constant_value") * rbf


def with_noise(kernel: Any, level: float) -> Any:
    """The kernel plus white noise that is learnt."""
    return kernel + _bounded(WhiteKernel, level, "noise_level")


def initial_inducing(
    covariance: Covariance, X: Array, points: Any, selection: str, rng: np.random.Generator
) -> Array:
    """Inducing inputs to begin with, given or chosen; `selection` has been checked."""
    if np.ndim(points):
        z = np.array(points, np.float64, order="C")
        if z.ndim != 2 or z.shape[1] != X.shape[1] or not len(z):
            raise ValueError(
                f"inducing_points has shape {z.shape}; wanted (n_inducing, {X.shape[1]})"
            )
        if not np.all(np.isfinite(z)):
            raise ValueError("inducing_points holds NaN or infinity; wanted finite numbers")
        return z
    m = checks.integer(points, "inducing_points", 1)
    rows = distinct_rows(X)
    if len(rows) <= m:
        return X[rows].copy()
    if selection == "kmeans":
        return kmeans(X, m, rng)
    if selection == "subset":
        return subset(X[rows], m, rng)
    return greedy(covariance, covariance.program(covariance.theta), X, m, rng)


def _bounded(kernel: Any, value: float, name: str) -> Any:
    """A kernel of one parameter, with bounds in relation to where it begins."""
    return kernel(value, **{f"{name}_bounds": (1e-5 * value, 1e5 * value)})


def kmeans(X: Array, m: int, rng: np.random.Generator) -> Array:
    """Centres of k-means on columns of unit variance, on a random part of many rows.

    On one thread: scikit-learn's sums depend on how many there are.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    scale = column_scales(X)
    rows = X if len(X) <= (most := KMEANS_ROWS * m) else subset(X, most, rng)
    with warnings.catch_warnings(), threadpool_limits(1, user_api="openmp"):
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than centres
        fitted = KMeans(m, n_init=1, random_state=int(rng.integers(1 << 31))).fit(rows / scale)
    return np.ascontiguousarray(fitted.cluster_centers_ * scale)
