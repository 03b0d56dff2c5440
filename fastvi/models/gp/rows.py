"""Sums over the rows of a batch that sparse variational Gaussian processes take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastvi.base.blas import add_crossed, add_square
from fastvi.base.typing import Array
from fastvi.core import Batch, Local
from fastvi.kernels import rows as kernels
from fastvi.models.gp.inducing import Inducing
from fastvi.models.gp.likelihood import Expectation
from fastvi.models.gp.posterior import chunk_rows
from fastvi.models.gp.reverse import Reverse

__all__ = ["Latent", "Points", "Rows", "Sites"]

Expect = Callable[[Array, Array, Array, np.random.Generator], Expectation]
SUMS = ("linear", "precision", "slopes", "turned", "bound", "by_log_noise", "by_own")


class Sites(NamedTuple):
    """Dual parameters: q(v) has precision I + precision, times its mean linear.

    Adam, Chang, Khan and Solin (2021), "Dual parameterization of sparse variational Gaussian
    processes", eq. 13 and 14, for v = L^-1 u. Where they are held, so are the moments of q(v).
    """

    linear: Array  # (T, M)
    precision: Array  # (T, M, M)


class Points(NamedTuple):
    """Rows of inputs (n, D) and targets (n,), and how often each of them counts (n,)."""

    x: Array
    y: Array
    weights: Array


class Seen(NamedTuple):
    """Covariances of rows with the inducing inputs, for more than one pass over them."""

    values: Array  # (n, M), as the kernel gives them
    k: Array  # (n, M), whitened


class Latent(NamedTuple):
    """One latent function: D = I - A with A = (I + precision)^-1, and A linear."""

    d: Array
    weights: Array
    divergence: float  # of q(v) from its prior, nats


class Rows:
    """One pass over a batch in chunks: the sums that the local step and the gradient take.

    `expect` gives the expectations of targets, means and variances of latents. Without `latents`
    those are the moments of the prior. `seen` has the covariances already. With `is_turned` the sum
    that `Inducing.slope_of_prior` takes is added up row by row; without `sums` those of the local
    step are not. With `inputs` the derivative by the inputs x is taken with the others.
    """

    def __init__(
        self,
        inducing: Inducing,
        expect: Expect,
        n_latents: int,
        latents: list[Latent],
        batch: Batch,
        rng: np.random.Generator,
        *,
        norms: bool = False,
        reverse: Reverse | None = None,
        is_turned: bool = False,
        seen: Seen | None = None,
        sums: bool = True,
        inputs: bool = False,
    ) -> None:
        self.inducing, self.expect, self.latents = inducing, expect, latents
        self.rng, self.reverse, self.is_turned = rng, reverse, is_turned
        self.seen, self.sums = seen, sums
        self.x, self.y, self.own = batch.rows
        self.weights = batch.weights * self.own
        m = len(inducing.z)
        self.linear, self.precision = np.zeros((n_latents, m)), np.zeros((n_latents, m, m))
        self.slopes = np.zeros((n_latents, m))  # sum_i dE_i/dm_i k_i
        self.turned = np.zeros((m, m)) if is_turned else np.zeros((0, 0))
        self.squares = np.zeros(len(self.x)) if norms else None
        self.by_x = np.zeros_like(self.x) if inputs else None
        self.bound = self.by_log_noise = 0.0
        self.by_own: Any = 0.0

    def by_rows(self) -> Array:
        """The sum over rows k of the bound's derivatives by k, times k: (M, M).

        Where no curvature is negative, the sums that the local step takes give it too.
        """
        if self.is_turned:
            return self.turned
        parts = zip(self.latents, self.slopes, self.precision)
        return sum(
            (np.outer(each.weights, slope) + each.d @ curved for each, slope, curved in parts),
            np.zeros_like(self.precision[0]),
        )

    def run(self) -> None:
        """Add up these rows; of `precision` only the lower triangle."""
        n, m = len(self.x), len(self.inducing.z)
        size = chunk_rows(m)
        buffers = np.empty((2 + len(self.latents), min(n, size), m))
        for start in range(0, n, size):
            rows = slice(start, min(start + size, n))
            self._chunk(rows, *np.split(buffers[:, : rows.stop - start], [1, 2]))

    def merge(self, other: Rows) -> None:
        """Take the sums over the rows that follow as well."""
        for name in SUMS:
            total = getattr(self, name)
            total += getattr(other, name)
            setattr(self, name, total)
        if self.squares is not None and other.squares is not None:
            self.squares = np.concatenate((self.squares, other.squares))
        if self.by_x is not None and other.by_x is not None:
            self.by_x = np.concatenate((self.by_x, other.by_x))
        if self.reverse is not None and other.reverse is not None:
            self.reverse.merge(other.reverse)

    def finish(self) -> None:
        """Complete what was summed by triangles."""
        for total in self.precision:
            kernels.mirror(total)

    def local(self) -> Local:
        """The local step that the sums give."""
        norms = None if self.squares is None else np.sqrt(self.squares)
        return Local(Sites(self.linear, self.precision), self.bound, None, norms)

    def _chunk(self, rows: slice, k: Array, scratch: Array, products: Array) -> None:
        z, scratch = self.inducing, scratch[0]
        x, weights = self.x[rows], self.weights[rows]
        if self.seen is None:
            values = z.covariances(x, k[0])
            k = z.whitened(values)
        else:
            values, k = (part[rows] for part in self.seen)
        diagonal = z.covariance.diagonal(z.program, x)
        mean, variance = self._moments(k, products, diagonal)
        expected = self.expect(self.y[rows], mean, variance, self.rng)
        self.bound += float(weights @ expected.value)
        self.by_log_noise += float(weights @ expected.by_log_noise)
        if expected.by_own is not None:
            self.by_own = self.by_own + weights @ expected.by_own
        first = weights[:, None] * expected.by_mean
        second = weights[:, None] * expected.by_variance
        if self.sums:
            self._sums(k, first, np.maximum(-2.0 * second, 0.0), mean, scratch)
        if self.squares is not None:
            self._norms(rows, k, expected.by_mean, -2.0 * expected.by_variance, mean)
        if self.reverse is not None:
            by_x = None if self.by_x is None else self.by_x[rows]
            self._backward(x, k, values, products, first, second, scratch, by_x)

    def _moments(self, k: Array, products: Array, diagonal: Array) -> tuple[Array, Array]:
        """Means and variances of the latents, (n, T) each; fills `products` (T, n, M) with k D."""
        mean = np.zeros((len(self.linear), len(k)))
        variance = np.tile(diagonal, (len(mean), 1))
        for latent, product, m, v in zip(self.latents, products, mean, variance):
            np.matmul(k, latent.d, out=product)
            kernels.moments(k, product, latent.weights, diagonal, m, v)
        return mean.T, np.maximum(variance.T, 1e-12 * diagonal[:, None])

    def _sums(self, k: Array, first: Array, curvature: Array, mean: Array, scratch: Array) -> None:
        for t in range(len(self.linear)):
            self.linear[t] += (first[:, t] + curvature[:, t] * mean[:, t]) @ k
            kernels.scale_rows(k, np.sqrt(curvature[:, t]), scratch)
            add_square(scratch, self.precision[t])

    def _norms(self, rows: slice, k: Array, first: Array, curvature: Array, mean: Array) -> None:
        assert self.squares is not None
        length = np.einsum("ij,ij->i", k, k)[:, None]
        curvature = np.maximum(curvature, 0.0)
        linear = np.square(first + curvature * mean)
        squares = (length * (linear + np.square(curvature) * length)).sum(axis=1)
        self.squares[rows] = np.square(self.own[rows]) * squares

    def _backward(
        self,
        x: Array,
        k: Array,
        values: Array,
        products: Array,
        first: Array,
        second: Array,
        adjoint: Array,
        by_x: Array | None,
    ) -> None:
        assert self.reverse is not None
        adjoint[...] = 0.0
        self.slopes += first.T @ k
        for t, (latent, product) in enumerate(zip(self.latents, products)):
            slopes = first[:, t].copy(), -2.0 * second[:, t]
            kernels.add_adjoints(*slopes, latent.weights, product, adjoint)
        if self.is_turned:
            add_crossed(adjoint, k, self.turned)
        adjoint = self.inducing.slopes(adjoint)
        self.reverse.add(x, self.inducing.columns, adjoint, values, by_x=by_x)
        self.reverse.add_diagonal(x, second.sum(axis=1), by_x)
