"""A linear system whose parameters are known: what its rows say of states, and its passes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular

from fastvi.base.typing import AnyArray, Array
from fastvi.kernels.kalman import Rows, System
from fastvi.models.statespace.passes import (
    Filtered,
    Passed,
    Smoothed,
    filter_rows,
    pass_rows,
    smooth_rows,
)  # fmt: skip
from fastvi.models.statespace.rows import SequenceRows

__all__ = [
    "LOG_2PI", "Linear", "by_pattern", "chain_of", "drift_of", "filtered", "in_basis",
    "lower_root", "passed", "rescaled", "smoothed", "stacked_roots",
]  # fmt: skip

LOG_2PI = float(np.log(2.0 * np.pi))


class Linear(NamedTuple):
    """Parameters of a linear system with K states, D features and U inputs.

    Attributes
    ----------
    mean, covariance : (K,) and (K, K) arrays
        Of first states.
    transition, inputs, noise : (K, K), (K, U) and (K, K) arrays
        States are transition @ the state before + inputs @ the row's inputs + noise.
    loadings, offsets : (D, K) and (D, 1 + U) arrays
        Rows are loadings @ state + offsets @ (1, inputs) + noise.
    rows_noise : (D,) or (D, D) array
        Its variances, or its covariance.
    """

    mean: Array
    covariance: Array
    transition: Array
    inputs: Array
    noise: Array
    loadings: Array
    offsets: Array
    rows_noise: Array

    @classmethod
    def empty(cls, d: int, k: int, u: int, dimensions: int) -> Linear:
        """Of these shapes; the noise of rows has one or two dimensions."""
        square = np.zeros((k, k))
        return cls(
            np.zeros(k), square, square, np.zeros((k, u)), square, np.zeros((d, k)),
            np.zeros((d, 1 + u)), np.zeros((d,) * dimensions),
        )  # fmt: skip

    def point(self) -> Linear:
        """The system itself."""
        return self

    @property
    def n_relevant(self) -> int:
        """Number of states."""
        return len(self.mean)


def rescaled(
    params: Linear, centre: Array, scale: Array, input_scale: Array | float = 1.0
) -> Linear:
    """The system of rows centre + scale * rows, (D,) each, and inputs of another scale (U,)."""
    offsets = scale[:, None] * params.offsets
    offsets[:, 0] += centre
    offsets[:, 1:] /= input_scale
    noise = params.rows_noise
    unit = np.square(scale) if noise.ndim == 1 else np.outer(scale, scale)
    return params._replace(
        loadings=scale[:, None] * params.loadings, offsets=offsets, rows_noise=unit * noise,
        inputs=params.inputs / input_scale,
    )  # fmt: skip


def in_basis(params: Linear, basis: AnyArray) -> Linear:
    """The same system for states basis @ state."""
    inverse = np.linalg.inv(basis)
    return params._replace(
        mean=basis @ params.mean, covariance=basis @ params.covariance @ basis.T,
        transition=basis @ params.transition @ inverse, inputs=basis @ params.inputs,
        noise=basis @ params.noise @ basis.T, loadings=params.loadings @ inverse,
    )  # fmt: skip


class Whitened(NamedTuple):
    """Rows in units in which their noise is standard normal.

    Attributes
    ----------
    X : (n, D) array
        Without offsets; 0 where a number is missing.
    loadings : (P, D, K) array
        By pattern, with zeros where a number is missing.
    constants : (P,) array
        Log densities of rows at 0, by pattern.
    """

    X: Array
    loadings: Array
    constants: Array

    def linear(self, rows: SequenceRows) -> Array:
        """What rows say of their states, (n, K)."""
        return by_pattern(self.X, self.loadings.swapaxes(1, 2), rows)

    def log_densities(self, rows: SequenceRows, states: Array) -> Array:
        """Of rows given states (n, K), (n,)."""
        rest = self.X - by_pattern(states, self.loadings, rows)
        return np.asarray(self.constants[rows.pattern] - 0.5 * np.einsum("ij,ij->i", rest, rest))


def by_pattern(values: Array, matrices: Array, rows: SequenceRows) -> Array:
    """Products of matrices (P, M, N) of rows' patterns with values (n, N), (n, M)."""
    if len(matrices) == 1:
        return np.asarray(values @ matrices[0].T)
    found = np.empty((len(values), matrices.shape[1]))
    order = np.argsort(rows.pattern, kind="stable")
    ends = np.cumsum(np.bincount(rows.pattern, minlength=len(matrices)))
    for matrix, some in zip(matrices, np.split(order, ends[:-1])):
        found[some] = values[some] @ matrix.T
    return found


