"""Fits and streams of labels."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from fastvi.base.typing import AnyArray, Array, ArrayLike, ClassWeight, RowsLike
from fastvi.checkpoints import Watching
from fastvi.models.files import Saved
from fastvi.models.gp.likelihood import Likelihood
from fastvi.models.gp.likelihoods import of_classes
from fastvi.models.gp.predictions import check_labels
from fastvi.models.gp.rows import Points
from fastvi.models.gp.start import weighted
from fastvi.models.gp.stochastic import ByMiniBatches
from fastvi.models.kinds import Labelled
from fastvi.models.weights import balanced

__all__ = ["OnLabels"]


class OnLabels(ByMiniBatches):
    """Estimators with a `link` and weights of classes."""

    link: str
    class_weight: ClassWeight
    classes_: AnyArray

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
