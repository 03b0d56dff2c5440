"""Stein variational gradients in a metric from the curvature of the target.

A constant matrix-valued kernel is a kernel of whitened particles (Wang, Tang, Bajaj and Liu 2019).
Stein variational Newton weights curvatures by the kernel (Detommaso et al. 2018).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastvi.base import parallel
from fastvi.base.typing import AnyArray, Info, Tree
from fastvi.core import Batch, Gradient
from fastvi.gradients.stein import Interaction, kept, needs_gradient, report, scores_of, units_of
from fastvi.targets.base import Target

__all__ = ["curvatures", "matrix", "newton"]

Curvature = Callable[[AnyArray], AnyArray]
METHODS = ("matrix", "newton")
ANCHORS = 32  # particles whose mean curvature is the metric
STEP = 1e-4  # step of finite differences, in units
FLOOR = 1e-6  # smallest eigenvalue of a curvature, relative to the largest


class MetricState(NamedTuple):
    """The metric factor factor', and the inverse of the factor; recomputed at step `due`."""

    factor: AnyArray
    inverse: AnyArray
    step: int
    due: int


def matrix(
    target: Target, interaction: Interaction, *, curvature: Curvature | None = None
) -> Gradient:
    """The direction of matrix-valued SVGD, with a constant preconditioner Q (Wang et al. 2019).

    Q is the mean of the negated Hessian over up to 32 particles, with the absolute values of its
    eigenvalues; it is recomputed at steps 0, 5, 10, 20, 40 and so on. The direction is divided by
    the mean of the kernel, so that a step of rate 1 is a Newton step for particles that move
    together.

    Parameters
    ----------
    target : Target
        A target with a gradient.
    interaction : Interaction
        Interaction of particles whitened by Q.
    curvature : callable, optional
        ``curvature(Z)`` returns (k, D, D) positive definite matrices for Z (k, D), such as Fisher
        information or Gauss-Newton matrices; by default negated Hessians from differences of
        gradients.

    Returns
    -------
    Gradient
        As in `fastvi.gradients.stein.stein`, with `residual` in the metric.

    Raises
    ------
    ValueError
        If the target has no gradient, or `curvature` returns another shape.
    """
    needs_gradient(target)
    n_threads = interaction.n_threads

    def estimate(
        state: MetricState | None, params: AnyArray, batch: Batch, rng: np.random.Generator
    ) -> tuple[AnyArray, MetricState, Info]:
        values, scores, weights = scores_of(target, params, batch, n_threads)
        units = units_of(params, scores, weights)
        if state is None or state.step >= state.due:
            step = 0 if state is None else state.step
            good = np.flatnonzero(weights)
            chosen = good[interaction.sample(len(good))[:ANCHORS]]
            found = curvatures(target, params[chosen], units, batch, n_threads, curvature)
            state = _metric(found.mean(axis=0), units, step)
        factor, inverse = state.factor.astype(params.dtype), state.inverse.astype(params.dtype)
        white = scores @ inverse.T
        field = interaction.field(params @ factor, white, weights)
        phi = (field.phi @ inverse) / kept(field.masses, weights).mean()
        info = report(values, weights, field, field.phi, white, np.ones_like(units))
        return phi, state._replace(step=state.step + 1), {**info, "units": units}

    return Gradient(lambda params: None, estimate)


def newton(
    target: Target, interaction: Interaction, *, curvature: Curvature | None = None
) -> Gradient:
    """The direction of Stein variational Newton with a block-diagonal Hessian (Detommaso 2018).

    For each particle it solves a system with the kernel-weighted curvatures of all particles (their
    eq. 15 and 17), and moves the particle by the kernel-weighted mean of the solutions. A step
    costs 2 D gradients per particle, and memory n D^2. Parameters, results and errors are those of
    `matrix`, with kernel "rbf" only; `residual` is the root mean square of the step in the metric.
    """
    needs_gradient(target)
    interaction.must_be_gaussian("Newton")
    n_threads = interaction.n_threads

    def estimate(
        state: Tree, params: AnyArray, batch: Batch, rng: np.random.Generator
    ) -> tuple[AnyArray, Tree, Info]:
        values, scores, weights = scores_of(target, params, batch, n_threads)
        units = units_of(params, scores, weights)
        found = curvatures(target, params, units, batch, n_threads, curvature)
        metric = _metric(found.mean(axis=0), units, 0)
        factor, inverse = metric.factor.astype(params.dtype), metric.inverse.astype(params.dtype)
        white, y = scores @ inverse.T, params @ factor
        field = interaction.field(y, white, weights)
        blocks = (inverse @ found @ inverse.T).astype(params.dtype)
        systems = _systems(interaction, y, blocks, weights, field.lengths)
        systems[weights == 0] = np.eye(params.shape[1])  # unused, and perhaps singular
        alpha = np.linalg.solve(systems, field.phi.astype(np.float64)[:, :, None])[:, :, 0]
        alpha = np.ascontiguousarray(alpha, params.dtype) * weights[:, None]
        u, half = interaction.scaled(y, 1 / field.lengths, weights)
        moved = interaction.sums(u, half, alpha, alpha[:, :0])[0]
        # a mean, not the sum of the paper: without off-diagonal blocks, the sum is too long by the
        # number of particles within the kernel's reach
        masses = np.where(field.masses > 0, field.masses, 1)
        step = moved / (weights.sum() * masses)[:, None]
        info = report(values, weights, field, field.phi, white, np.ones_like(units))
        info |= {"units": units, "residual": float(np.sqrt(np.mean(np.square(step))))}
        return step @ inverse, state, info

    return Gradient(lambda params: None, estimate)


