"""What the optimizer of a sparse Gaussian process regression minimises."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.models._sgpr import SparseRegression

__all__ = ["Objective", "column_scales"]

Array = NDArray[np.float64]


def column_scales(X: Array) -> Array:
    """Standard deviations of columns, 1 for constant ones."""
    scale = X.std(axis=0)
    constant = scale <= 1e-12 * np.abs(X).max(axis=0)
    return np.where(constant, 1.0, scale)


class Objective:
    """Minus the bound (plus log prior) of theta and, if they move, scaled inducing inputs."""

    def __init__(
        self, model: SparseRegression, theta: Array, z: Array, moves: bool, prior: float | None
    ) -> None:
        self.model, self.theta, self.z, self.moves, self.prior = model, theta, z, moves, prior
        self.scale = column_scales(model.x)
        parts = [theta, (z / self.scale).ravel()] if moves else [theta]
        self.start = np.concatenate(parts)
        self.worst = -np.inf

    def parts(self, point: Array) -> tuple[Array, Array]:
        """Theta and inducing inputs."""
        n = len(self.theta)
        z = point[n:].reshape(self.z.shape) * self.scale if self.moves else self.z
        return point[:n].copy(), z

    def __call__(self, point: Array, eval_gradient: bool = True) -> Any:
        """Value and gradient; where there is no factor, a value that is worse than all before."""
        theta, z = self.parts(np.asarray(point))
        try:
            with np.errstate(all="ignore"):  # far out hyperparameters overflow
                result = self.model.bound(theta, z, gradient=eval_gradient)
        except np.linalg.LinAlgError:
            value = self.worst + 1e3 * (1.0 + abs(self.worst))
            return (value, np.zeros(len(point))) if eval_gradient else value
        value = -result.value
        excess = np.zeros(len(theta))
        if self.prior is not None:
            excess = (theta - self.theta) / self.prior
            value += 0.5 * float(excess @ excess)
            excess /= self.prior
        self.worst = max(self.worst, value)
        if not eval_gradient:
            return value
        assert result.by_theta is not None
        assert result.by_z is not None
        parts = [excess - result.by_theta]
        if self.moves:
            parts.append((-result.by_z * self.scale).ravel())
        return value, np.concatenate(parts)
