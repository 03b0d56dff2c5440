"""Sparse Gaussian process classification as a scikit-learn estimator."""

from __future__ import annotations

import copy
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from fastvi.base.parallel import single_threaded_blas
from fastvi.models.gp.likelihood import Likelihood
from fastvi.models.gp.likelihoods import of_classes
from fastvi.models.gp.predictor import ClassPredictor
from fastvi.models.gp.stochastic import Variational

__all__ = ["SparseGPClassifier"]

Array = NDArray[np.float64]


class SparseGPClassifier(ClassifierMixin, Variational):
    """Gaussian process classification by inducing inputs, for many rows.

    Two classes have one latent function, with the logistic or the normal distribution function;
    more classes have one each, with softmax by Monte Carlo. Fitted as `SVGP` is.

    Parameters
    ----------
    kernel : sklearn.gaussian_process.kernels.Kernel, optional
        As in `SparseGPRegressor`, without white noise.
    link : {"logit", "probit"}, default="logit"
        For two classes.
    inducing_points, inducing_selection, learn_inducing_points, learn_kernel, batch_size, sampling
        As in `SVGP`.
    max_iter, natural_learning_rate, optimizer, learning_rate, total_samples, random_state
        As in `SVGP`.
    n_jobs, verbose
        As in `SVGP`.

    Attributes
    ----------
    classes_ : (n_classes,) array
    kernel_, inducing_points_, elbo_, log_marginal_likelihood_value_, jitter_, history_, n_iter_
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
        self.link = link
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
        y : (n_rows,) array of labels
        X_val, y_val : arrays, optional
            As in `SVGP.fit`.

        Returns
        -------
        self
        """
        new = copy.copy(self)
        X, y = validate_data(new, X, y, dtype=np.float64, order="C")
        check_classification_targets(y)
        new.classes_, codes = np.unique(y, return_inverse=True)
        if len(new.classes_) < 2:
            raise ValueError(
                "Classifier can't train when only one class is present. "
                f"y holds {new.classes_.tolist()}, wanted at least 2 labels."
            )
        new._fit(X, codes.astype(np.float64), new._likelihood(), X_val, y_val)
        self.__dict__ = new.__dict__  # all of a fit or nothing
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Self:
        """Take a step on each `batch_size` of these rows; the first call names all `classes`.

        Parameters
        ----------
        X : (n_rows, n_features) array
        y : (n_rows,) array of labels
        classes : array of labels
            All that will ever occur, at least two.

        Returns
        -------
        self
        """
        new, first = copy.copy(self), not hasattr(self, "_state")
        X, y = validate_data(new, X, y, dtype=np.float64, order="C", reset=first)
        if first:
            new.classes_ = _labels(classes)
        elif classes is not None and not np.array_equal(np.unique(classes), new.classes_):
            raise ValueError(
                f"classes is {classes!r}; wanted those of the first call, {new.classes_.tolist()}"
            )
        if not np.all(np.isin(y, new.classes_)):
            raise ValueError(f"y holds labels that are not in classes, {new.classes_.tolist()}")
        codes = np.searchsorted(new.classes_, y)
        new._feed(X, codes.astype(np.float64), new._likelihood())
        self.__dict__ = new.__dict__
        return self

    def _likelihood(self) -> Likelihood:
        return of_classes(len(self.classes_), self.link)

    def predict_proba(self, X: Any) -> Array:
        """Posterior probabilities of `classes_`, (n_rows, n_classes).

        Parameters
        ----------
        X : (n_rows, n_features) array
        """
        latents = self._latents(X)
        _, likelihood, values = self._predictive
        return likelihood.probabilities(*latents, values)

    def predict(self, X: Any) -> NDArray[Any]:
        """The most probable label of each row, (n_rows,).

        Parameters
        ----------
        X : (n_rows, n_features) array
        """
        proba = self.predict_proba(X)
        return np.asarray(self.classes_[proba.argmax(axis=1)])

    def compiled(self) -> ClassPredictor:
        """A bare predictor of probabilities that checks nothing: microseconds."""
        check_is_fitted(self)
        with single_threaded_blas():
            return ClassPredictor(self._predictive)


def _labels(classes: Any) -> NDArray[Any]:
    """The classes of a stream, sorted."""
    if classes is None:
        raise ValueError("classes is None in the first call of partial_fit; wanted labels")
    labels = np.unique(classes)
    if len(labels) < 2:
        raise ValueError(f"classes is {classes!r}; wanted at least 2 labels")
    return labels
