"""Sparse variational Gaussian processes of any likelihood as a scikit-learn estimator."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from fastvi.base import checks
from fastvi.base.parallel import single_threaded_blas
from fastvi.models.gp.likelihoods import Bernoulli, Gaussian, Likelihood, Poisson, StudentT
from fastvi.models.gp.predictor import TargetPredictor
from fastvi.models.gp.start import all_or_nothing, check_sizes
from fastvi.models.gp.stochastic import Variational

__all__ = ["SVGP"]

Array = NDArray[np.float64]
LIKELIHOODS = ("gaussian", "student-t", "poisson", "bernoulli-logit", "bernoulli-probit")


class SVGP(RegressorMixin, Variational):
    """Sparse variational Gaussian process with a likelihood of choice, by mini-batches.

    Maximises the bound of Hensman et al. (2013), "Gaussian processes for big data", by natural
    gradients on q(u), in the dual parameters of Adam et al. (2021), and Adam on the kernel's
    hyperparameters and the inducing inputs. A step takes O(B M^2 + M^3) time for B rows and M
    inducing inputs. `fit` ends with natural gradients on all rows.

    Parameters
    ----------
    kernel : sklearn.gaussian_process.kernels.Kernel, optional
        As in `SparseGPRegressor`. White noise is the noise of ``"gaussian"``, and the squared
        scale of ``"student-t"``, and none of the others has any.
    likelihood : str, default="gaussian"
        ``"gaussian"``; ``"student-t"`` with `df`; ``"poisson"``, counts of mean exp(f);
        ``"bernoulli-logit"`` or ``"bernoulli-probit"``, of targets 0 and 1.
    df : float, default=4.0
        Degrees of freedom of ``"student-t"``, above 2.
    inducing_points, inducing_selection, learn_inducing_points
        As in `SparseGPRegressor`.
    batch_size : int, default=256
        Rows of a step.
    sampling : {"uniform", "replacement", "adaptive", "growing", "coupled"}, default="uniform"
        How `fit` draws them: shuffled epochs; independently; by the norms that rows' terms were
        last seen to have; shuffled epochs whose batches grow with the noise of the natural
        gradient, or with that and the rate.
    max_iter : int, default=2000
        Steps.
    natural_rate : float or fastvi.optimizers.Optimizer, default=0.1
        Rate of the natural gradient, in (0, 1]; or what chooses one for all coordinates, such as
        ``fastvi.optimizers.robbins_monro()``.
    optimizer : "adam", fastvi.optimizers.Optimizer or None, default="adam"
        For the rest; None keeps the kernel and the inducing inputs. An average of iterates, as
        `fastvi.optimizers.averaged` has it, is what `fit` ends with; `partial_fit` takes the last.
    learning_rate : float, default=0.01
        Of ``"adam"``.
    total_samples : float, optional
        How many rows a stream stands for in `partial_fit`; by default those seen so far.
    random_state : int, RandomState or None, default=None
        For inducing inputs and the order of rows.
    n_jobs : int, optional
        Threads for large batches, passes over all rows and predictions; -1 for all cores, None for
        one. No bit of a result depends on it.
    verbose : int, default=0
        1 shows a bar of `fit`'s steps with the batch's estimate of the bound.

    Attributes
    ----------
    kernel_ : Kernel
    inducing_points_ : (n_inducing, n_features) array
    log_marginal_likelihood_value_ : float
        The bound of log p(y | X) in nats, on all rows; after `fit`, until `partial_fit`.
    jitter_ : float
        What was added to the diagonal of the inducing inputs' covariance.
    history_ : dict of str to array
        What each step reported: epoch, seconds, batch_size, rate, and in nats `bound`, the batch's
        estimate, and `local_bound`, the rows' part of it; `held_out` with `X_val`.
    n_iter_ : int
        Steps.
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
        batch_size: int = 256,
        sampling: str = "uniform",
        max_iter: int = 2000,
        natural_rate: Any = 0.1,
        optimizer: Any = "adam",
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
        self.batch_size = batch_size
        self.sampling = sampling
        self.max_iter = max_iter
        self.natural_rate = natural_rate
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.total_samples = total_samples
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    @all_or_nothing
    def fit(self, X: Any, y: Any, *, X_val: Any = None, y_val: Any = None) -> Self:
        """Fit q(u), hyperparameters and inducing inputs.

        Parameters
        ----------
        X : (n_rows, n_features) array
        y : (n_rows,) array
        X_val, y_val : arrays, optional
            Rows not to be fitted to: `score` of them after each pass, and after the last step of
            mini-batches, is `held_out` of `history_`.

        Raises
        ------
        ValueError
            If a parameter is out of range, or y is not what the likelihood speaks of.
        FloatingPointError
            If steps run away.
        """
        data = self._data(X, y, reset=True)
        self._fit(*data, self._held_out(X_val, y_val))
        return self

    @all_or_nothing
    def partial_fit(self, X: Any, y: Any) -> Self:
        """A step on each `batch_size` of these rows; the first call chooses inducing inputs."""
        self._feed(*self._data(X, y, reset=not hasattr(self, "_learner")))
        return self

    def _data(self, X: Any, y: Any, *, reset: bool) -> tuple[Array, Array, Likelihood]:
        likelihood = self._likelihood()
        X, y = validate_data(self, X, y, dtype=np.float64, order="C", y_numeric=True, reset=reset)
        y = np.ascontiguousarray(y, np.float64)
        if self.likelihood == "poisson" and not np.all((y >= 0) & (y == np.floor(y))):
            raise ValueError("y holds what is no count; likelihood='poisson' wants 0, 1, 2, ...")
        if self.likelihood.startswith("bernoulli") and not np.all((y == 0) | (y == 1)):
            raise ValueError(f"y holds more than 0 and 1, which likelihood={self.likelihood!r} has")
        return X, y, likelihood

    def _likelihood(self) -> Likelihood:
        checks.choice(self.likelihood, "likelihood", LIKELIHOODS)
        if self.likelihood == "student-t":
            return StudentT(checks.number(self.df, "df", 2.0, open_low=True))
        if self.likelihood.startswith("bernoulli"):
            return Bernoulli(self.likelihood.removeprefix("bernoulli-"))
        return Poisson() if self.likelihood == "poisson" else Gaussian()

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
            model = self._learner.model
            mean, variance = model.likelihood.predict(*latents, model.noise)
            return (mean, np.sqrt(variance)) if return_std else mean
        f, covariance = self._joint(X)
        model = self._learner.model
        if isinstance(model.likelihood, Bernoulli):
            raise ValueError("return_cov is True, but Bernoulli targets have none; use sample_y")
        mean, variance = model.likelihood.predict(
            f[:, None], covariance.diagonal()[:, None], model.noise
        )
        if isinstance(model.likelihood, Poisson):
            covariance = np.outer(mean, mean) * np.expm1(covariance)
        np.fill_diagonal(covariance, variance)
        return mean, covariance

    def sample_y(self, X: Any, n_samples: int = 1, random_state: Any = 0) -> Array:
        """Draws from the joint posterior of the targets at X, noise included.

        Parameters
        ----------
        X : (n_rows, n_features) array
        n_samples : int
        random_state : int, RandomState or None

        Returns
        -------
        (n_rows, n_samples) array
        """
        checks.integer(n_samples, "n_samples", 1)
        rng = check_random_state(random_state)
        f = rng.multivariate_normal(*self._joint(X), n_samples).T
        model = self._learner.model
        return model.likelihood.sample(f, model.noise, rng)

    def _joint(self, X: Any) -> tuple[Array, Array]:
        """Mean (n,) and covariance (n, n) of the function."""
        check_is_fitted(self, "kernel_")
        X = validate_data(self, X, dtype=np.float64, order="C", reset=False)
        check_sizes(X, "X")
        with single_threaded_blas():
            mean, covariance = self._learner.posteriors[0].joint(X)
        return mean[:, 0], covariance

    def compiled(self) -> TargetPredictor:
        """A bare predictor of mean and standard deviation that checks nothing: microseconds."""
        check_is_fitted(self)
        model = self._learner.model
        with single_threaded_blas():
            return TargetPredictor(self._learner.posteriors, model.likelihood, model.noise)