def whitened(params: Linear, rows: SequenceRows) -> Whitened:
    """Divide rows and loadings by the root of the noise of what is there."""
    rest = rows.X - rows.constant @ params.offsets.T
    there = rows.patterns.astype(np.float64)
    counts = there.sum(axis=1)
    if params.rows_noise.ndim == 1:
        scale = 1.0 / np.sqrt(params.rows_noise)
        X, loadings = rest * scale, there[:, :, None] * (scale[:, None] * params.loadings)
        if len(there) > 1:
            X *= there[rows.pattern]
        log_dets = there @ np.log(params.rows_noise)
        return Whitened(X, loadings, -0.5 * (counts * LOG_2PI + log_dets))
    X, loadings = np.zeros_like(rest), np.zeros((len(there), *params.loadings.shape))
    log_dets = np.zeros(len(there))
    for p, kept in enumerate(rows.patterns):
        if kept.any():
            some = rows.pattern == p
            lower = np.linalg.cholesky(params.rows_noise[np.ix_(kept, kept)])
            loadings[p, kept] = solve_triangular(lower, params.loadings[kept], lower=True)
            part = solve_triangular(lower, rest[np.ix_(some, kept)].T, lower=True)
            X[np.ix_(some, kept)] = part.T
            log_dets[p] = 2.0 * np.log(np.diag(lower)).sum()
    return Whitened(X, loadings, -0.5 * (counts * LOG_2PI + log_dets))


def stacked_roots(loadings: Array) -> Array:
    """Triangular roots (P, m, K) of loadings' loadings, for loadings (P, D, K); m is at most K."""
    if loadings.shape[1] <= loadings.shape[2]:
        return np.ascontiguousarray(loadings)
    return np.ascontiguousarray(np.linalg.qr(loadings, mode="r"))


def lower_root(covariance: Array) -> Array:
    """Lower triangular root of a covariance, which may be singular."""
    scale = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    unit = np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(covariance / unit / unit[:, None])
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    upper: Array = np.asarray(np.linalg.qr((unit[:, None] * root).T, mode="r"))
    return np.ascontiguousarray(upper.T)


def chain_of(params: Linear) -> System:
    """What the kernels need to know of the chain."""
    noise = lower_root(params.noise)
    return System(
        np.array(params.mean, order="C"), lower_root(params.covariance),
        np.array(params.transition, order="C"), noise, noise @ noise.T,
    )  # fmt: skip


def drift_of(params: Linear, rows: SequenceRows) -> Array:
    """What inputs add to states, (n, K), or (0, K) without inputs."""
    if not rows.inputs.shape[1]:
        return np.zeros((0, len(params.mean)))
    return np.ascontiguousarray(rows.inputs @ params.inputs.T)


def _said(params: Linear, rows: SequenceRows) -> tuple[Whitened, Rows]:
    white = whitened(params, rows)
    roots = stacked_roots(white.loadings)
    said = Rows(
        rows.begins, rows.pattern, roots, roots.swapaxes(1, 2) @ roots, white.linear(rows),
        drift_of(params, rows),
    )  # fmt: skip
    return white, said


def filtered(params: Linear, rows: SequenceRows) -> tuple[Filtered, Array]:
    """Filter rows; also their log densities given those before, (n,)."""
    white, said = _said(params, rows)
    found = filter_rows(chain_of(params), said)
    return found, found.log_norms + white.log_densities(rows, found.means)


def passed(params: Linear, rows: SequenceRows) -> tuple[Passed, Array]:
    """Filter rows, of which the last has a covariance; also log densities given those before."""
    white, said = _said(params, rows)
    found = pass_rows(chain_of(params), said)
    return found, found.log_norms + white.log_densities(rows, found.means)


def smoothed(params: Linear, rows: SequenceRows) -> tuple[Smoothed, Array]:
    """Smooth rows; also their log densities given those before, (n,)."""
    white, said = _said(params, rows)
    found = smooth_rows(chain_of(params), said)
    densities = found.filtered.log_norms + white.log_densities(rows, found.filtered.means)
    return found, densities
