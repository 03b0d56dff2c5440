"""Sparse Gaussian process regression as a scikit-learn estimator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Kernel
from sklearn.utils.validation import check_is_fitted, validate_data

from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import Array, ArrayLike, RandomState, RowsLike
from fastvi.core import Optimizer
from fastvi.models.gp.collapsed import Collapsed
from fastvi.models.gp.estimator import draws_by
from fastvi.models.gp.posterior import Function
from fastvi.models.gp.predictor import GaussianProcessPredictor
from fastvi.models.gp.start import check_sizes

if TYPE_CHECKING:
    from sklearn.utils import Tags

__all__ = ["SparseGPRegressor"]


class SparseGPRegressor(MultiOutputMixin, RegressorMixin, Collapsed):
    """Gaussian process regression by inducing inputs, for many rows.

    Maximises the collapsed variational bound of Titsias (2009), "Variational learning of inducing
    variables in sparse Gaussian processes", by L-BFGS on the logarithms of the kernel's
    hyperparameters and on the inducing inputs. A step takes O(N M^2) time for N rows and M
    inducing inputs, and O(M^2) memory. Parameters have the names of scikit-learn's
    GaussianProcessRegressor where they mean the same. Results do not depend on `n_jobs`, to the
    bit.

    Parameters
    ----------
    kernel : sklearn.gaussian_process.kernels.Kernel, optional
        Sums, products and whole powers of ConstantKernel, RBF, Matern (nu 1/2, 3/2, 5/2, inf),
        RationalQuadratic, ExpSineSquared and DotProduct, with WhiteKernel for the noise. Without
        WhiteKernel, and with `alpha` None, one is added and learned. The default is a constant
        times an RBF with a length scale per column, starting at scales of the data.
    inducing_points : int or (n_inducing, n_features) array, default=100
        Number of inducing inputs, at most one per distinct row; or those to start from.
    inducing_selection : {"kmeans", "greedy", "subset"}, default="kmeans"
        Start from the centres of k-means; from the rows that, one after another, have the largest
        variance given those before (Burt et al. 2020); or from random rows.
    learn_inducing_points : bool, default=True
        Whether the inducing inputs are optimised.
    learn_kernel : bool, default=True
        Whether the kernel's hyperparameters, the noise included, are learned.
    alpha : float, optional
        Noise variance in addition to that of WhiteKernel, not part of predictions; in units of the
        normalised targets with `normalize_y`.
    optimizer : "fmin_l_bfgs_b" or callable, optional
        L-BFGS by default. A callable has scikit-learn's form, ``optimizer(obj_func, initial_theta,
        bounds) -> (theta_opt, func_min)``, where theta (if learned) is followed by the inducing
        inputs (if learned), in standard deviations of the columns. To keep the kernel, where
        scikit-learn takes None, set `learn_kernel` to False.
    n_restarts_optimizer : int, default=0
        Number of further starts, drawn log-uniformly from the kernel's bounds.
    normalize_y : bool, default=False
        Scale targets to mean 0 and variance 1 for the fit.
    prior_scale : float, optional
        Standard deviation of Gaussian priors on the logarithms of the hyperparameters, around the
        kernel's own; there are none by default.
    max_iter : int, default=1000
        Largest number of iterations of L-BFGS.
    tol : float, default=1e-9
        L-BFGS ends where an iteration raises the bound by less than this share of it.
    random_state : int, RandomState, Generator or None, default=None
        For the inducing inputs and restarts.
    n_jobs : int, optional
        Threads; -1 for all cores, None for one.
    verbose : int, default=0
        Show a progress bar of iterations. The logger ``"fastvi"`` gets a line for each in any case.

    Attributes
    ----------
    {learned}
    elbo_ : float
        The lower bound of log p(y | X) in nats (of the normalised targets), without priors.
    log_marginal_likelihood_value_ : float
        The same, by scikit-learn's name.
    condition_ : float
        Estimated condition number of the inducing inputs' covariance, jitter included.
    history_ : dict of str to array
        `elbo` (with the log prior, if any) and `seconds` after each iteration of the best start;
        `held_out` with `X_val`.
    n_iter_ : int
        Iterations of L-BFGS from the best start.
    converged_ : bool
        False where `max_iter`, a callback or a line search that failed ended the search.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import SparseGPRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = np.linspace(0, 6, 200)[:, None]
    >>> y = np.sin(X[:, 0]) + 0.1 * rng.standard_normal(200)
    >>> model = SparseGPRegressor(inducing_points=15, random_state=0).fit(X, y)
    >>> mean, std = model.predict([[1.6]], return_std=True)
    >>> print(f"{mean[0]:.1f} +- {std[0]:.1f}")
    1.0 +- 0.1
    """

    _over_shards = True

    def __init__(
        self,
        kernel: Kernel | None = None,
        *,
        inducing_points: int | ArrayLike = 100,
        inducing_selection: str = "kmeans",
        learn_inducing_points: bool = True,
        learn_kernel: bool = True,
        alpha: float | None = None,
        optimizer: Optimizer | str | float | None = None,
        n_restarts_optimizer: int = 0,
        normalize_y: bool = False,
        prior_scale: float | None = None,
        max_iter: int = 1000,
        tol: float = 1e-9,
        random_state: RandomState = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self._share(locals())
        self.alpha = alpha
        self.normalize_y = normalize_y

    def predict(self, X: RowsLike, return_std: bool = False, return_cov: bool = False) -> Any:
        """Mean of the targets, and their standard deviation or covariance.

        Before `fit`, those of the prior, as scikit-learn's: of one target, with an RBF of length
        and variance 1 if `kernel` is None.

        Parameters
        ----------
        X : (n_rows, n_features) array
        return_std, return_cov : bool
            At most one. Both include the white noise, as scikit-learn's do.

        {predicted}
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
                    X, variance=return_std, n_threads=self._n_threads
                )
                if variance is not None:
                    spread = np.sqrt(variance + noise)[:, None] * self._y_scale
        mean = mean * self._y_scale + self._y_mean
        if self._flat:
            mean = mean[:, 0]
        if not (return_std or return_cov):
            return mean
        return mean, spread[..., 0] if self._flat else spread

    def latent_mean_and_variance(self, X: RowsLike) -> tuple[Array, Array]:
        """Posterior mean and variance of the function without noise, in units of the targets.

        Parameters
        ----------
        X : (n_rows, n_features) array

        Returns
        -------
        mean, variance : (n_rows,) or (n_rows, n_targets) arrays
        """
        check_is_fitted(self, "kernel_")
        X = validate_data(self, X, dtype=np.float64, order="C", reset=False)
        check_sizes(X, "X")
        with single_threaded_blas():
            mean, variance = self._posterior.predict(X, n_threads=self._n_threads)
        assert variance is not None
        mean = mean * self._y_scale + self._y_mean
        spread = variance[:, None] * np.square(self._y_scale)
        return (mean[:, 0], spread[:, 0]) if self._flat else (mean, spread)

    def _prior(self, X: Array, return_std: bool, return_cov: bool) -> Any:
        kernel = ConstantKernel(1.0) * RBF(1.0) if self.kernel is None else self.kernel
        mean = np.zeros(len(X))
        if return_cov:
            return mean, kernel(X)
        return (mean, np.sqrt(kernel.diag(X))) if return_std else mean

    def __sklearn_tags__(self) -> Tags:
        """As scikit-learn asks: predictions need no fit."""
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags

    def sample_y(self, X: RowsLike, n_samples: int = 1, random_state: RandomState = 0) -> Array:
        """Draws from the joint posterior of the targets at X, white noise included.

        {joint_draws}
        """
        rng = draws_by(random_state)
        mean, covariance = self.predict(X, return_cov=True)
        if self._flat:
            return np.asarray(rng.multivariate_normal(mean, covariance, n_samples).T)
        draws = [
            rng.multivariate_normal(mean[:, t], covariance[..., t], n_samples).T[:, None]
            for t in range(mean.shape[1])
        ]
        return np.hstack(draws)

    def _for_library(self) -> dict[str, Array]:
        with single_threaded_blas():
            function = Function(self._posterior, self._posterior.weights * self._y_scale)
        noise = self._covariance.white_noise(self._theta)
        form = np.array([self._covariance.is_gaussian, noise], np.float64)
        units = np.stack((self._y_mean, self._y_scale))
        return function.arrays() | {"form": form, "units": units}

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
