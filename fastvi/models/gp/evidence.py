"""The evidence of latent functions at all rows, as what a search over hyperparameters maximises."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fastvi.base.typing import AnyArray, Array
from fastvi.models.gp.approximation import Approximation
from fastvi.models.gp.dense import Covariances
from fastvi.models.gp.ep import propagate
from fastvi.models.gp.laplace import laplace
from fastvi.models.gp.multinomial_probit import propagate_classes
from fastvi.models.gp.search import Height, Objective
from fastvi.models.gp.softmax import laplace_of_classes
from fastvi.propagation import tilted

__all__ = ["SOLVERS", "Evidence", "Solver", "of_classes", "of_classes_by_probit", "of_two"]

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
        return Solver(partial(propagate, site=SITES[link], **options), (2, n), 1e-7)
    return Solver(partial(laplace, link=link, **options), (n,), 1e-12)


def of_classes(codes: AnyArray, n_classes: int, counts: Array, max_iter: int) -> Solver:
    """For several classes by softmax, with a latent function each."""
    options: dict[str, Any] = {"counts": counts, "max_iter": max_iter}
    function = partial(laplace_of_classes, codes=codes, n_classes=n_classes, **options)
    return Solver(function, (n_classes, len(codes)), 1e-12)


def of_classes_by_probit(codes: AnyArray, n_classes: int, counts: Array, max_iter: int) -> Solver:
    """For several classes by the multinomial probit, with a latent function each."""
    options: dict[str, Any] = {"counts": counts, "max_iter": max_iter}
    function = partial(propagate_classes, codes=codes, n_classes=n_classes, **options)
    return Solver(function, (2, n_classes, len(codes)), 1e-9)


class Evidence(Objective):
    """Minus the log evidence as a function of theta, the logarithms of hyperparameters.

    Evaluations start from what the last one found, `memory`.

    Parameters
    ----------
    rows : Covariances
    solver : Solver
    theta : (P,) array
        To start from.
    n_memory : int
        Length of `memory`, which may be longer than this solver's.
    """

    def __init__(self, rows: Covariances, solver: Solver, theta: Array, n_memory: int) -> None:
        super().__init__(theta, theta)
        self.rows, self.solver = rows, solver
        self.memory = np.full(n_memory, np.nan)

    def parts(self, point: Array) -> Array:
        """See `Objective`."""
        return point

    def limits(self, bounds: Array) -> Array:
        """See `Objective`."""
        return bounds

    def bound(self, point: Array, gradient: bool) -> Height:
        """See `Objective`; the evidence is no bound."""
        found = self.at(point, gradient, self.recalled(self.memory))
        self.memory = self.remembered(found)
        slope = self.gradient(point, found) if gradient else None
        return Height(found.value, slope, found.converged)

    def remembered(self, found: Approximation) -> Array:
        """What `memory` is after an approximation."""
        memory = np.full(len(self.memory), np.nan)
        memory[: found.memory.size] = found.memory.ravel()
        return memory

    def recalled(self, memory: Array) -> Array | None:
        """What a solver starts from, given a `memory`."""
        start = memory[: int(np.prod(self.solver.shape))]
        return None if np.isnan(start).any() else start.reshape(self.solver.shape)

    def at(self, theta: Array, slope: bool = False, start: Array | None = None) -> Approximation:
        """The approximation at theta; without convergence from `start`, that from nothing."""
        K = self.rows.matrix(theta)
        found = self.solver.function(K, start=start, slope=slope)
        if start is not None and not found.converged:
            found = self.solver.function(K, slope=slope)
        return found

    def fine(self, theta: Array, slope: bool = False) -> Approximation:
        """The approximation at theta, as predictions and users take it."""
        return self.solver.function(self.rows.matrix(theta), tol=self.solver.fine, slope=slope)

    def again(self, theta: Array, memory: Array) -> Approximation:
        """The approximation at theta with this `memory`, as it was."""
        K, start = self.rows.matrix(theta), self.recalled(memory)
        return self.solver.function(K, start=start, max_iter=0)

    def gradient(self, theta: Array, found: Approximation) -> Array:
        """Derivative of the evidence by theta."""
        assert found.by_k is not None
        return self.rows.gradient(theta, found.by_k)
