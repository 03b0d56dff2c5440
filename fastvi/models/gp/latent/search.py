"""The search for everything that a latent variable model learns."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastvi.base.typing import Array
from fastvi.models.gp.latent.bound import Inputs, LatentRegression
from fastvi.models.gp.search import Evaluations, Found, Height, Objective, search
from fastvi.models.gp.searching import LBFGS

__all__ = ["Unknown"]

SETTLING = 50  # iterations in which the kernel is held


class Unknown(Objective):
    """Minus the bound of what is learned of theta, inducing inputs, and q(x).

    The coordinates of q(x) are its means and the logarithms of its variances.
    """

    def __init__(
        self, model: LatentRegression, start: Inputs, *, kernel: bool = True, inducing: bool = True
    ) -> None:
        self.model, self.first, self.inducing, self.kernel = model, start, inducing, kernel
        super().__init__(self._chosen(start), start.theta, kernel=kernel)

    def _chosen(self, inputs: Inputs) -> Array:
        """What is learned, as one vector."""
        empty = np.empty(0)
        theta = inputs.theta if self.kernel else empty
        z = inputs.z.ravel() if self.inducing else empty
        return np.concatenate((theta, z, inputs.mean.ravel(), inputs.log_variance.ravel()))

    def parts(self, point: Array) -> Inputs:
        """See `Objective`."""
        theta, z, mean, _ = self.first
        if self.kernel:
            theta, point = point[: len(theta)].copy(), point[len(theta) :]
        if self.inducing:
            z, point = point[: z.size].reshape(z.shape).copy(), point[z.size :]
        mean, log_variance = point.reshape(2, *mean.shape).copy()
        return Inputs(theta, z, mean, log_variance)

    def limits(self, bounds: Array) -> Array:
        """See `Objective`; all but the kernel's hyperparameters are free."""
        n = len(bounds) if self.kernel else 0
        free = np.tile([-np.inf, np.inf], (len(self.start) - n, 1))
        return np.concatenate((bounds[:n], free))

    def bound(self, point: Array, gradient: bool) -> Height:
        """See `Objective`."""
        found = self.model.bound(self.parts(point), gradient=gradient)
        return Height(found.value, None if found.gradient is None else self._chosen(found.gradient))

    def search(self, evaluations: Evaluations, kernel: Any, max_iter: int, tol: float) -> Found:
        """The maximum from the start.

        The kernel is held at first. Otherwise it often runs off to where functions are linear,
        with variance and length scales that grow together, before q(x) has moved.
        """
        limits, start, n = self.limits(kernel.bounds.reshape(-1, 2)), self.start, 0
        if self.kernel:
            held = limits.copy()
            at = slice(len(self.theta))
            held[at] = start[at, None]
            first = search(evaluations, start, held, LBFGS, min(SETTLING, max_iter), tol)
            start, n = first.point, first.n_iter
            if evaluations.stopped or n == max_iter:
                return first._replace(converged=False)
        return search(evaluations, start, limits, LBFGS, max_iter - n, tol)
