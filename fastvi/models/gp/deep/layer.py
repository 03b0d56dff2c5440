"""A hidden layer: sparse Gaussian processes of the same inputs, and the reverse pass over draws.

Shapes: n rows, D inputs, T units, M inducing inputs z. Unit t is f_t + noise, f_t has the mean
function x W and whitened inducing values v_t = L^-1 (u_t - z W), with q(v_t) = N(m_t, R_t R_t').
Salimbeni and Deisenroth (2017), "Doubly stochastic variational inference for deep Gaussian
processes", eq. 8 and 9.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastvi.base import parallel
from fastvi.base.blas import add_square
from fastvi.base.typing import Array
from fastvi.kernels import layers as kernels
from fastvi.kernels.rows import mirror
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.inducing import Inducing
from fastvi.models.gp.reverse import Reverse, with_prior

__all__ = ["Hidden", "HiddenLayer", "Kind", "Pass"]

CHUNK_ENTRIES = 1 << 20  # of the products of a chunk of rows
KEPT_ENTRIES = 1 << 22  # of products that the reverse pass need not take again
LEAST = 1e-12  # variance of a function, as a share of that of the prior


class Hidden(NamedTuple):
    """What is learned of a layer; also a gradient with respect to it."""

    theta: Array  # (P,), logarithms of the kernel's hyperparameters
    z: Array  # (M, D)
    mean: Array  # (T, M), m_t
    root: Array  # (T, M, M), R_t, of which the lower triangle counts


class Kind(NamedTuple):
    """What is fixed about a layer."""

    covariance: Covariance
    weights: Array  # W (D, T)

    def start(self, z: Array, spread: float) -> Hidden:
        """Parameters to start from, with q(v_t) = N(0, spread^2 I)."""
        m, t = len(z), self.weights.shape[1]
        root = np.tile(spread * np.eye(m), (t, 1, 1))
        return Hidden(self.covariance.theta, z, np.zeros((t, m)), root)


class Pass(NamedTuple):
    """What the reverse pass takes of some rows."""

    values: Array  # (n, M), K(x, z)
    k: Array  # (n, M), whitened
    products: Array  # (n, T, M), k times I - S_t
    deviation: Array  # (n, T), of the units, given x


class HiddenLayer:
    """A layer at given parameters, with K(z, z) factorized.

    Raises
    ------
    numpy.linalg.LinAlgError
        If K(z, z) has no Cholesky factor.
    """

    def __init__(self, kind: Kind, hidden: Hidden) -> None:
        self.kind, self.hidden = kind, hidden
        self.inducing = Inducing.at(kind.covariance, hidden.theta, hidden.z)
        self.noise = kind.covariance.noise(hidden.theta)
        self.root = np.tril(hidden.root)
        t, m = hidden.mean.shape
        self._left = -self.root @ self.root.transpose(0, 2, 1)  # I - S_t
        self._left[:, np.arange(m), np.arange(m)] += 1.0
        self._stacked = np.ascontiguousarray(self._left.transpose(1, 0, 2)).reshape(m, t * m)

    def divergence(self) -> float:
        """KL(q(v) || p(v)) of all units, nats."""
        mean, root = self.hidden.mean, self.root
        diagonal = np.abs(np.diagonal(root, axis1=1, axis2=2))
        square = float(np.square(mean).sum() + np.square(root).sum()) - mean.size
        return 0.5 * square - float(np.log(diagonal).sum())

    def moments(self, x: Array) -> tuple[Array, Array]:
        """Means and variances of the units at rows x, (n, T) each, noise included."""
        mean, found = self._forward(x)
        return mean, np.square(found.deviation)

    def _forward(self, x: Array) -> tuple[Array, Pass]:
        z, (t, m) = self.inducing, self.hidden.mean.shape
        values = z.covariances(x, np.empty((len(x), m)))
        k = z.whitened(values)
        products = np.empty((len(x), t, m))
        np.matmul(k, self._stacked, out=products.reshape(len(x), t * m))
        diagonal, variance = z.covariance.diagonal(z.program, x), np.empty((len(x), t))
        kernels.variances(k, products, diagonal, variance)
        np.maximum(variance, LEAST * diagonal[:, None], out=variance)
        variance += self.noise
        mean = k @ self.hidden.mean.T
        mean += x @ self.kind.weights
        return mean, Pass(values, k, products, np.sqrt(variance, out=variance))

    def draw(self, x: Array, normal: Array, n_threads: int = 1) -> tuple[Array, list[Pass]]:
        """Units (n, T) at rows x for standard normal draws (n, T), and what `reverse` takes.

        That is empty where it would be large.
        """
        out, chunks = np.empty(normal.shape), self._chunks(len(x))
        keep = self.hidden.mean.size * len(x) <= KEPT_ENTRIES
        passes: list[Pass | None] = [None] * len(chunks)

        def task(i: int) -> None:
            rows = chunks[i]
            mean, found = self._forward(x[rows])
            np.multiply(found.deviation, normal[rows], out=out[rows])
            out[rows] += mean
            passes[i] = found if keep else None

        parallel.run(task, len(chunks), n_threads)
        return out, [found for found in passes if found is not None]

    def joint(self, x: Array) -> tuple[Array, Array]:
        """Means (T, n) and covariances (T, n, n) of the units at rows x, noise included."""
        mean, found = self._forward(x)
        z = self.inducing
        prior = z.covariance.matrix(z.program, x, x)
        covariance = prior - np.einsum("im,jtm->tij", found.k, found.products)
        at = np.arange(len(x))
        covariance[:, at, at] = np.square(found.deviation).T
        return mean.T, covariance

    def reverse(
        self, x: Array, normal: Array, passes: list[Pass], adjoint: Array, n_threads: int = 1
    ) -> tuple[Hidden, Array]:
        """Gradient of a function of `draw` with this adjoint (n, T), less that of `divergence`.

        The second value is the derivative by x.
        """
        chunks, by_x = self._chunks(len(x)), adjoint @ self.kind.weights.T
        sums = [Sums(self) for _ in chunks]

        def task(i: int) -> None:
            rows = chunks[i]
            found = passes[i] if passes else self._forward(x[rows])[1]
            sums[i].add(x[rows], normal[rows], found, adjoint[rows], by_x[rows])

        parallel.run(task, len(chunks), n_threads)
        for other in sums[1:]:
            sums[0].merge(other)
        return self._gradient(sums[0]), by_x

    def _gradient(self, sums: Sums) -> Hidden:
        hidden, covariance, z = self.hidden, self.kind.covariance, self.inducing
        curved = sums.curved
        for total in curved:
            mirror(total)
        rows = hidden.mean.T @ sums.by_mean
        rows -= 2.0 * (self._left @ curved).sum(axis=0)
        by_theta, by_z = with_prior(sums.reverse, z, rows, hidden.theta)
        by_theta += sums.by_noise * covariance.noise_gradient(hidden.theta)
        by_root = 2.0 * np.tril(curved @ self.root) - self.root
        at = np.arange(len(hidden.z))
        by_root[:, at, at] += 1.0 / self.root[:, at, at]
        return Hidden(by_theta, by_z, sums.by_mean - hidden.mean, by_root)

    def _chunks(self, n: int) -> list[slice]:
        size = max(128, CHUNK_ENTRIES // self.hidden.mean.size)
        return [slice(start, min(start + size, n)) for start in range(0, n, size)]


class Sums:
    """Sums over rows that the gradient of a layer takes."""

    def __init__(self, layer: HiddenLayer) -> None:
        self.layer, z = layer, layer.inducing
        t, m = layer.hidden.mean.shape
        self.reverse = Reverse(z.covariance, z.program, z.z, np.zeros(z.z.shape[1]))
        self.by_mean = np.zeros((t, m))
        self.curved = np.zeros((t, m, m))  # by S_t, the lower triangle
        self.by_noise = 0.0

    def add(self, x: Array, normal: Array, found: Pass, adjoint: Array, by_x: Array) -> None:
        """Add the rows' parts; `by_x` (n, D) too."""
        z, k = self.layer.inducing, found.k
        by_variance = 0.5 * adjoint * normal / found.deviation
        self.by_noise += float(by_variance.sum())
        self.by_mean += adjoint.T @ k
        scaled, negative = np.empty_like(k), np.empty_like(self.curved[0])
        for slope, total in zip(by_variance.T, self.curved):
            first = kernels.split_by_sign(k, np.ascontiguousarray(slope), scaled)
            add_square(scaled[:first], total)
            negative[...] = 0.0
            add_square(scaled[first:], negative)
            total -= negative
        by_k = np.matmul(adjoint, self.layer.hidden.mean, out=scaled)
        kernels.take_adjoints(by_variance, found.products, by_k)
        self.reverse.add(x, z.columns, z.slopes(by_k), found.values, by_x=by_x)
        self.reverse.add_diagonal(x, by_variance.sum(axis=1), by_x)

    def merge(self, other: Sums) -> None:
        """Take the sums over other rows as well."""
        self.reverse.merge(other.reverse)
        self.by_mean += other.by_mean
        self.curved += other.curved
        self.by_noise += other.by_noise
