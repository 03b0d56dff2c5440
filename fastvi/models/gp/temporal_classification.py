"""Gaussian processes in time, with labels of two classes, as a scikit-learn estimator."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.gaussian_process.kernels import Kernel
from sklearn.utils.multiclass import check_classification_targets

from fastvi.base.typing import ClassWeight, RandomState
from fastvi.checkpoints import Watching
from fastvi.models.files import Saved
from fastvi.models.gp.likelihood import Likelihood
from fastvi.models.gp.likelihoods import of_classes
from fastvi.models.gp.predictions import ClassPredictions, check_labels
from fastvi.models.gp.rows import Points
from fastvi.models.gp.start import weighted
from fastvi.models.gp.temporal import Temporal
from fastvi.models.kinds import Labelled
from fastvi.models.weights import balanced

__all__ = ["TemporalGPClassifier"]


class TemporalGPClassifier(ClassifierMixin, ClassPredictions, Temporal):
    """Gaussian process classification by one column of times, in linear time, of two classes.

    Fitted as `TemporalGPRegressor` is.

    Parameters
    ----------
    kernel : sklearn.gaussian_process.kernels.Kernel, optional
        {time_kernel}
        White noise is refused.
    link : {"logit", "probit"}, default="logit"
    {class_weight}
    learn_kernel : bool, default=True
        Whether the kernel's hyperparameters are learned.
    {time_search}

    Attributes
    ----------
    classes_ : (2,) array
    kernel_ : Kernel
        With the hyperparameters that were learned.
    elbo_ : float
        A lower bound of log p(y) in nats.
    {time_found}

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import TemporalGPClassifier
    >>> t = np.arange(200.0)
    >>> model = TemporalGPClassifier().fit(t, np.sin(t / 15) > 0)
    >>> model.predict([20.0, 70.0])
    array([ True, False])
    """

    def __init__(
        self,
        kernel: Kernel | None = None,
        *,
        link: str = "logit",
        class_weight: ClassWeight = None,
        learn_kernel: bool = True,
        optimizer: Any = None,
        n_restarts_optimizer: int = 0,
        prior_scale: float | None = None,
        max_iter: int = 1000,
        tol: float = 1e-9,
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        self._share(locals())
        self.link = link
        self.class_weight = class_weight

    def _fit(self, last: Self | None, watching: Watching, data: Labelled) -> None:
        times, labels = self._times_and_targets(data.X, data.y, reset=True, numeric=False)
        check_classification_targets(labels)
        times, labels, weights = weighted(times, labels, data.sample_weight)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) != 2:
            raise ValueError(
                f"Only binary classification is supported. y holds {len(self.classes_)} "
                f"class{'es' * (len(self.classes_) > 1)}, {self.classes_[:5].tolist()}; wanted 2."
            )
        weights = balanced(self.class_weight, self.classes_, codes, weights)
        points = Points(times, codes.astype(np.float64), weights)
        self._learn(watching, points, data.held_out, None)

    def _likelihood(self) -> Likelihood:
        return of_classes(2, self.link)

    def _restore(self, saved: Saved) -> None:
        check_labels(self.classes_, saved.path)
        super()._restore(saved)

    def __sklearn_tags__(self) -> Any:
        """As scikit-learn asks: two classes."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags
