"""Fits of mixtures of Gaussians: natural gradients for each component, and components one by one.

Each component and the weights climb the ELBO of the whole mixture along natural gradients, each
within a trust region of its own, as in variational inference by policy search (Arenz, Zhong and
Neumann 2020, eq. 10-15; Arenz et al. 2023). A component is added where weighted draws have
most of the mass that the mixture lacks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import logsumexp

from fastvi.base.typing import Array
from fastvi.core import Gradient
from fastvi.families.base import Family
from fastvi.families.mixtures import GaussianMixture
from fastvi.families.powers import Driver
from fastvi.fitting.compiled import CompiledSteps
from fastvi.fitting.missing import missing_of, trials_of
from fastvi.fitting.polished import polished
from fastvi.fitting.stages import STEPS, NaturalStages
from fastvi.posteriors.importance import near_modes
from fastvi.posteriors.modes import Mode
from fastvi.targets.base import Target

__all__ = ["MOST", "SMALL_GAIN", "ComponentStages", "MixtureStep", "at_modes"]

MOST = 10  # components, if their number is left open
SMALL_GAIN = 0.05  # nats: components that gain less are not worth another
EMPTY = 1e-4  # weight below which a component is removed
SLOWEST = 1 / 8  # rate at which a mixture counts as fitted well enough to add a component
FIRST = 0.25  # rate at which several components begin
LEAST_DRAWS = 32  # per component and step


class MixtureStep(NamedTuple):
    """Natural gradient of a mixture, scaled by the roots of its components' weights.

    At `log_weights` (K,), `means` (K, D) and `roots` (K, D, D), see `fastvi.kernels.components`.
    """

    log_weights: Array
    means: Array
    roots: Array

    def gain(self) -> float:
        """Squared length: the gain of a unit-rate step as a symmetrised divergence in nats."""
        near = np.vdot(self.log_weights, self.log_weights) + np.vdot(self.means, self.means)
        return float(near + 0.5 * np.vdot(self.roots, self.roots))


class ComponentState(NamedTuple):
    """As `fastvi.fitting.stages.NaturalState`; `reached` is the bound with one component less.

    `gain` is what the last component gained, in nats, or if none was added what one more would.
    """

    params: GaussianMixture
    memory: Any = None
    rate: float = 1.0
    settled: bool = False
    over: bool = False
    agreed: bool = False
    reached: float = -np.inf
    n_added: int = 0
    gain: float = -np.inf


class ComponentStages(NaturalStages):
    """Stages of natural gradients, between which components are added and empty ones removed.

    Parameters
    ----------
    target : Target
    power : float
        Power to which the target is raised.
    n_draws : int
        Draws per component and step.
    n_components : int or None
        Number of components to end with; None to add them while they gain more than 0.05 nats.
    boosting : bool
        Leave components as they are once another is added, except for their weights.
    """

    def __init__(
        self,
        target: Target,
        *args: Any,
        power: float,
        n_draws: int,
        n_components: int | None,
        boosting: bool,
        **options: Any,
    ) -> None:
        gradient = Gradient(lambda params: None, _no_estimate)
        super().__init__(gradient, *args, **options)
        self.target, self.power = target, power
        self.n_draws = max(n_draws + n_draws % 2, LEAST_DRAWS)
        self.n_components, self.boosting = n_components, boosting

    def begin(self, params: GaussianMixture) -> ComponentState:
        """The state to begin with; `params` is a member."""
        return ComponentState(params, rate=1.0 if params.n_components == 1 else FIRST)

    def next(self, state: ComponentState) -> ComponentState:
        """The state after one more stage, perhaps with another number of components."""
        self.compiled = self._steps(state.params)
        before = len(self.history)
        state = super().next(state)
        if state.over:
            return state
        state = self._without_empty(state._replace(params=_normalised(state.params)))
        last = self._is_last(state)
        if not (state.settled or (state.rate <= SLOWEST and not last)):
            return state
        bound = float(np.mean(self.history.columns["elbo"][before:]))
        if last or (self.n_components is None and bound - state.reached < SMALL_GAIN):
            return self._finished(state, bound)
        added = self._with_another(state.params)
        if added is None:
            return state._replace(settled=True)
        return ComponentState(added, rate=FIRST, reached=bound, n_added=state.n_added + 1)

    def _finished(self, state: ComponentState, bound: float) -> ComponentState:
        """The last state: polished, with the gain of the last component."""
        gain = bound - state.reached
        if not np.isfinite(gain):  # none was added: how much would one more gain at once?
            self._with_another(state.params)
            recent = self.history.columns["elbo"][-STEPS:]
            gain = float(np.mean(recent)) - bound
        if self.window:
            return state._replace(gain=gain)
        params = polished(self.target, self.power, state.params, int(self.rng.integers(2**31)))
        return state._replace(params=params, gain=gain)

    def remarks(self, state: ComponentState) -> dict[str, float]:
        """What the verdict must know besides: the gain of the last component, in nats."""
        return {"last_gain": state.gain} if np.isfinite(state.gain) else {}

    def _enough(self, params: GaussianMixture) -> float:
        """Divergence that may remain, in nats, for any number of components."""
        return self.tol * self.tol * params.dim

    def _is_last(self, state: ComponentState) -> bool:
        most = MOST if self.n_components is None else self.n_components
        return state.params.n_components >= most or state.n_added >= 2 * most

    def _without_empty(self, state: ComponentState) -> ComponentState:
        full = state.params.weights > EMPTY
        if np.all(full):
            return state
        return state._replace(params=state.params.kept(full), settled=False, agreed=False)

    def _steps(self, member: GaussianMixture) -> CompiledSteps:
        K, D = member.n_components, member.dim
        n_kept = K - 1 if self.boosting and K > 1 else 0
        driver = Driver(_driver(K, D, K * self.n_draws, self.target.n_terms, n_kept), MixtureStep)
        return CompiledSteps(driver, self.target, self.power, K * self.n_draws)

    def _with_another(self, member: GaussianMixture) -> GaussianMixture | None:
        """The mixture with one more component, the best after a few steps of several trials."""
        missing = missing_of(self.target, self.power, member, self.rng)
        if missing is None:
            return None
        left, n_steps = trials_of(member, missing, self.rng), STEPS
        while len(left) > 1:
            tried = [found for trial in left for found in self._tried(trial, n_steps)]
            tried.sort(key=lambda found: -found[1])
            left = [found[0] for found in tried[: -(-len(tried) // 3)]]
            n_steps *= 2
        return left[0] if left else None

    def _tried(
        self, member: GaussianMixture, n_steps: int
    ) -> Iterator[tuple[GaussianMixture, float]]:
        """The mixture after some steps, with their bound; nothing if it has no density."""
        self.compiled = self._steps(member)
        if self._left() < 2 * n_steps:
            return
        stage, _ = self._attempt(ComponentState(member, rate=FIRST), n_steps)
        if stage is not None:
            bounds = self.history.columns["elbo"][-n_steps // 2 :]
            yield _normalised(stage.mean()), float(np.mean(bounds))


def _normalised(member: GaussianMixture) -> GaussianMixture:
    """A mean of mixtures, with weights that sum to 1."""
    return member._replace(log_weights=member.log_weights - logsumexp(member.log_weights))


def _driver(K: int, D: int, n: int, n_terms: int, n_kept: int) -> Any:
    """The compiled loop over steps of a mixture of K components with n draws in all."""
    from fastvi.kernels import components

    space = components.space_of(K, D, n, n_terms)

    def run(address, table, noise, power, rate, params, work, sums, trace):  # type: ignore[no-untyped-def]
        q = components.mixture_of(params, K, D)
        return components.natural(
            address, table, noise, power, rate, n_kept, params, q, work, sums, trace, space
        )

    return run


def _no_estimate(*_: Any) -> Any:
    raise NotImplementedError("mixtures are fitted by compiled steps")


def at_modes(member: Family, modes: Sequence[Mode], most: int | None) -> Family:
    """A mixture of the modes that a search has found, weighted by evidence; the member if only one.

    At most `most` of them.
    """
    mixture = member.powers.components
    near = [(mode, mode.cov) for mode in near_modes(modes) if mode.cov is not None]
    near = near[: most or MOST]
    if mixture is None or len(near) < 2:
        return member
    places, covs = np.array([m.place for m, _ in near]), np.array([cov for _, cov in near])
    return mixture.at(places, covs, np.array([m.log_evidence for m, _ in near]))
