"""Sparse variational Gaussian processes of any likelihood as a scikit-learn estimator."""

from __future__ import annotations

import copy
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from fastvi.base import checks
from fastvi.base.parallel import single_threaded_blas
from fastvi.models.gp.estimator import draws_by
from fastvi.models.gp.likelihood import Likelihood
from fastvi.models.gp.likelihoods import named
from fastvi.models.gp.predictor import TargetPredictor
from fastvi.models.gp.start import check_sizes
from fastvi.models.gp.stochastic import Variational

__all__ = ["SVGP"]

Array = NDArray[np.float64]


class SVGP(RegressorMixin, Variational):
    """Sparse variational Gaussian process with a likelihood of choice, by mini-batches.

    Maximises the bound of Hensman et al. (2013), "Gaussian processes for big data", by natural
    gradients on q(u), in the dual parameters of Adam et al. (2021), and by Adam on the kernel's
    hyperparameters and the inducing inputs. A step takes O(B M^2 + M^3) time for B rows and M
    inducing inputs. `fit` ends with natural-gradient steps on all rows.

    Parameters
    ----------
    kernel : sklearn.gaussian_process.kernels.Kernel, optional
        As in `SparseGPRegressor`. White noise is the noise of ``"gaussian"`` and the squared scale
        of ``"student-t"``; the other likelihoods do not take it.
    likelihood : str, default="gaussian"
        ``"gaussian"``; ``"student-t"`` with `df` degrees of freedom; ``"poisson"``, counts of mean
        exp(f); ``"bernoulli-logit"`` or ``"bernoulli-probit"``, for targets 0 and 1.
    df : float, default=4.0
        Degrees of freedom of ``"student-t"``, above 2.
    inducing_points, inducing_selection, learn_inducing_points
        As in `SparseGPRegressor`.
    learn_kernel : bool, default=True
        Whether the kernel's hyperparameters, the noise included, are learned.
    batch_size : int, default=256
        Rows per step.
    sampling : {"uniform", "replacement", "adaptive", "growing", "coupled"}, default="uniform"
        How `fit` draws batches: shuffled epochs; independent draws; draws by the norms that rows'
        terms were last seen to have; shuffled epochs whose batches grow with the noise of the
        natural gradient, or with that noise and the rate.
    max_iter : int, default=2000
        Number of steps.
    natural_learning_rate : float or fastvi.optimizers.Optimizer, default=0.1
        Rate of the natural gradient, in (0, 1]; or an optimizer with one rate for all coordinates,
        such as ``fastvi.optimizers.robbins_monro()``.
    optimizer : str, float or fastvi.optimizers.Optimizer, optional
        For the kernel and the inducing inputs: ``"adam"`` (the default), ``"amsgrad"``,
        ``"rmsprop"`` and ``"adagrad"`` take `learning_rate`; a number is a constant rate;
        ``"adaptive"`` has one rate for all coordinates. An average of iterates, as from
        `fastvi.optimizers.averaged`, is what `fit` ends with; `partial_fit` keeps the last iterate.
    learning_rate : float, default=0.01
        Rate of the optimizers that are given by name.
    total_samples : float, optional
        Number of rows that a stream stands for in `partial_fit`; by default those seen so far.
    random_state : int, RandomState, Generator or None, default=None
        For inducing inputs and the order of rows.
    n_jobs : int, optional
        Threads for large batches, passes over all rows and predictions; -1 for all cores, None for
        one. Results do not depend on it, to the bit.
    verbose : int, default=0
        1 shows a bar of `fit`'s steps with the batch's estimate of the bound.

    Attributes
    ----------
    kernel_ : Kernel
        With the hyperparameters that were learned.
    inducing_points_ : (n_inducing, n_features) array
    elbo_ : float
        The lower bound of log p(y | X) on all rows, in nats; available after `fit`, until
        `partial_fit`.
    log_marginal_likelihood_value_ : float
        The same, by scikit-learn's name.
    jitter_ : float
        What was added to the diagonal of the inducing inputs' covariance.
    history_ : dict of str to array
        What each step reported: epoch, seconds, batch_size, rate, and in nats `bound`, the batch's
        estimate, and `local_bound`, the rows' part of it; `held_out` with `X_val`.
    n_iter_ : int
        Number of steps.
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.
    """

    def __init__(
        self,
        kernel: Any = None,
        *,
        likelihood: str = "gaussian",
        df: float = 4.0,
        inducing_points: Any = 100,
        inducing_selection: str = "kmeans",
        learn_inducing_points: bool = True,
        learn_kernel: bool = True,
        batch_size: int = 256,
        sampling: str = "uniform",
        max_iter: int = 2000,
        natural_learning_rate: Any = 0.1,
        optimizer: Any = None,
        learning_rate: float = 0.01,
        total_samples: float | None = None,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.kernel = kernel
        self.likelihood = likelihood
        self.df = df
        self.inducing_points = inducing_points
        self.inducing_selection = inducing_selection
        self.learn_inducing_points = learn_inducing_points
        self.learn_kernel = learn_kernel
        self.batch_size = batch_size
        self.sampling = sampling
        self.max_iter = max_iter
        self.natural_learning_rate = natural_learning_rate
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.total_samples = total_samples
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(self, X: Any, y: Any, *, X_val: Any = None, y_val: Any = None) -> Self:
        """Fit q(u), hyperparameters and inducing inputs.

        Parameters
        ----------
        X : (n_rows, n_features) array
        y : (n_rows,) array
        X_val, y_val : arrays, optional
            Rows held out: their `score` after each pass, and after the last step on mini-batches,
            is `held_out` in `history_`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter is out of range, or y holds targets that the likelihood does not allow.
        FloatingPointError
            If the fit diverges.
        """
        new = copy.copy(self)
        new._fit(*new._data(X, y, reset=True), X_val, y_val)
        self.__dict__ = new.__dict__  # all of a fit or nothing
        return self

    def partial_fit(self, X: Any, y: Any) -> Self:
        """Take a step on each `batch_size` of these rows; the first call chooses inducing inputs.

        Parameters
        ----------
        X : (n_rows, n_features) array
        y : (n_rows,) array

        Returns
        -------
        self
        """
        new = copy.copy(self)
        new._feed(*new._data(X, y, reset=not hasattr(self, "_state")))
        self.__dict__ = new.__dict__
        return self

    def _data(self, X: Any, y: Any, *, reset: bool) -> tuple[Array, Array, Likelihood]:
        likelihood = self._likelihood()
        X, y = validate_data(self, X, y, dtype=np.float64, order="C", y_numeric=True, reset=reset)
        y = np.ascontiguousarray(y, np.float64)
        likelihood.check(y)
        return X, y, likelihood

    def _likelihood(self) -> Likelihood:
        return named(self.likelihood, self.df)

    def predict(self, X: Any, return_std: bool = False, return_cov: bool = False) -> Any:
        """Mean of the targets, and their standard deviation or covariance, noise included.

        Parameters
        ----------
        X : (n_rows, n_features) array
        return_std, return_cov : bool
            At most one. The covariance of targets 0 and 1 has no closed form: use `sample_y`.

        Returns
        -------
        mean : (n_rows,) array
        std : (n_rows,) array
            With `return_std`.
        cov : (n_rows, n_rows) array
            With `return_cov`.

        Raises
        ------
        RuntimeError
            If both are asked for.
        ValueError
            If the covariance of Bernoulli targets is.
        """
        if return_std and return_cov:
            raise RuntimeError("At most one of return_std or return_cov can be requested.")
        if not return_cov:
            latents = self._latents(X)
            _, likelihood, values = self._predictive
            mean, variance = likelihood.predict(*latents, values)
            return (mean, np.sqrt(variance)) if return_std else mean
        joint = self._joint(X)
        _, likelihood, values = self._predictive
        return likelihood.joint(*joint, values)

    def sample_y(self, X: Any, n_samples: int = 1, random_state: Any = 0) -> Array:
        """Draws from the joint posterior of the targets at X, noise included.

        Parameters
        ----------
        X : (n_rows, n_features) array
        n_samples : int
        random_state : int, RandomState, Generator or None

        Returns
        -------
        (n_rows, n_samples) array
        """
        checks.integer(n_samples, "n_samples", 1)
        rng = draws_by(random_state)
        f = rng.multivariate_normal(*self._joint(X), n_samples).T
        _, likelihood, values = self._predictive
        return likelihood.sample(f, values, rng)

    def _joint(self, X: Any) -> tuple[Array, Array]:
        """Mean (n,) and covariance (n, n) of the function."""
        check_is_fitted(self, "kernel_")
        X = validate_data(self, X, dtype=np.float64, order="C", reset=False)
        check_sizes(X, "X")
        with single_threaded_blas():
            mean, covariance = self._predictive.posteriors[0].joint(X)
        return mean[:, 0], covariance

    def compiled(self) -> TargetPredictor:
        """A bare predictor of mean and standard deviation that checks nothing: microseconds."""
        check_is_fitted(self)
        with single_threaded_blas():
            return TargetPredictor(self._predictive)
