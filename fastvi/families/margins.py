"""Margins of Gaussian copulas: monotone maps of standard normal numbers, one per coordinate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import AnyArray, Array
from fastvi.families.base import stored

__all__ = ["MARGINS", "Bent", "Margins", "divergence_by_draws", "stored_margins"]

# Numbers of parameters, in the order of `fastvi.kernels.margins`
MARGINS = {"sinh-arcsinh": 2, "yeo-johnson": 1, "spline": 13}
FARTHEST, N_PLACES = 12.0, 2401  # of the grid for moments: standard deviations, places
N_ORDERS = 40  # of Hermite polynomials
N_DIVERGENCE = 2000  # draws of each side of `divergence_by_draws`


class Bent(NamedTuple):
    """Numbers x (n, D), their maps, slopes, and the derivatives of the slopes' logarithms."""

    x: Array
    maps: Array
    slopes: Array
    bends: Array


class Margins(NamedTuple):
    """The maps of D coordinates, which leave 0 where it is; all parameters 0: the identity.

    Attributes
    ----------
    kind : int
        Place in `MARGINS`.
    shapes : (D, P) array
        Their parameters.
    """

    kind: int
    shapes: Array

    @classmethod
    def of(cls, name: str, dim: int) -> Margins:
        """Return the identity of `dim` coordinates, among the maps of a name."""
        return cls(list(MARGINS).index(name), np.zeros((dim, MARGINS[name])))

    def bent(self, x: Array) -> Bent:
        """Return the maps of x (n, D)."""
        from fastvi.kernels import margins

        rows = np.ascontiguousarray(x.T)
        found = np.empty((3, *rows.shape))
        margins.transform(self.kind, self.shapes, rows, *found)
        return Bent(x, *(part.T for part in found))

    def inverse(self, maps: Array) -> Array:
        """Return the numbers x (n, D) that have these maps."""
        from fastvi.kernels import margins

        rows = np.ascontiguousarray(maps.T)
        found = np.empty(rows.shape)
        margins.invert(self.kind, self.shapes, rows, found)
        return np.asarray(found.T)

    def pullback(self, bent: Bent, of_maps: Array) -> Array:
        """Gradient (D, P) of a loss with respect to shapes, from those of maps (n, D)."""
        from fastvi.kernels import margins

        x, y, weights = (np.ascontiguousarray(a.T) for a in (bent.x, bent.maps, of_maps))
        found = np.empty(self.shapes.shape)
        margins.pull(self.kind, self.shapes, x, y, weights, np.empty((2, len(bent.x))), found)
        return found

    def means(self) -> Array:
        """Means (D,) of the maps of standard normal numbers."""
        places, shares = _grid()
        return np.asarray(shares @ self._on(places))

    def sds(self) -> Array:
        """Their standard deviations, (D,)."""
        places, shares = _grid()
        maps = self._on(places)
        return np.asarray(np.sqrt(shares @ np.square(maps - shares @ maps)))

    def covariance(self, correlation: Array) -> Array:
        """Covariance (D, D) of the maps of standard normal numbers with a correlation (D, D).

        Mehler's formula: the sum over n of c_in c_jn rho^n, where c_in are the coefficients of map
        i in orthonormal Hermite polynomials.
        """
        places, shares = _grid()
        maps = self._on(places)
        before, now = np.zeros(len(places)), np.ones(len(places))
        total, power = np.zeros(correlation.shape), np.ones(correlation.shape)
        for n in range(1, N_ORDERS + 1):
            before, now = now, (places * now - np.sqrt(n - 1) * before) / np.sqrt(n)
            power = power * correlation
            coefficients = (shares * now) @ maps
            total += np.outer(coefficients, coefficients) * power
        np.fill_diagonal(total, shares @ np.square(maps - shares @ maps))
        return total

    def _on(self, places: Array) -> Array:
        """The maps (n, D) of places (n,)."""
        return self.bent(np.tile(places[:, None], len(self.shapes))).maps


def _grid() -> tuple[Array, Array]:
    """Places, and shares of a standard normal: the trapezoidal rule, exact up to kinks of maps."""
    places = np.linspace(-FARTHEST, FARTHEST, N_PLACES)
    shares = np.exp(-0.5 * places**2)
    return places, shares / shares.sum()


def divergence_by_draws(one: Any, other: Any) -> float:
    """Symmetrised KL divergence of members, nats, from 2000 draws each, the same in each call."""
    total = 0.0
    for a, b in ((one, other), (other, one)):
        draws = a.draw(N_DIVERGENCE, np.random.default_rng(0))
        total += float(np.mean(a.log_prob_of(draws) - b.log_prob(draws.points)))
    return total


def stored_margins(arrays: Mapping[str, AnyArray], dim: int) -> tuple[Array, NDArray[np.int64]]:
    """Read shapes (dim, P) and the kind of margins (1,) from a file, as `stored` does."""
    kind = stored(arrays, "kind", (1,), np.int64)
    if not 0 <= kind[0] < len(MARGINS):
        raise ValueError(f"kind is {kind[0]}; wanted 0 to {len(MARGINS) - 1}")
    return stored(arrays, "shapes", (dim, list(MARGINS.values())[kind[0]])), kind
