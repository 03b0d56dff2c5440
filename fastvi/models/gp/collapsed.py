"""How sparse Gaussian process regressions are fitted, by the collapsed bound."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.base import clone
from sklearn.gaussian_process.kernels import Kernel

from fastvi.base import checks
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import Array
from fastvi.checkpoints import Watching
from fastvi.cluster.active import active
from fastvi.loop import Watch
from fastvi.models.files import Saved
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.estimator import BoundAt
from fastvi.models.gp.posterior import Posterior
from fastvi.models.gp.search import Height, Objective
from fastvi.models.gp.searching import Searching
from fastvi.models.gp.sgpr import SparseRegression
from fastvi.models.gp.sharded import ShardedRegression
from fastvi.models.gp.start import (
    LARGEST,
    SELECTIONS,
    check_sizes,
    column_means,
    column_scales,
    default_kernel,
    initial_inducing,
    target_variance,
    weighted,
    with_noise,
)
from fastvi.models.kinds import Labelled

__all__ = ["Collapse", "Collapsed", "Learned"]


class Learned(NamedTuple):
    """Logarithms of the kernel's hyperparameters, and inducing inputs."""

    theta: Array
    z: Array


class Collapse(Objective):
    """Minus the bound (plus log prior) of what is learned of theta and scaled inducing inputs."""

    def __init__(
        self,
        model: Any,
        theta: Array,
        z: Array,
        prior: float | None = None,
        *,
        kernel: bool = True,
        inducing: bool = True,
    ) -> None:
        self.model, self.z, self.kernel, self.inducing = model, z, kernel, inducing
        self.scale = column_scales(model.x, model.weights)
        super().__init__(self._chosen(theta, z / self.scale), theta, prior, kernel=kernel)

    @property
    def memory(self) -> Array:
        """What the model's next evaluation starts from, if anything."""
        return np.asarray(self.model.memory)

    @memory.setter
    def memory(self, memory: Array) -> None:
        self.model.memory = memory

    def _chosen(self, theta: Array, z: Array) -> Array:
        """What is learned of theta and inducing inputs, as one vector."""
        empty = np.empty(0)
        parts = theta if self.kernel else empty, z.ravel() if self.inducing else empty
        return np.concatenate(parts)

    def parts(self, point: Array) -> Learned:
        """Theta and inducing inputs."""
        n = len(self.theta) if self.kernel else 0
        theta = point[:n].copy() if self.kernel else self.theta
        z = point[n:].reshape(self.z.shape) * self.scale if self.inducing else self.z
        return Learned(theta, z)

    def limits(self, bounds: Array) -> Array:
        """See `Objective`; parameters that follow the kernel's are free."""
        own = np.tile([-np.inf, np.inf], (len(self.theta) - len(bounds), 1))
        bounds, free = np.concatenate((bounds, own)), np.full(self.z.shape, np.inf)
        return np.column_stack(
            (self._chosen(bounds[:, 0], -free), self._chosen(bounds[:, 1], free))
        )

    def bound(self, point: Array, gradient: bool) -> Height:
        """See `Objective`."""
        found = self.model.bound(*self.parts(point), gradient=gradient)
        slope = None
        if found.by_theta is not None and found.by_z is not None:
            slope = self._chosen(found.by_theta, found.by_z * self.scale)
        return Height(found.value, slope, bool(found.converged))


