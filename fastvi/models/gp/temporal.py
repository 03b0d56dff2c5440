"""What estimators of Gaussian processes in time share: fits, times and files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.gaussian_process.kernels import ConstantKernel, Kernel, Matern
from sklearn.utils.validation import check_is_fitted, validate_data

from fastvi.base import checks
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import Array, ArrayLike, RowsLike
from fastvi.checkpoints import Watching
from fastvi.models.files import Saved
from fastvi.models.gp import files, start
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.estimator import BoundAt
from fastvi.models.gp.likelihood import Likelihood, Values
from fastvi.models.gp.likelihoods import Measured
from fastvi.models.gp.predictions import Predicting
from fastvi.models.gp.predictor import Predictive
from fastvi.models.gp.rows import Points
from fastvi.models.gp.search import Height, Objective
from fastvi.models.gp.searching import Searching
from fastvi.models.gp.temporal_model import Series, TemporalModel, TimeSites
from fastvi.models.gp.temporal_posterior import TemporalPosterior
from fastvi.models.gp.terms import TimeCovariance

__all__ = ["Temporal"]


class TimeObjective(Objective):
    """Minus the bound (plus log prior) at theta."""

    def __init__(self, model: TemporalModel, prior: float | None, *, kernel: bool) -> None:
        self.model = model
        theta = model.covariance.theta
        super().__init__(theta if kernel else np.empty(0), theta, prior, kernel=kernel)

    def parts(self, point: Array) -> Array:
        """Theta."""
        return point.copy() if self.kernel else self.theta

    def limits(self, bounds: Array) -> Array:
        """See `Objective`."""
        return self.model.covariance.limited(bounds) if self.kernel else bounds[:0]

    def bound(self, point: Array, gradient: bool) -> Height:
        """See `Objective`."""
        found = self.model.bound(self.parts(point), gradient=gradient)
        return Height(found.value, found.by_theta)


class Temporal(Predicting, Searching):
    """Fit; subclasses say which likelihood, and what y means."""

    def _likelihood(self) -> Likelihood:
        """What the parameters ask for."""
        raise NotImplementedError

    # Fits

    def _learn(
        self,
        watching: Watching,
        points: Points,
        held_out: tuple[Any, Any],
        weights: Array | None,
        known_noise: Array | None = None,
    ) -> None:
        """Fit to rows; `weights` are theirs if they were given, as are variances of noise."""
        self._refuse_passes(watching)
        self._check_search()
        likelihood, seed = self._likelihood(), self._seed(watching)
        is_known = known_noise is not None
        self.kernel_ = self._initial_kernel(points, likelihood, weights, is_known)
        if known_noise is not None:
            likelihood = Measured(known_noise)
        self._covariance = TimeCovariance(self.kernel_)
        watch = self._watch(watching, points, seed, held_out, unit="iterations")
        series = Series.of_rows(points.x[:, 0], points.y, points.weights)
        with single_threaded_blas():
            self._model: TemporalModel | None = TemporalModel(self._covariance, likelihood, series)
            objective = TimeObjective(self._model, self.prior_scale, kernel=bool(self.learn_kernel))
            rng = np.random.default_rng(seed)
            self._see(objective.parts(self._search(objective, rng, watch)))
        self._warn_of_bounds()

    def _initial_kernel(
        self, points: Points, likelihood: Likelihood, weights: Array | None, is_known: bool
    ) -> Kernel:
        variance = 1.0
        if likelihood.is_noisy:
            variance = start.target_variance(points.y, weights)
        if self.kernel is None:
            kernel = _default_kernel(points.x, variance, is_noisy=likelihood.is_noisy)
        else:
            kernel = clone(self.kernel)
        if is_known and self.kernel is not None:
            return kernel
        keeps = not self.learn_kernel and self.kernel is not None
        white = bool(Covariance(kernel, 1).white)
        return start.fitting_noise(kernel, likelihood, variance, white=white, keeps=keeps)

    def _see(self, params: Array) -> None:
        """Predict with these logarithms of hyperparameters from now on."""
        assert self._model is not None
        found = self._model.bound(params, gradient=False)
        self.elbo_ = found.value
        self._theta = params
        self.kernel_ = self.kernel_.clone_with_theta(params)
        self._settle(self._model.series.times, found.sites, self._likelihood())

    def _settle(self, times: Array, sites: TimeSites, likelihood: Likelihood) -> None:
        self._posterior = TemporalPosterior(self._covariance.at(self._theta), times, sites)
        values = Values(self._covariance.covariance.noise(self._theta), likelihood.own)
        self._predictive = Predictive([self._posterior], likelihood, values, *self._y_units)

    def _bound_at(self) -> BoundAt | None:
        model = getattr(self, "_model", None)
        if model is None:
            return None

        def bound_at(theta: Array, gradient: bool) -> tuple[float, Array | None]:
            found = model.bound(theta, gradient=gradient)
            return found.value, found.by_theta

        return bound_at

    # Times

    def _times(self, X: RowsLike, *, reset: bool) -> Array:
        """Check times (n,) or (n, 1)."""
        checks.nothing_masked(X)
        return self._column(
            validate_data(self, self._as_rows(X), dtype=np.float64, order="C", reset=reset)
        )

    def _times_and_targets(
        self, X: RowsLike, y: ArrayLike, *, reset: bool, numeric: bool = True
    ) -> tuple[Array, Any]:
        """Check times and a target for each."""
        checks.nothing_masked(X)
        X, y = validate_data(
            self, self._as_rows(X), y, dtype=np.float64, order="C", reset=reset, y_numeric=numeric
        )
        return self._column(X), np.asarray(y, np.float64) if numeric else y

    def _as_rows(self, X: RowsLike) -> Any:
        """Times (n,) as (n, 1)."""
        if getattr(X, "ndim", None) == 1 or (isinstance(X, (list, tuple)) and np.ndim(X) == 1):
            return np.asarray(X).reshape(-1, 1)
        return X

    def _column(self, X: Array) -> Array:
        """The only column of X."""
        if X.shape[1] != 1:
            raise ValueError(f"X has {X.shape[1]} columns; wanted one, of times")
        start.check_sizes(X, "X")
        return X

    def _rows_to_predict(self, X: RowsLike) -> Array:
        check_is_fitted(self, "_predictive")
        return self._times(X, reset=False)

    def _latents(self, X: RowsLike) -> tuple[Array, Array]:
        times = self._rows_to_predict(X)
        return self._predictive.latents(times)

    def _draws(self, X: RowsLike, n_samples: int, rng: Any) -> Iterator[Array]:
        times = self._rows_to_predict(X)
        yield self._posterior.draws(times, rng.standard_normal((len(times), n_samples)))

    # Files

    def _saved(self) -> dict[str, object]:
        return {
            "kernel": json.dumps(files.encoded(self.kernel_)),
            "theta": self._theta,
            "times": self._posterior.times,
            "sites": self._posterior.sites,
            "y_units": np.array(self._y_units, np.float64),
        }

    def _restore(self, saved: Saved) -> None:
        self.kernel_ = files.decoded(json.loads(saved.values["kernel"]), saved.path)
        self._covariance, self._model = TimeCovariance(self.kernel_), None
        self._theta = saved.array("theta", len(self._covariance.theta))
        likelihood = self._likelihood()
        if self._covariance.covariance.white and not likelihood.is_noisy:
            raise ValueError(
                f"{saved.path}: the noise of kernel {self.kernel_} does not fit the likelihood"
            )
        times = saved.array("times", None)
        if not len(times) or np.any(np.diff(times) <= 0):
            raise ValueError(f"{saved.path}: times must rise")
        t = len(times)
        sites = TimeSites(saved.array("sites.linear", t), saved.array("sites.precision", t))
        mean, scale = saved.array("y_units", 2)
        if not scale > 0:
            raise ValueError(f"{saved.path}: the targets' scale is {scale}; wanted it above 0")
        self._y_units = mean, scale
        self._settle(times, sites, likelihood)


def _default_kernel(x: Array, variance: float, *, is_noisy: bool) -> Kernel:
    """A constant times a Matern function of nu 3/2, at scales of the data; and an offset.

    The offset is for likelihoods whose targets are not normalised.
    """
    times = np.unique(x)
    gaps = np.diff(times) if len(times) > 1 else np.ones(1)
    shortest, longest = float(np.median(gaps)), max(float(times[-1] - times[0]), float(gaps[0]))
    bounds = 0.1 * shortest, 10.0 * longest
    matern = Matern(np.sqrt(shortest * longest), bounds, nu=1.5)
    amplitude = 1e-5 * variance, (1e5 if is_noisy else 1e3) * variance
    kernel = ConstantKernel(variance, amplitude) * matern
    return kernel if is_noisy else kernel + ConstantKernel(variance, amplitude)
