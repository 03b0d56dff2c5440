"""Sparse Gaussian process classification as a scikit-learn estimator."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from fastvi.base import checks
from fastvi.base.parallel import single_threaded_blas
from fastvi.models.gp.likelihoods import Bernoulli, Likelihood, Softmax
from fastvi.models.gp.predictor import ClassPredictor, probabilities
from fastvi.models.gp.start import all_or_nothing
from fastvi.models.gp.stochastic import Variational

__all__ = ["SparseGPClassifier"]

Array = NDArray[np.float64]
LINKS = ("logit", "probit")


class SparseGPClassifier(ClassifierMixin, Variational):
    """Gaussian process classification by inducing inputs, for many rows.

    One latent function for two classes, with the logistic or the normal distribution function; one
    for each of more classes, with softmax by Monte Carlo. Fitted as `SVGP` is.

    Parameters
    ----------
    kernel : sklearn.gaussian_process.kernels.Kernel, optional
        As in `SparseGPRegressor`, without white noise.
    link : {"logit", "probit"}, default="logit"
        For two classes.
    inducing_points, inducing_selection, learn_inducing_points, batch_size, sampling, max_iter
        As in `SVGP`.
    natural_rate, optimizer, learning_rate, total_samples, random_state, n_jobs, verbose
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
        self.link = link
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
        y : (n_rows,) array of labels
        X_val, y_val : arrays, optional
            Rows not to be fitted to: `score` of them after each pass, and after the last step of
            mini-batches, is `held_out` of `history_`.
        """
        X, y = validate_data(self, X, y, dtype=np.float64, order="C")
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                "Classifier can't train when only one class is present. "
                f"y holds {self.classes_.tolist()}, wanted at least 2 labels."
            )
        held_out = self._held_out(X_val, y_val)
        self._fit(X, codes.astype(np.float64), self._likelihood(), held_out)
        return self

    @all_or_nothing
    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Self:
        """A step on each `batch_size` of these rows; the first call says which `classes` there are.

        Parameters
        ----------
        X : (n_rows, n_features) array
        y : (n_rows,) array of labels
        classes : array of labels
            All there will be, at least two.
        """
        first = not hasattr(self, "_learner")
        X, y = validate_data(self, X, y, dtype=np.float64, order="C", reset=first)
        if first:
            if classes is None:
                raise ValueError("classes is None in the first call of partial_fit; wanted labels")
            self.classes_ = np.unique(classes)
            if len(self.classes_) < 2:
                raise ValueError(f"classes is {classes!r}; wanted at least 2 labels")
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(
                f"classes is {classes!r}; wanted those of the first call, {self.classes_.tolist()}"
            )
        if not np.all(np.isin(y, self.classes_)):
            raise ValueError(f"y holds other labels than classes, {self.classes_.tolist()}")
        codes = np.searchsorted(self.classes_, y)
        self._feed(X, codes.astype(np.float64), self._likelihood())
        return self

    def _likelihood(self) -> Likelihood:
        checks.choice(self.link, "link", LINKS)
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
