"""Gradients of functions of covariance matrices, from sums over rows."""

from __future__ import annotations

import numpy as np

from fastvi.base.tree import read_only
from fastvi.base.typing import Array
from fastvi.kernels import covariance as kernels
from fastvi.kernels import covariance_reverse as reverse
from fastvi.kernels.covariance import Program
from fastvi.models.gp.covariance import Covariance, node_diagonals, readable
from fastvi.models.gp.inducing import Inducing

__all__ = ["Reverse", "with_prior"]

NOTHING: Array = np.empty((0, 0))


class Reverse:
    """Sums over rows that the gradient of a function of k(X, Z) needs; nothing of size N x M.

    The gradient by lengths and inducing inputs takes the weights only times X, 1 and their
    squares: sum_i w_ij |x_i - z_j|^2 and its derivative by z_j, around a centre of the inputs.

    Parameters
    ----------
    covariance : Covariance
    program : Program
    z : (M, D) array
    centre : (D,) array
    """

    def __init__(self, covariance: Covariance, program: Program, z: Array, centre: Array) -> None:
        self.covariance, self.program, self.z, self.centre = covariance, program, z, centre
        n_slots, (m, d) = len(covariance.inputs), z.shape
        self.moments = np.zeros((n_slots, d + 1, m))
        self.squares = np.zeros((n_slots, d))
        self.slopes = np.zeros((len(covariance.nodes), 2))
        self._weights = np.empty(0)  # room for the weights of as many rows as came at once

    def add(
        self,
        x: Array,
        zt: Array,
        adjoint: Array,
        values: Array,
        left: Array = NOTHING,
        right: Array = NOTHING,
        *,
        by_x: Array | None = None,
    ) -> None:
        """Rows x (n, D) with adjoints (n, M) of their `values`; overwrites `adjoint`.

        The adjoints are those given plus left (n, T) times right (T, M). The derivative by x is
        added to `by_x` (n, D), if given.
        """
        if self.covariance.is_gaussian:
            if not left.size:
                left, right = np.empty((len(x), 0)), np.empty((0, len(self.z)))
            right = np.ascontiguousarray(right)
            self.slopes[0, 0] += reverse.gaussian_reverse(adjoint, left, right, values)
            weights = adjoint[None]
        else:
            if left.size:
                adjoint += left @ right
            weights = self._reversed(x, zt, adjoint)
        x = read_only(x)
        for slot in range(len(self.moments)):
            reverse.add_moments(
                weights[slot], x, self.centre, self.moments[slot], self.squares[slot]
            )
        if by_x is not None:
            self._add_slopes(x, weights, by_x)

    def _add_slopes(self, x: Array, weights: Array, by_x: Array) -> None:
        for node, scales, kind in zip(
            self.covariance.inputs, self.program.scales[self.covariance.inputs],
            self.program.kinds[self.covariance.inputs],
        ):  # fmt: skip
            weight = weights[self.program.slots[node]]
            towards = weight @ self.z
            if kind != kernels.LINEAR:
                towards -= x * weight.sum(axis=1)[:, None]
                towards *= -2.0 * np.square(scales)
            by_x += towards

    def _reversed(self, x: Array, zt: Array, adjoint: Array) -> Array:
        n_slots, _, m = self.moments.shape
        shape = (n_slots, len(x), m)
        if self._weights.size < np.prod(shape):
            self._weights = np.empty(np.prod(shape))
        weights = self._weights[: np.prod(shape)].reshape(shape)
        scratch = np.empty((3, len(self.covariance.nodes), zt.shape[2]))
        read = (readable(self.program), read_only(x), read_only(zt))
        reverse.covariance_reverse(*read, adjoint, scratch, weights, self.slopes)
        return weights

    def add_diagonal(self, x: Array, adjoint: Array, by_x: Array | None = None) -> None:
        """Rows whose variances k(x, x) have these adjoints (n,); adds to `by_x` as `add`."""
        program = self.program
        values = node_diagonals(program, x)
        down = {len(values) - 1: adjoint}
        for node in range(len(values) - 1, -1, -1):
            kind, left, right = program.kinds[node], program.left[node], program.right[node]
            if kind == kernels.SUM:
                down[left] = down[right] = down[node]
            elif kind == kernels.PRODUCT:
                down[left], down[right] = down[node] * values[right], down[node] * values[left]
            else:
                self.slopes[node, 0] += down[node] @ values[node]
                if kind == kernels.LINEAR:
                    by_square = program.amplitudes[node] * down[node]
                    self.slopes[node, 1] += by_square.sum()
                    if by_x is not None:
                        by_x += 2.0 * by_square[:, None] * np.square(program.scales[node]) * x

    def merge(self, other: Reverse) -> None:
        """Take the sums over other rows as well."""
        self.moments += other.moments
        self.squares += other.squares
        self.slopes += other.slopes

    def gradient(self, theta: Array) -> tuple[Array, Array]:
        """Derivatives by theta and by z (M, D)."""
        values = self.covariance.hyperparameters(theta)
        by_log = np.zeros(len(values))
        by_z = np.zeros_like(self.z)
        d = self.z.shape[1]
        z = self.z - self.centre
        for i, node in enumerate(self.covariance.nodes):
            if node.kind <= kernels.PRODUCT:
                continue
            for amplitude in node.amplitudes:
                by_log[amplitude] += self.slopes[i, 0]
            if node.kind == kernels.CONSTANT:
                continue
            slot = self.program.slots[i]
            sums, first = self.moments[slot, d:].T, self.moments[slot, :d].T
            if node.kind == kernels.LINEAR:
                by_log[node.shape] += 2.0 * self.program.shapes[i] * self.slopes[i, 1]
                by_z += first + sums * self.centre
                continue
            if node.shape >= 0:
                by_log[node.shape] += self.slopes[i, 1]
            inverse = np.square(self.program.scales[i])
            around = sums * z
            around -= first
            by_z += (2.0 * inverse) * around
            around -= first
            spread = -2.0 * inverse * (self.squares[slot] + np.einsum("md,md->d", around, z))
            if len(node.lengths) == 1:
                by_log[node.lengths[0]] += spread.sum()
            else:
                by_log[list(node.lengths)] += spread
        return np.asarray(by_log[self.covariance.free]), by_z


def with_prior(
    reverse: Reverse, inducing: Inducing, by_rows: Array, theta: Array
) -> tuple[Array, Array]:
    """Derivatives by theta and z of what `reverse` has summed over rows, and of K(z, z).

    `by_rows` (M, M) is what `Inducing.slope_of_prior` takes.
    """
    of_z = Reverse(inducing.covariance, inducing.program, inducing.z, reverse.centre)
    of_z.add(inducing.z, inducing.columns, inducing.slope_of_prior(by_rows), inducing.plain)
    by_theta, by_z = reverse.gradient(theta)
    more_theta, more_z = of_z.gradient(theta)
    return by_theta + more_theta, by_z + 2.0 * more_z
