"""Fits that lower their own step size and know when to stop.

Steps come in stages of constant rate, as in Welandawe, Andersen, Vehtari and Huggins (2022),
"Robust, automated, and accurate black-box variational inference". A stage starts from the mean of
the iterates of the last one (Polyak and Juditsky 1992). The rate is halved when the progress of a
stage is lost in noise, and the fit ends when the remaining divergence is small on the scale of the
posterior. Natural gradients estimate that divergence; for plain ones it is the distance between the
last stages of two rates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastvi import loop
from fastvi.base import tree
from fastvi.base.progress import Bar, describe
from fastvi.batches import Batches
from fastvi.core import Gradient, Optimizer, add
from fastvi.families.base import Family
from fastvi.families.powers import Pace
from fastvi.fitting.compiled import CompiledSteps, Stage, stepwise
from fastvi.optimizers import adam, constant, scaled

__all__ = ["NaturalStages", "PlainStages", "Stages"]

STEPS = 10  # of a stage at unit rate
SLOW, LONGER = 1 / 16, 4  # with mini-batches, stages at such rates are longer by this factor
CLEAR = 0.1  # share of the tolerance below which one stage is enough
ENDLESS_PASSES = 2**62
ENDLESS = 1e60  # a parameter beyond it means that the posterior is improper
WINDOWS = 2  # least number in a stage for its halves to be compared
EXACT = 1e-4  # nats: draws whose bounds have such a standard error say that q equals the target
DROWNED = 2.0  # progress below so many times its own variance counts as noise


class NaturalState(NamedTuple):
    """What is known at the end of a stage; with the generator, it determines the next stage.

    `params` is the mean of the stage's iterates and `memory` the state of the gradient. `over` says
    that the fit cannot go on, `agreed` that the stage found little left to gain.
    """

    params: Any
    memory: Any
    rate: float = 1.0
    settled: bool = False
    over: bool = False
    agreed: bool = False


class PlainState(NamedTuple):
    """As `NaturalState`, with the best bound so far, the number of finished rates, and the mean of
    the last stage at the last of them.
    """

    params: Any
    memory: Any
    rate: float = 0.0
    settled: bool = False
    over: bool = False
    best: float = -np.inf
    n_rates: int = 0
    at_last_rate: Any = None


class Stages:
    """Stages of steps; a subclass says what follows from one.

    Parameters
    ----------
    window : int
        Steps in two passes over mini-batches, in whose mean most noise cancels; 0 without.

    Attributes
    ----------
    history : fastvi.loop.History
    """

    def __init__(
        self,
        gradient: Gradient,
        batches: Batches,
        *,
        tol: float,
        max_iter: int,
        rng: np.random.Generator,
        compiled: CompiledSteps | None = None,
        window: int = 0,
    ) -> None:
        self.gradient, self.batches, self.tol = gradient, batches, tol
        self.max_iter, self.rng, self.compiled = max_iter, rng, compiled
        self.window = window
        self._sums: list[Any] = []  # of a stage's gradients, at the ends of its windows
        self.history, self._position = loop.History(), loop.START
        self._bar: Bar | None = None

    def begin(self, params: Any) -> Any:
        """Return the initial state."""
        raise NotImplementedError

    def next(self, state: Any) -> Any:
        """The state after one more stage."""
        raise NotImplementedError

    def run(self, params: Any, watch: loop.Watch) -> Any:
        """Return the state when the fit has settled, cannot go on, or has used up its steps.

        `watch` sees the end of each stage, from which the fit can be resumed.
        """
        state = self.begin(params)
        with watch:
            self._bar = watch.bar
            state, self._position, self.history = watch.begin(
                state, self.batches, self.rng, ENDLESS_PASSES
            )
            while not (state.settled or state.over) and self._left() > 0:
                before = len(self.history)
                state = self.next(state)
                loop.logger.info(
                    "stage of %d steps, next rate %g: %s",
                    len(self.history) - before, state.rate, describe(self.history.last()),
                )  # fmt: skip
                if watch.after_step(state, self._position, self.history):
                    break
        return state

    def remarks(self, state: Any) -> dict[str, float]:
        """Figures of the fit that its verdict must know."""
        return {}

    def _enough(self, params: Any) -> float:
        """Divergence that may remain, in nats."""
        n_parameters = sum(np.size(leaf) for leaf in tree.leaves(params))
        return self.tol * self.tol * n_parameters

    def _stage(self, state: Any, n_steps: int) -> tuple[Stage, Any]:
        """Take at most so many steps from the last mean; return sums and the gradient's state."""
        n_steps = min(n_steps, self._left())
        self._sums = []

        def enough(inner: Any, position: loop.Position, history: loop.History) -> bool:
            self._position = position
            if self.window and inner.gradient.stage.n % self.window == 0:
                self._sums.append(tree.map_leaves(np.array, inner.gradient.stage.step))
            if self._bar is not None:
                self._bar.show(len(history), history.last())
            return bool(inner.gradient.stage.n >= n_steps)

        if self.compiled is not None:
            algorithm = self.compiled(state.rate, n_steps)
        else:
            algorithm = stepwise(
                self.gradient, self._optimizer(state.rate), state.memory, self._square, self._moved
            )
        inner, _ = loop.run(
            algorithm, algorithm.init(tree.map_leaves(np.array, state.params)), self.batches,
            n_epochs=ENDLESS_PASSES, rng=self.rng, position=self._position, history=self.history,
            after_step=enough,
        )  # fmt: skip
        return inner.gradient.stage, inner.gradient.inner

    def _attempt(self, state: Any, n_steps: int) -> tuple[Stage | None, Any]:
        """Take a stage; None if no draw of a step has a density, or parameters diverge.

        Raises
        ------
        TargetError
            If no draw has a density in the first stage.
        """
        first = len(self.history) == 0
        try:
            stage, memory = self._stage(state, n_steps)
        except ArithmeticError:
            if first:
                raise
            return None, state.memory
        ends = all(np.all(np.abs(leaf) < ENDLESS) for leaf in tree.leaves(stage.params))
        return (stage if ends else None), memory

    def _optimizer(self, rate: float) -> Optimizer:
        return constant(rate)

    def _square(self, step: Any) -> float:
        return 0.0

    def _moved(self, params: Any, step: Any) -> Any:
        return add(params, step)

    def _left(self) -> int:
        return self.max_iter - len(self.history)


