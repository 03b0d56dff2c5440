"""Local steps of latent binary features: passes over the rows, in tasks of about 1 ms."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.special import entr

from fastvi.base import parallel
from fastvi.base.linear_algebra import SUMS_ENTRIES, TASK_FLOPS
from fastvi.base.tree import read_only
from fastvi.base.typing import AnyArray, Array, Indices
from fastvi.kernels import features as kernels
from fastvi.models.features.priors import Shares

__all__ = [
    "FRESH",
    "ONE_SWEEP",
    "Decoder",
    "Local",
    "Rows",
    "Sums",
    "Sweeps",
    "doubled",
    "packed",
    "pair_numbers",
    "rows_of",
    "unpacked",
]

BLOCK_ENTRIES = 1 << 17  # numbers of a block of rows, about a core's cache


class Rows(NamedTuple):
    """Rows with 0 for missing values, and which values are there (1.0 or 0.0).

    For binary data values are x - 1/2. If none are missing, `seen` is (n, 0).
    """

    values: Array  # (n, D)
    seen: Array
    squares: Array  # (n,) sums of squares


def rows_of(X: AnyArray, centre: Array, *, always_seen: bool = False) -> Rows:
    """Return rows less `centre` (D,), in which NaN is a missing value."""
    seen = ~np.isnan(X)
    values = np.where(seen, X - centre, 0.0)
    is_whole = seen.all() and not always_seen
    there = np.empty((len(X), 0)) if is_whole else seen.astype(np.float64)
    return Rows(values, there, np.einsum("ij,ij->i", values, values))


class Sweeps(NamedTuple):
    """Inverse temperatures of successive sweeps, and the change at which a block is finished.

    With binary data the bound of the logistic function is fitted before each of the `rounds`.
    """

    betas: Array
    tol: float = 0.0
    rounds: int = 1


ONE_SWEEP = Sweeps(np.ones(1))
FRESH = Sweeps(np.concatenate((np.geomspace(0.1, 0.8, 6), np.ones(40))), 1e-6, 8)


class Decoder(NamedTuple):
    """What a local step needs to know: K features, of which the first J are not fixed.

    Attributes
    ----------
    means : (K, D) array
        E[A].
    products : (P, G) array
        E[A_kd A_ld] for each feature d of the data, or if rows share them their sum (G = 1).
    shares : Shares
        Expected logs of the shares of rows, (J,) each.
    noise : float
        Variance of the noise; 1 for binary data.
    each : bool
        Whether features of the data have weights of their own: binary or with missing values.
    binary : bool
    """

    means: Array
    products: Array
    shares: Shares
    noise: float
    each: bool
    binary: bool

    @property
    def prior(self) -> Array:
        """Log odds of features before the data are seen."""
        return self.shares.on - self.shares.off

    def fresh(self, n_rows: int) -> Array:
        """Return the probabilities with which new rows start, (K, n)."""
        nu = np.ones((len(self.means), n_rows))
        nu[: len(self.prior)] = (1.0 / (1.0 + np.exp(-self.prior)))[:, None]
        return nu

    def block(self, rows: Rows, nu: Array, sweeps: Sweeps) -> tuple[Array, Array]:
        """Update the probabilities nu (K, n) of a block.

        Returns weights of squares (G, n), in units of 1 / noise, and the bound's constants (n,).
        """
        evidence = (self.means[: len(self.prior)] / self.noise) @ rows.values.T
        if not self.each:
            gram = unpacked(self.products[:, 0]) / self.noise
            kernels.update_alike(evidence, gram, self.prior, sweeps.betas, sweeps.tol, nu)
            return np.ones((1, nu.shape[1])), np.zeros(nu.shape[1])
        if not self.binary:
            seen = np.ascontiguousarray(rows.seen.T)
            grams = (self.products / self.noise) @ seen
            kernels.update_each(evidence, grams, self.prior, sweeps.betas, sweeps.tol, nu)
            return seen, np.zeros(nu.shape[1])
        for betas in np.array_split(sweeps.betas, sweeps.rounds):
            curvatures, constants = self._logits(rows, nu)
            grams = self.products @ curvatures
            kernels.update_each(evidence, grams, self.prior, betas, sweeps.tol, nu)
        return curvatures, constants

    def _logits(self, rows: Rows, nu: Array) -> tuple[Array, Array]:
        """Curvatures of the bound of log sigma (D, n) at its best, and its constants (n,)."""
        z = np.empty((len(self.products), nu.shape[1]))
        kernels.pairs(nu, z)
        squares = doubled(self.products).T @ z
        seen = np.ascontiguousarray(rows.seen.T) if rows.seen.size else np.ones_like(squares)
        constants = np.zeros(nu.shape[1])
        kernels.bound_logits(squares, seen, constants)
        return squares, constants

    def row_bounds(self, rows: Rows, nu: Array, sweeps: Sweeps) -> Array:
        """Fit nu (K, n), and return each row's bound (n,), without the noise's constants."""
        weights, constants = self.block(rows, nu, sweeps)
        z = np.empty((len(self.products), nu.shape[1]))
        kernels.pairs(nu, z)
        free = nu[: len(self.prior)]
        fit = np.einsum("kn,kn->n", nu, self.means @ rows.values.T)
        fit -= 0.5 * np.einsum("gn,gn->n", doubled(self.products).T @ z, weights)
        if not self.binary:
            fit -= 0.5 * rows.squares
        found = fit / self.noise + constants + (entr(free) + entr(1.0 - free)).sum(axis=0)
        found += self.shares.on @ free + self.shares.off @ (1.0 - free)
        return np.asarray(found)


class Sums(NamedTuple):
    """Weighted sums over rows."""

    usage: Array  # (J,) of E[z]
    second: Array  # (P, G) of weights of squares times E[z_k z_l]
    cross: Array  # (K, D) of E[z] times values
    squares: float  # of values
    constant: float  # of the bound of log sigma
    entropy: float


class Local:
    """One local step: rows, their weights (n,) and probabilities nu (K, n), which it updates."""

    def __init__(self, decoder: Decoder, rows: Rows, weights: Array, nu: Array) -> None:
        self.decoder, self.rows, self.weights, self.nu = decoder, rows, weights, nu
        self.unweighted = bool(np.all(weights == 1.0))
        (n_features, d), n_pairs = decoder.means.shape, len(decoder.products)
        flops = 4 * n_features * d + 50 * n_features + 4 * n_pairs * (d if decoder.each else 1)
        width = 2 * n_features + d + (n_pairs + 2 * d if decoder.each else 0)
        self.n_block = max(64, BLOCK_ENTRIES // width // 64 * 64)
        n_rows, entries = len(weights), decoder.products.size + decoder.means.size
        target = max(TASK_FLOPS / flops, n_rows / max(4, SUMS_ENTRIES // entries))
        self.bounds = parallel.split(np.arange(n_rows + 1), target)

    def run(self, sweeps: Sweeps, n_threads: int) -> Sums:
        """Update the probabilities, and return sums over rows."""
        n_tasks = len(self.bounds) - 1
        (n_features, d), n_free = self.decoder.means.shape, len(self.decoder.prior)
        usage, cross = np.zeros((n_tasks, n_free)), np.zeros((n_tasks, n_features, d))
        second, parts = np.zeros((n_tasks, *self.decoder.products.shape)), np.zeros((n_tasks, 3))

        def task(i: int) -> None:
            for a in range(self.bounds[i], self.bounds[i + 1], self.n_block):
                here = slice(a, min(a + self.n_block, self.bounds[i + 1]))
                self._block(here, sweeps, usage[i], second[i], cross[i], parts[i])

        parallel.run(task, n_tasks, n_threads)
        return Sums(usage.sum(axis=0), second.sum(axis=0), cross.sum(axis=0), *parts.sum(axis=0))

    def _block(
        self,
        here: slice,
        sweeps: Sweeps,
        usage: Array,
        second: Array,
        cross: Array,
        parts: Array,
    ) -> None:
        rows = Rows(*(part[here] for part in self.rows))
        nu, weights = self.nu[:, here].copy(), self.weights[here]
        curvatures, constants = self.decoder.block(rows, nu, sweeps)
        self.nu[:, here] = nu
        weighted = nu if self.unweighted else nu * weights
        totals = weighted.sum(axis=1)
        usage += totals[: len(usage)]
        cross += weighted @ rows.values
        if not self.decoder.each:
            moments = weighted @ nu.T
            np.fill_diagonal(moments, totals)
            second[:, 0] += packed(moments)
        else:
            z = np.empty((len(second), nu.shape[1]))
            kernels.pairs(nu, z)
            second += (z * weights) @ curvatures.T
        entropy = kernels.entropy(nu[: len(usage)], weights)
        parts += rows.squares @ weights, constants @ weights, entropy


@cache
def pair_numbers(size: int) -> tuple[Indices, Indices]:
    """Return k and l <= k of the pairs of `size` features, in their order, (P,) each."""
    low, high = np.tril_indices(size)
    return read_only(low), read_only(high)


def packed(matrix: Array) -> Array:
    """Return the lower triangles (..., P) of symmetric matrices (..., K, K)."""
    return np.asarray(matrix[(..., *pair_numbers(matrix.shape[-1]))])


def unpacked(triangle: Array) -> Array:
    """Return the symmetric matrices (..., K, K) of lower triangles (..., P)."""
    size = int(np.sqrt(2 * triangle.shape[-1]))
    low, high = pair_numbers(size)
    matrix = np.empty((*triangle.shape[:-1], size, size))
    matrix[..., low, high] = triangle
    matrix[..., high, low] = triangle
    return matrix


def doubled(triangle: Array) -> Array:
    """Double what is off the diagonals of lower triangles (P, G), for sums over all pairs."""
    low, high = pair_numbers(int(np.sqrt(2 * len(triangle))))
    return np.asarray(triangle * np.where(low == high, 1.0, 2.0)[:, None])
