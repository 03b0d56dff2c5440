"""Symmetric matrices in the form of each covariance type, packed into rows.

A mixture of K components has G matrices: K, or one if tied. All code that depends on the covariance
type is here; other code uses packed rows, (G, P).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base.linear_algebra import (
    cholesky_despite_rounding,
    cholesky_from_free,
    free_from_cholesky,
    gradient_by_free,
)
from fastvi.base.typing import Array

__all__ = ["Inverse", "make_shape"]


class Inverse(NamedTuple):
    """Inverses (G, P) of matrices, log determinants (G,) of the matrices, and inverse factors.

    `roots` (G, D, D) are inverse Cholesky factors, or None for diagonal matrices.
    """

    packed: Array
    log_det: Array
    roots: Array | None = None


class _Dense:
    """Full matrices, per component or shared: x_i x_j for i <= j."""

    def __init__(self, n_features: int, n_components: int, tied: bool) -> None:
        self.n_features = n_features
        self.n_matrices = 1 if tied else n_components
        self.tied = tied
        self.pairs = np.triu_indices(n_features)
        self.diagonal = np.flatnonzero(self.pairs[0] == self.pairs[1])
        self.multiplicity = np.where(self.pairs[0] == self.pairs[1], 1.0, 2.0)

    def pack(self, matrices: Array) -> Array:
        return np.asarray(matrices[..., self.pairs[0], self.pairs[1]])

    def unpack(self, packed: Array) -> Array:
        d = self.n_features
        out = np.empty((len(packed), d, d))
        out[:, self.pairs[0], self.pairs[1]] = packed
        out[:, self.pairs[1], self.pairs[0]] = packed
        return out

    def outer(self, factors: Array, vectors: Array) -> Array:
        """Return factors (K,) times v v', or their mean if tied."""
        left = vectors[:, self.pairs[0]] * vectors[:, self.pairs[1]]
        if self.tied:
            return (factors @ left / len(factors))[None]
        return factors[:, None] * left

    def times(self, packed: Array, vectors: Array) -> Array:
        """Multiply matrices by vectors (K, D)."""
        return np.asarray(np.matmul(self.unpack(packed), vectors[:, :, None])[:, :, 0])

    def invert(self, packed: Array) -> Inverse:
        lower = _factors(self.unpack(packed))
        roots = np.tril(np.linalg.inv(lower))  # all at once; SciPy's triangular ones need a loop
        inverse = np.matmul(roots.transpose(0, 2, 1), roots)
        log_det = 2.0 * np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)
        return Inverse(self.pack(inverse), log_det, roots)

    def free(self, packed: Array) -> Array:
        """Return unconstrained coordinates, (G, D, D)."""
        return free_from_cholesky(_factors(self.unpack(packed)))

    def packed(self, free: Array) -> Array:
        """Return the matrices with given coordinates."""
        lower = cholesky_from_free(free)
        return self.pack(np.matmul(lower, lower.transpose(0, 2, 1)))

    def inverse_slope(self, packed: Array, inverse: Inverse, slope: Array) -> Array:
        """Derivatives by the coordinates, given those (G, P) by entries of the inverse."""
        wide, around = self.unpack(inverse.packed), self.unpack(slope)
        return gradient_by_free(_factors(self.unpack(packed)), -wide @ around @ wide)

    def is_positive(self, packed: Array) -> NDArray[np.bool_]:
        """Return which of the matrices are positive definite, (G,)."""
        matrices = self.unpack(packed)
        try:
            np.linalg.cholesky(matrices)
        except np.linalg.LinAlgError:
            return np.asarray(np.linalg.eigvalsh(matrices)[:, 0] > 0)
        return np.ones(len(packed), bool)


class _Diagonal:
    """Diagonals (K, D), or their means (K, 1) if spherical."""

    def __init__(self, n_features: int, n_components: int, spherical: bool) -> None:
        self.n_features = n_features
        self.n_matrices = n_components
        self.spherical = spherical
        n = 1 if spherical else n_features
        self.diagonal = np.arange(n)
        self.multiplicity = np.full(n, n_features / n)

    def pack(self, diagonals: Array) -> Array:
        return np.atleast_1d(np.asarray(diagonals))

    def outer(self, factors: Array, vectors: Array) -> Array:
        """Return factors (K,) times the squares of v, or their mean."""
        squares = np.square(vectors)
        if self.spherical:
            squares = squares.mean(axis=1, keepdims=True)
        return np.asarray(factors[:, None] * squares)

    def times(self, packed: Array, vectors: Array) -> Array:
        """Multiply matrices by vectors (K, D)."""
        return packed * vectors

    def invert(self, packed: Array) -> Inverse:
        log_det = (np.log(packed) * self.multiplicity).sum(axis=1)
        return Inverse(1.0 / packed, log_det)

    def free(self, packed: Array) -> Array:
        """Return logarithms, (K, P)."""
        return np.asarray(np.log(packed))

    def packed(self, free: Array) -> Array:
        """Return the matrices with given logarithms."""
        return np.asarray(np.exp(free))

    def inverse_slope(self, packed: Array, inverse: Inverse, slope: Array) -> Array:
        """Return derivatives by the logarithms, given those (K, P) by an entry of the inverse."""
        return np.asarray(-slope * self.multiplicity * inverse.packed)

    def is_positive(self, packed: Array) -> NDArray[np.bool_]:
        """Return which of the matrices are positive definite, (G,)."""
        return np.asarray(np.all(packed > 0, axis=1))


def make_shape(covariance_type: str, n_features: int, n_components: int) -> Any:
    """Return the form of matrices of a covariance type."""
    if covariance_type in ("full", "tied"):
        return _Dense(n_features, n_components, covariance_type == "tied")
    return _Diagonal(n_features, n_components, covariance_type == "spherical")


def _factors(matrices: Array) -> Array:
    """Lower factors of (G, D, D), of nearby matrices if rounding made one indefinite."""
    try:
        return np.asarray(np.linalg.cholesky(matrices))
    except np.linalg.LinAlgError:
        return np.stack([cholesky_despite_rounding(part) for part in matrices])
