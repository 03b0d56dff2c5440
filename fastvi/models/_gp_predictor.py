"""Predictions of a fitted Gaussian process with nothing in between."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastvi.kernels import covariance as kernels
from fastvi.models._blas import solve_rows
from fastvi.models._sgpr import Posterior

__all__ = ["GaussianProcessPredictor"]

Array = NDArray[np.float64]


class GaussianProcessPredictor:
    """Mean and standard deviation at rows given as float64 in C order; nothing is checked.

    Rows of another width read memory that is not theirs: use `predict` for unchecked data. The
    standard deviation includes the white noise.

    Parameters
    ----------
    posterior : Posterior
    noise : float
        Variance to be added to the function's.
    mean, scale : (T,) array
        What predictions are multiplied with and then added to.
    flat : bool
        Return (n,) instead of (n, T).
    """

    def __init__(
        self, posterior: Posterior, noise: float, mean: Array, scale: Array, flat: bool
    ) -> None:
        self._program, self._columns = posterior.program, posterior.columns
        self._covariance, self._noise = posterior.covariance, noise
        self._mean = mean[0] if flat else mean
        self._scale = scale[0] if flat else scale
        weights = posterior.weights * scale
        self._weights = np.ascontiguousarray(weights[:, 0] if flat else weights)
        m = len(posterior.z)
        # I - B^-1 = U D U', so the variance that z explains is that of the row times L^-T U D^1/2
        root = solve_rows(posterior.inner, np.eye(m))
        share, basis = np.linalg.eigh(np.eye(m) - root @ root.T)
        explained = basis * np.sqrt(np.maximum(share, 0.0))
        explained = solve_rows(posterior.lower, np.ascontiguousarray(explained.T), transposed=True)
        self._explained = np.ascontiguousarray(explained.T)
        self._m = m
        self._scratch = posterior.covariance.scratch(m, posterior.columns)
        point = posterior.z[:1]
        self._variance: float | None = (
            float(posterior.covariance.diagonal(posterior.program, point)[0])
            if posterior.covariance.is_stationary
            else None
        )
        self(point)  # compiles

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation at x (n, n_features), (n,) or (n, n_targets) each.

        Parameters
        ----------
        x : (n, n_features) float64 array in C order
        """
        k = np.empty((len(x), self._m))
        kernels.covariance(self._program, x, self._columns, self._scratch, k)
        explained = k @ self._explained
        variance = (
            self._covariance.diagonal(self._program, x)
            if self._variance is None
            else np.full(len(x), self._variance)
        )
        variance -= np.einsum("ij,ij->i", explained, explained)
        deviation = np.sqrt(np.maximum(variance, 0.0) + self._noise)
        if self._weights.ndim == 2:
            deviation = deviation[:, None]
        return k @ self._weights + self._mean, deviation * self._scale