def _systems(
    interaction: Interaction, y: AnyArray, blocks: AnyArray, weights: AnyArray, lengths: AnyArray
) -> AnyArray:
    """Means over j of k_ij^2 N_j + grad k_ij grad k_ij', (n, D, D) float64, with blocks N_j."""
    n, d = y.shape
    inverse = 1 / lengths
    # k^2 is the kernel of particles sqrt(2) times as far apart
    u, half = interaction.scaled(y, inverse * y.dtype.type(np.sqrt(2.0)), weights)
    v = u / y.dtype.type(np.sqrt(2.0)) * inverse  # grad k_ij = -k_ij (v_i - v_j)
    outer = v[:, :, None] * v[:, None, :]
    columns = np.concatenate(
        ((blocks + outer).reshape(n, d * d), v, np.ones((n, 1), y.dtype)), axis=1
    )
    sums = interaction.sums(u, half, columns * weights[:, None], columns[:, :0])[0]
    mass, first = sums[:, -1], sums[:, d * d : -1]
    cross = v[:, :, None] * first[:, None, :]
    total = sums[:, : d * d].reshape(n, d, d) + mass[:, None, None] * outer
    total -= cross + cross.transpose(0, 2, 1)
    return np.asarray(total, np.float64) / float(weights.sum())


def curvatures(
    target: Target,
    x: AnyArray,
    units: AnyArray,
    batch: Batch | None,
    n_threads: int,
    curvature: Curvature | None = None,
) -> AnyArray:
    """Compute positive definite curvatures (k, D, D) float64 at particles x (k, D).

    These are the given ones, or negated Hessians by central differences of gradients, with the
    absolute values of their eigenvalues. One that is not finite is replaced by the mean of the
    others.
    """
    points = np.asarray(x, np.float64)
    k, d = points.shape
    if curvature is not None:
        found = np.asarray(curvature(points), np.float64)
        if found.shape != (k, d, d):
            raise ValueError(f"curvature gave shape {found.shape}; wanted ({k}, {d}, {d})")
        finite = np.asarray(np.isfinite(found).all(axis=(1, 2)))
        if not finite.any():
            raise ValueError("curvature gave no finite matrix; wanted at least one")
        return found if finite.all() else _filled(found, finite)
    found, shifts = np.empty((k, d, d)), np.diag(STEP * np.asarray(units, np.float64))

    def differentiate(i: int) -> None:
        slopes = target.attempt(np.concatenate((points[i] + shifts, points[i] - shifts)), batch)[1]
        found[i] = (slopes[d:] - slopes[:d]) / (2.0 * np.diag(shifts)[:, None])

    parallel.run(differentiate, k, n_threads if target.concurrent else 1)
    found = 0.5 * (found + found.transpose(0, 2, 1))
    finite = np.asarray(np.isfinite(found).all(axis=(1, 2)))
    if not finite.any():
        return np.broadcast_to(np.diag(1.0 / np.square(units)), (k, d, d)).astype(np.float64)
    return _positive(_filled(found, finite), units)


def _filled(matrices: AnyArray, finite: AnyArray) -> AnyArray:
    """Replace matrices (k, D, D) that are not finite by the mean of the others."""
    return np.where(finite[:, None, None], matrices, matrices[finite].mean(axis=0))


def _positive(matrices: AnyArray, units: AnyArray) -> AnyArray:
    """Replace eigenvalues of symmetric matrices (..., D, D) by their absolute values, in units."""
    scale = np.asarray(units, np.float64)
    values, vectors = np.linalg.eigh(matrices * scale * scale[:, None])
    values = np.abs(values)
    top = values.max(axis=-1, keepdims=True)
    values = np.maximum(values, FLOOR * np.where(top > 0, top, 1.0))
    rebuilt = (vectors * values[..., None, :]) @ np.swapaxes(vectors, -1, -2)
    return np.asarray(rebuilt / scale / scale[:, None])


def _metric(mean: AnyArray, units: AnyArray, step: int) -> MetricState:
    factor = np.linalg.cholesky(_positive(mean, units))
    return MetricState(factor, np.linalg.inv(factor), step, max(2 * step, step + 5))
