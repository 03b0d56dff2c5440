"""Deep Gaussian processes of classes as a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.gaussian_process.kernels import Kernel
from sklearn.utils.validation import check_is_fitted

from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import AnyArray, Array, ArrayLike, ClassWeight, RandomState, RowsLike
from fastvi.core import Optimizer
from fastvi.models.gp.deep.estimator import DeepGP
from fastvi.models.gp.deep.predictive import DeepPredictor
from fastvi.models.gp.labels import OnLabels

__all__ = ["DeepGPClassifier"]


class DeepGPClassifier(ClassifierMixin, OnLabels, DeepGP):
    """Deep Gaussian process classification, by mini-batches.

    Fitted as `DeepGPRegressor` is. Two classes have one function in the last layer, with the
    logistic or the normal distribution function; more classes have one each, with softmax by Monte
    Carlo.

    Parameters
    ----------
    {deep_layers}
    link : {"logit", "probit"}, default="logit"
        For two classes.
    {class_weight}
    {deep}
    {variational}

    Attributes
    ----------
    classes_ : (n_classes,) array
    {deep_learned}
    {steps}

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import DeepGPClassifier
    >>> X = np.linspace(-2, 2, 80)[:, None]
    >>> model = DeepGPClassifier(inducing_points=10, max_iter=200, tol=0, random_state=0)
    >>> model.fit(X, np.abs(X[:, 0]) > 1).predict([[0.0], [1.8]])
    array([False,  True])
    """

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] | None = None,
        *,
        kernel: Kernel | Sequence[Kernel | None] | None = None,
        link: str = "logit",
        class_weight: ClassWeight = None,
        input_connections: bool = False,
        n_draws: int = 1,
        n_predictive_draws: int = 32,
        inducing_points: int | ArrayLike = 100,
        inducing_selection: str = "kmeans",
        learn_inducing_points: bool = True,
        learn_kernel: bool = True,
        batch_size: int = 512,
        sampling: str = "uniform",
        max_iter: int = 10_000,
        tol: float = 1e-3,
        natural_learning_rate: float | Optimizer = 0.1,
        optimizer: Optimizer | str | float | None = None,
        learning_rate: float = 0.01,
        total_samples: float | None = None,
        random_state: RandomState = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self._share(locals())
        self.link = link
        self.class_weight = class_weight

    def predict_proba(self, X: RowsLike) -> Array:
        """Posterior probabilities of `classes_`, (n_rows, n_classes), means over draws.

        Parameters
        ----------
        X : (n_rows, n_features) array
        """
        X = self._rows_to_predict(X)
        with single_threaded_blas():
            return self._predictive.probabilities(X, self._n_threads)

    def predict(self, X: RowsLike) -> AnyArray:
        """The most probable label of each row, (n_rows,).

        Parameters
        ----------
        X : (n_rows, n_features) array
        """
        proba = self.predict_proba(X)
        return np.asarray(self.classes_[proba.argmax(axis=1)])

    def compiled(self) -> DeepPredictor:
        """A bare predictor of probabilities that checks nothing."""
        check_is_fitted(self)
        predictive, n_threads = self._predictive, self._n_threads
        return DeepPredictor(lambda x: predictive.probabilities(x, n_threads))
