"""How sparse Gaussian process regressions are fitted."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from fastvi.base import checks
from fastvi.base.parallel import resolve_n_jobs, single_threaded_blas
from fastvi.models.gp import files
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.estimator import BoundAt, GaussianProcess
from fastvi.models.gp.objective import Objective, search
from fastvi.models.gp.posterior import Posterior
from fastvi.models.gp.sgpr import SparseRegression
from fastvi.models.gp.start import (
    LARGEST,
    SELECTIONS,
    check_sizes,
    default_kernel,
    initial_inducing,
    with_noise,
)

__all__ = ["LBFGS", "Collapsed"]

Array = NDArray[np.float64]
LBFGS = "fmin_l_bfgs_b"


class Collapsed(GaussianProcess):
    """Fit by the collapsed bound; the subclass has the parameters and predicts."""

    _flat = True  # before a fit there is one target

    def _fit(self, X: Array, y: Array) -> None:
        self._check_parameters()
        check_sizes(X, "X")
        check_sizes(y, "y", 1.0 / LARGEST)
        targets = self._normalised(y)
        rng = np.random.default_rng(check_random_state(self.random_state).randint(1 << 31))
        kernel = self._initial_kernel(X, targets)
        self._covariance = Covariance(kernel, X.shape[1], self.alpha or 0.0)
        self._check_noise()
        with single_threaded_blas():
            model = SparseRegression(self._covariance, X, targets, resolve_n_jobs(self.n_jobs))
            z = initial_inducing(
                self._covariance, X, self.inducing_points, self.inducing_selection, rng
            )
            theta, z = self._optimize(model, kernel, z, rng)
            best = model.bound(theta, z, gradient=False)
        self._posterior, self._theta = best.posterior, theta
        self._model: SparseRegression | None = model
        self.kernel_ = kernel.clone_with_theta(theta)
        self.inducing_points_ = z
        self.log_marginal_likelihood_value_ = best.value
        self.jitter_, self.condition_ = best.jitter, best.condition

    def _check_parameters(self) -> None:
        checks.choice(self.inducing_selection, "inducing_selection", SELECTIONS)
        checks.integer(self.n_restarts_optimizer, "n_restarts_optimizer", 0)
        checks.integer(self.max_iter, "max_iter", 1)
        checks.number(self.tol, "tol", 0.0)
        if self.alpha is not None:
            checks.number(self.alpha, "alpha", 0.0)
        if self.prior_scale is not None:
            checks.number(self.prior_scale, "prior_scale", 0.0, open_low=True)
        if self.optimizer not in (LBFGS, None) and not callable(self.optimizer):
            raise ValueError(
                f"optimizer is {self.optimizer!r}; wanted {LBFGS!r}, a callable or None"
            )

    def _normalised(self, y: Array) -> Array:
        targets = y.reshape(len(y), -1)
        self._flat = targets.shape[1] == 1  # also a column, as in scikit-learn
        self._y_mean, self._y_scale = np.zeros(targets.shape[1]), np.ones(targets.shape[1])
        if self.normalize_y:
            self._y_mean, scale = targets.mean(axis=0), targets.std(axis=0)
            self._y_scale = np.where(scale > 0, scale, 1.0)
        return np.ascontiguousarray((targets - self._y_mean) / self._y_scale)

    def _initial_kernel(self, X: Array, targets: Array) -> Any:
        power = float(np.square(targets).mean()) or 1.0
        kernel = default_kernel(X, power) if self.kernel is None else clone(self.kernel)
        white = self.alpha is None and not Covariance(kernel, X.shape[1]).white
        if white and (self.optimizer is not None or self.kernel is None):
            kernel = with_noise(kernel, 0.1 * power)
        return kernel

    def _check_noise(self) -> None:
        noise = self._covariance.noise(self._covariance.theta)
        if not noise > 0:
            raise ValueError(
                "the noise has variance 0, and optimizer=None learns none; "
                "add a WhiteKernel to the kernel, or give alpha"
            )

    def _optimize(
        self, model: SparseRegression, kernel: Any, z: Array, rng: np.random.Generator
    ) -> tuple[Array, Array]:
        theta = self._covariance.theta
        self.history_: dict[str, Array] = {"bound": np.zeros(0), "seconds": np.zeros(0)}
        self.n_iter_, self.converged_ = 0, True
        moves = bool(self.learn_inducing_points)
        if self.optimizer is None or not (len(theta) or moves):
            return theta, z
        objective = Objective(model, theta, z, moves, self.prior_scale)
        bounds = np.vstack(
            (
                kernel.bounds.reshape(-1, 2),
                np.full((z.size if moves else 0, 2), (-np.inf, np.inf)),
            )
        )
        starts = [objective.start]
        if self.n_restarts_optimizer:
            limits = kernel.bounds
            if not np.all(np.isfinite(limits)):
                raise ValueError(
                    "n_restarts_optimizer draws from the kernel's bounds, which are not all "
                    "finite; wanted finite bounds, or 0"
                )
            for _ in range(self.n_restarts_optimizer):
                drawn = rng.uniform(limits[:, 0], limits[:, 1])
                starts.append(np.concatenate((drawn, objective.start[len(theta) :])))
        model.bound(theta, z, gradient=False)  # if this has no factor, say so
        results = [
            search(
                objective, start, bounds, self.optimizer, self.max_iter, self.tol,
                bool(self.verbose),
            )
            for start in starts
        ]  # fmt: skip
        best = min(results, key=lambda result: result.value)
        self.history_, self.n_iter_, self.converged_ = best.history, best.n_iter, best.converged
        if not self.converged_:
            warnings.warn(
                f"L-BFGS stopped after {self.n_iter_} iterations before tol was reached; "
                "raise max_iter or tol",
                ConvergenceWarning,
                stacklevel=5,
            )
        return objective.parts(best.point)

    def _bound_at(self) -> BoundAt | None:
        model = getattr(self, "_model", None)
        if model is None:
            return None

        def bound_at(theta: Array, gradient: bool) -> tuple[float, Array | None]:
            found = model.bound(theta, self.inducing_points_, gradient=gradient)
            return found.value, found.by_theta

        return bound_at

    def _state(self) -> dict[str, Any]:
        p = self._posterior
        state = {"theta": self._theta, "lower": p.lower, "inner": p.inner, "weights": p.weights}
        targets = {"y_mean": self._y_mean, "y_scale": self._y_scale, "flat": np.array(self._flat)}
        return state | targets

    def _restore(self, arrays: dict[str, NDArray[Any]], path: str) -> None:
        """The rest of a fit from `save`'s arrays."""
        z = self.inducing_points_
        self._covariance = Covariance(self.kernel_, z.shape[1], self.alpha or 0.0)
        m, t = len(z), len(arrays["y_mean"])
        self._theta, self._y_mean, self._y_scale, *parts = files.check_shapes(
            arrays, path, theta=self._covariance.theta.shape, y_mean=(t,), y_scale=(t,),
            lower=(m, m), inner=(m, m), weights=(m, t),
        )  # fmt: skip
        self._flat = bool(arrays["flat"])
        program = self._covariance.program(self._theta)
        columns = self._covariance.scaled(program, z)
        self._posterior = Posterior(self._covariance, program, z, columns, *parts)
        self._model = None
