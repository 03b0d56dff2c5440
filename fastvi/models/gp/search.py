"""Searches for the maximum of a bound, by L-BFGS or a callable."""

from __future__ import annotations

import time
import zlib
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import OptimizeResult, minimize

from fastvi.base.typing import Array, DTypeLike
from fastvi.batches import Passes
from fastvi.loop import History, Position, Watch

__all__ = ["Evaluations", "Found", "Height", "Objective", "columns", "search"]

ABNORMAL = 2  # a status of L-BFGS
LAST = 5  # iterations whose gains are compared with rounding
MEMORY = 50  # pairs of steps and gradients that L-BFGS keeps


class Height(NamedTuple):
    """A bound in nats, its derivative by the coordinates if asked for, and whether it settled.

    The value is ignored if the iterations have not converged, as it may then be higher than their
    limit.
    """

    value: float
    slope: Array | None
    settled: bool = True


class Objective:
    """Minus a bound (plus log prior), of a vector that begins with theta if that is learned.

    A subclass says what the bound is.

    Parameters
    ----------
    start : (n_coordinates,) array
    theta : (P,) array
        Logarithms of hyperparameters, where the prior has its mean.
    prior : float, optional
        Standard deviation of the prior.
    kernel : bool
        Whether theta is learned.
    """

    memory: Array = np.empty(0)

    def __init__(
        self, start: Array, theta: Array, prior: float | None = None, *, kernel: bool = True
    ) -> None:
        self.start, self.theta, self.prior, self.kernel = start, theta, prior, kernel
        self.worst = -np.inf

    def bound(self, point: Array, gradient: bool) -> Height:
        """The bound in nats and, if asked for, its derivative by the coordinates."""
        raise NotImplementedError

    def parts(self, point: Array) -> Any:
        """The parameters that a point stands for."""
        raise NotImplementedError

    def limits(self, bounds: Array) -> Array:
        """Lower and upper bounds of what is learned, from those of theta (P, 2)."""
        raise NotImplementedError

    def __call__(self, point: Array, eval_gradient: bool = True) -> Any:
        """Value and gradient; without a factor, or unsettled, a value worse than all before."""
        point = np.asarray(point, np.float64)
        try:
            with np.errstate(all="ignore"):  # hyperparameters far out overflow
                bound, slope, settled = self.bound(point, eval_gradient)
        except np.linalg.LinAlgError:
            return _outside(self.worst, len(point), eval_gradient)
        if not settled and np.isfinite(self.worst):  # the start has to do as it is
            return _outside(self.worst, len(point), eval_gradient)
        value = -bound
        gradient = np.zeros(len(point)) if slope is None else -slope
        if self.prior is not None and self.kernel:
            n = len(self.theta)
            excess = (point[:n] - self.theta) / self.prior
            value += 0.5 * float(excess @ excess)
            gradient[:n] += excess / self.prior
        self.worst = max(self.worst, value)
        return (value, gradient) if eval_gradient else value


def _outside(worst: float, n: int, eval_gradient: bool) -> Any:
    """Value, and gradient (n,) if asked for, of an objective where a matrix has no factor."""
    value = worst + 1e3 * (1.0 + abs(worst))
    return (value, np.zeros(n)) if eval_gradient else value


class Evaluations:
    """Evaluations of an objective by all searches of a fit, and the history of their iterations.

    A search is a function of what it is told, so that one begun afresh comes to the same bits as
    the one before if it is told the same. That is what a checkpoint takes: the results of
    evaluations, (k, 4 + n_coordinates + n_memory), which `begin` hands out again where the points
    agree. `memory` is what an objective's next evaluation starts from.

    Parameters
    ----------
    objective : Objective
    watch : fastvi.loop.Watch
    """

    def __init__(self, objective: Any, watch: Watch) -> None:
        self.objective, self.watch = objective, watch
        self.history = History()
        # value, worst so far, seconds, checksum of the point; gradient; memory
        self.rows: list[Array] = []
        self.point = objective.start
        self.seconds, self.stopped = 0.0, False
        self._is_kept = watch.checkpoints is not None
        self._n_done = self.n_iter = 0
        self._last = time.perf_counter()

    def begin(self, n_most: int) -> None:
        """Take up a checkpoint, if the fit is to be resumed."""
        batches, rng = Passes(), np.random.default_rng(0)
        rows, _, self.history = self.watch.begin(None, batches, rng, n_most)
        if rows is not None:
            width = 4 + len(self.objective.start) + self.objective.memory.size
            if rows.dtype != np.float64 or rows.ndim != 2 or rows.shape[1] != width:
                raise ValueError(f"the checkpoint is not one of {width - 4} numbers to search")
            self.rows = list(rows)

    def __array__(self, dtype: DTypeLike | None = None, copy: Any = None) -> Array:
        """What a checkpoint keeps."""
        return np.array(self.rows[: self._n_done], dtype)

    def __call__(self, point: Array, eval_gradient: bool = True) -> Any:
        """Value, and the gradient if asked for."""
        point = np.array(point)
        row = self._known(point)
        if row is None:
            found = self.objective(point, eval_gradient)
            value, gradient = found if eval_gradient else (found, np.full(len(point), np.nan))
            now = time.perf_counter()
            self.seconds += now - self._last
            numbers = value, self.objective.worst, self.seconds, _checksum(point)
            row = np.concatenate((numbers, gradient, self.objective.memory))
            if self._is_kept:
                self.rows.append(row)
        self._last = time.perf_counter()
        self._n_done += 1
        return (float(row[0]), self._gradient(row)) if eval_gradient else float(row[0])

    def _gradient(self, row: Array) -> Array:
        return row[4 : 4 + len(self.objective.start)]

    def _known(self, point: Array) -> Array | None:
        """What an earlier process found here; elsewhere all that it found later is forgotten."""
        if self._n_done >= len(self.rows):
            return None
        row = self.rows[self._n_done]
        if row[3] != _checksum(point) or np.isnan(self._gradient(row)).any():
            del self.rows[self._n_done :]
            self.history = self._kept(slice(0, self.n_iter))
            return None
        self.objective.worst, self.seconds = float(row[1]), float(row[2])
        self.objective.memory = row[4 + len(point) :].copy()
        return row

    def _kept(self, rows: slice) -> History:
        return History({name: column[rows] for name, column in self.history.columns.items()})

    def iterate(self, point: Array, bound: float, seconds: float) -> None:
        """Note an iteration, unless it was noted before; whoever watches may stop the searches.

        Raises
        ------
        StopIteration
            If they do.
        """
        self.n_iter += 1
        if self.n_iter <= len(self.history):
            return
        self.point = point.copy()
        self.history.append(elbo=bound, seconds=seconds)
        self.stopped = self.watch.after_epoch(self, Position(self.n_iter), self.history)
        if self.stopped:
            raise StopIteration

    def columns(self, first: int) -> dict[str, Array]:
        """The history of the search that began after so many iterations."""
        return columns(self._kept(slice(first, self.n_iter)))