class Collapsed(Searching):
    """Fit by the collapsed bound; the subclass has the parameters and predicts."""

    _flat = True  # before a fit there is one target
    _model: Any  # of the rows of `fit`, if there are any: has `bound(theta, z, gradient=True)`

    def _model_of(self, X: Array, targets: Array, counts: Array | None) -> Any:
        cluster = active()
        if cluster is not None:
            return ShardedRegression(self._covariance, X, targets, cluster, self._n_threads, counts)
        return SparseRegression(self._covariance, X, targets, self._n_threads, counts)

    def _start(self) -> Array:
        """What theta starts from."""
        return self._covariance.theta

    def _fit(self, last: Self | None, watching: Watching, data: Labelled) -> None:
        self._refuse_passes(watching)
        X, y = self._array(
            data.X, data.y, dtype=np.float64, order="C", multi_output=True, y_numeric=True
        )
        y = np.asarray(y, np.float64)
        self._check_parameters()
        check_sizes(X, "X")
        check_sizes(y, "y", 1.0 / LARGEST)
        X, y, weights = weighted(X, y, data.sample_weight)
        counts = None if data.sample_weight is None else weights
        targets, seed = self._normalised(y, counts), self._seed(watching)
        rng = np.random.default_rng(seed)
        self.kernel_ = self._initial_kernel(X, targets, counts)
        self._covariance = Covariance(self.kernel_, X.shape[1], self.alpha or 0.0)
        self._check_noise()
        watch = self._watch(watching, (X, y, weights), seed, data.held_out, unit="iterations")
        with single_threaded_blas():
            self._model = self._model_of(X, targets, counts)
            z = initial_inducing(
                self._covariance, X, self.inducing_points, self.inducing_selection, rng, counts
            )
            self._see(self._optimize(self._model, z, rng, watch))
            if hasattr(self._model, "whole"):
                self._model = self._model.whole()
        self._warn_of_bounds()

    def _see(self, params: Learned) -> None:
        assert self._model is not None
        theta, z = params
        found = self._model.bound(theta, z, gradient=False)
        self._posterior, self._theta = found.posterior, theta
        self.kernel_ = self.kernel_.clone_with_theta(theta)
        self.inducing_points_ = z
        self.elbo_ = float(found.value)
        self.jitter_, self.condition_ = found.jitter, found.condition

    def _check_parameters(self) -> None:
        checks.choice(self.inducing_selection, "inducing_selection", SELECTIONS)
        self._check_search()
        if self.alpha is not None:
            checks.number(self.alpha, "alpha", 0.0)

    def _normalised(self, y: Array, weights: Array | None) -> Array:
        targets = y.reshape(len(y), -1)
        self._flat = targets.shape[1] == 1  # also a column, as in scikit-learn
        self._y_mean, self._y_scale = np.zeros(targets.shape[1]), np.ones(targets.shape[1])
        if self.normalize_y:
            self._y_mean = column_means(targets, weights)
            self._y_scale = column_scales(targets, weights)
        return np.ascontiguousarray((targets - self._y_mean) / self._y_scale)

    def _initial_kernel(self, X: Array, targets: Array, weights: Array | None) -> Kernel:
        variance = target_variance(targets, weights)
        kernel = default_kernel(X, variance, weights) if self.kernel is None else clone(self.kernel)
        white = self.alpha is None and not Covariance(kernel, X.shape[1]).white
        if white and (self.learn_kernel or self.kernel is None):
            kernel = with_noise(kernel, 0.1 * variance)
        return kernel

    def _check_noise(self) -> None:
        noise = self._covariance.noise(self._covariance.theta)
        if not noise > 0:
            raise ValueError(
                "the noise has variance 0, and learn_kernel=False keeps it; "
                "add a WhiteKernel to the kernel, or give alpha"
            )

    def _optimize(self, model: Any, z: Array, rng: np.random.Generator, watch: Watch) -> Learned:
        theta = self._start()
        model.bound(theta, z, gradient=False)  # if this has no factor, say so
        objective = Collapse(
            model, theta, z, self.prior_scale,
            kernel=bool(self.learn_kernel), inducing=bool(self.learn_inducing_points),
        )  # fmt: skip
        return objective.parts(self._search(objective, rng, watch))

    def _bound_at(self) -> BoundAt | None:
        model = getattr(self, "_model", None)
        if model is None:
            return None

        def bound_at(theta: Array, gradient: bool) -> tuple[float, Array | None]:
            found = model.bound(theta, self.inducing_points_, gradient=gradient)
            return found.value, found.by_theta

        return bound_at

    def _saved(self) -> dict[str, object]:
        p = self._posterior
        return {
            **super()._saved(),
            "theta": self._theta,
            "lower": p.lower,
            "inner": p.inner,
            "weights": p.weights,
            "y_mean": self._y_mean,
            "y_scale": self._y_scale,
            "flat": self._flat,
            "jitter": float(self.jitter_),
            "condition": float(getattr(self, "condition_", 1.0)),
        }

    def _restore(self, saved: Saved) -> None:
        super()._restore(saved)
        z = self.inducing_points_
        self._covariance = Covariance(self.kernel_, z.shape[1], self.alpha or 0.0)
        m, self._y_scale = len(z), saved.positive("y_scale", None)
        t = len(self._y_scale)
        self._y_mean = saved.array("y_mean", t)
        self._theta = saved.array("theta", len(self._covariance.theta))
        self._flat = checks.flag(saved.values["flat"], "flat")
        if t < 1 or (self._flat and t > 1):
            raise ValueError(f"{saved.path}: {t} targets, flat={self._flat}")
        self.jitter_, self.condition_ = saved.values["jitter"], saved.values["condition"]
        program = self._covariance.program(self._theta)
        self._posterior = Posterior(
            self._covariance, program, z, self._covariance.scaled(program, z),
            saved.array("lower", m, m), saved.array("inner", m, m), saved.array("weights", m, t),
        )  # fmt: skip
        self._model = None
