"""Sparse Gaussian process regression as a scikit-learn estimator."""

from __future__ import annotations

import os
import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from fastvi import _checks
from fastvi.models import gp_files
from fastvi.models._covariance import Covariance
from fastvi.models._gp_objective import Objective, search
from fastvi.models._gp_posterior import Posterior
from fastvi.models._gp_predictor import GaussianProcessPredictor
from fastvi.models._sgpr import SparseRegression
from fastvi.models.gp_start import (
    LARGEST,
    SELECTIONS,
    all_or_nothing,
    check_sizes,
    default_kernel,
    initial_inducing,
    with_noise,
)
from fastvi.parallel import resolve_n_jobs, single_threaded_blas

__all__ = ["SparseGPRegressor"]

Array = NDArray[np.float64]
LBFGS = "fmin_l_bfgs_b"


class SparseGPRegressor(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Gaussian process regression by inducing inputs, for many rows.

    Maximises the collapsed variational bound of Titsias (2009), "Variational learning of inducing
    variables in sparse Gaussian processes", by L-BFGS on the logarithms of the kernel's
    hyperparameters and on the inducing inputs. A step takes O(N M^2) time for N rows and M
    inducing inputs and O(M^2) memory. Parameters have the names of scikit-learn's
    GaussianProcessRegressor where they mean the same. Results do not depend on `n_jobs`, to the
    bit.

    Parameters
    ----------
    kernel : sklearn.gaussian_process.kernels.Kernel, optional
        Sums, products and whole powers of ConstantKernel, RBF, Matern (nu 1/2, 3/2, 5/2, inf),
        RationalQuadratic, ExpSineSquared and DotProduct, with WhiteKernel for the noise. Without
        WhiteKernel, and with `alpha` None, one is added and learnt. By default a constant times an
        RBF with a length scale for each column, beginning at scales of the data.
    inducing_points : int or (n_inducing, n_features) array, default=100
        How many inducing inputs, at most one for each distinct row; or which to begin with.
    inducing_selection : {"kmeans", "greedy", "subset"}, default="kmeans"
        Begin with centres of k-means; with the rows that, one after the other, have the largest
        variance given those before (Burt et al. 2020); or with random rows.
    learn_inducing_points : bool, default=True
        Whether they move.
    alpha : float, optional
        Noise variance beside that of WhiteKernel, not part of predictions; in units of the
        normalised targets with `normalize_y`.
    optimizer : "fmin_l_bfgs_b", callable or None, default="fmin_l_bfgs_b"
        None keeps the kernel and the inducing inputs. A callable has scikit-learn's form,
        ``optimizer(obj_func, initial_theta, bounds) -> (theta_opt, func_min)``, where theta is
        followed by the inducing inputs, in standard deviations of the columns, if they move.
    n_restarts_optimizer : int, default=0
        Further starts, drawn log-uniformly from the kernel's bounds.
    normalize_y : bool, default=False
        Scale targets to mean 0 and variance 1 for the fit.
    prior_scale : float, optional
        Standard deviation of Gaussian priors of the logarithms of the hyperparameters, around the
        kernel's own; by default there are none.
    max_iter : int, default=1000
        Largest number of iterations of L-BFGS.
    tol : float, default=1e-9
        L-BFGS ends where an iteration raises the bound by less than this share of it.
    random_state : int, RandomState or None, default=None
        For the inducing inputs and restarts.
    n_jobs : int, optional
        Threads; -1 for all cores, None for one.
    verbose : int, default=0
        Print a line an iteration.

    Attributes
    ----------
    kernel_ : Kernel
        With the hyperparameters that were found.
    inducing_points_ : (n_inducing, n_features) array
    log_marginal_likelihood_value_ : float
        The bound of log p(y | X) in nats (of the normalised targets), without priors.
    jitter_ : float
        What was added to the diagonal of the inducing inputs' covariance.
    condition_ : float
        Estimated condition number of that matrix, jitter included.
    history_ : dict of str to array
        `bound` (with the log prior, if any) and `seconds` after each iteration of the best start.
    n_iter_ : int
        Iterations of L-BFGS from the best start.
    converged_ : bool
        False where `max_iter` ended the search.
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import SparseGPRegressor
    >>> X = np.linspace(0, 6, 200)[:, None]
    >>> model = SparseGPRegressor(inducing_points=15, random_state=0).fit(X, np.sin(X[:, 0]))
    >>> mean, std = model.predict([[1.0]], return_std=True)
    >>> print(f"{mean[0]:.3f}")
    0.841
    """

    _flat = True  # before a fit there is one target

    def __init__(
        self,
        kernel: Any = None,
        *,
        inducing_points: Any = 100,
        inducing_selection: str = "kmeans",
        learn_inducing_points: bool = True,
        alpha: float | None = None,
        optimizer: Any = LBFGS,
        n_restarts_optimizer: int = 0,
        normalize_y: bool = False,
        prior_scale: float | None = None,
        max_iter: int = 1000,
        tol: float = 1e-9,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.kernel = kernel
        self.inducing_points = inducing_points
        self.inducing_selection = inducing_selection
        self.learn_inducing_points = learn_inducing_points
        self.alpha = alpha
        self.optimizer = optimizer
        self.n_restarts_optimizer = n_restarts_optimizer
        self.normalize_y = normalize_y
        self.prior_scale = prior_scale
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    # Fitting

    @all_or_nothing
    def fit(self, X: Any, y: Any) -> Self:
        """Fit hyperparameters and inducing inputs.

        Parameters
        ----------
        X : (n_rows, n_features) array
        y : (n_rows,) or (n_rows, n_targets) array
            Targets share the kernel.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter is out of range or the kernel is not known.
        numpy.linalg.LinAlgError
            If a matrix has no Cholesky factor at the hyperparameters to begin with; it says which.
        """
        X, y = validate_data(
            self, X, y, dtype=np.float64, order="C", multi_output=True, y_numeric=True
        )
        self._check_parameters()
        check_sizes(X, "X")
        check_sizes(y, "y", 1.0 / LARGEST)
        targets = self._normalised(np.asarray(y, np.float64))
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
        return self

    def _check_parameters(self) -> None:
        _checks.choice(self.inducing_selection, "inducing_selection", SELECTIONS)
        _checks.integer(self.n_restarts_optimizer, "n_restarts_optimizer", 0)
        _checks.integer(self.max_iter, "max_iter", 1)
        _checks.number(self.tol, "tol", 0.0)
        if self.alpha is not None:
            _checks.number(self.alpha, "alpha", 0.0)
        if self.prior_scale is not None:
            _checks.number(self.prior_scale, "prior_scale", 0.0, open_low=True)
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
                stacklevel=4,
            )
        return objective.parts(best.point)

    # Predictions

    def predict(self, X: Any, return_std: bool = False, return_cov: bool = False) -> Any:
        """Mean of the targets, and their standard deviation or covariance.

        Before `fit`, those of the prior, as scikit-learn's: of one target, with an RBF of length
        and variance 1 if `kernel` is None.

        Parameters
        ----------
        X : (n_rows, n_features) array
        return_std, return_cov : bool
            At most one. Both include the white noise, as scikit-learn's do.

        Returns
        -------
        mean : (n_rows,) or (n_rows, n_targets) array
        std : array of that shape
            With `return_std`.
        cov : (n_rows, n_rows) or (n_rows, n_rows, n_targets) array
            With `return_cov`.

        Raises
        ------
        RuntimeError
            If both are asked for.
        """
        if return_std and return_cov:
            raise RuntimeError("At most one of return_std or return_cov can be requested.")
        X = validate_data(self, X, dtype=np.float64, order="C", reset=False)
        check_sizes(X, "X")
        if not hasattr(self, "_posterior"):
            return self._prior(X, return_std, return_cov)
        noise = self._covariance.white_noise(self._theta)
        with single_threaded_blas():
            if return_cov:
                mean, covariance = self._posterior.joint(X)
                covariance[np.diag_indices(len(X))] += noise
                spread = covariance[..., None] * np.square(self._y_scale)
            else:
                mean, variance = self._posterior.predict(
                    X, variance=return_std, n_threads=resolve_n_jobs(self.n_jobs)
                )
                if variance is not None:
                    spread = np.sqrt(variance + noise)[:, None] * self._y_scale
        mean = mean * self._y_scale + self._y_mean
        if self._flat:
            mean = mean[:, 0]
        if not (return_std or return_cov):
            return mean
        return mean, spread[..., 0] if self._flat else spread

    def _prior(self, X: Array, return_std: bool, return_cov: bool) -> Any:
        kernel = ConstantKernel(1.0) * RBF(1.0) if self.kernel is None else self.kernel
        mean = np.zeros(len(X))
        if return_cov:
            return mean, kernel(X)
        return (mean, np.sqrt(kernel.diag(X))) if return_std else mean

    def __sklearn_tags__(self) -> Any:
        """As scikit-learn asks: predictions need no fit."""
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags

    def sample_y(self, X: Any, n_samples: int = 1, random_state: Any = 0) -> Array:
        """Draws from the joint posterior of the targets at X, white noise included.

        Parameters
        ----------
        X : (n_rows, n_features) array
        n_samples : int
        random_state : int, RandomState or None

        Returns
        -------
        (n_rows, n_samples) or (n_rows, n_targets, n_samples) array
        """
        rng = check_random_state(random_state)
        mean, covariance = self.predict(X, return_cov=True)
        if self._flat:
            return np.asarray(rng.multivariate_normal(mean, covariance, n_samples).T)
        draws = [
            rng.multivariate_normal(mean[:, t], covariance[..., t], n_samples).T[:, None]
            for t in range(mean.shape[1])
        ]
        return np.hstack(draws)

    def log_marginal_likelihood(
        self, theta: Any = None, eval_gradient: bool = False, clone_kernel: bool = True
    ) -> Any:
        """The bound of the log marginal likelihood in nats, at the fitted inducing inputs.

        Parameters
        ----------
        theta : (n_hyperparameters,) array, optional
            Logarithms of the kernel's hyperparameters; by default those of the fit.
        eval_gradient : bool
            Return the gradient by `theta` as well.
        clone_kernel : bool
            If False, `kernel_` takes these hyperparameters, though predictions do not.

        Returns
        -------
        float, or (float, (n_hyperparameters,) array)
        """
        check_is_fitted(self, "kernel_")
        if theta is None:
            if eval_gradient:
                raise ValueError("Gradient can only be evaluated for theta!=None")
            return self.log_marginal_likelihood_value_
        if self._model is None:
            raise ValueError("a model from a file holds no rows; fit it to evaluate other theta")
        if not clone_kernel:
            self.kernel_.theta = theta
        with single_threaded_blas():
            result = self._model.bound(
                np.asarray(theta, np.float64), self.inducing_points_, gradient=eval_gradient
            )
        return (result.value, result.by_theta) if eval_gradient else result.value

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what predictions take to a file that `fastvi.load` reads; the rows are not in it.

        Parameters
        ----------
        path : path

        Raises
        ------
        OSError
            If the file cannot be written; the old one is kept then.
        ValueError
            If a parameter is something no file holds, such as a callable.
        """
        check_is_fitted(self, "kernel_")
        p = self._posterior
        state = {"theta": self._theta, "lower": p.lower, "inner": p.inner, "weights": p.weights}
        targets = {"y_mean": self._y_mean, "y_scale": self._y_scale, "flat": np.array(self._flat)}
        gp_files.save(self, path, state | targets)

    def _restore(self, arrays: dict[str, NDArray[Any]], path: str) -> None:
        """The rest of a fit from `save`'s arrays."""
        z = self.inducing_points_
        self._covariance = Covariance(self.kernel_, z.shape[1], self.alpha or 0.0)
        m, t = len(z), len(arrays["y_mean"])
        self._theta, self._y_mean, self._y_scale, *parts = gp_files.check_shapes(
            arrays, path, theta=self._covariance.theta.shape, y_mean=(t,), y_scale=(t,),
            lower=(m, m), inner=(m, m), weights=(m, t),
        )  # fmt: skip
        self._flat = bool(arrays["flat"])
        program = self._covariance.program(self._theta)
        columns = self._covariance.scaled(program, z)
        self._posterior = Posterior(self._covariance, program, z, columns, *parts)
        self._model = None

    def compiled(self) -> GaussianProcessPredictor:
        """A bare predictor of mean and standard deviation that checks nothing: microseconds."""
        check_is_fitted(self, "kernel_")
        with single_threaded_blas():
            return GaussianProcessPredictor(
                self._posterior,
                self._covariance.white_noise(self._theta),
                self._y_mean,
                self._y_scale,
                self._flat,
            )
