"""What estimators of sparse variational Gaussian processes share."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process.kernels import Kernel
from sklearn.utils.validation import check_is_fitted, validate_data

from fastvi import optimizers
from fastvi.base import checks
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import Array, RowsLike
from fastvi.checkpoints import Watching
from fastvi.core import Optimizer
from fastvi.loop import History
from fastvi.models.files import Saved
from fastvi.models.gp import start
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.estimator import BoundAt, OfKernel
from fastvi.models.gp.learner import HyperMoves, Learner, LearnSettings, LearnState
from fastvi.models.gp.likelihood import Likelihood
from fastvi.models.gp.model import Hyper, Params, SparseVariational
from fastvi.models.gp.predictions import Predicting
from fastvi.models.gp.predictor import Predictive
from fastvi.models.gp.rows import Points, Sites
from fastvi.models.gp.settling import EVERY, FEWEST, PATIENCE
from fastvi.models.plan import SAMPLING

__all__ = ["ByMiniBatches", "Variational"]


class ByMiniBatches(OfKernel):
    """Fits and streams; subclasses say which likelihood and model, and what y means."""

    batch_size: int
    inducing_selection: str
    learn_inducing_points: bool
    learn_kernel: bool
    natural_learning_rate: float | Optimizer
    learning_rate: float
    total_samples: float | None

    _samplings: tuple[str, ...] = SAMPLING
    _rows: Points | None = None  # of a fit
    _y_units: tuple[Any, Any] = (0.0, 1.0)  # mean and scale of targets, of all or (n_outputs,)
    _learner: Learner
    _state: LearnState

    def _likelihood(self) -> Likelihood:
        """What the parameters ask for."""
        raise NotImplementedError

    def _begin(self, points: Points, likelihood: Likelihood, seed: int) -> Any:
        """Decide on a model and how it is learned; the inducing inputs to start from."""
        raise NotImplementedError

    def _settings(self) -> LearnSettings:
        checks.choice(self.inducing_selection, "inducing_selection", start.SELECTIONS)
        checks.integer(self.max_iter, "max_iter", 1)
        checks.number(self.tol, "tol", 0.0)
        checks.integer(self.batch_size, "batch_size", 1)
        natural = self.natural_learning_rate
        if not (isinstance(natural, Optimizer) and natural.convex):
            name = "natural_learning_rate"
            natural = optimizers.constant(checks.number(natural, name, 0.0, 1.0, open_low=True))
        return LearnSettings(
            natural, _optimizer(self.optimizer, self.learning_rate),
            bool(self.learn_kernel) or bool(self.learn_inducing_points),
            checks.choice(self.sampling, "sampling", self._samplings),
        )  # fmt: skip

    def _learn(
        self,
        watching: Watching,
        points: Points,
        likelihood: Likelihood,
        held_out: tuple[Any, Any],
    ) -> None:
        seed = self._seed(watching)
        with single_threaded_blas():
            z = self._begin(points, likelihood, seed)
            watch = self._watch(watching, points, seed, held_out, total=self.max_iter, unit="steps")
            found = self._learner.fit(
                z, points, self.batch_size, self.max_iter, self.tol, seed, watch
            )
            self._finish(found.state, found.history, float(points.weights.sum()))
        self._rows = points
        self.elbo_, self.converged_ = found.bound, found.converged
        if self.tol > 0 and not (self.converged_ or watch.stopped):
            self._warn_of_steps()

    def _warn_of_steps(self) -> None:
        if self.n_iter_ < FEWEST:
            why = (
                f"before it was known whether the bound still rises, which takes {FEWEST} steps; "
                "raise max_iter, or set tol=0"
            )
        else:
            why = (
                f"while the bound still rose by more than tol={self.tol:g} nats per row in "
                f"{EVERY * PATIENCE} steps; raise max_iter, learning_rate or tol"
            )
        warnings.warn(
            f"max_iter={self.max_iter} ended the fit {why}", ConvergenceWarning, stacklevel=6
        )

    def _feed(self, points: Points, likelihood: Likelihood) -> None:
        checks.integer(self.batch_size, "batch_size", 1)
        total = self.total_samples
        if total is not None:
            total = checks.number(total, "total_samples", 0.0, open_low=True)
        history, state, n_seen = History(), getattr(self, "_state", None), 0.0
        with single_threaded_blas():
            if state is None:
                z = self._begin(points, likelihood, self._seed(Watching()))
            else:
                history.extend(self.n_iter_, **self.history_)
                z, n_seen = None, self._n_seen
            state = self._learner.feed(
                state, z, points, self.batch_size, total=total, n_seen=n_seen,
                rng=np.random.default_rng([self._stream_seed, len(history)]), history=history,
            )  # fmt: skip
            self._finish(state, history, n_seen + float(points.weights.sum()))
        self._rows = None  # a fit's are not all there is, and its bound is of other z
        for name in ("elbo_", "converged_"):
            self.__dict__.pop(name, None)

    def _finish(self, state: LearnState, history: History, n_seen: float) -> None:
        self._state, self._n_seen = state, n_seen
        self._see(state.params)
        self.history_, self.n_iter_ = history.arrays(), len(history)

    def _restored(self, saved: Saved) -> tuple[History, float]:
        """Restore the units of targets and the seed; the history, and how many rows were seen."""
        self._stream_seed = checks.integer(saved.values["seed"], "seed", 0)
        mean, y_scale = saved.array("y_units", 2, *np.shape(self._y_units[0]))
        if not np.all(y_scale > 0):
            raise ValueError(f"{saved.path}: the targets' scale is {y_scale}; wanted it above 0")
        self._y_units = mean, y_scale
        history = History()
        if self.history_:
            history.extend(len(next(iter(self.history_.values()))), **self.history_)
        return history, checks.number(saved.values["n_seen"], "n_seen", 0.0)

    def _rows_to_predict(self, X: RowsLike) -> Array:
        check_is_fitted(self, "_predictive")
        X = validate_data(self, X, dtype=np.float64, order="C", reset=False)
        start.check_sizes(X, "X")
        return np.asarray(X)


class Variational(ByMiniBatches, Predicting):
    """Models of one layer."""

    def _learner_of(
        self, kernel: Kernel, likelihood: Likelihood, scale: Array, centre: Array
    ) -> Learner:
        covariance = Covariance(kernel, len(scale))
        model = SparseVariational(covariance, likelihood, centre, self._n_threads)
        moves = HyperMoves(
            scale, kernel.bounds.reshape(-1, 2),
            bool(self.learn_kernel), bool(self.learn_inducing_points),
        )  # fmt: skip
        return Learner(model, self._settings(), moves)

    def _begin(self, points: Points, likelihood: Likelihood, seed: int) -> Array:
        """Decide on a kernel and how it is learned; the inducing inputs to start from."""
        X, y, weights = points
        self._settings()
        start.check_sizes(X, "X")
        start.check_sizes(y, "y", 1.0 / start.LARGEST)
        kernel = self._initial_kernel(points, likelihood)
        scale = start.column_scales(X, weights)
        learner = self._learner_of(kernel, likelihood, scale, start.column_means(X, weights))
        self.kernel_, self._learner, self._stream_seed = kernel, learner, seed
        return start.initial_inducing(
            learner.model.covariance, X, self.inducing_points, self.inducing_selection,
            np.random.default_rng(seed), weights,
        )  # fmt: skip

    def _initial_kernel(self, points: Points, likelihood: Likelihood) -> Kernel:
        X, y, weights = points
        variance = start.target_variance(y, weights) if likelihood.is_noisy else 1.0
        if self.kernel is None:
            kernel = start.default_kernel(X, variance, weights)
        else:
            kernel = clone(self.kernel)
        keeps = not self.learn_kernel and self.kernel is not None
        white = bool(Covariance(kernel, X.shape[1]).white)
        return start.fitting_noise(kernel, likelihood, variance, white=white, keeps=keeps)

    def _see(self, params: Params) -> None:
        """Predict with these parameters from now on."""
        model = self._learner.model
        here = model.at(params.hyper)
        self._predictive = Predictive(
            here.posterior(params.sites), model.likelihood, here.values, *self._y_units
        )
        self.kernel_ = self.kernel_.clone_with_theta(params.hyper.theta)
        self.inducing_points_ = params.hyper.z
        self.jitter_ = here.inducing.jitter

    def _bound_at(self) -> BoundAt | None:
        rows = self._rows
        return None if rows is None else partial(self._bound, rows)

    def _bound(self, points: Points, theta: Array, gradient: bool) -> tuple[float, Array | None]:
        sites, hyper = self._state.params
        here = self._learner.model.at(hyper._replace(theta=theta))
        value, slope = here.bound(sites, points, gradient=gradient)
        return value, None if slope is None else slope.theta

    def _saved(self) -> dict[str, object]:
        model = self._learner.model
        return {
            **super()._saved(),
            "sites": self._state.params.sites,
            "theta": self._state.params.hyper.theta,
            "own": self._state.params.hyper.own,
            "scale": self._learner.moves.scale,
            "centre": model.centre,
            "y_units": np.array(self._y_units),
            "n_seen": self._n_seen,
            "seed": self._stream_seed,
        }

    def _restore(self, saved: Saved) -> None:
        super()._restore(saved)
        z, likelihood = self.inducing_points_, self._likelihood()
        covariance = Covariance(self.kernel_, z.shape[1])
        if likelihood.is_noisy != bool(covariance.white):
            raise ValueError(
                f"{saved.path}: the noise of kernel {self.kernel_} does not fit the likelihood"
            )
        (m, d), t = z.shape, likelihood.n_latents
        sites = Sites(saved.array("sites.linear", t, m), saved.array("sites.precision", t, m, m))
        theta = saved.array("theta", len(covariance.theta))
        params = Params(sites, Hyper(theta, z, saved.array("own", len(likelihood.own))))
        scale, centre = saved.positive("scale", d), saved.array("centre", d)
        history, n_seen = self._restored(saved)
        with single_threaded_blas():
            self._learner = self._learner_of(self.kernel_, likelihood, scale, centre)
            self._finish(self._learner.started(params), history, n_seen)

    def _latents(self, X: RowsLike) -> tuple[Array, Array]:
        X = self._rows_to_predict(X)
        with single_threaded_blas():
            return self._predictive.latents(X, self._n_threads)


def _optimizer(optimizer: Any, learning_rate: Any) -> Optimizer:
    """The optimizer of the kernel and the inducing inputs; those given by name have this rate."""
    name = "adam" if optimizer is None else optimizer
    if isinstance(name, str) and name in optimizers.PER_COORDINATE:
        rate = checks.number(learning_rate, "learning_rate", 0.0, open_low=True)
        return optimizers.PER_COORDINATE[name](rate)
    found = optimizers.chosen(optimizer)
    assert found is not None
    return found
