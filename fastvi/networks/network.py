"""A network as a value: layers and parameters."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastvi.base.blas import sgemm
from fastvi.base.parallel import single_threaded_blas
from fastvi.kernels import networks as kernels
from fastvi.networks.layers import initial, n_parameters

__all__ = ["Network"]

Single = NDArray[np.float32]


class Network(NamedTuple):
    """Layers (`fastvi.networks.dense` or `masked`) and their parameters.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi.networks import Network, dense
    >>> net = Network.random(dense([3, 8, 2], "tanh"), np.random.default_rng(0))
    >>> net(np.zeros((5, 3))).shape
    (5, 2)
    """

    layers: kernels.Layers
    parameters: Single

    @classmethod
    def random(cls, layers: kernels.Layers, rng: np.random.Generator) -> Network:
        """Return a network with random weights, whose first one is the first parameter."""
        parameters = np.empty(n_parameters(layers), np.float32)
        initial(layers, rng, parameters)
        return cls(layers, parameters)

    def __call__(self, x: ArrayLike) -> Single:
        """Return outputs (n, O) for rows x (n, I)."""
        return self._forward(np.ascontiguousarray(x, np.float32))[1].copy()

    def _forward(self, x: Single) -> tuple[Single, Single]:
        """Return the outputs of all layers, flat, and those of the last one."""
        n, last = len(x), self.layers.table[-1, kernels.OUTPUTS]
        out = np.empty(n * self.layers.table[:, kernels.OUTPUTS].sum(), np.float32)
        with single_threaded_blas():
            kernels.forward(sgemm(), self.layers, self.parameters, x.ravel(), _sparse(), n, out)
        return out, out[out.size - n * last :].reshape(n, last)

    def pull_back(self, x: ArrayLike, adjoint: ArrayLike) -> tuple[Single, Single]:
        """Return gradients of ``sum(adjoint * net(x))`` by the parameters (P,) and by x (n, I).

        Parameters
        ----------
        x : (n, I) array
        adjoint : (n, O) array
        """
        x = np.ascontiguousarray(x, np.float32)
        out, last = self._forward(x)
        table = self.layers.table
        kernels.descend(
            table[-1, kernels.ACTIVATION], np.ascontiguousarray(adjoint, np.float32).ravel(),
            last.reshape(-1),
        )  # fmt: skip
        spare = np.empty(len(x) * int(table[:, kernels.INPUTS].max()), np.float32)
        grads, back = np.zeros_like(self.parameters), np.empty(x.size, np.float32)
        with single_threaded_blas():
            kernels.reverse(
                sgemm(), self.layers, self.parameters, x.ravel(), _sparse(), len(x), out, spare,
                grads, back,
            )  # fmt: skip
        return grads, back.reshape(x.shape)


def _sparse() -> kernels.SparseRows:
    """Return no rows of a CSR matrix."""
    whole = np.empty(0, np.int64)
    return kernels.SparseRows(whole, whole, np.empty(0, np.int32), np.empty(0, np.float32))
