"""Steps of a stage and their sums: one by one in Python, or many at once in machine code.

A step on a small target takes a microsecond in machine code and a hundred in Python. Families with
compiled steps therefore take as many per call as an interrupt can wait for. Both forms give the
same results from the same noise, up to rounding.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastvi.base import tree
from fastvi.base.typing import Array, Info, Tree
from fastvi.core import EACH_STEP, Algorithm, AscentState, Batch, Gradient, Optimizer, add, ascend
from fastvi.families.base import Family
from fastvi.families.powers import Driver
from fastvi.objectives import Objective, elbo
from fastvi.targets.base import Target

__all__ = ["CompiledSteps", "Stage", "Summed", "compiled_steps", "stepwise"]

AT_MOST = 0.05  # seconds of a call
NUMBERS = 2**18  # of noise in a call


class Stage(NamedTuple):
    """Sums over the steps of a stage at one rate: gradients, their squared lengths, iterates."""

    step: Tree = None
    square: float = 0.0
    params: Tree = None
    n: int = 0

    def plus(self, step: Tree, square: float, params: Tree) -> Stage:
        """Return the sums with one more step, taken at `params`."""
        if self.n == 0:
            return Stage(step, square, tree.map_leaves(np.array, params), 1)
        return Stage(
            tree.map_leaves(np.add, self.step, step),
            self.square + square,
            tree.map_leaves(np.add, self.params, params),
            self.n + 1,
        )

    def mean(self) -> Tree:
        """Mean of the iterates, which are close enough to be averaged linearly."""
        return tree.map_leaves(lambda leaf: leaf / self.n, self.params)


class Summed(NamedTuple):
    """State of a gradient, and the sums of its stage; ``state.gradient`` in both forms."""

    inner: object
    stage: Stage


def stepwise(
    gradient: Gradient,
    optimizer: Optimizer,
    memory: Tree,
    square: Callable[[Tree], float],
    move: Callable[[Tree, Tree], Tree] = add,
) -> Algorithm:
    """Return `ascend` with sums; the gradient's state begins as `memory`, if that is not None."""

    def init(params: Tree) -> Summed:
        return Summed(gradient.init(params) if memory is None else memory, Stage())

    def estimate(
        state: Summed, params: Tree, batch: Batch, rng: np.random.Generator
    ) -> tuple[Tree, Summed, Info]:
        step, inner, info = gradient.estimate(state.inner, params, batch, rng)
        return step, Summed(inner, state.stage.plus(step, square(step), params)), info

    return ascend(Gradient(init, estimate), optimizer, move=move)


class CompiledSteps:
    """The same in machine code, for `fastvi.gradients.reparam` gradients of the ELBO.

    Parameters
    ----------
    driver : Driver
        The family's loop over steps.
    target : Target
    power : float
        Power to which the target is raised.
    n_draws : int
        Draws per step.
    """

    def __init__(self, driver: Driver, target: Target, power: float, n_draws: int) -> None:
        self.driver, self.target, self.power, self.n_draws = driver, target, power, n_draws
        self._length = 1  # steps of the next call, which changes no bits

    def __call__(self, rate: float, n_steps: int) -> Algorithm:
        """Constant rates for natural gradients, Adam for plain ones; `n_steps` in all."""

        def step(
            state: AscentState, batch: Batch, rng: np.random.Generator
        ) -> tuple[AscentState, Info]:
            left = n_steps - state.gradient.stage.n
            return self._call(state, rate, left, batch, rng)

        return Algorithm(self._begin, step)

    def _begin(self, params: Tree) -> AscentState:
        from fastvi.kernels import drivers

        K, D = self.n_draws, self.target.dim
        width = self.driver.width or D
        n_terms, size = self.target.n_terms, sum(np.size(leaf) for leaf in params)
        eps, Z = np.empty((K, width)), np.empty((K, D))
        rest = np.empty((K, n_terms)), np.empty((K, D)), np.empty(size)
        sums = drivers.Sums(np.zeros(size), np.zeros(1), np.zeros(size))
        state = drivers.Work(eps, Z, *rest), sums, np.zeros((2, size))
        return AscentState(tree.map_leaves(np.array, params), Summed(None, Stage()), state)

    def _call(
        self, state: AscentState, rate: float, left: int, batch: Batch, rng: np.random.Generator
    ) -> tuple[AscentState, Info]:
        from fastvi.kernels import drivers

        began, before = time.perf_counter(), rng.bit_generator.state
        shape = (self.n_draws + 1) // 2, self.driver.width or self.target.dim
        m = min(left, self._length, max(NUMBERS // (shape[0] * shape[1]), 1))
        noise = rng.standard_normal((m if batch.rows is None else 1, *shape))
        table, flat = self.target.table(batch), _flat(state.params)
        work, sums, moments = state.optimizer
        n, trace = state.gradient.stage.n, drivers.Trace(*np.empty((4, len(noise))))
        kind = self.driver.step
        options = () if kind else (n + 1, moments)
        done = self.driver.run(
            self.target.address, table.words, noise, self.power, rate, flat, work, sums, trace,
            *options,
        )  # fmt: skip
        if done == 0:
            self.target.refuse(work.Z, batch)
        if done < len(noise):  # as if the noise of the step that failed had not been drawn
            rng.bit_generator.state = before
            rng.standard_normal((done, *shape))
        if time.perf_counter() - began < AT_MOST:
            self._length *= 2
        step, total = (_like(state.params, x) for x in (sums.step, sums.params))
        stage = Stage(kind(*step) if kind else step, float(sums.square[0]), total, n + done)
        columns = {name: column[:done] for name, column in trace._asdict().items()}
        params = _like(state.params, flat)
        return AscentState(params, Summed(None, stage), state.optimizer), {EACH_STEP: columns}


def compiled_steps(
    target: Target, objective: Objective, member: Family, *, n_draws: int, natural: bool
) -> CompiledSteps | None:
    """Return compiled steps of a member, for natural or plain gradients; None if it has none.

    There are drivers for the ELBO only, tempered or not.
    """
    power = member.powers.compiled
    if power is None or objective[:2] != elbo()[:2]:
        return None
    driver = power.driver(natural)
    return None if driver is None else CompiledSteps(driver, target, objective.power, n_draws)


def _flat(params: Tree) -> Array:
    """The numbers of a tree of one level, in a new array."""
    return np.concatenate([np.ravel(leaf) for leaf in params])


def _like(params: Tree, flat: Array) -> Tree:
    """Flat numbers as a tree of the form of `params`, which has one level."""
    sizes = np.cumsum([np.size(leaf) for leaf in params])[:-1]
    parts = (part.reshape(leaf.shape) for part, leaf in zip(np.split(flat, sizes), params))
    return tree.rebuild(params, parts)
