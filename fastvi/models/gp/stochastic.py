"""What estimators of sparse variational Gaussian processes share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from fastvi import optimizers
from fastvi.base import checks
from fastvi.base.parallel import resolve_n_jobs, single_threaded_blas
from fastvi.core import Optimizer
from fastvi.models.gp import files
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.estimator import BoundAt, GaussianProcess
from fastvi.models.gp.learner import Learner, LearnSettings
from fastvi.models.gp.likelihoods import Likelihood
from fastvi.models.gp.objective import column_scales
from fastvi.models.gp.rows import Points, Sites
from fastvi.models.gp.start import (
    LARGEST,
    SELECTIONS,
    check_sizes,
    default_kernel,
    initial_inducing,
    with_noise,
)
from fastvi.models.plan import SAMPLING

__all__ = ["Variational"]

Array = NDArray[np.float64]


class Variational(GaussianProcess):
    """Fit and streams; subclasses say which likelihood, and what y means."""

    def _seed(self) -> int:
        return int(check_random_state(self.random_state).randint(1 << 31))

    def _settings(self) -> LearnSettings:
        checks.choice(self.inducing_selection, "inducing_selection", SELECTIONS)
        checks.integer(self.max_iter, "max_iter", 1)
        checks.integer(self.batch_size, "batch_size", 1)
        natural = self.natural_rate
        if not (isinstance(natural, Optimizer) and natural.convex):
            natural = optimizers.constant(
                checks.number(natural, "natural_rate", 0.0, 1.0, open_low=True)
            )
        optimizer = self.optimizer
        if isinstance(optimizer, str) and optimizer == "adam":
            optimizer = optimizers.adam(
                checks.number(self.learning_rate, "learning_rate", 0.0, open_low=True)
            )
        if optimizer is not None and not isinstance(optimizer, Optimizer):
            raise ValueError(
                f"optimizer is {optimizer!r}; wanted 'adam', a fastvi.optimizers.Optimizer or None"
            )
        return LearnSettings(
            natural, optimizer, bool(self.learn_inducing_points), bool(self.verbose),
            resolve_n_jobs(self.n_jobs), checks.choice(self.sampling, "sampling", SAMPLING),
        )  # fmt: skip

    def _begin(self, X: Array, y: Array, likelihood: Likelihood, seed: int) -> None:
        settings = self._settings()
        check_sizes(X, "X")
        check_sizes(y, "y", 1.0 / LARGEST)
        power = float(np.square(y).mean()) or 1.0 if likelihood.is_noisy else 1.0
        kernel = default_kernel(X, power) if self.kernel is None else clone(self.kernel)
        covariance = Covariance(kernel, X.shape[1])
        if likelihood.is_noisy and not covariance.white:
            if self.optimizer is None and self.kernel is not None:
                raise ValueError(
                    "the noise has variance 0, and optimizer=None learns none; "
                    "add a WhiteKernel to the kernel"
                )
            kernel = with_noise(kernel, 0.1 * power)
            covariance = Covariance(kernel, X.shape[1])
        elif covariance.white and not likelihood.is_noisy:
            raise ValueError(
                f"kernel is {kernel}, but this likelihood has no noise; "
                "wanted a kernel without WhiteKernel"
            )
        z = initial_inducing(
            covariance, X, self.inducing_points, self.inducing_selection,
            np.random.default_rng(seed),
        )  # fmt: skip
        self._kernel = kernel
        self._learner = Learner(
            covariance, likelihood, z, column_scales(X), X.mean(axis=0),
            kernel.bounds.reshape(-1, 2), settings,
        )  # fmt: skip

    def _held_out(self, X_val: Any, y_val: Any) -> Callable[[], float] | None:
        """The score of rows not fitted to, during a fit."""
        if not checks.both_or_none("X_val", X_val, "y_val", y_val):
            return None
        validate_data(self, X_val, y_val, dtype=np.float64, reset=False)  # before the first pass
        return lambda: float(self.score(X_val, y_val))

    def _fit(
        self, X: Array, y: Array, likelihood: Likelihood, held_out: Callable[[], float] | None
    ) -> None:
        seed = self._seed()
        with single_threaded_blas():
            self._begin(X, y, likelihood, seed)
            self._learner.fit(X, y, self.batch_size, self.max_iter, seed, held_out)
            self._learner.polish(X, y)
            self._finish()
            self.log_marginal_likelihood_value_ = self._learner.bound(X, y)[0]
        self._rows: Points | None = Points(X, y)

    def _feed(self, X: Array, y: Array, likelihood: Likelihood) -> None:
        checks.integer(self.batch_size, "batch_size", 1)
        total = self.total_samples
        if total is not None:
            total = checks.number(total, "total_samples", 0.0, open_low=True)
        with single_threaded_blas():
            if not hasattr(self, "_learner"):
                self._begin(X, y, likelihood, self._seed())
            if not hasattr(self, "_stream"):
                self._stream = np.random.default_rng(self._seed())
            with self._learner.all_steps_or_none():
                self._learner.feed(X, y, self.batch_size, total, self._stream)
                self._finish()
                self._rows = None  # a fit's are not all there is, and its bound is of other z
                self.__dict__.pop("log_marginal_likelihood_value_", None)

    def _finish(self) -> None:
        learner = self._learner
        learner.finish()
        self.kernel_ = self._kernel.clone_with_theta(learner.model.theta)
        self.inducing_points_ = learner.model.z
        self.jitter_ = learner.model.jitter
        self.history_ = learner.history.arrays()
        self.n_iter_ = len(learner.history)

    def _bound_at(self) -> BoundAt | None:
        rows = getattr(self, "_rows", None)
        return None if rows is None else partial(self._learner.bound, *rows)

    def _state(self) -> dict[str, Any]:
        learner = self._learner
        sites = learner.state.sites
        return {
            "theta": learner.model.theta,
            "linear": sites.linear,
            "precision": sites.precision,
            "scale": learner.scale,
            "centre": learner.model.centre,
            "rows_seen": np.array(learner.rows_seen),
        }

    def _restore(self, arrays: dict[str, NDArray[Any]], path: str) -> None:
        """The rest of a fit from `save`'s arrays."""
        z, likelihood = self.inducing_points_, self._likelihood()
        covariance, kernel = Covariance(self.kernel_, z.shape[1]), self.kernel_
        if likelihood.is_noisy != bool(covariance.white):
            raise ValueError(f"{path}: the noise of kernel {kernel} does not fit the likelihood")
        (m, d), t = z.shape, likelihood.n_latents
        theta, linear, precision, scale, centre = files.check_shapes(
            arrays, path, theta=covariance.theta.shape, linear=(t, m), precision=(t, m, m),
            scale=(d,), centre=(d,),
        )  # fmt: skip
        bounds = kernel.bounds.reshape(-1, 2)
        self._kernel = kernel
        with single_threaded_blas():
            learner = Learner(covariance, likelihood, z, scale, centre, bounds, self._settings())
            learner.resume(theta, z, Sites(linear, precision), int(arrays["rows_seen"]))
        if self.history_:
            n_steps = len(next(iter(self.history_.values())))
            learner.history.extend(n_steps, **self.history_)
        self._learner, self._rows = learner, None

    def _latents(self, X: Any) -> tuple[Array, Array]:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, order="C", reset=False)
        check_sizes(X, "X")
        with single_threaded_blas():
            return self._learner.latents(X, resolve_n_jobs(self.n_jobs))
