"""Kernels and inducing inputs that fits of Gaussian processes start from."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Kernel, WhiteKernel

from fastvi.base import checks
from fastvi.base.typing import AnyArray, Array, ArrayLike
from fastvi.kernels.covariance import Program
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.likelihood import Likelihood
from fastvi.models.gp.rows import Points
from fastvi.models.weights import of_rows

__all__ = [
    "LARGEST",
    "SELECTIONS",
    "check_sizes",
    "column_means",
    "column_scales",
    "default_kernel",
    "distinct_rows",
    "fitting_noise",
    "greedy",
    "initial_inducing",
    "kmeans",
    "subset",
    "target_variance",
    "weighted",
    "with_noise",
]

SELECTIONS = ("kmeans", "greedy", "subset")
KMEANS_ROWS = 100  # rows per centre that k-means looks at
MAX_ENTRIES = 1 << 23  # of the factor that `greedy` holds
LARGEST = 1e75


def check_sizes(values: Array, name: str, least: float = 0.0) -> None:
    """Refuse numbers so large or small that products of four are outside float64's range.

    Raises
    ------
    ValueError
        If the largest in size is above 1e75, or below `least` and not 0.
    """
    largest = float(np.abs(values).max(initial=0.0))
    if largest > LARGEST or 0.0 < largest < least:
        raise ValueError(
            f"{name} holds numbers up to {largest:.1e}; wanted them between {least:.0e} and "
            f"{LARGEST:.0e} in size: scale {name}"
        )


def weighted(X: Array, y: Array, sample_weight: ArrayLike | None) -> Points:
    """The rows that count, each as often as `sample_weight` (n,) says; None means once.

    Raises
    ------
    ValueError
        If a weight is negative or not finite, or all are 0.
    """
    weights = of_rows(sample_weight, X)
    check_sizes(weights, "sample_weight", 1.0 / LARGEST)
    points = Points(X, y, weights)
    if np.all(weights > 0):
        return points
    return Points(*(part[weights > 0] for part in points))


def column_means(X: Array, weights: Array | None = None) -> Array:
    """Means of the columns over rows with these weights (n,)."""
    return np.asarray(np.average(X, axis=0, weights=weights))


def column_scales(X: Array, weights: Array | None = None) -> Array:
    """Standard deviations of the columns over rows with these weights, 1 for constant ones."""
    if weights is None:
        scale = X.std(axis=0)
    else:
        scale = np.sqrt(column_means(np.square(X - column_means(X, weights)), weights))
    constant = scale <= 1e-12 * np.abs(X).max(axis=0)
    return np.where(constant, 1.0, scale)


# Kernels


def target_variance(y: Array, weights: Array | None = None) -> float:
    """Variance of targets (n,) or (n, T) about their means, 1 for constant ones; of several, mean.

    What kernels and their bounds start from: the mean of the squares would take an offset for
    noise.
    """
    return float(np.square(column_scales(y.reshape(len(y), -1), weights)).mean())


def default_kernel(X: Array, variance: float, weights: Array | None = None) -> Kernel:
    """A constant times an RBF with a length scale per column, at scales of the data."""
    scale = column_scales(X, weights) * np.sqrt(X.shape[1])
    rbf = RBF(scale, [(1e-3 * s, 1e3 * s) for s in scale])
    return _bounded(ConstantKernel, variance, "constant_value") * rbf


def with_noise(kernel: Kernel, level: float) -> Kernel:
    """The kernel plus white noise, to be learned."""
    return kernel + _bounded(WhiteKernel, level, "noise_level")


def fitting_noise(
    kernel: Kernel, likelihood: Likelihood, variance: float, *, white: bool, keeps: bool
) -> Kernel:
    """The kernel with white noise if the likelihood takes it, a tenth of this variance at first.

    `white` says whether it has noise, and `keeps` whether a kernel that was given is not learned.

    Raises
    ------
    ValueError
        If it has noise that the likelihood does not take, or lacks one and is kept.
    """
    if white and not likelihood.is_noisy:
        raise ValueError(
            f"kernel is {kernel}, but this likelihood has no noise; "
            "wanted a kernel without WhiteKernel"
        )
    if white or not likelihood.is_noisy:
        return kernel
    if keeps:
        raise ValueError(
            "the noise has variance 0, and learn_kernel=False keeps it; "
            "add a WhiteKernel to the kernel"
        )
    return with_noise(kernel, 0.1 * variance)


def _bounded(kernel: Kernel, value: float, name: str) -> Any:
    """A kernel with one parameter, bounded relative to where it starts."""
    return kernel(value, **{f"{name}_bounds": (1e-5 * value, 1e5 * value)})


# Inducing inputs


def initial_inducing(
    covariance: Covariance,
    X: Array,
    points: Any,
    selection: str,
    rng: np.random.Generator,
    weights: Array | None = None,
) -> Array:
    """Inducing inputs to start from, given or chosen; `selection` has been checked.

    Only k-means asks for the rows' `weights`.
    """
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
    distinct = np.unique(X, axis=0)
    if len(distinct) <= m:  # in an order of their own: fits depend on that of inducing inputs
        return np.ascontiguousarray(distinct)
    if selection == "kmeans":
        return kmeans(X, m, rng, weights)
    if selection == "subset":
        return subset(X[distinct_rows(X)], m, rng)
    return greedy(covariance, covariance.program(covariance.theta), X, m, rng)


def distinct_rows(x: Array) -> NDArray[np.int64]:
    """Numbers of the rows of x (N, D) that differ from all rows before them, in order."""
    _, first = np.unique(x, axis=0, return_index=True)
    return np.sort(first)


def subset(x: AnyArray, m: int, rng: np.random.Generator) -> AnyArray:
    """M of the rows, drawn without replacement."""
    return x[np.sort(rng.choice(len(x), m, replace=False))]


def kmeans(X: Array, m: int, rng: np.random.Generator, weights: Array | None = None) -> Array:
    """Centres of k-means on columns of unit variance; a random subset represents many rows.

    It runs on one thread: scikit-learn's sums depend on the number of threads.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    scale = column_scales(X, weights)
    if len(X) > (most := KMEANS_ROWS * m):
        chosen = subset(np.arange(len(X)), most, rng)
        X, weights = X[chosen], None if weights is None else weights[chosen]
    with warnings.catch_warnings(), threadpool_limits(1, user_api="openmp"):
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than centres
        fitted = KMeans(m, n_init=1, random_state=int(rng.integers(1 << 31)))
        fitted.fit(X / scale, sample_weight=weights)
    return np.ascontiguousarray(fitted.cluster_centers_ * scale)


