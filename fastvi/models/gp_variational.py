"""Sparse variational Gaussian processes as scikit-learn estimators."""

from __future__ import annotations

import os
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from fastvi import _checks, optimizers
from fastvi.core import Optimizer
from fastvi.models import _gp_files
from fastvi.models._covariance import Covariance
from fastvi.models._gp_fit import Learner, LearnSettings
from fastvi.models._gp_objective import column_scales
from fastvi.models._gp_predictor import ClassPredictor, TargetPredictor, probabilities
from fastvi.models._likelihoods import (
    Bernoulli,
    Gaussian,
    Likelihood,
    Poisson,
    Softmax,
    StudentT,
)
from fastvi.models._svgp import Sites
from fastvi.models.gp_regression import SELECTIONS, default_kernel, initial_inducing, with_noise
from fastvi.parallel import resolve_n_jobs, single_threaded_blas

__all__ = ["SVGP", "SparseGPClassifier"]

Array = NDArray[np.float64]
LIKELIHOODS = ("gaussian", "student-t", "poisson", "bernoulli-logit", "bernoulli-probit")
LINKS = ("logit", "probit")


class _Variational(BaseEstimator):
    """Fit and streams; subclasses say which likelihood, and what y means."""

    def _seed(self) -> int:
        return int(check_random_state(self.random_state).randint(1 << 31))

    def _settings(self) -> LearnSettings:
        _checks.choice(self.inducing_selection, "inducing_selection", SELECTIONS)
        _checks.integer(self.max_iter, "max_iter", 1)
        _checks.integer(self.batch_size, "batch_size", 1)
        rate = _checks.number(self.natural_rate, "natural_rate", 0.0, 1.0, open_low=True)
        optimizer = self.optimizer
        if isinstance(optimizer, str) and optimizer == "adam":
            optimizer = optimizers.adam(
                _checks.number(self.learning_rate, "learning_rate", 0.0, open_low=True)
            )
        if optimizer is not None and not isinstance(optimizer, Optimizer):
            raise ValueError(
                f"optimizer is {optimizer!r}; wanted 'adam', a fastvi.optimizers.Optimizer or None"
            )
        return LearnSettings(
            rate, optimizer, bool(self.learn_inducing_points), bool(self.verbose),
            resolve_n_jobs(self.n_jobs),
        )  # fmt: skip

    def _begin(self, X: Array, y: Array, likelihood: Likelihood, seed: int) -> None:
        settings = self._settings()
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

    def _fit(self, X: Array, y: Array, likelihood: Likelihood) -> None:
        seed = self._seed()
        with single_threaded_blas():
            self._begin(X, y, likelihood, seed)
            self._learner.fit(X, y, self.batch_size, self.max_iter, seed)
            self._learner.polish(X, y)
            self._finish()
            self.log_marginal_likelihood_value_ = self._learner.bound(X, y)

    def _feed(self, X: Array, y: Array, likelihood: Likelihood) -> None:
        with single_threaded_blas():
            if not hasattr(self, "_learner"):
                self._begin(X, y, likelihood, self._seed())
            if not hasattr(self, "_stream"):
                self._stream = np.random.default_rng(self._seed())
            self._learner.feed(X, y, self.batch_size, self.total_samples, self._stream)
            self._finish()

    def _finish(self) -> None:
        learner = self._learner
        learner.finish()
        self.kernel_ = self._kernel.clone_with_theta(learner.model.theta)
        self.inducing_points_ = learner.model.z
        self.jitter_ = learner.model.jitter
        self.history_ = learner.history.arrays()
        self.n_iter_ = len(learner.history)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fit to a file that `fastvi.load` reads; the rows are not in it.

        A stream may go on from it, with rates and momenta that begin anew.

        Parameters
        ----------
        path : path

        Raises
        ------
        OSError
            If the file cannot be written; the old one is kept then.
        ValueError
            If a parameter is something no file holds, such as an Optimizer.
        """
        check_is_fitted(self)
        learner = self._learner
        sites = learner.state.sites
        state = {
            "theta": learner.model.theta,
            "linear": sites.linear,
            "precision": sites.precision,
            "scale": learner.scale,
            "centre": learner.model.centre,
            "rows_seen": np.array(learner.rows_seen),
        }
        _gp_files.save(self, path, state)

    def _restore(self, arrays: dict[str, NDArray[Any]], path: str) -> None:
        """The rest of a fit from `save`'s arrays."""
        z, likelihood = self.inducing_points_, self._likelihood()
        covariance, kernel = Covariance(self.kernel_, z.shape[1]), self.kernel_
        (m, d), t = z.shape, likelihood.n_latents
        theta, linear, precision, scale, centre = _gp_files.check_shapes(
            arrays, path, theta=covariance.theta.shape, linear=(t, m), precision=(t, m, m),
            scale=(d,), centre=(d,),
        )  # fmt: skip
        bounds = kernel.bounds.reshape(-1, 2)
        self._kernel = kernel
        with single_threaded_blas():
            learner = Learner(covariance, likelihood, z, scale, centre, bounds, self._settings())
            learner.resume(theta, z, Sites(linear, precision), int(arrays["rows_seen"]))
        self._learner = learner

    def _latents(self, X: Any) -> tuple[Array, Array]:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, order="C", reset=False)
        with single_threaded_blas():
            return self._learner.latents(X, resolve_n_jobs(self.n_jobs))


