"""Where the fit of a mixture starts: from the rows, as in scikit-learn, or from the last fit."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans, kmeans_plusplus

from fastvi.base import checks
from fastvi.base.typing import AnyArray
from fastvi.models.mixture.model import Mixture, Parameters

__all__ = ["STARTS", "check_form", "continued", "first_parameters"]

STARTS = ("kmeans", "k-means++", "random", "random_from_data")


def first_parameters(
    model: Mixture, X: AnyArray, start: str, rng: np.random.RandomState
) -> Parameters:
    """Return the parameters that follow from the first responsibilities of rows X.

    Raises
    ------
    ValueError
        If `start` is not one of `STARTS`.
    """
    start, k = checks.choice(start, "init_params", STARTS), model.n_components
    if start == "random":
        responsibilities = rng.uniform(size=(len(X), k))
        responsibilities /= responsibilities.sum(axis=1, keepdims=True)
        return model.gather(X, responsibilities)
    if start == "kmeans":
        return model.gather(X, KMeans(k, n_init=1, random_state=rng).fit(X).labels_)
    if start == "k-means++":
        chosen = kmeans_plusplus(X, k, random_state=rng)[1]
    else:
        chosen = rng.choice(len(X), size=k, replace=False)
    labels = np.full(len(X), -1)
    labels[chosen] = np.arange(k)
    return model.gather(X, labels)


def continued(params: Parameters, last: Mixture, model: Mixture) -> Parameters:
    """Return the statistics in `params`, found with the priors of `last`, with those of `model`."""
    parts = zip(params, last.prior, model.prior)
    return Parameters(*(part - old + new for part, old, new in parts))


def check_form(last: Mixture, n_components: int, covariance_type: str, n_features: int) -> None:
    """Refuse to continue from a posterior of another form.

    Raises
    ------
    ValueError
        If one of the three differs.
    """
    old = last.n_components, last.covariance_type, last.n_features
    new = n_components, covariance_type, n_features
    if old != new:
        raise ValueError(
            "warm_start continues from {} components, {!r}, of {} features; ".format(*old)
            + "X and the parameters ask for {}, {!r}, of {}".format(*new)
        )