class NaturalStages(Stages):
    """Constant rates along natural gradients, from 1 downwards.

    A fit has settled when two stages in a row find little left to gain, or one finds next to
    nothing.
    """

    def begin(self, params: Any) -> Any:
        """The state to begin with, a `NaturalState` here; `params` is a member."""
        return NaturalState(params, self.gradient.init(params))

    def next(self, state: Any) -> Any:
        """The state after one more stage."""
        longer = LONGER if self.window and state.rate <= SLOW else 1
        stage, memory = self._attempt(state, longer * int(STEPS / state.rate))
        if stage is None:
            return state._replace(over=True)
        state = state._replace(params=stage.mean(), memory=memory)
        if stage.n < 2:  # too few to estimate the noise
            return state._replace(over=True)
        whole = self._square(stage.step) / stage.n**2
        noise = max(stage.square / stage.n - whole, 0.0) / (stage.n - 1)
        left = whole - noise
        most, enough = max(left, 0.0) + noise, self._enough(state.params)
        settled = most < (1.0 if state.agreed else CLEAR) * enough
        if len(self._sums) >= WINDOWS:
            settled = self._halves_agree(enough)
        return state._replace(
            settled=settled,
            agreed=most < enough,
            rate=state.rate * 0.5 if left < DROWNED * noise else state.rate,
        )

    def _halves_agree(self, enough: float) -> bool:
        """Whether the mean gradients of both halves of a stage say that little remains.

        Halves are whole windows, within which the noise of mini-batches cancels, so they say more
        than single steps.
        """
        half = len(self._sums) // 2
        first, both = self._sums[half - 1], self._sums[2 * half - 1]
        n = half * self.window
        means = [
            tree.map_leaves(lambda leaf: leaf / n, first),
            tree.map_leaves(lambda leaf, before: (leaf - before) / n, both, first),
        ]
        whole = self._square(tree.map_leaves(lambda leaf: leaf / (2 * n), both))
        squares = [self._square(mean) for mean in means]
        noise = max(0.5 * sum(squares) - whole, 0.0)
        return max(whole, noise) < enough and max(squares) < 4.0 * enough

    def _square(self, step: Any) -> float:
        return float(step.gain())

    def _moved(self, params: Any, step: Any) -> Any:
        return params.moved(step)


class PlainStages(Stages):
    """Adam on free parameters (in units near 1), with rates from that of `pace` downwards.

    A rate is finished when the bound of a stage is no better than the best before it, and the fit
    when the last stages of two rates agree as well. It has settled at once if it begins at the
    target, as all draws then have the same log ratio; Adam would not see how small gradients are.

    Parameters
    ----------
    like : Family
        A member with the form of the free parameters.
    is_upper : bool
        Whether the bound is an upper one, to be lowered.
    units : callable, optional
        ``units(params)`` returns the unit in which each parameter is stepped.
    pace : Pace
    """

    def __init__(
        self,
        *args: Any,
        like: Family,
        is_upper: bool,
        units: Callable[[Any], Any] | None = None,
        pace: Pace = Pace(),  # noqa: B008
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.like, self.units, self.pace = like, units, pace
        self.sign = -1.0 if is_upper else 1.0

    def begin(self, params: Any) -> PlainState:
        """The state to begin with; `params` are the free parameters of a member."""
        memory = self.gradient.init(params)
        return PlainState(params, memory, self.pace.rate, at_last_rate=params)

    def next(self, state: PlainState) -> PlainState:
        """The state after one more stage."""
        if len(self.history) == 0 and self._is_exact(state):
            return state._replace(settled=True)
        longer = (self.pace.rate / state.rate) ** self.pace.growth
        stage, memory = self._attempt(state, int(self.pace.n_steps * longer))
        if stage is None:
            return state._replace(over=True)
        state = state._replace(params=stage.mean(), memory=memory)
        bounds = self.sign * np.array(self.history.columns["elbo"][-stage.n :])
        height, error = float(bounds.mean()), float(bounds.std() / np.sqrt(stage.n))
        best = max(state.best, height)
        if height > state.best + DROWNED * error:  # without noise they may be equal
            return state._replace(best=best)
        settled = False
        if state.n_rates:
            here, there = map(self.like.from_free, (state.params, state.at_last_rate))
            settled = here.divergence(there) < self._enough(state.params)
        return state._replace(
            best=best,
            settled=settled,
            rate=state.rate * 0.5,
            n_rates=state.n_rates + 1,
            at_last_rate=state.params,
        )

    def _is_exact(self, state: PlainState) -> bool:
        """Whether a first step, which is not kept, finds the same log ratio for all draws."""
        stage, _ = self._attempt(state, 1)
        return stage is not None and self.history.columns["elbo_error"][-1] < EXACT

    def _enough(self, params: Any) -> float:
        """Divergence that may remain, in nats."""
        if not self.pace.by_dimension:
            return super()._enough(params)
        return self.tol * self.tol * self.like.dim * (self.like.dim + 3) / 2

    def _optimizer(self, rate: float) -> Optimizer:
        return adam(rate) if self.units is None else scaled(adam(rate), self.units)
