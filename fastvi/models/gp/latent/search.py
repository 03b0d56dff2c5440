"""The search for everything that a latent variable model learns."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastvi.base.typing import Array
from fastvi.models.gp.latent.bound import Inputs, LatentRegression
from fastvi.models.gp.recognition import Network, read, reverse
from fastvi.models.gp.search import Evaluations, Found, Height, Objective, search
from fastvi.models.gp.searching import LBFGS

__all__ = ["Amortized", "Unknown"]

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
        return np.concatenate((theta, z, *self._rest(inputs)))

    def _rest(self, inputs: Inputs) -> list[Array]:
        """What q(x) has."""
        return [inputs.mean.ravel(), inputs.log_variance.ravel()]

    def parts(self, point: Array) -> Inputs:
        """See `Objective`."""
        theta, z = self.first[:2]
        if self.kernel:
            theta, point = point[: len(theta)].copy(), point[len(theta) :]
        if self.inducing:
            z, point = point[: z.size].reshape(z.shape).copy(), point[z.size :]
        return self._filled(Inputs(theta, z, *self.first[2:]), point)

    def _filled(self, inputs: Inputs, rest: Array) -> Inputs:
        """The inputs with q(x) as `_rest` says."""
        mean, log_variance = rest.reshape(2, *inputs.mean.shape).copy()
        return inputs._replace(mean=mean, log_variance=log_variance)

    def limits(self, bounds: Array) -> Array:
        """See `Objective`; all but the kernel's hyperparameters are free."""
        n = len(bounds) if self.kernel else 0
        free = np.tile([-np.inf, np.inf], (len(self.start) - n, 1))
        return np.concatenate((bounds[:n], free))

    def bound(self, point: Array, gradient: bool) -> Height:
        """See `Objective`."""
        found = self.model.bound(self.parts(point), gradient=gradient)
        if found.gradient is None:
            return Height(found.value, None)
        return Height(found.value, self._chosen(self._turned(point, found.gradient)))

    def _turned(self, point: Array, gradient: Inputs) -> Inputs:
        """The gradient, where q(x) is not free."""
        return gradient

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


class Amortized(Unknown):
    """The same with q(x) that a network reads off the rows, whose weights are learned instead.

    Dai, Damianou, Gonzalez and Lawrence (2016), "Variational auto-encoded deep Gaussian processes".
    """

    def _rest(self, inputs: Inputs) -> list[Array]:
        return [np.ravel(part) for part in inputs.network]

    def _filled(self, inputs: Inputs, rest: Array) -> Inputs:
        parts, start = [], 0
        for like in self.first.network:
            parts.append(rest[start : start + like.size].reshape(like.shape).copy())
            start += like.size
        network = Network(*parts)
        seen = read(network, self.model.y)
        return inputs._replace(mean=seen.mean, log_variance=2.0 * seen.log_sd, network=network)

    def _turned(self, point: Array, gradient: Inputs) -> Inputs:
        network = self.parts(point).network
        seen = read(network, self.model.y)
        slope = reverse(network, seen, gradient.mean, 2.0 * gradient.log_variance)
        return gradient._replace(network=slope)
