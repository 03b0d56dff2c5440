"""Covariance functions of Gaussian processes, each a matrix for two sets of inputs.

Sums and products of covariances are covariances: ``matern52(x, x, 1.0, 3.0) + linear(x, x, 1.0,
0.5)``, or ``periodic(...) * squared_exponential(...)``. For a length scale per column, divide the
columns of x first. `fastvi.densities.gaussian_process` is the log density of the observations.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fastvi.densities.documentation import documented
from fastvi.densities.vectorised import compiled

__all__ = [
    "linear",
    "matern12",
    "matern32",
    "matern52",
    "periodic",
    "rational_quadratic",
    "squared_exponential",
]

Array = NDArray[np.float64]
ROOT_3, ROOT_5 = math.sqrt(3.0), math.sqrt(5.0)


@compiled
def square_distance(x: Array, y: Array, i: int, j: int) -> float:
    """Squared distance of row i of x from row j of y."""
    total = 0.0
    if x.ndim == 1:
        total += (x[i] - y[j]) ** 2
    else:
        for k in range(x.shape[1]):
            total += (x[i, k] - y[j, k]) ** 2
    return total


@compiled
def distance(x: Array, y: Array, i: int, j: int) -> float:
    """Distance of row i of x from row j of y."""
    square = square_distance(x, y, i, j)
    return math.sqrt(square) if square > 0.0 else 0.0


@documented
@compiled
def squared_exponential(x: Array, y: Array, amplitude: float, lengthscale: float) -> Array:
    """amplitude^2 exp(-d^2 / (2 lengthscale^2)), for smooth functions; d is the distance.

    Stan's gp_exp_quad_cov; scikit-learn's RBF.

    {inputs}
    {scales}

    {covariance_as_in}
    >>> covariances.squared_exponential(np.arange(2.0), np.zeros(1), 2.0, 1.0).round(6)
    array([[4.      ],
           [2.426123]])
    """
    K = np.empty((x.shape[0], y.shape[0]))
    scale = -0.5 / (lengthscale * lengthscale)
    for i in range(x.shape[0]):
        for j in range(y.shape[0]):
            K[i, j] = amplitude * amplitude * math.exp(scale * square_distance(x, y, i, j))
    return K


@documented
@compiled
def matern12(x: Array, y: Array, amplitude: float, lengthscale: float) -> Array:
    """amplitude^2 exp(-d / lengthscale), for continuous, rough functions.

    Stan's gp_exponential_cov; scikit-learn's Matern of nu = 1/2.

    {inputs}
    {scales}

    {covariance_as_in}
    >>> covariances.matern12(np.arange(2.0), np.zeros(1), 2.0, 1.0).round(6)
    array([[4.      ],
           [1.471518]])
    """
    K = np.empty((x.shape[0], y.shape[0]))
    for i in range(x.shape[0]):
        for j in range(y.shape[0]):
            K[i, j] = amplitude * amplitude * math.exp(-distance(x, y, i, j) / lengthscale)
    return K


@documented
@compiled
def matern32(x: Array, y: Array, amplitude: float, lengthscale: float) -> Array:
    """amplitude^2 (1 + r) exp(-r), r = sqrt(3) d / lengthscale.

    For functions that are differentiable once.
    Stan's gp_matern32_cov; scikit-learn's Matern of nu = 3/2.

    {inputs}
    {scales}

    {covariance_as_in}
    >>> covariances.matern32(np.arange(2.0), np.zeros(1), 2.0, 1.0).round(6)
    array([[4.      ],
           [1.933431]])
    """
    K = np.empty((x.shape[0], y.shape[0]))
    for i in range(x.shape[0]):
        for j in range(y.shape[0]):
            r = ROOT_3 * distance(x, y, i, j) / lengthscale
            K[i, j] = amplitude * amplitude * (1.0 + r) * math.exp(-r)
    return K


@documented
@compiled
def matern52(x: Array, y: Array, amplitude: float, lengthscale: float) -> Array:
    """amplitude^2 (1 + r + r^2 / 3) exp(-r), r = sqrt(5) d / lengthscale.

    For functions that are differentiable twice.
    Stan's gp_matern52_cov; scikit-learn's Matern of nu = 5/2.

    {inputs}
    {scales}

    {covariance_as_in}
    >>> covariances.matern52(np.arange(2.0), np.zeros(1), 2.0, 1.0).round(6)
    array([[4.      ],
           [2.095976]])
    """
    K = np.empty((x.shape[0], y.shape[0]))
    for i in range(x.shape[0]):
        for j in range(y.shape[0]):
            r = ROOT_5 * distance(x, y, i, j) / lengthscale
            K[i, j] = amplitude * amplitude * (1.0 + r + r * r / 3.0) * math.exp(-r)
    return K


@documented
@compiled
def rational_quadratic(
    x: Array, y: Array, amplitude: float, lengthscale: float, alpha: float
) -> Array:
    """amplitude^2 (1 + d^2 / (2 alpha lengthscale^2))^-alpha, a mixture of length scales.

    scikit-learn's RationalQuadratic.

    {inputs}
    {scales}
    alpha : float
        > 0; the larger, the closer to one length scale.

    {covariance_as_in}
    >>> covariances.rational_quadratic(np.arange(2.0), np.zeros(1), 2.0, 1.0, 1.0).round(6)
    array([[4.      ],
           [2.666667]])
    """
    K = np.empty((x.shape[0], y.shape[0]))
    scale = 0.5 / (alpha * lengthscale * lengthscale)
    for i in range(x.shape[0]):
        for j in range(y.shape[0]):
            fall = alpha * math.log1p(scale * square_distance(x, y, i, j))
            K[i, j] = amplitude * amplitude * math.exp(-fall)
    return K


@documented
@compiled
def periodic(x: Array, y: Array, amplitude: float, lengthscale: float, period: float) -> Array:
    """amplitude^2 exp(-2 sin(pi d / period)^2 / lengthscale^2), for functions that repeat.

    Stan's gp_periodic_cov; scikit-learn's ExpSineSquared.

    {inputs}
    {scales}
    period : float
        Distance after which functions repeat, > 0.

    {covariance_as_in}
    >>> covariances.periodic(np.arange(2.0), np.zeros(1), 2.0, 1.0, 2.0).round(6)
    array([[4.      ],
           [0.541341]])
    """
    K = np.empty((x.shape[0], y.shape[0]))
    for i in range(x.shape[0]):
        for j in range(y.shape[0]):
            u = math.sin(math.pi * distance(x, y, i, j) / period) / lengthscale
            K[i, j] = amplitude * amplitude * math.exp(-2.0 * u * u)
    return K


@documented
@compiled
def linear(x: Array, y: Array, intercept: float, slope: float) -> Array:
    """intercept^2 + slope^2 x'y, for lines and planes with normal coefficients.

    Stan's gp_dot_prod_cov and scikit-learn's DotProduct, with slope 1.

    {inputs}
    intercept : float
        Standard deviation of the value at 0.
    slope : float
        Standard deviation of the slope, along each column.

    {covariance_as_in}
    >>> covariances.linear(np.arange(2.0), np.ones(1), 1.0, 2.0)
    array([[1.],
           [5.]])
    """
    K = np.empty((x.shape[0], y.shape[0]))
    for i in range(x.shape[0]):
        for j in range(y.shape[0]):
            product = 0.0
            if x.ndim == 1:
                product += x[i] * y[j]
            else:
                for k in range(x.shape[1]):
                    product += x[i, k] * y[j, k]
            K[i, j] = intercept * intercept + slope * slope * product
    return K
