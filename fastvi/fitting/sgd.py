"""Stochastic gradient descent of constant rate as approximate inference.

Mandt, Hoffman and Blei (2017), "Stochastic gradient descent as approximate Bayesian inference".
From the mode, gradients g of independent mini-batches of S of N rows lead along ``z + H g``, and
the iterates come to a stationary distribution. With the curvature A (minus the Hessian) and the
covariance B = N^2 C / S of g, where C is that of the gradient of one row, its covariance V obeys

    H A V + V A H - H A V A H = H B H,

and ``H = 2 (A + B)^-1`` makes V = A^-1, that of Laplace's approximation. For S << N this is 2 B^-1,
the paper's Theorem 2, without the error of treating steps as infinitely small. Its best diagonal
and scalar rates, 2 / B_kk (Corollary 3) and 2 D / tr B (Theorem 1: 2 S D / (N tr C) for the loss
divided by N), become 2 / (A + B)_kk and 2 D / tr(A + B) in the same way. These two reach the
posterior's covariance only where A is nearly as diagonal as they are.

Averages of iterates over a pass, of a rate that is as large as noise allows, have the sandwich
covariance A^-1 N C A^-1 instead (their section 5; Polyak and Juditsky 1992), whatever H is.
"""

from __future__ import annotations

from typing import NamedTuple, NoReturn

import numpy as np
from scipy.linalg import eigh

from fastvi import loop
from fastvi.base.typing import Array, Info
from fastvi.batches import Passes
from fastvi.core import Algorithm, Batch
from fastvi.posteriors.sandwich import row_covariance
from fastvi.targets.base import Target

__all__ = ["PRECONDITIONERS", "Plan", "Walk", "averaging", "plan"]

PRECONDITIONERS = ("full", "diagonal", "scalar")
LARGEST, SHARE = 100, 100  # default batch: so many rows, or one in so many
FORGOTTEN = 5.0  # relaxation times before iterates count
LEAST_NOISE = 0.05  # variance of gradients, relative to the curvature, in each direction
STEEPEST, RELAXATIONS = 0.5, 15.0  # of averages: largest drift, relaxation times of a pass
ENDLESS = 1e60  # a parameter beyond it has diverged
FEWEST_STEPS = 10  # of a pass, for averages over it


class Plan(NamedTuple):
    """A walk, worked out before its first step.

    Attributes
    ----------
    centre : (D,) array
        The mode.
    cov : (D, D) array
        Inverse of the negated Hessian there.
    rate : (D, D) or (1, D) array
        The preconditioner H times its rate; a diagonal as one row.
    n_steps : int
        Steps of a pass.
    batch_size : int
    drift : (D,) array
        Eigenvalues of H A, ascending: the shares of the way to the mode that a step goes.
    n_discarded : int
        Passes before iterates count.
    averaged : bool
        Whether averages over passes count, instead of iterates.
    """

    centre: Array
    cov: Array
    rate: Array
    n_steps: int
    batch_size: int
    drift: Array
    n_discarded: int
    averaged: bool

    def n_passes(self, tol: float) -> int:
        """Passes until means are known to a share `tol` of their standard deviations."""
        per_pass = 1.0 if self.averaged else 0.5 * self.n_steps * self.drift[0]
        return self.n_discarded + int(np.ceil(1.0 / (tol * tol * min(per_pass, 1.0))))


