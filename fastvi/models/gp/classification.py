"""Sparse Gaussian process classification as a scikit-learn estimator."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.gaussian_process.kernels import Kernel
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from fastvi.base.typing import AnyArray, Array, ArrayLike, ClassWeight, RandomState, RowsLike
from fastvi.checkpoints import Watching
from fastvi.core import Optimizer
from fastvi.models.files import Saved
from fastvi.models.gp.likelihood import Likelihood
from fastvi.models.gp.likelihoods import of_classes
from fastvi.models.gp.predictions import ClassPredictions, check_labels
from fastvi.models.gp.rows import Points
from fastvi.models.gp.start import weighted
from fastvi.models.gp.stochastic import Variational
from fastvi.models.kinds import Labelled
from fastvi.models.weights import balanced

__all__ = ["SparseGPClassifier"]


class SparseGPClassifier(ClassifierMixin, ClassPredictions, Variational):
    """Gaussian process classification by inducing inputs, for many rows.

    Two classes have one latent function, with the logistic or the normal distribution function;
    more classes have one each, with softmax by Monte Carlo. Fitted as `SVGP` is.

    Parameters
    ----------
    kernel : sklearn.gaussian_process.kernels.Kernel, optional
        As in `SparseGPRegressor`, without white noise.
    link : {"logit", "probit"}, default="logit"
        For two classes.
    {class_weight}
    inducing_points, inducing_selection, learn_inducing_points
        As in `SparseGPRegressor`.
    {variational}

    Attributes
    ----------
    classes_ : (n_classes,) array
    {learned}
    {steps}

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import SparseGPClassifier
    >>> X = np.linspace(-2, 2, 80)[:, None]
    >>> model = SparseGPClassifier(inducing_points=10, max_iter=200, tol=0, random_state=0)
    >>> model.fit(X, np.abs(X[:, 0]) > 1).predict([[0.0], [1.8]])
    array([False,  True])
    """

    def __init__(
        self,
        kernel: Kernel | None = None,
        *,
        link: str = "logit",
        class_weight: ClassWeight = None,
        inducing_points: int | ArrayLike = 100,
        inducing_selection: str = "kmeans",
        learn_inducing_points: bool = True,
        learn_kernel: bool = True,
        batch_size: int = 256,
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

    def _fit(self, last: Self | None, watching: Watching, data: Labelled) -> None:
        X, labels = validate_data(self, data.X, data.y, dtype=np.float64, order="C")
        check_classification_targets(labels)
        X, labels, weights = weighted(X, labels, data.sample_weight)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                "Classifier can't train when only one class is present. "
                f"y holds {self.classes_.tolist()}, wanted at least 2 labels."
            )
        points = self._balanced(X, codes, weights)
        self._learn(watching, points, self._likelihood(), data.held_out)
        self._warn_of_bounds()

    def _balanced(self, X: Array, codes: NDArray[np.int64], weights: Array) -> Points:
        """Rows with the numbers of their classes, and weights times those of the classes."""
        weights = balanced(self.class_weight, self.classes_, codes, weights)
        return Points(X, codes.astype(np.float64), weights)

    def partial_fit(
        self,
        X: RowsLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Take a step on each `batch_size` of these rows; the first call names all `classes`.

        Parameters
        ----------
        X : (n_rows, n_features) array
        y : (n_rows,) array of labels
        classes : array of labels
            All that will ever occur, at least two.
        {sample_weight}

        Returns
        -------
        self
        """
        self._advance(X, y, classes, sample_weight)
        return self

    def _partial_fit(
        self, X: RowsLike, y: ArrayLike, classes: ArrayLike | None, sample_weight: ArrayLike | None
    ) -> None:
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' needs all rows, which partial_fit does not have; wanted "
                "None or a dict of numbers"
            )
        first = not hasattr(self, "_state")
        if not first:
            self._refuse_changes(("link",))
        X, labels = validate_data(self, X, y, dtype=np.float64, order="C", reset=first)
        if first:
            self.classes_ = _labels(classes)
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(
                f"classes is {classes!r}; wanted those of the first call, {self.classes_.tolist()}"
            )
        if not np.all(np.isin(labels, self.classes_)):
            raise ValueError(f"y holds labels that are not in classes, {self.classes_.tolist()}")
        X, labels, weights = weighted(X, labels, sample_weight)
        points = self._balanced(X, np.searchsorted(self.classes_, labels), weights)
        self._feed(points, self._likelihood())

    def _likelihood(self) -> Likelihood:
        return of_classes(len(self.classes_), self.link)

    def _restore(self, saved: Saved) -> None:
        check_labels(self.classes_, saved.path)
        super()._restore(saved)


def _labels(classes: ArrayLike | None) -> AnyArray:
    """The classes of a stream, sorted."""
    if classes is None:
        raise ValueError("classes is None in the first call of partial_fit; wanted labels")
    labels = np.unique(classes)
    if len(labels) < 2:
        raise ValueError(f"classes is {classes!r}; wanted at least 2 labels")
    return labels
