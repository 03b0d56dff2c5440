"""Sliced Stein variational gradients: one-dimensional kernels, for high dimension.

In high dimension, a kernel of all coordinates finds hardly any neighbours, and particles collapse;
a kernel of a one-dimensional projection always finds some (Gong, Li and Hernandez-Lobato 2021).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastvi import optimizers
from fastvi.base import parallel
from fastvi.base.typing import AnyArray, ArrayLike, Info
from fastvi.core import Batch, Gradient, Optimizer
from fastvi.gradients.stein import (
    Field,
    Interaction,
    hold,
    kept,
    needs_gradient,
    report,
    scores_of,
    units_of,
)
from fastvi.targets.base import Target

__all__ = ["SLICES", "sliced"]

SLICES = ("learned", "axes")
MOST_GROUPS = 16  # groups of slices that threads share
NORMAL_MEDIAN = 0.9539  # median distance between two standard normal numbers


class SliceState(NamedTuple):
    """Slices, unit vectors as rows (D, D), and the moments of their optimizer."""

    slices: AnyArray
    optimizer: Any


def sliced(target: Target, interaction: Interaction, *, slices: str = "learned") -> Gradient:
    """The direction of sliced SVGD (Gong et al. 2021, algorithm 2), along the coordinate axes.

    Coordinate r moves by a kernel of the particles' projections onto a slice g_r, in the units of
    `fastvi.gradients.stein.units_of`. Learned slices ascend the sliced discrepancy of coordinate r,
    by one step of Adam with a decreasing rate each time; otherwise g_r is axis r.

    Parameters
    ----------
    target : Target
        A target with a gradient.
    interaction : Interaction
        Its kernel must be "rbf". Its bandwidth is that of the slices' kernels, in those units; the
        median is that of a normal distribution with the standard deviation of the projections.
        Nothing is random.
    slices : {"learned", "axes"}

    Returns
    -------
    Gradient
        As in `fastvi.gradients.stein.stein`. A step takes D n^2 values of the kernel, or twice as
        many with learned slices.

    Raises
    ------
    ValueError
        If the target has no gradient, or the kernel is not "rbf".
    """
    needs_gradient(target)
    interaction.must_be_gaussian("sliced")
    bandwidth, n_threads = interaction.bandwidth, interaction.n_threads
    # 0.02 radians at first; particles cannot converge before their slices
    turning = optimizers.chain(optimizers.adam(0.2), optimizers.robbins_monro(50.0, 0.6))

    def init(params: AnyArray) -> SliceState:
        start = np.eye(params.shape[1])
        return SliceState(start, turning.init(start))

    def estimate(
        state: SliceState, params: AnyArray, batch: Batch, rng: np.random.Generator
    ) -> tuple[AnyArray, SliceState, Info]:
        values, scores, weights = scores_of(target, params, batch, n_threads)
        units = units_of(params, scores, weights)
        cut = _Cut(state.slices, params / units, scores * units, weights, bandwidth, n_threads)
        phi, masses, lengths = cut.directions()
        if slices == "learned":
            state = _turned(state, cut, turning)
        phi /= units
        field = Field(phi, masses, lengths)
        return phi, state, report(values, weights, field, phi, scores, units)

    return Gradient(init, estimate)


def _turned(state: SliceState, cut: _Cut, turning: Optimizer) -> SliceState:
    """Return slices after a step along the sphere that increases their discrepancies."""
    slope = cut.slopes()
    slope -= np.sum(slope * state.slices, axis=1, keepdims=True) * state.slices
    step, moments, _ = turning.update(slope, state.optimizer, state.slices)
    turned = state.slices + step
    return SliceState(turned / np.linalg.norm(turned, axis=1, keepdims=True), moments)


class _Cut:
    """Particles x (n, D) and scores, in units, projected onto slices (D, D)."""

    def __init__(
        self,
        slices: AnyArray,
        x: AnyArray,
        scores: AnyArray,
        weights: AnyArray,
        bandwidth: str | ArrayLike,
        n_threads: int,
    ) -> None:
        self.x, self.weights, self.n_threads = x - kept(x, weights).mean(axis=0), weights, n_threads
        if not weights.all():
            hold(self.x, weights)
        self.share = x.dtype.type(1.0 / weights.sum())
        places = np.ascontiguousarray(slices.astype(x.dtype) @ self.x.T)
        self.lengths = _lengths(places if weights.all() else places[:, weights > 0], bandwidth)
        self.places = places / self.lengths[:, None]
        self.scores = np.ascontiguousarray(scores.T)
        self.factors = np.diag(slices).astype(x.dtype) / self.lengths

    def _each(self, function: Callable[..., None], *out: AnyArray) -> None:
        """Run a kernel over groups of slices, whose number depends only on that of the slices."""
        d = len(self.places)
        n_groups = min(d, MOST_GROUPS)
        cuts = [d * i // n_groups for i in range(n_groups + 1)]
        arrays = self.places, self.scores, self.weights, self.factors
        parallel.run(
            lambda i: function(cuts[i], cuts[i + 1], *arrays, *out), n_groups, self.n_threads
        )

    def directions(self) -> tuple[AnyArray, AnyArray, AnyArray]:
        """Return the direction (n, D), masses (n,) as means over slices, and lengths (D,)."""
        from fastvi.kernels import stein_sliced as kernels

        phi, masses = np.empty_like(self.places), np.empty_like(self.places)
        self._each(kernels.directions, self.share, phi, masses)
        return np.ascontiguousarray(phi.T), masses.mean(axis=0), self.lengths

    def slopes(self) -> AnyArray:
        """Return derivatives (D, D) float64 of the discrepancies by the slices, at fixed lengths.

        They are relative to the discrepancies, which have very different sizes.
        """
        from fastvi.kernels import stein_sliced as kernels

        d = len(self.places)
        by_place, by_c, values = np.empty_like(self.places), np.empty(d), np.empty(d)
        self._each(kernels.slopes, by_place, by_c, values)
        slopes = 2.0 * (by_place @ self.x).astype(np.float64)
        slopes[np.diag_indices(d)] += by_c
        slopes /= self.lengths[:, None]
        return np.asarray(slopes / np.maximum(np.abs(values), 1e-300)[:, None])


def _lengths(places: AnyArray, bandwidth: str | ArrayLike) -> AnyArray:
    d, n = places.shape
    if not isinstance(bandwidth, str):
        return np.broadcast_to(np.asarray(bandwidth, places.dtype), (d,)).copy()
    sd = places.std(axis=1)
    lengths = NORMAL_MEDIAN * sd / np.sqrt(2.0 * np.log(max(n, 2)))
    return np.where(lengths > 0, lengths, 1.0).astype(places.dtype)
