"""Sparse Gaussian process classification as a scikit-learn estimator."""

from __future__ import annotations

from sklearn.base import ClassifierMixin
from sklearn.gaussian_process.kernels import Kernel

from fastvi.base.typing import ArrayLike, ClassWeight, RandomState
from fastvi.core import Optimizer
from fastvi.models.gp.labels import OnLabels
from fastvi.models.gp.predictions import ClassPredictions
from fastvi.models.gp.stochastic import Variational

__all__ = ["SparseGPClassifier"]


class SparseGPClassifier(ClassifierMixin, ClassPredictions, OnLabels, Variational):
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
