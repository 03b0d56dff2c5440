"""A target with shifted and rescaled parameters."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from fastvi.base.typing import Array
from fastvi.core import Batch
from fastvi.targets.base import Target

__all__ = ["Standardised", "guided"]


class Standardised(Target):
    """A target of x, where z = centre + units x; units are (D,) or lower triangular (D, D)."""

    def __init__(self, target: Target, centre: Array, units: Array) -> None:
        self.target, self.centre, self.units = target, np.array(centre), np.array(units, order="C")
        numerical = target.has_gradient and target._numerical  # compiles a derived one
        super().__init__(
            target.name, target.compiled, target.parameters, target._data, target.n_rows,
            numerical=numerical, touches=target.touches,
        )  # fmt: skip

    def _layers(self) -> tuple[int, dict[int, int]]:
        from fastvi.kernels import targets
        from fastvi.kernels._jit import adapter

        address, header = super()._layers()
        header[targets.STANDARDISED] = address
        header[targets.CENTRE] = self.centre.ctypes.data
        header[targets.UNITS] = self.units.ctypes.data
        header[targets.IS_MATRIX] = self.units.ndim - 1
        return adapter(targets.standardised)[0], header

    def refuse(self, Z: Array, batch: Batch | None = None) -> NoReturn:
        """As `Target.refuse`, in the coordinates of the original target."""
        moved = Z * self.units if self.units.ndim == 1 else Z @ self.units.T
        self.target.refuse(self.centre + moved, batch)


def guided(member: Any, target: Target | None) -> Any:
    """A member of a family that follows the target, if the family's draws need one."""
    power = member.powers.guided
    if power is None or target is None:
        return member
    return power.guided_by(Standardised(target, member.centre, member.units))
