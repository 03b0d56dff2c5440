"""Sums over the rows of a batch that sparse variational Gaussian processes take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base.blas import add_crossed, add_product, add_square
from fastvi.core import Batch, Local
from fastvi.kernels import rows as kernels
from fastvi.models.gp.inducing import Inducing
from fastvi.models.gp.likelihood import Expectation
from fastvi.models.gp.posterior import chunk_rows
from fastvi.models.gp.reverse import Reverse

__all__ = ["Latent", "Points", "Rows", "Sites"]

Array = NDArray[np.float64]
Expect = Callable[[Array, Array, Array, np.random.Generator], Expectation]
SUMS = ("linear", "precision", "slopes", "curvatures", "bound", "by_log_noise", "by_own")


class Sites(NamedTuple):
    """Dual parameters: q(u) has precision K^-1 + K^-1 precision K^-1, times its mean K^-1 linear.

    Adam, Chang, Khan and Solin (2021), "Dual parameterization of sparse variational Gaussian
    processes", eq. 13 and 14. That is in plain units; in whitened ones K is I.
    """

    linear: Array  # (T, M)
    precision: Array  # (T, M, M)


class Points(NamedTuple):
    """Rows of inputs (n, D) and targets (n,), and how often each of them counts (n,)."""

    x: Array
    y: Array
    weights: Array


class Latent(NamedTuple):
    """One latent function: A = (K + precision)^-1, D = K^-1 - A, and A linear."""

    a: Array
    d: Array
    weights: Array
    log_det: float  # of K + precision


class Rows:
    """One pass over a batch in chunks: the sums that the local step and the gradient take.

    `expect` gives the expectations of targets, means and variances of latents; `is_signed` says
    that its expected curvatures may be negative.
    """

    def __init__(
        self,
        inducing: Inducing,
        expect: Expect,
        latents: list[Latent],
        batch: Batch,
        rng: np.random.Generator,
        *,
        norms: bool = False,
        reverse: Reverse | None = None,
        is_signed: bool = False,
        is_thin: bool = False,
    ) -> None:
        self.inducing, self.expect, self.latents = inducing, expect, latents
        self.rng, self.reverse, self.is_thin = rng, reverse, is_thin
        self.x, self.y, self.own = batch.rows
        self.weights = batch.weights * self.own
        n_latents, m = len(latents), len(inducing.z)
        self.linear, self.precision = np.zeros((n_latents, m)), np.zeros((n_latents, m, m))
        self.slopes = np.zeros((n_latents, m))  # sum_i dE_i/dm_i k_i
        is_signed = reverse is not None and is_signed
        self.curvatures = np.zeros((n_latents if is_signed or is_thin else 0, m, m))
        self.squares = np.zeros(len(self.x)) if norms else None
        self.bound = self.by_log_noise = 0.0
        self.by_own: Any = 0.0

    def crossed(self) -> list[Array]:
        """D C (K^-1 + A) of each latent function, with C = sum_i dE_i/dv_i k_i k_i'.

        Of fewer rows than inducing inputs, the rows of k D and k (K^-1 + A) give it sooner.
        """
        if self.is_thin:
            return list(self.curvatures)
        curvatures = self.curvatures if len(self.curvatures) else -0.5 * self.precision
        inverse = self.inducing.inverse
        return [
            latent.d @ (c @ (inverse + latent.a)) for latent, c in zip(self.latents, curvatures)
        ]

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
        values = z.covariances(x, k[0])
        k = z.in_units(values)
        n_latents = len(self.latents)
        mean, variance = np.empty((2, n_latents, len(x)))
        diagonal = z.covariance.diagonal(z.program, x)
        for latent, product, m, v in zip(self.latents, products, mean, variance):
            np.matmul(k, latent.d, out=product)
            kernels.moments(k, product, latent.weights, diagonal, m, v)
        mean, variance = mean.T, variance.T
        np.maximum(variance, 1e-12 * diagonal[:, None], out=variance)
        expected = self.expect(self.y[rows], mean, variance, self.rng)
        self.bound += float(weights @ expected.value)
        self.by_log_noise += float(weights @ expected.by_log_noise)
        if expected.by_own is not None:
            self.by_own = self.by_own + weights @ expected.by_own
        first = weights[:, None] * expected.by_mean
        second = weights[:, None] * expected.by_variance
        curvature = np.maximum(-2.0 * second, 0.0)
        for t in range(n_latents):
            self.linear[t] += (first[:, t] + curvature[:, t] * mean[:, t]) @ k
            self.slopes[t] += first[:, t] @ k
            kernels.scale_rows(k, np.sqrt(curvature[:, t]), scratch)
            add_square(scratch, self.precision[t])
            if len(self.curvatures):
                self._curve(t, k, products[t], second[:, t].copy(), scratch)
        if self.squares is not None:
            self._norms(rows, k, expected.by_mean, -2.0 * expected.by_variance, mean)
        if self.reverse is not None:
            self._backward(x, values, products, first, second, scratch)

    def _curve(self, t: int, k: Array, product: Array, second: Array, scratch: Array) -> None:
        """Add to C, or to what `crossed` gives."""
        if self.is_thin:
            scratch[...] = -0.5 * product
            add_product(k, self.inducing.inverse, scratch)
            kernels.scale_rows(scratch, 2.0 * second, scratch)
            add_crossed(product, scratch, self.curvatures[t])
        else:
            kernels.scale_rows(k, second, scratch)
            add_crossed(scratch, k, self.curvatures[t])

    def _norms(self, rows: slice, k: Array, first: Array, curvature: Array, mean: Array) -> None:
        assert self.squares is not None
        length = np.einsum("ij,ij->i", k, k)[:, None]
        curvature = np.maximum(curvature, 0.0)
        linear = np.square(first + curvature * mean)
        squares = (length * (linear + np.square(curvature) * length)).sum(axis=1)
        self.squares[rows] = np.square(self.own[rows]) * squares

    def _backward(
        self, x: Array, values: Array, products: Array, first: Array, second: Array, adjoint: Array
    ) -> None:
        assert self.reverse is not None
        adjoint[...] = 0.0
        for t, (latent, product) in enumerate(zip(self.latents, products)):
            slopes = first[:, t].copy(), -2.0 * second[:, t]
            kernels.add_adjoints(*slopes, latent.weights, product, adjoint)
        self.reverse.add(x, self.inducing.columns, self.inducing.slopes(adjoint), values)
        self.reverse.add_diagonal(x, second.sum(axis=1))
