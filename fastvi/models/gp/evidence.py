"""The evidence of latent functions at all rows, as what a search over hyperparameters maximises."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fastvi.base.typing import Array
from fastvi.models.gp.approximation import Approximation
from fastvi.models.gp.dense import Covariances
from fastvi.models.gp.ep import propagate
from fastvi.models.gp.laplace import laplace
from fastvi.models.gp.search import outside
from fastvi.models.gp.softmax import laplace_of_classes
from fastvi.propagation import tilted

__all__ = ["SOLVERS", "Evidence", "Solver", "of_classes", "of_two"]

SOLVERS = ("ep", "laplace")
SITES = {"probit": tilted.probit, "logit": tilted.logit}


class Solver(NamedTuple):
    """How to approximate a posterior given K: ``function(K, start=None, slope=False)``.

    `start` is the `memory` of another approximation, of this shape. Probabilities take a smaller
    tolerance than the evidence, which is stationary in what is iterated: `fine`.
    """

    function: Callable[..., Approximation]
    shape: tuple[int, ...]
    fine: float


def of_two(name: str, link: str, positive: Array, counts: Array, max_iter: int) -> Solver:
    """For two classes: whether each row is `positive`, and how many rows it counts as."""
    y, n = np.where(positive, 1.0, -1.0), len(positive)
    options: dict[str, Any] = {"y": y, "counts": counts, "max_iter": max_iter}
    if name == "ep":
        return Solver(partial(propagate, site=SITES[link], **options), (2, n), 1e-9)
    return Solver(partial(laplace, link=link, **options), (n,), 1e-12)


def of_classes(codes: Array, n_classes: int, counts: Array, max_iter: int) -> Solver:
    """For several classes by softmax, with a latent function each."""
    function = partial(
        laplace_of_classes, codes=codes, n_classes=n_classes, counts=counts, max_iter=max_iter
    )
    return Solver(function, (n_classes, len(codes)), 1e-12)


class Evidence:
    """Minus the log evidence as a function of theta, the logarithms of hyperparameters.

    Evaluations start from what the last one found, `memory`.

    Parameters
    ----------
    rows : Covariances
    solver : Solver
    theta : (P,) array
        To start from.
    """

    def __init__(self, rows: Covariances, solver: Solver, theta: Array) -> None:
        self.rows, self.solver, self.start = rows, solver, theta
        self.memory = np.full(int(np.prod(solver.shape)), np.nan)
        self.worst = -np.inf

    def at(self, theta: Array, slope: bool = False, start: Array | None = None) -> Approximation:
        """The approximation at theta; without convergence from `start`, that from nothing."""
        K = self.rows.matrix(theta)
        found = self.solver.function(K, start=start, slope=slope)
        if start is not None and not found.converged:
            found = self.solver.function(K, slope=slope)
        return found

    def fine(self, theta: Array) -> Approximation:
        """The approximation at theta for predictions."""
        return self.solver.function(self.rows.matrix(theta), tol=self.solver.fine)

    def gradient(self, theta: Array, found: Approximation) -> Array:
        """Derivative of the evidence by theta."""
        assert found.by_k is not None
        return self.rows.gradient(theta, found.by_k)

    def __call__(self, point: Array, eval_gradient: bool = True) -> Any:
        """Value, and gradient; where there is no factor, a value worse than all before."""
        point = np.asarray(point, np.float64)
        known = not np.isnan(self.memory).any()
        start = self.memory.reshape(self.solver.shape) if known else None
        try:
            with np.errstate(all="ignore"):  # hyperparameters far out overflow
                found = self.at(point, eval_gradient, start)
        except np.linalg.LinAlgError:
            return outside(self.worst, len(point), eval_gradient)
        self.memory = found.memory.ravel()
        self.worst = max(self.worst, -found.value)
        return (-found.value, -self.gradient(point, found)) if eval_gradient else -found.value
