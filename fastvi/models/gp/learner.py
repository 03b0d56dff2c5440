"""How variational Gaussian processes learn: the step, fits by mini-batches, and streams."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi import loop
from fastvi.base import tree
from fastvi.batches import Stream
from fastvi.core import Algorithm, Batch, Optimizer
from fastvi.gradients.natural import noise_of, squared_norm_of
from fastvi.models.gp.model import Hyper, Params, Prepared, SparseVariational
from fastvi.models.gp.rows import Points, PointSource, Sites
from fastvi.models.plan import sampled

__all__ = ["LearnSettings", "LearnState", "Learner", "learn", "polished"]

Array = NDArray[np.float64]
POLISH = (0.5,) * 5


class LearnState(NamedTuple):
    """What is learned, and the states of the two optimizers."""

    params: Params
    natural: Any
    other: Any


class LearnSettings(NamedTuple):
    """The optimizers of q(u) and of the rest, and which of the rest is learned."""

    natural: Optimizer
    optimizer: Optimizer
    kernel: bool = True
    inducing: bool = True
    sampling: str = "uniform"


def learn(
    model: SparseVariational,
    settings: LearnSettings,
    scale: Array,
    bounds: Array,
    noise: bool = False,
) -> Algorithm:
    """Natural gradients for q(u) and another optimizer for the rest, by one pass over the batch.

    `scale` (D,) is what the optimizer's steps of inducing inputs are measured in; theta stays in
    `bounds` (P, 2). Where inducing inputs move, the dual parameters are held, or carried along if
    the likelihood's curvature has no bound. ``info["bound"]`` is the batch's estimate of the bound
    before the step, in nats; with `noise` there is also what plans of batches that adapt ask of
    `fastvi.gradients.natural`. A step leaves `state.params` as they are and returns new ones; the
    optimizers' states it may write to.
    """
    natural, optimizer = settings.natural, settings.optimizer
    learns_more = settings.kernel or settings.inducing
    carries = settings.inducing and not model.likelihood.has_bounded_curvature

    def init(params: Params) -> LearnState:
        other = optimizer.init(params.hyper) if learns_more else None
        return LearnState(params, natural.init(params.sites), other)

    def step(
        state: LearnState, batch: Batch, rng: np.random.Generator
    ) -> tuple[LearnState, dict[str, Any]]:
        (sites, hyper), natural_state, other_state = state
        here = model.at(hyper)
        local, bound, gradient = here.evaluate(sites, batch, rng, norms=noise, gradient=learns_more)
        if not np.isfinite(bound):
            raise FloatingPointError(
                f"the bound of a batch is {bound}: the fit diverged; try a smaller "
                "natural_learning_rate or learning_rate, or learn_inducing_points=False"
            )
        direction = tree.map_leaves(np.subtract, local.statistics, sites)
        change, natural_state, rate = natural.update(direction, natural_state, sites)
        sites = tree.map_leaves(np.add, sites, change)
        if gradient is not None:
            change, other_state, _ = optimizer.update(masked(gradient), other_state, hyper)
            hyper = moved(hyper, change)
            sites = here.carried(sites, hyper.z) if carries else sites
        info = {"bound": bound, "rate": rate, "local_bound": local.bound}
        if noise:
            info |= noise_of(local, batch.weights) | {"squared_norm": squared_norm_of(direction)}
        return LearnState(Params(sites, hyper), natural_state, other_state), info

    def masked(gradient: Hyper) -> Hyper:
        theta, z, own = gradient
        if not settings.kernel:
            theta, own = np.zeros_like(theta), np.zeros_like(own)
        return Hyper(theta, z * scale if settings.inducing else np.zeros_like(z), own)

    def moved(hyper: Hyper, change: Hyper) -> Hyper:
        theta = np.clip(hyper.theta + change.theta, bounds[:, 0], bounds[:, 1])
        z = hyper.z + change.z * scale if settings.inducing else hyper.z
        return Hyper(theta if settings.kernel else hyper.theta, z, hyper.own + change.own)

    return Algorithm(init, step)


class Learner(NamedTuple):
    """How a model is fitted; it never changes."""

    model: SparseVariational
    settings: LearnSettings
    scale: Array  # (D,), standard deviations of columns
    bounds: Array  # (P, 2), of theta

    def algorithm(self, noise: bool = False) -> Algorithm:
        """What the loop drives."""
        return learn(self.model, self.settings, self.scale, self.bounds, noise)

    def begin(self, z: Array, batch: Batch) -> LearnState:
        """A fit's state before the first step, from inducing inputs and the first rows."""
        params, model = self.model.start(z), self.model
        start = model.likelihood.start
        if start is not None:
            other = SparseVariational(model.covariance, start, model.centre, model.n_threads)
            rng = np.random.default_rng(0)
            local = other.at(params.hyper).local(params.sites, batch, None, rng)
            params = params._replace(sites=local.statistics)
        return self.started(params)

    def started(self, params: Params) -> LearnState:
        """The state of a fit that goes on from these parameters."""
        state: LearnState = self.algorithm().init(params)
        return state

    def found(self, state: LearnState) -> Params:
        """What the optimizers have found, which may be averages of their iterates."""
        (sites, hyper), natural, optimizer = state.params, self.settings.natural, self.settings
        sites = natural.read(state.natural, sites)
        if state.other is None:
            return Params(sites, hyper)
        found = optimizer.optimizer.read(state.other, hyper)
        if found is hyper:
            return Params(sites, hyper)
        if self.settings.inducing and not self.model.likelihood.has_bounded_curvature:
            sites = self.model.at(hyper).carried(sites, found.z)
        return Params(sites, found)

    def fit(
        self,
        z: Array,
        points: Points,
        batch_size: int,
        n_steps: int,
        seed: int,
        watch: loop.Watch,
    ) -> tuple[LearnState, loop.History]:
        """So many steps on mini-batches, then natural steps on all rows."""
        batches = sampled(PointSource(*points), batch_size, self.settings.sampling, seed)
        everything, rng = Batch(points, np.ones(len(points.x))), np.random.default_rng(seed)
        watch.read = lambda state: self.found(state)
        with watch:
            state, position, history = watch.begin(self.begin(z, everything), batches, rng, n_steps)
            if len(history) > n_steps:
                raise ValueError(
                    f"the checkpoint holds {len(history)} steps; wanted at most max_iter={n_steps}"
                )
            state, history = loop.run(
                self.algorithm(noise=batches.wants_noise), state, batches, n_epochs=n_steps,
                rng=rng, position=position, history=history, max_steps=n_steps, watch=watch,
            )  # fmt: skip
        params = self.found(state)
        sites = polished(self.model.at(params.hyper), params.sites, everything)
        return state._replace(params=params._replace(sites=sites)), history

    def feed(
        self,
        state: LearnState | None,
        z: Array,
        points: Points,
        batch_size: int,
        *,
        total: float | None,
        n_seen: int,
        rng: np.random.Generator,
        history: loop.History,
    ) -> LearnState:
        """A step on each batch of these rows, as a part of `total` rows or of those seen so far.

        Without a state it begins, at the inducing inputs z. Nothing is written to but `history`.
        """
        (x, y), weight = points, 1.0
        parts = np.array_split(np.arange(len(x)), -(-len(x) // batch_size))
        stream = Stream(
            ((Points(x[rows], y[rows]), len(rows)) for rows in parts),
            "seen" if total is None else total,
        )
        stream.n_seen = n_seen
        if state is None:
            n = len(parts[0])
            weight = 1.0 if total is None else total / n
            state = self.begin(z, Batch(Points(x[:n], y[:n]), np.full(n, weight)))
        state, _ = loop.run(
            self.algorithm(), tree.copy(state), stream, n_epochs=1, rng=rng, history=history
        )
        return state


def polished(model: Prepared, sites: Sites, batch: Batch) -> Sites:
    """Natural steps on all rows, which take away the noise that mini-batches left in q(u)."""
    rates = (1.0,) if model.model.likelihood.is_conjugate else POLISH  # the first is the optimum
    rng = np.random.default_rng(0)
    for rate in rates:
        new = model.local(sites, batch, None, rng).statistics
        sites = tree.map_leaves(lambda old, part, r=rate: old + r * (part - old), sites, new)
    return sites