def greedy(
    covariance: Covariance, program: Program, x: Array, m: int, rng: np.random.Generator
) -> Array:
    """Rows chosen one after another, each where the variance given those before is largest.

    The greedy maximiser of det K(z, z) (Burt, Rasmussen and van der Wilk 2020, section 7.1), by a
    pivoted Cholesky factorization. A random subset represents many rows. Fewer than M rows are
    chosen if the others have no variance left.
    """
    n_most = max(2 * m, MAX_ENTRIES // max(m, 1))
    if len(x) > n_most:
        x = subset(x, n_most, rng)
    x = np.ascontiguousarray(x)
    left = covariance.diagonal(program, x).copy()
    least = 1e-10 * float(left.max(initial=0.0))
    columns = covariance.scaled(program, x)
    factor = np.empty((m, len(x)))
    chosen: list[int] = []
    row = np.empty((1, len(x)))
    while len(chosen) < m:
        best = int(left.argmax())
        if left[best] <= least:
            break
        covariance.fill(program, x[best : best + 1], columns, row)
        done = factor[: len(chosen)]
        new = (row[0] - done[:, best] @ done) / np.sqrt(left[best])
        factor[len(chosen)] = new
        left -= np.square(new)
        left[best] = 0.0
        chosen.append(best)
    return x[chosen]
