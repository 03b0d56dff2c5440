"""How sparse Gaussian process regressions are fitted: the collapsed bound, maximised by L-BFGS."""

from __future__ import annotations

import time
import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from fastvi.base import checks
from fastvi.base.parallel import resolve_n_jobs, single_threaded_blas
from fastvi.base.progress import progress_bar, show_bound
from fastvi.loop import History
from fastvi.models.gp import files
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.estimator import BoundAt, GaussianProcess
from fastvi.models.gp.posterior import Posterior
from fastvi.models.gp.sgpr import SparseRegression
from fastvi.models.gp.start import (
    LARGEST,
    SELECTIONS,
    check_sizes,
    column_scales,
    default_kernel,
    initial_inducing,
    with_noise,
)

__all__ = ["LBFGS", "Collapsed", "Objective"]

Array = NDArray[np.float64]
LBFGS = "fmin_l_bfgs_b"
MEMORY = 50  # pairs of steps and gradients that L-BFGS keeps


class Objective:
    """Minus the bound (plus log prior) of what is learned of theta and scaled inducing inputs."""

    def __init__(
        self,
        model: SparseRegression,
        theta: Array,
        z: Array,
        prior: float | None = None,
        *,
        kernel: bool = True,
        inducing: bool = True,
    ) -> None:
        self.model, self.theta, self.z, self.prior = model, theta, z, prior
        self.kernel, self.inducing = kernel, inducing
        self.scale = column_scales(model.x)
        self.start = self._chosen(theta, z / self.scale)
        self.worst = -np.inf

    def _chosen(self, theta: Array, z: Array) -> Array:
        """What is learned of theta and inducing inputs, as one vector."""
        empty = np.empty(0)
        parts = theta if self.kernel else empty, z.ravel() if self.inducing else empty
        return np.concatenate(parts)

    def parts(self, point: Array) -> tuple[Array, Array]:
        """Theta and inducing inputs."""
        n = len(self.theta) if self.kernel else 0
        theta = point[:n].copy() if self.kernel else self.theta
        z = point[n:].reshape(self.z.shape) * self.scale if self.inducing else self.z
        return theta, z

    def limits(self, bounds: Array) -> Array:
        """Lower and upper bounds of what is learned, from those of theta (P, 2)."""
        free = np.full(self.z.shape, np.inf)
        return np.column_stack(
            (self._chosen(bounds[:, 0], -free), self._chosen(bounds[:, 1], free))
        )

    def __call__(self, point: Array, eval_gradient: bool = True) -> Any:
        """Value and gradient; where there is no factor, a value worse than all before."""
        theta, z = self.parts(np.asarray(point))
        try:
            with np.errstate(all="ignore"):  # hyperparameters far out overflow
                result = self.model.bound(theta, z, gradient=eval_gradient)
        except np.linalg.LinAlgError:
            value = self.worst + 1e3 * (1.0 + abs(self.worst))
            return (value, np.zeros(len(point))) if eval_gradient else value
        value = -result.value
        excess = np.zeros(len(theta))
        if self.prior is not None:
            excess = (theta - self.theta) / self.prior
            value += 0.5 * float(excess @ excess)
            excess /= self.prior
        self.worst = max(self.worst, value)
        if not eval_gradient:
            return value
        assert result.by_theta is not None
        assert result.by_z is not None
        return value, self._chosen(excess - result.by_theta, -result.by_z * self.scale)


class Found(NamedTuple):
    """Where a search ended, and the bound and seconds after each of its iterations."""

    point: Array
    value: float
    history: dict[str, Array]
    n_iter: int
    converged: bool


def search(
    objective: Objective,
    start: Array,
    bounds: Array,
    optimizer: Any,
    max_iter: int,
    tol: float,
    verbose: bool,
) -> Found:
    """The minimum by a callable, or by L-BFGS, with a bar if `verbose`."""
    history, begin = History(), time.perf_counter()
    if callable(optimizer):
        point, value = optimizer(objective, start, bounds=bounds)
        return Found(np.asarray(point), float(value), _columns(history), 0, True)
    with progress_bar(verbose, show_bound, unit="iterations") as report:

        def follow(intermediate_result: Any) -> None:
            bound = -float(intermediate_result.fun)
            history.append(bound=bound, seconds=time.perf_counter() - begin)
            if report is not None:
                report(history)

        limits = {"maxiter": max_iter, "maxfun": 10 * max_iter + 100}
        done = minimize(
            objective, start, jac=True, method="L-BFGS-B", bounds=bounds, callback=follow,
            options={"ftol": tol, "gtol": 1e-5, "maxcor": MEMORY, **limits},
        )  # fmt: skip
    converged = bool(done.status != 1)
    return Found(done.x, float(done.fun), _columns(history), int(done.nit), converged)


def _columns(history: History) -> dict[str, Array]:
    """The columns that a search's history has, also after no iterations."""
    return {name: np.zeros(0) for name in ("bound", "seconds")} | history.arrays()


class Collapsed(GaussianProcess):
    """Fit by the collapsed bound; the subclass has the parameters and predicts."""

    _flat = True  # before a fit there is one target

    def _fit(self, X: Array, y: Array) -> None:
        self._check_parameters()
        check_sizes(X, "X")
        check_sizes(y, "y", 1.0 / LARGEST)
        targets = self._normalised(y)
        rng = np.random.default_rng(self._draw_seed())
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
        if white and (self.learn_kernel or self.kernel is None):
            kernel = with_noise(kernel, 0.1 * power)
        return kernel

    def _check_noise(self) -> None:
        noise = self._covariance.noise(self._covariance.theta)
        if not noise > 0:
            raise ValueError(
                "the noise has variance 0, and learn_kernel=False keeps it; "
                "add a WhiteKernel to the kernel, or give alpha"
            )

    def _optimize(
        self, model: SparseRegression, kernel: Any, z: Array, rng: np.random.Generator
    ) -> tuple[Array, Array]:
        theta = self._covariance.theta
        self.history_: dict[str, Array] = _columns(History())
        self.n_iter_, self.converged_ = 0, True
        objective = Objective(
            model, theta, z, self.prior_scale,
            kernel=bool(self.learn_kernel), inducing=bool(self.learn_inducing_points),
        )  # fmt: skip
        if not len(objective.start):
            return theta, z
        bounds = objective.limits(kernel.bounds.reshape(-1, 2))
        starts = [objective.start, *self._restarts(objective, kernel.bounds, rng)]
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
                stacklevel=4,
            )
        return objective.parts(best.point)

    def _restarts(
        self, objective: Objective, limits: Array, rng: np.random.Generator
    ) -> list[Array]:
        """Further starts, drawn log-uniformly from the kernel's bounds."""
        if not (self.n_restarts_optimizer and self.learn_kernel):
            return []
        if not np.all(np.isfinite(limits)):
            raise ValueError(
                "n_restarts_optimizer draws from the kernel's bounds, which are not all "
                "finite; wanted finite bounds, or 0"
            )
        starts = []
        for _ in range(self.n_restarts_optimizer):
            drawn = rng.uniform(limits[:, 0], limits[:, 1])
            starts.append(np.concatenate((drawn, objective.start[len(drawn) :])))
        return starts

    def _bound_at(self) -> BoundAt | None:
        model = getattr(self, "_model", None)
        if model is None:
            return None

        def bound_at(theta: Array, gradient: bool) -> tuple[float, Array | None]:
            found = model.bound(theta, self.inducing_points_, gradient=gradient)
            return found.value, found.by_theta

        return bound_at

    def _arrays(self) -> dict[str, Any]:
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
