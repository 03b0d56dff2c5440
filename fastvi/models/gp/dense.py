"""Covariance matrices of all rows, and gradients by the kernel's hyperparameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastvi.base.typing import Array
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.reverse import Reverse

__all__ = ["AnyKernel", "Compiled", "covariances_of"]

CHUNK_ENTRIES = 1 << 20


class Compiled:
    """Covariances of a kernel that `Covariance` knows.

    Parameters
    ----------
    covariance : Covariance
    x : (N, D) array
    """

    def __init__(self, covariance: Covariance, x: Array) -> None:
        self.covariance, self.x = covariance, x
        self.centre = x.mean(axis=0)

    def matrix(self, theta: Array) -> Array:
        """K (N, N) of the rows, white noise included."""
        K = self.covariance.matrix(self.covariance.program(theta), self.x, self.x)
        K.flat[:: len(K) + 1] += self.covariance.white_noise(theta)
        return K

    def gradient(self, theta: Array, by_k: Array) -> Array:
        """The derivative by theta of what has the symmetric derivative `by_k` by K."""
        program = self.covariance.program(theta)
        columns = self.covariance.scaled(program, self.x)
        reverse = Reverse(self.covariance, program, self.x, self.centre)
        noise = float(by_k.trace()) * self.covariance.noise_gradient(theta)
        n = max(1, CHUNK_ENTRIES // len(self.x))
        for first in range(0, len(self.x), n):
            rows = slice(first, first + n)
            x = self.x[rows]
            values = self.covariance.fill(program, x, columns, np.empty((len(x), len(self.x))))
            reverse.add(x, columns, by_k[rows].copy(), values)
        return np.asarray(reverse.gradient(theta)[0] + noise)

    def crossed(self, theta: Array, x: Array) -> Array:
        """Covariances (n, N) of new rows with those of the fit."""
        return self.covariance.matrix(self.covariance.program(theta), x, self.x)

    def diagonal(self, theta: Array, x: Array) -> Array:
        """Variances (n,) at new rows, white noise included."""
        values = self.covariance.diagonal(self.covariance.program(theta), x)
        return values + self.covariance.white_noise(theta)


class AnyKernel:
    """Covariances of any other kernel of scikit-learn's form, by its own methods.

    Parameters
    ----------
    kernel : sklearn.gaussian_process.kernels.Kernel
    x : sequence of N rows
    """

    def __init__(self, kernel: Any, x: Any) -> None:
        self.kernel, self.x = kernel, x

    def matrix(self, theta: Array) -> Array:
        """See `Compiled`."""
        return np.array(self.kernel.clone_with_theta(theta)(self.x), np.float64)

    def gradient(self, theta: Array, by_k: Array) -> Array:
        """See `Compiled`."""
        _, slopes = self.kernel.clone_with_theta(theta)(self.x, eval_gradient=True)
        return np.asarray(np.tensordot(by_k, slopes, axes=2))

    def crossed(self, theta: Array, x: Any) -> Array:
        """See `Compiled`."""
        return np.array(self.kernel.clone_with_theta(theta)(x, self.x), np.float64)

    def diagonal(self, theta: Array, x: Any) -> Array:
        """See `Compiled`."""
        return np.array(self.kernel.clone_with_theta(theta).diag(x), np.float64)


Covariances = Compiled | AnyKernel


def covariances_of(kernel: Any, x: Any) -> Covariances:
    """Those of a kernel at rows x, compiled if its parts are known."""
    if isinstance(x, np.ndarray) and x.dtype == np.float64 and x.ndim == 2:
        try:
            return Compiled(Covariance(kernel, x.shape[1]), x)
        except ValueError:  # scikit-learn's own, or the user's
            pass
    return AnyKernel(kernel, x)
