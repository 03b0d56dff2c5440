"""How variational Gaussian processes learn: the step, fits by mini-batches, and streams."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from fastvi import loop
from fastvi.base import tree
from fastvi.base.typing import Array, Info, Tree
from fastvi.batches import InMemory, Stream
from fastvi.core import Algorithm, Batch, Optimizer
from fastvi.gradients.natural import noise_of, squared_norm_of
from fastvi.models.gp.model import Evaluation, Hyper, Params
from fastvi.models.gp.rows import Points
from fastvi.models.gp.settling import Settling
from fastvi.models.plan import sampled

__all__ = [
    "Found",
    "HyperMoves",
    "LearnSettings",
    "LearnState",
    "Learner",
    "Moves",
    "learn",
    "polished",
]

POLISH = 30  # most passes over all rows
LEAST_RATE = 0.05
ENOUGH = 1e-3  # nats; a step of rate 1 that gains no more ends the passes


class LearnState(NamedTuple):
    """What is learned, and the states of the two optimizers."""

    params: Params
    natural: Tree
    other: Any


class LearnSettings(NamedTuple):
    """The optimizers of q(u) and of the rest, if that is learned, and how batches are drawn."""

    natural: Optimizer
    optimizer: Optimizer
    learns_more: bool = True
    sampling: str = "uniform"


class Moves(Protocol):
    """How the optimizer of everything but q(u) moves it, with what is not learned left as it is."""

    def scaled(self, gradient: Any) -> Any:
        """The gradient in the units of steps, 0 for what is not learned."""
        ...

    def moved(self, hyper: Any, change: Any) -> Any:
        """Where a step leads."""
        ...


class HyperMoves(NamedTuple):
    """Moves of `Hyper`, whose theta stays within bounds."""

    scale: Array  # (D,), standard deviations of columns: the unit of steps of inducing inputs
    bounds: Array  # (P, 2), of theta
    kernel: bool = True  # whether theta and the likelihood's parameters are learned
    inducing: bool = True

    def scaled(self, gradient: Hyper) -> Hyper:
        """See `Moves`."""
        theta, z, own = gradient
        if not self.kernel:
            theta, own = np.zeros_like(theta), np.zeros_like(own)
        return Hyper(theta, z * self.scale if self.inducing else np.zeros_like(z), own)

    def moved(self, hyper: Hyper, change: Hyper) -> Hyper:
        """See `Moves`."""
        theta = np.clip(hyper.theta + change.theta, self.bounds[:, 0], self.bounds[:, 1])
        z = hyper.z + change.z * self.scale if self.inducing else hyper.z
        return Hyper(theta if self.kernel else hyper.theta, z, hyper.own + change.own)


def learn(model: Any, settings: LearnSettings, moves: Moves, noise: bool = False) -> Algorithm:
    """Natural gradients for q(u), then another optimizer for the rest, on the same batch.

    The second gradient is taken at the new q(u), whose whitened moments it holds fixed.
    ``info["elbo"]`` is the batch's estimate of the bound, in nats: before the step if only q(u) is
    learned, and otherwise between its two halves. With `noise` there is also what plans of batches
    that adapt ask of `fastvi.gradients.natural`. A step leaves `state.params` as they are and
    returns new ones; it may write to the optimizers' states.
    """
    natural, optimizer = settings.natural, settings.optimizer
    learns_more = settings.learns_more

    def init(params: Params) -> LearnState:
        other = optimizer.init(params.hyper) if learns_more else None
        return LearnState(params, natural.init(params.sites), other)

    def step(state: LearnState, batch: Batch, rng: np.random.Generator) -> tuple[LearnState, Info]:
        (sites, hyper), natural_state, other_state = state
        here = model.at(hyper)
        if learns_more:
            given = here.target(sites, batch, rng, norms=noise)
            local = given.local
        else:
            found = here.evaluate(sites, batch, rng, norms=noise, gradient=False)
            local = found.local
        direction = tree.map_leaves(np.subtract, local.statistics, sites)
        change, natural_state, rate = natural.update(direction, natural_state, sites)
        sites = tree.map_leaves(np.add, sites, change)
        if learns_more:
            found = here.evaluate(sites, batch, rng, given=given)
            assert found.gradient is not None
            gradient = moves.scaled(found.gradient)
            change, other_state, _ = optimizer.update(gradient, other_state, hyper)
            hyper = moves.moved(hyper, change)
        bound = found.bound
        if not np.isfinite(bound):
            raise FloatingPointError(
                f"the bound of a batch is {bound}: the fit diverged; try a smaller "
                "natural_learning_rate or learning_rate, or learn_inducing_points=False"
            )
        info = {"elbo": bound, "rate": rate, "local_elbo": found.local.bound}
        if noise:
            info |= noise_of(local, batch.weights) | {"squared_norm": squared_norm_of(direction)}
        return LearnState(Params(sites, hyper), natural_state, other_state), info

    return Algorithm(init, step)


class Found(NamedTuple):
    """What a fit ends with; the bound is that of all rows, in nats."""

    state: LearnState
    history: loop.History
    bound: float
    converged: bool


class Learner(NamedTuple):
    """How a model is fitted; it never changes."""

    model: Any  # SparseVariational, or another that has its methods
    settings: LearnSettings
    moves: Any

    def algorithm(self, noise: bool = False) -> Algorithm:
        """What the loop drives."""
        return learn(self.model, self.settings, self.moves, noise)

    def begin(self, z: Any, batch: Batch) -> LearnState:
        """A fit's state before the first step, from inducing inputs and the first rows."""
        params, model = self.model.start(z), self.model
        start = model.likelihood.start
        if start is not None:
            other, rng = model.under(start), np.random.default_rng(0)
            local = other.at(params.hyper).target(params.sites, batch, rng).local
            params = params._replace(sites=local.statistics)
        return self.started(params)

    def started(self, params: Params) -> LearnState:
        """The state of a fit that goes on from these parameters."""
        state: LearnState = self.algorithm().init(params)
        return state

    def found(self, state: LearnState) -> Params:
        """What the optimizers have found, which may be averages of their iterates."""
        settings, (sites, hyper) = self.settings, state.params
        sites = settings.natural.read(state.natural, sites)
        if state.other is not None:
            hyper = settings.optimizer.read(state.other, hyper)
        return Params(sites, hyper)

    def _bound(self, state: LearnState, batch: Batch) -> float:
        """The bound of a batch at what has been found, nats."""
        return _look(self.model, self.found(state), batch).bound

    def fit(
        self,
        z: Any,
        points: Points,
        batch_size: int,
        n_steps: int,
        tol: float,
        seed: int,
        watch: loop.Watch,
    ) -> Found:
        """At most so many steps on mini-batches, then natural steps on all rows."""
        source = InMemory(points)
        batches = sampled(source, batch_size, self.settings.sampling, seed)
        everything, rng = Batch(points, np.ones(len(points.x))), np.random.default_rng(seed)
        settling = Settling(self._bound, source, tol, seed)
        watch.read = lambda state: self.found(state)
        with watch:
            state, position, history = watch.begin(self.begin(z, everything), batches, rng, n_steps)
            if len(history) > n_steps:
                raise ValueError(
                    f"the checkpoint holds {len(history)} steps; wanted at most max_iter={n_steps}"
                )
            state, history = loop.run(
                self.algorithm(noise=batches.wants_noise), state, batches,
                n_epochs=0 if settling.settled(history) else n_steps, rng=rng, position=position,
                history=history, max_steps=n_steps, after_step=settling, watch=watch,
            )  # fmt: skip
        params, bound = polished(self.model, self.found(state), everything)
        return Found(state._replace(params=params), history, bound, settling.settled(history))

    def feed(
        self,
        state: LearnState | None,
        z: Any,
        points: Points,
        batch_size: int,
        *,
        total: float | None,
        n_seen: float,
        rng: np.random.Generator,
        history: loop.History,
    ) -> LearnState:
        """A step on each batch of these rows, as a part of `total` rows or of those seen so far.

        A row of weight w counts as w rows. Without a state it begins, at the inducing inputs z.
        Nothing is written to but `history`.
        """
        source, n_rows = InMemory(points), len(points.x)
        numbers = np.array_split(np.arange(n_rows), -(-n_rows // batch_size))
        parts = [(rows := source.take(each), rows.weights) for each in numbers]
        population = "seen" if total is None else total
        if state is None:
            state = self.begin(z, next(Stream(parts, population).epoch(0)))
        stream = Stream(parts, population)
        stream.n_seen = n_seen
        moved, _ = loop.run(
            self.algorithm(), tree.copy(state), stream, n_epochs=1, rng=rng, history=history
        )
        return moved


def polished(model: Any, params: Params, batch: Batch) -> tuple[Params, float]:
    """Natural steps on all rows, which take away the noise that mini-batches left in q(u).

    Until a step of rate 1 gains next to nothing; steps that lose are halved. The second value is
    the bound, in nats. Random draws are the same in each pass.
    """
    if model.likelihood.is_conjugate:  # one step is the optimum
        rng = np.random.default_rng(0)
        optimum = model.at(params.hyper).target(params.sites, batch, rng).local.statistics
        params = params._replace(sites=optimum)
        return params, _look(model, params, batch).bound
    found = _look(model, params, batch)
    rate = 1.0
    for _ in range(POLISH):
        ahead = tree.map_leaves(
            lambda old, new, r=rate: old + r * (new - old), params.sites, found.local.statistics
        )
        there = params._replace(sites=ahead)
        new = _look(model, there, batch)
        gain = new.bound - found.bound
        if gain > 0:
            params, found = there, new
        if abs(gain) <= ENOUGH * max(1.0, 1e-6 * abs(found.bound)):
            break
        rate = min(1.0, 2.0 * rate) if gain > 0 else 0.5 * rate
        if rate < LEAST_RATE:
            break
    return params, found.bound


def _look(model: Any, params: Params, batch: Batch) -> Evaluation:
    rng = np.random.default_rng(0)
    found: Evaluation = model.at(params.hyper).evaluate(params.sites, batch, rng, gradient=False)
    return found
