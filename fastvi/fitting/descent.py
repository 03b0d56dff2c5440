"""How particles move until they are at rest."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastvi import loop, optimizers
from fastvi.base.typing import AnyArray, Info
from fastvi.batches import Batches
from fastvi.core import Batch, Gradient, Optimizer, ascend, scale

__all__ = ["Descent"]

DELAY, EXPONENT = 50.0, 0.6  # of rates that fall
FAR = 0.5  # residual above which particles are still on their way
ENDLESS = 2**62  # passes
WINDOW = 100  # steps on batches whose mean direction says whether particles are at rest


class _Rest(NamedTuple):
    """State of the gradient, and what says whether particles are at rest.

    Attributes
    ----------
    inner : tree
        State of the method's own gradient.
    sum : (n, D) array
        Of the directions in the window so far.
    squares, residuals : float
        Sums of their squared lengths, and of their squared residuals.
    n_steps : int
    settled : bool
    """

    inner: object
    sum: AnyArray
    squares: float = 0.0
    residuals: float = 0.0
    n_steps: int = 0
    settled: bool = False


class Descent:
    """Steps until particles are at rest.

    Without batches that is when the norm of the direction falls below `tol` times that of the
    scores in it; with batches, when that of the mean direction in a window of steps does.

    Parameters
    ----------
    gradient : Gradient
        Its estimates report a `residual`, that ratio of norms, and `units`, of each parameter.
    optimizer : Optimizer, optional
        By default Adam with rates that fall once particles are close.
    tol : float
    is_noisy : bool
        Whether batches are not all rows.
    """

    def __init__(
        self, gradient: Gradient, optimizer: Optimizer | None, tol: float, is_noisy: bool
    ) -> None:
        self.gradient, self.tol = gradient, tol
        self.optimizer: Optimizer = self._falling_adam() if optimizer is None else optimizer
        self.window = WINDOW if is_noisy else 1
        self.settled, self.history = False, loop.History()
        self._kept: AnyArray | None = None  # particles of the last step that could be taken
        self._units: AnyArray | float = 1.0  # of the step under way, as its residual
        self._residual = 0.0

    def _falling_adam(self) -> Optimizer:
        """Steps of up to a fifth of a standard deviation far from the target, then falling ones."""

        def fall(gradient: AnyArray, t: int, params: object) -> tuple[AnyArray, int, float]:
            far = self.window == 1 and self._residual > FAR
            rate = (1.0 + far) * (DELAY + t) ** -EXPONENT
            return scale(gradient, rate), t + (not far), rate

        falling = Optimizer(lambda params: 1, fall, takes_rows=False)
        both = optimizers.chain(optimizers.adam(1.0), falling)
        return optimizers.scaled(both, lambda params: self._units)

    def read(self, state: Any) -> AnyArray:
        """The particles of a state."""
        return np.asarray(self.optimizer.read(state.optimizer, state.params))

    def run(
        self,
        begin: AnyArray,
        batches: Batches,
        max_iter: int,
        rng: np.random.Generator,
        look: Callable[[AnyArray], tuple[AnyArray, AnyArray, AnyArray]],
        watch: loop.Watch,
    ) -> tuple[AnyArray, AnyArray, AnyArray]:
        """Particles (n, D) after at most so many steps, and what `look` says: scores, weights."""

        def init(params: AnyArray) -> _Rest:
            return _Rest(self.gradient.init(params), np.zeros_like(params))

        algorithm = ascend(Gradient(init, self._estimate), self.optimizer)
        try:
            with watch:
                state, position, self.history = watch.begin(
                    algorithm.init(begin.copy()), batches, rng, ENDLESS
                )
                if not state.gradient.settled:
                    state, _ = loop.run(
                        algorithm, state, batches, n_epochs=ENDLESS, rng=rng, position=position,
                        history=self.history, watch=watch, max_steps=max_iter,
                        after_step=lambda state, position, history: state.gradient.settled,
                    )  # fmt: skip
            self.settled = state.gradient.settled
            found = self.read(state)
            return found, *look(found)[1:]
        except ArithmeticError as error:
            if self._kept is None:
                raise
            warnings.warn(
                f"svgd stopped after {len(self.history)} steps, before one that no particle can "
                f"take (are steps too long?): {error}",
                RuntimeWarning,
                stacklevel=3,
            )
            return self._kept, *look(self._kept)[1:]

    def _estimate(
        self, state: _Rest, params: AnyArray, batch: Batch, rng: np.random.Generator
    ) -> tuple[AnyArray, _Rest, Info]:
        phi, inner, info = self.gradient.estimate(state.inner, params, batch, rng)
        self._kept, self._units, self._residual = params.copy(), info["units"], info["residual"]
        state = state._replace(inner=inner, n_steps=state.n_steps + 1)
        if self.window == 1:
            return phi, state._replace(settled=bool(info["residual"] < self.tol)), info
        return phi, self._watched(state, phi, info["residual"]), info

    def _watched(self, state: _Rest, phi: AnyArray, residual: float) -> _Rest:
        """Add a step to the window; at its end, compare the mean direction with `tol`."""
        total = state.sum + phi
        squares = state.squares + float(np.vdot(phi, phi))
        residuals = state.residuals + residual * residual
        if state.n_steps % self.window:
            return state._replace(sum=total, squares=squares, residuals=residuals)
        share = float(np.vdot(total, total)) / self.window / max(squares, 1e-300)
        settled = bool(np.sqrt(residuals / self.window * share) < self.tol)
        return _Rest(state.inner, np.zeros_like(phi), n_steps=state.n_steps, settled=settled)
