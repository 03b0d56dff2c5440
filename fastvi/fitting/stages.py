"""Fits that lower their own step size and know when to stop.

Both go through windows of steps at one rate, go on from the mean of a window's iterates (Polyak and
Juditsky 1992), halve the rate when a window makes no progress that its noise would let one see,
and end when the divergence that is left is small against the posterior's own scale: the scheme of
Welandawe, Andersen, Vehtari and Huggins (2022), "Robust, automated, and accurate black-box
variational inference". Natural gradients measure what is left themselves; for plain ones it is
what the last windows have moved.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastvi import loop
from fastvi.base import tree
from fastvi.batches import Batches
from fastvi.core import Gradient, Optimizer
from fastvi.fitting.compiled import Window, stepwise
from fastvi.optimizers import adam, constant, scaled

__all__ = ["NaturalStages", "PlainStages"]

WINDOW = 10  # steps at unit rate before it is asked whether the fit has settled
PLAIN_WINDOW = 200
FIRST_RATE = 0.1  # of Adam, in units of the start's standard deviations
CLEAR = 0.1  # share of what may be left that one window is enough to see
ENDLESS = 1e60  # what a parameter comes to where a posterior is improper
DROWNED = 2.0  # progress below so many times its own variance is none


class _Stages:
    """Windows of steps; a subclass says what follows from one.

    Attributes
    ----------
    params : tree
        The mean of the last window's iterates.
    settled : bool
    history : fastvi.loop.History
    """

    def __init__(
        self,
        gradient: Gradient,
        params: Any,
        batches: Batches,
        *,
        tol: float,
        max_iter: int,
        rng: np.random.Generator,
        report: Any = None,
    ) -> None:
        self.gradient, self.batches, self.max_iter, self.rng = gradient, batches, max_iter, rng
        self.params, self.settled = params, False
        self.history, self._position = loop.History(), loop.START
        self._report = report
        self._memory: Any = None  # of the gradient, from one window to the next
        self._blocks = None if gradient.blocks is None else gradient.blocks(params)
        n_parameters = sum(np.size(leaf) for leaf in tree.leaves(params))
        self.enough = tol * tol * n_parameters

    def _window(self, rate: float, n_steps: int) -> Window:
        """So many steps from the last mean on."""

        def enough(state: Any, position: loop.Position, history: loop.History) -> bool:
            self._position = position
            if self._report is not None:
                self._report(history)
            return bool(state.gradient.window.n >= n_steps)

        if self._blocks is not None:
            algorithm = self._blocks(rate, n_steps)
        else:
            algorithm = stepwise(self.gradient, self._optimizer(rate), self._memory, self._square)
        state, _ = loop.run(
            algorithm, algorithm.init(tree.map_leaves(np.array, self.params)), self.batches,
            n_epochs=2**62, rng=self.rng, position=self._position, history=self.history,
            after_step=enough,
        )  # fmt: skip
        self._memory = state.gradient.inner
        window: Window = state.gradient.window
        return window

    def _attempt(self, rate: float, n_steps: int) -> Window | None:
        """A window, or None if it ended where no draw has a density, or ran away without end.

        The last mean is kept then.

        Raises
        ------
        TargetError
            If no draw has a density in the first window.
        """
        first = len(self.history) == 0
        try:
            window = self._window(rate, n_steps)
        except ArithmeticError:
            if first:
                raise
            return None
        ends = all(np.all(np.abs(leaf) < ENDLESS) for leaf in tree.leaves(window.params))
        return window if ends else None

    def _optimizer(self, rate: float) -> Optimizer:
        return constant(rate)

    def _square(self, step: Any) -> float:
        return 0.0

    def _left(self) -> int:
        return self.max_iter - len(self.history)


class NaturalStages(_Stages):
    """Constant rates along natural gradients, from 1 downwards."""

    def _square(self, step: Any) -> float:
        """Symmetrised divergence that a step of unit rate gains on a Gaussian, nats."""
        return float(np.vdot(step.mean, step.mean) + 0.5 * np.vdot(step.spread, step.spread))

    def run(self) -> None:
        """Until the fit has settled or the steps are used up.

        That two windows in a row find little left says so, or one that finds next to nothing.
        """
        rate, agreed = 1.0, False
        while not self.settled and self._left() > 0:
            window = self._attempt(rate, min(int(WINDOW / rate), self._left()))
            if window is None:
                return
            self.params = window.mean()
            if window.n < 2:  # of which nothing can be told
                return
            whole = self._square(window.step) / window.n**2
            noise = max(window.square / window.n - whole, 0.0) / (window.n - 1)
            left = whole - noise
            most = max(left, 0.0) + noise
            self.settled = most < (1.0 if agreed else CLEAR) * self.enough
            agreed = most < self.enough
            if left < DROWNED * noise:
                rate *= 0.5


class PlainStages(_Stages):
    """Adam on free parameters (in units near 1), with rates from 0.1 downwards."""

    def __init__(self, *args: Any, family: Any, is_upper: bool, **options: Any) -> None:
        super().__init__(*args, **options)
        self.family = family
        self.sign = -1.0 if is_upper else 1.0

    def run(self) -> None:
        """Until the fit has settled or the steps are used up.

        A rate is done with when the bound of a window is no better than that of the window before,
        and the fit when the last windows of two rates agree as well.
        """
        rate, best, at_last_rate = FIRST_RATE, -np.inf, None
        while not self.settled and self._left() > 0:
            n_steps = int(PLAIN_WINDOW * np.sqrt(FIRST_RATE / rate))
            window = self._attempt(rate, min(n_steps, self._left()))
            if window is None:
                return
            self.params = window.mean()
            bounds = self.sign * np.array(self.history.columns["bound"][-window.n :])
            height, error = float(bounds.mean()), float(bounds.std() / np.sqrt(window.n))
            if height <= best + DROWNED * error:  # without noise they may be equal
                member = self.family.from_free(self.params)
                if at_last_rate is not None:
                    self.settled = _divergence(member, at_last_rate) < self.enough
                rate, at_last_rate = rate * 0.5, member
            best = max(best, height)

    def _optimizer(self, rate: float) -> Optimizer:
        """Adam, in units of the family's own where it has them."""
        units = getattr(self.family, "step_units", None)
        return adam(rate) if units is None else scaled(adam(rate), units)


def _divergence(a: Any, b: Any) -> float:
    """Symmetrised divergence of two members, nats."""
    if hasattr(a, "divergence"):
        return float(a.divergence(b))
    return _relative(a, b) + _relative(b, a)


def _relative(a: Any, b: Any) -> float:
    """KL(a || b) of Gaussians."""
    away = b.mean - a.mean
    inverse = np.linalg.inv(b.cov)
    trace = float(np.sum(inverse * a.cov))
    square = float(away @ inverse @ away)
    return float(0.5 * (trace + square - len(away)) + b.log_det - a.log_det)
