"""Mixtures that grow by one component at a time, each found by an optimiser of its own.

What a component is fitted to, and what becomes of the others then, is up to a `Growth`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from fastvi.base.typing import Array
from fastvi.core import Gradient
from fastvi.families.mixtures import GaussianMixture
from fastvi.fitting.components import MOST, SMALL_GAIN
from fastvi.fitting.missing import missing_of, trials_of
from fastvi.fitting.stages import Stages
from fastvi.targets.base import Target

__all__ = ["Growth", "GrowthStages", "GrowthState", "best_of", "one_by_one"]

N_BOUND = 4096  # draws of the bound that is reported
NOTHING = 1e-4  # nats: a component that gains less is the last, even if more are asked for
FIRST_STEPS, N_KEPT = 8, 3  # of trials, of which so many are continued

Candidate = tuple[float, GaussianMixture]  # what a mixture reaches, and the mixture


class Growth(Protocol):
    """A way to find components.

    `params` stand for a mixture; `read` returns it.
    """

    target: Target
    power: float

    def first(self, member: GaussianMixture) -> GaussianMixture:
        """The parameters with as many components as the member that a fit begins with."""
        ...

    def with_another(
        self, params: GaussianMixture, rng: np.random.Generator
    ) -> GaussianMixture | None:
        """The parameters with one component more, or fewer; None if no place needs one."""
        ...

    def height(self, params: GaussianMixture) -> float:
        """What is to be maximised, in nats."""
        ...

    def read(self, params: GaussianMixture) -> GaussianMixture:
        """The mixture that parameters stand for."""
        ...


class GrowthState(NamedTuple):
    """As `fastvi.fitting.components.ComponentState`; `reached` is the height, in nats."""

    params: GaussianMixture
    rate: float = 1.0
    settled: bool = False
    over: bool = False
    reached: float = -np.inf
    n_added: int = 0
    gain: float = -np.inf


class GrowthStages(Stages):
    """Stages of one component each, which the history counts.

    Parameters
    ----------
    growth : Growth
    n_components : int or None
        Number of components to end with; None to add them while they gain more than 0.05 nats.
    """

    def __init__(
        self, *args: Any, growth: Growth, n_components: int | None, **options: Any
    ) -> None:
        gradient = Gradient(lambda params: None, _no_estimate)
        super().__init__(gradient, *args, **options)
        self.growth, self.n_components = growth, n_components
        self._seed = int(self.rng.integers(2**31))

    def begin(self, params: GaussianMixture) -> GrowthState:
        """The state to begin with; `params` is a member."""
        return GrowthState(params)

    def next(self, state: GrowthState) -> GrowthState:
        """The state with one more component; at first, with those that it has fitted."""
        growth, first = self.growth, len(self.history) == 0
        params = growth.first(state.params) if first else self._another(state.params)
        if params is None:
            return state._replace(settled=True, gain=max(state.gain, 0.0))
        height = growth.height(params)
        gain = height - state.reached
        if not np.isfinite(height):
            self._refuse(params, first)
            return state._replace(over=True)
        if not first and gain < NOTHING:
            return state._replace(settled=True, gain=max(gain, 0.0))
        n_added = state.n_added + (not first)
        self._report(params, height)
        most = MOST if self.n_components is None else self.n_components
        last = params.n_components >= most or n_added >= 2 * most
        if self.n_components is None and gain < SMALL_GAIN:
            last = True
        if last and first:  # how much would one more gain?
            another = self._another(params)
            gain = 0.0 if another is None else max(growth.height(another) - height, 0.0)
        return GrowthState(
            params, settled=last, reached=height, n_added=n_added,
            gain=gain if last or not first else -np.inf,
        )  # fmt: skip

    def remarks(self, state: GrowthState) -> dict[str, float]:
        """What the verdict must know besides: the gain of the last component, in nats."""
        return {"last_gain": state.gain} if np.isfinite(state.gain) else {}

    def _another(self, params: GaussianMixture) -> GaussianMixture | None:
        return self.growth.with_another(params, self.rng)

    def _report(self, params: GaussianMixture, height: float) -> None:
        growth, rng = self.growth, np.random.default_rng(self._seed)
        q = growth.read(params)
        Z = q.draw(N_BOUND, rng).points
        values = growth.power * growth.target.attempt(Z, with_gradient=False)[0]
        ratios = values - q.log_prob(Z)
        fine = np.isfinite(ratios)
        ratios = ratios[fine]
        error = float(np.std(ratios) / np.sqrt(max(len(ratios), 1)))
        self.history.append(
            elbo=float(np.mean(ratios)) if len(ratios) else -np.inf, elbo_error=error,
            height=height, n_components=params.n_components, rejected=int(np.sum(~fine)),
        )  # fmt: skip
        if self._bar is not None:
            self._bar.show(len(self.history), self.history.last())

    def _refuse(self, params: GaussianMixture, first: bool) -> None:
        if first:
            growth = self.growth
            growth.target.refuse(params.draw(N_BOUND, np.random.default_rng(self._seed)).points)


def one_by_one(
    member: GaussianMixture,
    fitted: Callable[[GaussianMixture | None, Array, Array], Candidate],
    weighted: Callable[[GaussianMixture], GaussianMixture],
) -> GaussianMixture:
    """A mixture of components that are fitted in turn, each beside those before, from the means and
    roots of a member's; weights are refitted after each.
    """
    params = None
    for mean, root in zip(member.means, member.roots):
        height, grown = fitted(params, mean, root)
        if np.isfinite(height):
            params = weighted(grown)
    return member if params is None else params


def best_of(
    growth: Growth,
    member: GaussianMixture,
    rng: np.random.Generator,
    fitted: Callable[[GaussianMixture, int], Candidate],
) -> GaussianMixture | None:
    """The best of the mixtures that components from several places of missing mass lead to.

    ``fitted(trial, n_steps)`` takes steps from a mixture whose last component is new; all take
    some, and the best three as many as they need. None if nothing is missing, or nothing is found.
    """
    missing = missing_of(growth.target, growth.power, member, rng)
    if missing is None:
        return None
    tried = []
    for trial in trials_of(member, missing, rng):
        height, found = fitted(trial, FIRST_STEPS)
        if np.isfinite(height):
            tried.append((height, found))
    tried.sort(key=lambda one: -one[0])
    ends = [fitted(found, 0) for _, found in tried[:N_KEPT]]
    ends = [end for end in ends if np.isfinite(end[0])]
    return max(ends, key=lambda one: one[0])[1] if ends else None


def _no_estimate(*_: Any) -> Any:
    raise NotImplementedError("these mixtures grow by whole components")
