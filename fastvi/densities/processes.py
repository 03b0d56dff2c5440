"""The log density of a Gaussian process."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.densities.documentation import documented
from fastvi.densities.vectorised import compiled
from fastvi.kernels.derived_matrices import normal_of_matrix

__all__ = ["gaussian_process"]

Array = NDArray[np.floating[Any]]


@documented
@compiled
def gaussian_process(y: Array, covariance: Array, noise: float) -> float:
    """Values of a Gaussian process with mean 0, observed with independent normal noise.

    y is normal with the covariance K + noise^2 I. For another mean, subtract it from y. Covariances
    K come from `fastvi.densities.covariances`. In Stan it is multi_normal_cholesky_lpdf with the
    factor of that sum; scikit-learn's GaussianProcessRegressor.log_marginal_likelihood.

    Parameters
    ----------
    y : (n,) array
        Values, less their mean.
    covariance : (n, n) array
        Of the process at the inputs, of which the lower triangle is read.
    noise : float
        Standard deviation of the noise, > 0. For values without noise, give about 1e-5 of y's
        standard deviation: rounding would otherwise make the matrix indefinite.

    {nats_as_in}
    >>> K = densities.covariances.matern52(np.arange(2.0), np.arange(2.0), 1.0, 2.0)
    >>> round(densities.gaussian_process(np.zeros(2), K, 0.1), 6)
    -1.288732
    """
    n = y.shape[0]
    K = np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1):
            K[i, j] = covariance[i, j]
        K[i, i] += noise * noise
    return float(normal_of_matrix(K, y))