def plan(
    target: Target,
    mode: Array,
    cov: Array,
    *,
    batch_size: int | None,
    preconditioner: str,
    learning_rate: float,
    averaged: bool,
    seed: int,
) -> Plan:
    """Measure the noise of gradients at a mode, and choose the rate.

    Parameters
    ----------
    target : Target
    mode : (D,) array
    cov : (D, D) array
        Inverse of the negated Hessian at the mode.
    batch_size : int or None
    preconditioner : {"full", "diagonal", "scalar"}
    learning_rate : float
        Relative to the best rate.
    averaged : bool
    seed : int

    Raises
    ------
    ValueError
        If the target takes no rows, some direction has hardly any noise, or steps overshoot.
    """
    n_rows = target.n_rows
    if not n_rows:
        raise ValueError(
            f"{target.name} takes no rows and weights, and SGD needs the noise of mini-batches; "
            "write it with these arguments"
        )
    size = batch_size or max(1, min(LARGEST, n_rows // SHARE))
    n_steps = max(1, round(n_rows / size))
    if averaged and n_steps < FEWEST_STEPS:
        raise ValueError(
            f"batch_size={size} gives {n_steps} steps per pass of {n_rows} rows; averages over a "
            f"pass want at least {FEWEST_STEPS}"
        )
    noise = n_rows**2 / size * row_covariance(target, mode, seed)
    curvature = np.asarray(np.linalg.inv(cov), np.float64)
    _refuse_still(target, noise, curvature)
    rate = _best_rate(preconditioner, curvature + noise)
    drift = _drift(rate, curvature)
    factor = learning_rate
    if averaged:
        factor *= min(RELAXATIONS / (n_steps * drift[0]), STEEPEST / drift[-1])
    rate, drift = factor * rate, factor * drift
    if drift[-1] >= 2.0:
        raise ValueError(
            f"learning_rate={learning_rate:g} makes steps overshoot the mode by more than they "
            f"were away (largest drift {drift[-1]:.3g}); wanted less than "
            f"{2.0 * learning_rate / drift[-1]:.3g}"
        )
    discarded = int(np.ceil(FORGOTTEN / (min(drift[0], 1.0) * n_steps)))
    kept = np.diag(rate)[None] if preconditioner != "full" else rate
    return Plan(
        np.array(mode), np.array(cov), np.ascontiguousarray(kept), n_steps, size, drift, discarded,
        averaged,
    )  # fmt: skip


def _best_rate(preconditioner: str, total: Array) -> Array:
    """The best H (D, D) of its kind, from A + B."""
    if preconditioner == "full":
        return np.asarray(2.0 * np.linalg.inv(total), np.float64)
    if preconditioner == "diagonal":
        return np.asarray(np.diag(2.0 / np.diag(total)))
    return np.asarray(np.eye(len(total)) * (2.0 * len(total) / np.trace(total)))


def _drift(rate: Array, curvature: Array) -> Array:
    """Eigenvalues (D,) of H A, which are those of a symmetric problem."""
    return np.asarray(eigh(curvature, np.linalg.inv(rate), eigvals_only=True))


def _refuse_still(target: Target, noise: Array, curvature: Array) -> None:
    """Refuse a direction in which the rows' gradients hardly vary, which SGD cannot explore."""
    shares, along = eigh(noise, curvature)
    if shares[0] < LEAST_NOISE:
        units = 1.0 / np.sqrt(np.diag(curvature))
        name = target.names[int(np.argmax(np.abs(along[:, 0]) / units))]
        raise ValueError(
            f"the gradients of rows hardly vary along {name} (by {max(shares[0], 0.0):.2g} of the "
            "curvature there), so that SGD stays at the mode; wanted parameters that rows inform, "
            "not the parameters of priors alone, or another method"
        )


def averaging(course: Plan) -> Array:
    """Variances (D,) of averages over a pass relative to the sandwich, along eigenvectors of H A.

    Those of an autoregression with coefficient 1 - drift.
    """
    a, n = 1.0 - course.drift, course.n_steps
    return np.asarray(1.0 - 2.0 * a * (1.0 - a**n) / (n * (1.0 - a * a)))


class WalkState(NamedTuple):
    """Where a walk is, and sums over what counts: places less the mode, and their squares."""

    z: Array
    total: Array
    outer: Array
    n: int = 0
    n_passes: int = 0


class Walk:
    """Passes of a plan, in machine code."""

    def __init__(
        self, target: Target, course: Plan, *, tol: float, max_iter: int, seed: int
    ) -> None:
        self.target, self.plan, self.curvature = target, course, np.linalg.inv(course.cov)
        self.rng = np.random.default_rng(seed)
        self.wanted = course.n_passes(tol)
        self.n_passes = min(self.wanted, max_iter)
        per_pass = 1 if course.averaged else course.n_steps
        least = course.n_discarded + -(-(target.dim + 2) // per_pass)
        if max_iter < least:
            raise ValueError(
                f"max_iter={max_iter} passes are too few for SGD to forget where it began (the "
                f"smallest drift is {course.drift[0]:.2g} per step); wanted at least {least}"
            )

    def run(self, watch: loop.Watch) -> tuple[WalkState, loop.History]:
        """Take the passes; return the last state and what each pass reported."""
        D, batches = self.target.dim, Passes()
        begin = WalkState(self.plan.centre.copy(), np.zeros(D), np.zeros((D, D)))
        with watch:
            state, position, history = watch.begin(begin, batches, self.rng, self.n_passes)
            return loop.run(
                Algorithm(lambda start: start, self._pass), state, batches,
                n_epochs=self.n_passes, rng=self.rng, position=position, history=history,
                watch=watch,
            )  # fmt: skip

    def moments(self, state: WalkState) -> tuple[Array, Array]:
        """Mean and covariance of what counts; those of Laplace's method before that is enough."""
        plan = self.plan
        if state.n < self.target.dim + 2:
            return plan.centre, plan.cov
        mean = state.total / state.n
        cov = state.outer / state.n - np.outer(mean, mean)
        if plan.averaged:  # a pass has n_steps batch_size rows, which is nearly n_rows
            cov *= plan.n_steps * plan.batch_size / (self.target.n_rows or 1)
        return plan.centre + mean, cov

    def settled(self, state: WalkState) -> bool:
        """Whether as many passes were made as the tolerance asks for."""
        per_pass = 1 if self.plan.averaged else self.plan.n_steps
        return state.n >= (self.wanted - self.plan.n_discarded) * per_pass

    def _pass(
        self, state: WalkState, batch: Batch, rng: np.random.Generator
    ) -> tuple[WalkState, Info]:
        from fastvi.kernels import sgd

        plan, target = self.plan, self.target
        n_rows, (m, S) = target.n_rows or 0, (plan.n_steps, plan.batch_size)
        rows = rng.integers(0, n_rows, (m, S))
        weights = np.full(S, n_rows / S)
        place, words = sgd.at(state.z, target.n_terms), target.table().words.copy()
        total, outer = np.zeros(target.dim), np.zeros_like(state.outer)
        squares = outer[:0, :0] if plan.averaged else outer
        done = sgd.walk(
            target.address, words, rows, weights, plan.rate, plan.centre, place, total, squares
        )
        if done < m or not np.all(np.abs(place.z) < ENDLESS):
            self._refuse(place.z, Batch(rows[min(done, m - 1)], weights))
        if plan.averaged:
            mean = total / m
            total, outer, m = mean, np.outer(mean, mean), 1
        figures = {"spread": float(np.sum(self.curvature * outer)) / (m * target.dim)}
        state = state._replace(z=place.z[0], n_passes=state.n_passes + 1)
        if state.n_passes > plan.n_discarded:
            state = state._replace(
                total=state.total + total, outer=state.outer + outer, n=state.n + m
            )
        return state, figures

    def _refuse(self, z: Array, batch: Batch) -> NoReturn:
        if np.all(np.abs(z) < ENDLESS):
            self.target.refuse(z, batch)
        raise ValueError(
            f"SGD diverged: batches of {self.plan.batch_size} rows lead far from the mode, where "
            "gradients are larger; wanted a larger batch_size or a smaller learning_rate"
        )