class SVGP(RegressorMixin, _Variational):
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
    max_iter : int, default=2000
        Steps.
    natural_rate : float, default=0.1
        Rate of the natural gradient, in (0, 1].
    optimizer : "adam", fastvi.optimizers.Optimizer or None, default="adam"
        For the rest; None keeps the kernel and the inducing inputs.
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
        Print a line a step.

    Attributes
    ----------
    kernel_ : Kernel
    inducing_points_ : (n_inducing, n_features) array
    log_marginal_likelihood_value_ : float
        The bound of log p(y | X) in nats, on all rows; after `fit`.
    jitter_ : float
        What was added to the diagonal of the inducing inputs' covariance.
    history_ : dict of str to array
        What each step reported: `bound`, the batch's estimate, in nats.
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
        max_iter: int = 2000,
        natural_rate: float = 0.1,
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
        self.max_iter = max_iter
        self.natural_rate = natural_rate
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.total_samples = total_samples
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> Self:
        """Fit q(u), hyperparameters and inducing inputs.

        Parameters
        ----------
        X : (n_rows, n_features) array
        y : (n_rows,) array

        Raises
        ------
        ValueError
            If a parameter is out of range, or y is not what the likelihood speaks of.
        """
        self._fit(*self._data(X, y, reset=True))
        return self

    def partial_fit(self, X: Any, y: Any) -> Self:
        """A step on each `batch_size` of these rows; the first call chooses inducing inputs."""
        self._feed(*self._data(X, y, reset=not hasattr(self, "_learner")))
        return self

    def _data(self, X: Any, y: Any, *, reset: bool) -> tuple[Array, Array, Likelihood]:
        _checks.choice(self.likelihood, "likelihood", LIKELIHOODS)
        X, y = validate_data(self, X, y, dtype=np.float64, order="C", y_numeric=True, reset=reset)
        y = np.ascontiguousarray(y, np.float64)
        if self.likelihood == "poisson" and not np.all((y >= 0) & (y == np.floor(y))):
            raise ValueError("y holds what is no count; likelihood='poisson' wants 0, 1, 2, ...")
        if self.likelihood.startswith("bernoulli") and not np.all((y == 0) | (y == 1)):
            raise ValueError(f"y holds more than 0 and 1, which likelihood={self.likelihood!r} has")
        return X, y, self._likelihood()

    def _likelihood(self) -> Likelihood:
        if self.likelihood == "student-t":
            return StudentT(_checks.number(self.df, "df", 2.0, open_low=True))
        if self.likelihood.startswith("bernoulli"):
            return Bernoulli(self.likelihood.removeprefix("bernoulli-"))
        return Poisson() if self.likelihood == "poisson" else Gaussian()

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Mean of the targets, and with `return_std` their standard deviation, (n_rows,) each.

        Parameters
        ----------
        X : (n_rows, n_features) array
        return_std : bool
        """
        latents = self._latents(X)
        model = self._learner.model
        mean, variance = model.likelihood.predict(*latents, model.noise)
        return (mean, np.sqrt(variance)) if return_std else mean

    def compiled(self) -> TargetPredictor:
        """A bare predictor of mean and standard deviation that checks nothing: microseconds."""
        check_is_fitted(self)
        model = self._learner.model
        with single_threaded_blas():
            return TargetPredictor(self._learner.posteriors, model.likelihood, model.noise)


class SparseGPClassifier(ClassifierMixin, _Variational):
    """Gaussian process classification by inducing inputs, for many rows.

    One latent function for two classes, with the logistic or the normal distribution function; one
    for each of more classes, with softmax by Monte Carlo. Fitted as `SVGP` is.

    Parameters
    ----------
    kernel : sklearn.gaussian_process.kernels.Kernel, optional
        As in `SparseGPRegressor`, without white noise.
    link : {"logit", "probit"}, default="logit"
        For two classes.
    inducing_points, inducing_selection, learn_inducing_points, batch_size, max_iter, natural_rate
        As in `SVGP`.
    optimizer, learning_rate, total_samples, random_state, n_jobs, verbose
        As in `SVGP`.

    Attributes
    ----------
    classes_ : (n_classes,) array
    kernel_, inducing_points_, log_marginal_likelihood_value_, jitter_, history_, n_iter_
        As in `SVGP`.
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import SparseGPClassifier
    >>> X = np.linspace(-2, 2, 80)[:, None]
    >>> model = SparseGPClassifier(inducing_points=10, max_iter=100, random_state=0)
    >>> model.fit(X, np.abs(X[:, 0]) > 1).predict([[0.0], [1.8]])
    array([False,  True])
    """

    def __init__(
        self,
        kernel: Any = None,
        *,
        link: str = "logit",
        inducing_points: Any = 100,
        inducing_selection: str = "kmeans",
        learn_inducing_points: bool = True,
        batch_size: int = 256,
        max_iter: int = 2000,
        natural_rate: float = 0.1,
        optimizer: Any = "adam",
        learning_rate: float = 0.01,
        total_samples: float | None = None,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.kernel = kernel
        self.link = link
        self.inducing_points = inducing_points
        self.inducing_selection = inducing_selection
        self.learn_inducing_points = learn_inducing_points
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.natural_rate = natural_rate
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.total_samples = total_samples
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> Self:
        """Fit q(u), hyperparameters and inducing inputs.

        Parameters
        ----------
        X : (n_rows, n_features) array
        y : (n_rows,) array of labels
        """
        X, y = validate_data(self, X, y, dtype=np.float64, order="C")
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                "Classifier can't train when only one class is present. "
                f"y holds {self.classes_.tolist()}, wanted at least 2 labels."
            )
        self._fit(X, codes.astype(np.float64), self._likelihood())
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Self:
        """A step on each `batch_size` of these rows; the first call says which `classes` there are.

        Parameters
        ----------
        X : (n_rows, n_features) array
        y : (n_rows,) array of labels
        classes : array of labels
            All there will be.
        """
        first = not hasattr(self, "_learner")
        X, y = validate_data(self, X, y, dtype=np.float64, order="C", reset=first)
        if first:
            if classes is None:
                raise ValueError("classes is None in the first call of partial_fit; wanted labels")
            self.classes_ = np.unique(classes)
        if not np.all(np.isin(y, self.classes_)):
            raise ValueError(f"y holds other labels than classes, {self.classes_.tolist()}")
        codes = np.searchsorted(self.classes_, y)
        self._feed(X, codes.astype(np.float64), self._likelihood())
        return self

    def _likelihood(self) -> Likelihood:
        _checks.choice(self.link, "link", LINKS)
        n_classes = len(self.classes_)
        return Bernoulli(self.link) if n_classes == 2 else Softmax(n_classes)

    def predict_proba(self, X: Any) -> Array:
        """Posterior probabilities of `classes_`, (n_rows, n_classes).

        Parameters
        ----------
        X : (n_rows, n_features) array
        """
        latents = self._latents(X)
        return probabilities(self._learner.model.likelihood, *latents)

    def predict(self, X: Any) -> NDArray[Any]:
        """The likeliest label of each row, (n_rows,).

        Parameters
        ----------
        X : (n_rows, n_features) array
        """
        proba = self.predict_proba(X)
        return np.asarray(self.classes_[proba.argmax(axis=1)])

    def compiled(self) -> ClassPredictor:
        """A bare predictor of probabilities that checks nothing: microseconds."""
        check_is_fitted(self)
        model = self._learner.model
        with single_threaded_blas():
            return ClassPredictor(self._learner.posteriors, model.likelihood, 0.0)