def _checksum(point: Array) -> float:
    return float(zlib.crc32(point.tobytes()))


class Found(NamedTuple):
    """Where a search ended, and the bound and seconds after each of its iterations."""

    point: Array
    value: float
    history: dict[str, Array]
    n_iter: int
    converged: bool
    failed: bool = False  # no step from there gains, though the gradient says so


def search(
    evaluations: Evaluations, start: Array, bounds: Array, optimizer: Any, max_iter: int, tol: float
) -> Found:
    """The minimum by a callable, or by L-BFGS."""
    first, before = evaluations.n_iter, evaluations.seconds
    if callable(optimizer):
        point, value = optimizer(evaluations, start, bounds=bounds)
        return Found(np.asarray(point), float(value), columns(History()), 0, True)

    def follow(intermediate_result: Any) -> None:
        bound, seconds = -float(intermediate_result.fun), evaluations.seconds - before
        evaluations.iterate(intermediate_result.x, bound, seconds)

    limits = {"maxiter": max_iter, "maxfun": 10 * max_iter + 100}
    done = minimize(
        evaluations, start, jac=True, method="L-BFGS-B", bounds=bounds, callback=follow,
        options={"ftol": tol, "gtol": 1e-5, "maxcor": MEMORY, **limits},
    )  # fmt: skip
    history = evaluations.columns(first)
    failed = done.status == ABNORMAL
    settled = failed and (
        _promised(done, bounds) <= tol * max(abs(done.fun), 1.0)
        or _lost_in_rounding(evaluations.objective, done.x, bounds, history["elbo"])
    )
    converged = done.status == 0 or settled  # not out of iterations, stopped, or stuck
    return Found(done.x, float(done.fun), history, len(history["elbo"]), converged, failed)


def _promised(done: OptimizeResult, bounds: Array) -> float:
    """Gain that gradient and curvature promise, g' H g / 2, among free coordinates."""
    moved = np.clip(done.x - done.jac, bounds[:, 0], bounds[:, 1]) - done.x
    free = np.where(moved == 0.0, 0.0, done.jac)
    return 0.5 * float(free @ (done.hess_inv @ free))


def _lost_in_rounding(objective: Objective, point: Array, bounds: Array, elbo: Array) -> bool:
    """Whether the last iterations gained no more than the bound's rounding error.

    Kernels of condition 1e12 leave few digits of the bound's last changes. The rounding error is
    measured by changing the last digits of the point; one above 1e-7 of the bound does not count as
    convergence.
    """
    if len(elbo) <= LAST:
        return False
    rng = np.random.default_rng(0)
    shifts = 1e-13 * np.maximum(np.abs(point), 1.0) * rng.standard_normal((8, len(point)))
    near = np.clip(point + shifts, bounds[:, 0], bounds[:, 1])
    rounding = float(np.std([objective(each, eval_gradient=False) for each in near]))
    gain, size = float(elbo[-1] - elbo[-1 - LAST]) / LAST, max(abs(float(elbo[-1])), 1.0)
    return gain <= 10.0 * rounding <= 1e-6 * size


def columns(history: History) -> dict[str, Array]:
    """The columns that a search's history has, also after no iterations."""
    return {name: np.zeros(0) for name in ("elbo", "seconds")} | history.arrays()
