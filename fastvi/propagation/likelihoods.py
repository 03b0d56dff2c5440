"""Likelihoods of one number that users define: by their moments, or by their log density."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastvi.base.typing import AnyArray, Array
from fastvi.propagation.tilted import Tilted

__all__ = ["LogDensity", "Moments", "log_density", "moments"]

MomentsOf = Callable[[AnyArray, Array, Array, float], tuple[Array, Array, Array]]
LogDensityOf = Callable[[Array, AnyArray], Array]

REACH = 10.0  # standard deviations of the cavity
N_COARSE, N_ZOOM, N_NODES = 401, 41, 501
N_SHIFTS, N_ZOOMS = 30, 6
CHUNK = 1 << 18  # numbers at a time


class Moments(NamedTuple):
    """A likelihood given by its tilted moments; made by `moments`."""

    function: MomentsOf

    def check(self, y: AnyArray) -> None:
        """See `fastvi.propagation.sites.Likelihood`; any data will do."""

    def tilted(self, y: AnyArray, mean: Array, variance: Array, power: float = 1.0) -> Tilted:
        """See `fastvi.propagation.sites.Likelihood`."""
        log_z, centre, spread = self.function(y, mean, variance, power)
        nothing = np.zeros(len(mean))
        return Tilted(
            np.asarray(log_z, np.float64),
            (np.asarray(centre, np.float64) - mean) / variance,
            (np.asarray(spread, np.float64) - variance) / np.square(variance),
            nothing,
            nothing,
        )


class LogDensity(NamedTuple):
    """A likelihood given by its logarithm, integrated by quadrature; made by `log_density`."""

    function: LogDensityOf
    near: Callable[[AnyArray], Array] | None = None

    def check(self, y: AnyArray) -> None:
        """See `fastvi.propagation.sites.Likelihood`; any data will do."""

    def tilted(self, y: AnyArray, mean: Array, variance: Array, power: float = 1.0) -> Tilted:
        """See `fastvi.propagation.sites.Likelihood`."""
        found = [
            self._tilted(y[rows], mean[rows], variance[rows], power)
            for start in range(0, len(mean), CHUNK // N_NODES)
            for rows in [slice(start, start + CHUNK // N_NODES)]
        ]
        log_z, slope, curvature = (np.concatenate(part) for part in zip(*found))
        return Tilted(log_z, slope, curvature, np.zeros(len(mean)), np.zeros(len(mean)))

    def _tilted(
        self, y: AnyArray, mean: Array, variance: Array, power: float
    ) -> tuple[Array, Array, Array]:
        sd = np.sqrt(variance)[:, None]
        centre = mean[:, None]
        data = y[:, None] if y.ndim == 1 else y[:, None, :]

        def value(f: Array) -> Array:
            """Logarithm of the tilted density without its constant, (n, k)."""
            return power * np.asarray(self.function(f, data)) - 0.5 * np.square((f - centre) / sd)

        mode, width = self._mode(value, centre, sd, y)
        low = np.minimum(centre - REACH * sd, mode - REACH * width)
        high = np.maximum(centre + REACH * sd, mode + REACH * width)
        start, stop = np.arcsinh((low - mode) / width), np.arcsinh((high - mode) / width)
        u = start + (stop - start) * np.linspace(0.0, 1.0, N_NODES)
        offsets = width * np.sinh(u)
        logs = value(mode + offsets) + np.log(width * np.cosh(u) * (stop - start) / (N_NODES - 1))
        most = logs.max(axis=1, keepdims=True)
        terms = np.exp(logs - most)
        total = terms.sum(axis=1)
        shift = (terms * offsets).sum(axis=1) / total
        spread = (terms * np.square(offsets - shift[:, None])).sum(axis=1) / total
        log_z = most[:, 0] + np.log(total) - 0.5 * np.log(2.0 * np.pi * variance)
        slope = (mode[:, 0] + shift - mean) / variance
        return log_z, slope, (spread - variance) / np.square(variance)

    def _mode(
        self, value: Callable[[Array], Array], centre: Array, sd: Array, y: AnyArray
    ) -> tuple[Array, Array]:
        """Mode (n, 1) of the tilted density and its width there, by grids that zoom in."""
        steps = REACH * np.linspace(-1.0, 1.0, N_COARSE)
        best, spacing = centre, sd * (steps[1] - steps[0])
        for _ in range(N_SHIFTS):
            f = best + sd * steps
            if self.near is not None:
                f = np.column_stack((f, np.asarray(self.near(y), np.float64)))
            found = _best(value, f)
            inside = np.all(np.abs(found - best) < (REACH - 0.1) * sd)
            best = found
            if inside:
                break
        zoom = np.linspace(-1.0, 1.0, N_ZOOM)
        for _ in range(N_ZOOMS):
            best = _best(value, best + spacing * zoom)
            there, left, right = (value(best + k * spacing) for k in (0.0, -1.0, 1.0))
            bend = 2.0 * there - left - right
            if np.all(bend < 0.5):  # a parabola to within this spacing
                break
            spacing = np.where(bend < 0.5, spacing, spacing * (zoom[1] - zoom[0]) * 2.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            width = spacing / np.sqrt(bend)
        return best, np.where(width > 0, np.minimum(width, sd), sd)


def _best(value: Callable[[Array], Array], f: Array) -> Array:
    """The point of each row with the largest value, (n, 1)."""
    return np.take_along_axis(f, value(f).argmax(axis=1)[:, None], axis=1)


def moments(function: MomentsOf) -> Moments:
    """A likelihood of one number f given by its moments under Gaussians.

    Parameters
    ----------
    function : callable
        ``function(y, mean, variance, power)``, with arrays for some of the factors, returns log Z,
        mean and variance (m,) of ``N(f | mean, variance) p(y | f)^power / Z``. It may be compiled,
        for instance by ``numba.vectorize``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastvi
    >>> from fastvi import propagation
    >>> def tilted(y, mean, variance, power):  # of y = f + N(0, 1)
    ...     total = variance + 1.0 / power
    ...     log_z = -0.5 * (y - mean) ** 2 / total - 0.5 * np.log(2.0 * np.pi * total)
    ...     return log_z, mean + variance / total * (y - mean), variance / power / total
    >>> rows = propagation.linear([[1.0]], [2.0], propagation.moments(tilted))
    >>> fastvi.ep(rows, prior=(0.0, 1.0)).mean.round(4)
    array([1.])
    """
    return Moments(function)


def log_density(
    function: LogDensityOf, *, near: Callable[[AnyArray], Array] | None = None
) -> LogDensity:
    """A likelihood of one number f given by its logarithm; moments are found by quadrature.

    Parameters
    ----------
    function : callable
        ``function(f, y)`` returns log p(y | f) for f (m, q) and y (m, 1), or (m, 1, k) if the data
        of a factor are k numbers. It may be compiled, for instance by ``numba.vectorize``.
    near : callable, optional
        ``near(y)`` returns a value (m,) of f near the largest p(y | f). Densities narrower than a
        twentieth of the cavity's standard deviation may be missed without it.

    Examples
    --------
    >>> import numpy as np
    >>> import fastvi
    >>> from fastvi import propagation
    >>> cauchy = propagation.log_density(lambda y, f: -np.log1p((y - f) ** 2))
    >>> found = fastvi.ep(propagation.linear([[1.0]], [1.0], cauchy), prior=(0.0, 1.0))
    >>> bool(0.2 < found.mean[0] < 0.8)
    True
    """
    return LogDensity(function, near)
