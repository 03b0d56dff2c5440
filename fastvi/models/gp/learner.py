"""What the variational Gaussian process estimators share: settings, fit, streams, posteriors."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi import loop
from fastvi.base.progress import progress_bar, show_bound
from fastvi.batches import Stream
from fastvi.core import Algorithm, Batch, Optimizer
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.learn import LearnState, carried, learn
from fastvi.models.gp.likelihoods import Gaussian, Likelihood, Poisson, PoissonStart
from fastvi.models.gp.model import SparseVariational
from fastvi.models.gp.rows import Points, PointSource, Sites
from fastvi.models.plan import sampled

__all__ = ["LearnSettings", "Learner"]

Array = NDArray[np.float64]
POLISH = (0.5,) * 5


class LearnSettings(NamedTuple):
    """Optimizers, of q(u) and of the rest, and what is learnt beside q(u)."""

    natural: Optimizer
    optimizer: Optimizer | None
    moves: bool
    verbose: bool = False
    n_threads: int = 1
    sampling: str = "uniform"


class Learner:
    """A fit in progress: the model, its state and its history.

    Parameters
    ----------
    covariance : Covariance
    likelihood : Likelihood
    z : (M, D) array
    scale : (D,) array
        Standard deviations of columns.
    centre : (D,) array
    bounds : (P, 2) array
        Of theta.
    settings : LearnSettings
    """

    def __init__(
        self,
        covariance: Covariance,
        likelihood: Likelihood,
        z: Array,
        scale: Array,
        centre: Array,
        bounds: Array,
        settings: LearnSettings,
    ) -> None:
        self.model = SparseVariational(
            covariance, likelihood, covariance.theta, z, centre, settings.n_threads
        )
        self.settings, self.scale, self.bounds = settings, scale, bounds
        self.carries = isinstance(likelihood, Poisson)  # whose curvature has no bound
        self.algorithm = self._algorithm()
        self.state: LearnState = self.algorithm.init(self.model.start())
        self.history = loop.History()
        self.rows_seen = 0

    def _algorithm(self, noise: bool = False) -> Algorithm:
        settings = self.settings
        return learn(
            self.model, settings.natural, settings.optimizer, self.scale, self.bounds,
            settings.moves, self.carries, noise,
        )  # fmt: skip

    def resume(self, theta: Array, z: Array, sites: Sites, rows_seen: int) -> None:
        """Go on from the parameters of an earlier fit."""
        self.model.move(theta, z)
        self.state = self.algorithm.init(sites)
        self.rows_seen = rows_seen
        self.finish()

    def __getstate__(self) -> dict[str, Any]:
        """All but the algorithm, whose functions cannot be pickled."""
        return {name: value for name, value in self.__dict__.items() if name != "algorithm"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.algorithm = self._algorithm()

    def _begin(self, batch: Batch) -> None:
        """Sites of counts to begin with, from rows."""
        likelihood = self.model.likelihood
        if not isinstance(likelihood, Poisson) or self.rows_seen:
            return
        self.model.likelihood = PoissonStart()
        try:
            local = self.model.local(self.model.start(), batch, None, np.random.default_rng(0))
        finally:
            self.model.likelihood = likelihood
        self.state = self.algorithm.init(local.statistics)

    def fit(
        self, x: Array, y: Array, batch_size: int, n_steps: int, seed: int,
        held_out: Callable[[], float] | None = None,
    ) -> None:  # fmt: skip
        """So many steps over mini-batches; held-out rows are scored after passes, and last."""
        batches = sampled(PointSource(x, y), batch_size, self.settings.sampling, seed)
        self._begin(Batch(Points(x, y), np.ones(len(x))))

        def score(state: Any, position: loop.Position, history: loop.History) -> None:
            if held_out is not None:
                self.state = state
                self.finish()
                history.note("held_out", held_out())

        with progress_bar(self.settings.verbose, show_bound, n_steps) as report:

            def stop(state: Any, position: loop.Position, history: loop.History) -> bool:
                if report is not None:
                    report(history)
                is_last = len(history) >= n_steps
                if is_last:
                    score(state, position, history)
                return is_last

            self.state, self.history = loop.run(
                self._algorithm(noise=batches.wants_noise), self.state, batches,
                n_epochs=n_steps, rng=np.random.default_rng(seed), history=self.history,
                after_step=stop, after_epoch=score,
            )  # fmt: skip
        self.rows_seen = len(x)
        self._settle()

    def _settle(self) -> None:
        """Take what the optimizers have found, which may be averages of their iterates."""
        optimizer, (sites, hyper, natural, adaptive) = self.settings.optimizer, self.state
        sites = self.settings.natural.read(natural, sites)
        self.state = self.state._replace(sites=sites)
        found = hyper if optimizer is None else optimizer.read(adaptive, hyper)
        if found is hyper:
            return
        z = found.z * self.scale
        if self.carries and self.settings.moves:
            sites = carried(self.model, sites, z)
        self.model.move(found.theta.copy(), z)
        self.state = self.state._replace(sites=sites, hyper=found)

    def polish(self, x: Array, y: Array) -> None:
        """Natural steps on all rows, which take away the noise that mini-batches left in q(u)."""
        batch = Batch(Points(x, y), np.ones(len(x)))
        rng = np.random.default_rng(0)
        is_gaussian = isinstance(self.model.likelihood, Gaussian)
        rates = (1.0,) if is_gaussian else POLISH  # the first is the optimum
        for rate in rates:
            new = self.model.local(self.state.sites, batch, None, rng).statistics
            for old, part in zip(self.state.sites, new):
                old += rate * (part - old)

    def feed(
        self, x: Array, y: Array, batch_size: int, total: float | None, rng: np.random.Generator
    ) -> None:
        """A step on each batch of these rows, as a part of `total` rows or of those seen so far."""
        parts = np.array_split(np.arange(len(x)), -(-len(x) // batch_size))
        stream = Stream(
            ((Points(x[rows], y[rows]), len(rows)) for rows in parts),
            "seen" if total is None else total,
        )
        stream.n_seen = self.rows_seen
        n = len(parts[0])
        self._begin(Batch(Points(x[:n], y[:n]), np.full(n, 1.0 if total is None else total / n)))
        self.state, self.history = loop.run(
            self.algorithm, self.state, stream, n_epochs=1, rng=rng, history=self.history
        )
        self.rows_seen = stream.n_seen

    @contextmanager
    def all_steps_or_none(self) -> Iterator[None]:
        """Where a step fails or is interrupted, go back to before the first."""
        before = vars(self) | {"state": copy.deepcopy(self.state)}  # which steps write into
        model, history = dict(vars(self.model)), self.history
        names, n_steps = list(history.columns), len(history)
        try:
            yield
        except BaseException:
            vars(self).update(before)
            vars(self.model).update(model)
            history.columns = {name: history.columns[name][:n_steps] for name in names}
            raise

    def bound(
        self, x: Array, y: Array, theta: Array | None = None, gradient: bool = False
    ) -> tuple[float, Array | None]:
        """The bound of all rows, nats, and its gradient by theta if asked for.

        At another theta the dual parameters are held.
        """
        model, sites = self.model, self.state.sites
        if theta is not None:
            model = SparseVariational(
                model.covariance, model.likelihood, theta, model.z, model.centre, model.n_threads
            )
        batch, rng = Batch(Points(x, y), np.ones(len(x))), np.random.default_rng(0)
        if gradient:
            found = model.evaluate(sites, batch, rng)
            return found.bound, found.by_theta
        return model.local(sites, batch, None, rng).bound + model.global_bound(sites), None

    def latents(self, x: Array, n_threads: int = 1) -> tuple[Array, Array]:
        """Means and variances of the latent functions, (n, T) each."""
        means, variances = [], []
        for posterior in self.posteriors:
            mean, variance = posterior.predict(x, n_threads=n_threads)
            assert variance is not None
            means.append(mean[:, 0])
            variances.append(variance)
        return np.stack(means, axis=1), np.stack(variances, axis=1)

    def finish(self) -> None:
        """Prepare for predictions."""
        self.posteriors = self.model.posterior(self.state.sites)
