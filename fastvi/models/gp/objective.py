"""What a sparse Gaussian process regression minimises, and how."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from fastvi.base.progress import progress_bar, show_bound
from fastvi.loop import History
from fastvi.models.gp.sgpr import SparseRegression

__all__ = ["Found", "Objective", "column_scales", "search"]

Array = NDArray[np.float64]
MEMORY = 50  # pairs of steps and gradients that L-BFGS keeps


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


class Found(NamedTuple):
    """Where a search ended, and the bound and seconds after each of its iterations."""

    point: Array
    value: float
    history: dict[str, Array]
    n_iter: int
    converged: bool


def search(
    objective: Objective,
    start: Array,
    bounds: Array,
    optimizer: Any,
    max_iter: int,
    tol: float,
    verbose: bool,
) -> Found:
    """The minimum by a callable, or by L-BFGS, with a bar if `verbose`."""
    history, begin = History(), time.perf_counter()
    if callable(optimizer):
        point, value = optimizer(objective, start, bounds=bounds)
        return Found(np.asarray(point), float(value), _columns(history), 0, True)
    with progress_bar(verbose, show_bound, unit="iterations") as report:

        def follow(intermediate_result: Any) -> None:
            bound = -float(intermediate_result.fun)
            history.append(bound=bound, seconds=time.perf_counter() - begin)
            if report is not None:
                report(history)

        limits = {"maxiter": max_iter, "maxfun": 10 * max_iter + 100}
        done = minimize(
            objective, start, jac=True, method="L-BFGS-B", bounds=bounds, callback=follow,
            options={"ftol": tol, "gtol": 1e-5, "maxcor": MEMORY, **limits},
        )  # fmt: skip
    converged = bool(done.status != 1)
    return Found(done.x, float(done.fun), _columns(history), int(done.nit), converged)


def _columns(history: History) -> dict[str, Array]:
    """Also of no iterations."""
    return {name: np.zeros(0) for name in ("bound", "seconds")} | history.arrays()
