"""Paths uphill on a target, several at once on threads: L-BFGS in machine code."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from fastvi.base import parallel
from fastvi.base.typing import Array
from fastvi.targets.base import Target

__all__ = ["End", "ascents"]

MEMORY = 10  # updates
AT_MOST = 0.05  # seconds of a call, which cannot be interrupted


class End(NamedTuple):
    """The end of a path, and the iterates that led there, if requested.

    Attributes
    ----------
    place : (D,) array
    log_prob : float
        nan without a density at the start.
    grad : (D,) array
    arrived : bool
        Whether the gradient vanishes, within the tolerance.
    n_evaluations : int
    points, grads : (n, D) array
        From the start to the place; empty unless requested.
    log_probs : (n,) array
    """

    place: Array
    log_prob: float
    grad: Array
    arrived: bool
    n_evaluations: int
    points: Array
    grads: Array
    log_probs: Array


def ascents(
    target: Target,
    starts: Array,
    units: Sequence[Array],
    *,
    tol: float,
    max_iter: int,
    n_threads: int = 1,
    memory: int = MEMORY,
    traced: bool = False,
) -> list[End]:
    """Climb from each of the starts (n, D); the same bits for any number of threads.

    Parameters
    ----------
    target : Target
        With gradient.
    starts : (n, D) array
    units : sequence of n arrays
        Frames, (D, D) lower triangular or (1, D) diagonal; units units' is the first estimate of
        the inverse of the negated Hessian.
    tol : float
        A path ends where g' H g is below it, for the gradient g and the estimated inverse H.
    max_iter : int
    n_threads : int
        Targets that cannot be called by several threads use one.
    memory : int
        Updates of H that a path remembers.
    traced : bool
        Keep all iterates.
    """
    target.attempt(starts[:1])  # derives a gradient that was left for later
    ends: list[End | None] = [None] * len(starts)

    def climb(i: int) -> None:
        n_rows = max_iter + 1 if traced else 0
        ends[i] = _ascent(target, starts[i], units[i], tol, max_iter, memory, n_rows)

    parallel.run(climb, len(starts), n_threads if target.concurrent else 1)
    return [end for end in ends if end is not None]


def _ascent(
    target: Target, start: Array, units: Array, tol: float, max_iter: int, memory: int, n_rows: int
) -> End:
    from fastvi.kernels import modes

    D, words, left = len(start), target.data_table, max_iter
    path = modes.path_at(start, memory, target.n_terms, n_rows)
    status, length = modes.NEW, 1
    while status == modes.NEW or (status == modes.RUNNING and left > 0):
        began, n = time.perf_counter(), min(length, left)
        status = modes.ascend(target.address, words, units, path, tol, n)
        left -= n
        if time.perf_counter() - began < AT_MOST:  # which changes no bits
            length *= 4
    iterates = path.trace[: int(path.counts[modes.ITERATIONS]) + 1]
    return End(
        path.rows[modes.Z], float(path.numbers[modes.VALUE]), path.rows[modes.GRAD],
        bool(status == modes.ARRIVED), int(path.counts[modes.EVALUATIONS]),
        iterates[:, :D], iterates[:, D : 2 * D], iterates[:, 2 * D],
    )  # fmt: skip
