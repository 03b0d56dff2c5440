"""What members share that are ``centre + units x``, of draws x with moments that nobody knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np

from fastvi.base.typing import AnyArray, Array
from fastvi.families.base import stored
from fastvi.families.powers import Draws

__all__ = ["Placed", "stored_units"]


class _Fields(Protocol):
    """What `Placed` asks of a family."""

    @property
    def n_moments(self) -> int: ...

    @property
    def params(self) -> Array: ...
    @property
    def centre(self) -> Array: ...
    @property
    def units(self) -> Array: ...
    @property
    def dim(self) -> int: ...
    @property
    def cov(self) -> Array: ...
    @property
    def _replace(self) -> Any: ...
    def at(self, noise: Array) -> Draws: ...
    def noise(self, n: int, rng: np.random.Generator) -> Array: ...
    def draw(self, n: int, rng: np.random.Generator) -> Draws: ...
    def _few(self) -> Array: ...


F = TypeVar("F", bound=_Fields)


class Placed:
    """Moments from draws, changes of units, and free parameters `params` that know of neither."""

    __slots__ = ()
    n_moments: ClassVar[int] = 10_000  # draws

    @property
    def dim(self: _Fields) -> int:
        """Length of a draw, D."""
        return len(self.centre)

    @property
    def mean(self: _Fields) -> Array:
        """Means, (D,), of `n_moments` draws, the same each time."""
        return np.asarray(self._few().mean(axis=0))

    @property
    def cov(self: _Fields) -> Array:
        """Covariance, (D, D), of these draws."""
        return np.atleast_2d(np.cov(self._few(), rowvar=False))

    @property
    def sd(self: _Fields) -> Array:
        """Standard deviations, (D,), of these draws."""
        return np.asarray(np.sqrt(np.diag(self.cov)))

    def _few(self: _Fields) -> Array:
        return self.draw(self.n_moments, np.random.default_rng(0)).points

    def draw(self: _Fields, n: int, rng: np.random.Generator) -> Draws:
        """Draw n points, of noise in antithetic pairs."""
        return self.at(self.noise(n, rng))

    def standard(self: F) -> F:
        """Return the member in its own units and about its own centre."""
        member: F = self._replace(centre=np.zeros(self.dim), units=np.eye(self.dim))
        return member

    def mapped(self: F, centre: Array, units: Array) -> F:
        """Return the member after the map x -> centre + units x."""
        member: F = self._replace(centre=centre + units @ self.centre, units=units @ self.units)
        return member

    def free(self: _Fields) -> tuple[Array]:
        """Return the unconstrained parameters."""
        return (self.params,)

    def from_free(self: F, free: tuple[Array]) -> F:
        """Return the member with these parameters."""
        member: F = self._replace(params=free[0])
        return member


def stored_units(arrays: Mapping[str, AnyArray], dim: int) -> Array:
    """Return the units in a file.

    Raises
    ------
    ValueError
        If they cannot be that.
    """
    units = stored(arrays, "units", (dim, dim))
    if np.any(np.triu(units, 1)) or not np.all(np.diag(units) > 0):
        raise ValueError("units must be lower triangular with a positive diagonal")
    return units
