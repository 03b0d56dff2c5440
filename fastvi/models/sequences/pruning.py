"""Models with fewer states, whose bounds are compared."""

from __future__ import annotations

import warnings
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from fastvi.base.typing import Array, ArrayLike, RowsLike

__all__ = ["Prunable", "pruned"]

SPARE = 1.0  # states with fewer rows are taken out together


class Prunable(Protocol):
    """A fitted model whose states can be taken out.

    `_state_axes`: names of parameters and of attributes with posteriors, and which of their axes
    are of states, counted from the last one; where an array has no such axis, it is of all states.
    """

    n_components: int
    elbo_: float
    startprob_posterior_: Array
    transmat_posterior_: Array

    @property
    def _state_axes(self) -> dict[str, tuple[int, ...]]: ...

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments."""

    def set_params(self, **params: Any) -> Self:
        """Set them."""

    def fit(self, X: RowsLike, lengths: ArrayLike | None = None) -> Self:
        """Fit."""

    def predict_proba(self, X: RowsLike, lengths: ArrayLike | None = None) -> Array:
        """Return posteriors of states."""


Model = TypeVar("Model", bound=Prunable)


def pruned(model: Model, X: RowsLike, lengths: ArrayLike | None) -> Model:
    """Take states out as long as the bound rises; see `VariationalModel.prune`."""
    best = _refitted(model, np.arange(model.n_components), X, lengths)
    sizes = best.predict_proba(X, lengths).sum(axis=0)
    used = np.flatnonzero(sizes >= SPARE)
    if len(used) < len(sizes):
        best = _better(best, used, X, lengths)
    kept = 0  # of the smallest states, those without which the bound falls
    while kept < best.n_components and best.n_components > 1:
        order = np.argsort(best.predict_proba(X, lengths).sum(axis=0), kind="stable")
        found = _better(best, np.sort(np.delete(order, kept)), X, lengths)
        best, kept = found, kept + 1 if found is best else 0
    return best


def _better(
    model: Model, states: NDArray[np.intp], X: RowsLike, lengths: ArrayLike | None
) -> Model:
    """Return the model with these states only if its bound is larger, and else the model."""
    begins = model.startprob_posterior_[states].any()
    goes = model.transmat_posterior_[np.ix_(states, states)].any(axis=1)
    if not len(states) or not begins or not goes.all():  # the prior of the chain has zeros
        return model
    fewer = _refitted(model, states, X, lengths)
    return fewer if fewer.elbo_ > model.elbo_ else model


def _refitted(
    model: Model, states: NDArray[np.intp], X: RowsLike, lengths: ArrayLike | None
) -> Model:
    """Go on with some states only, on all rows at once."""
    params, axes = model.get_params(deep=False), model._state_axes
    options = {"n_components": len(states), "init_params": "", "n_init": 1, "batch_size": None}
    priors = {
        name: _taken(value, axes[name], states, model.n_components)
        for name, value in params.items()
        if name in axes and value is not None
    }
    found = type(model)(**params | priors | options)
    for name in axes.keys() - params.keys():
        setattr(found, name, _taken(getattr(model, name), axes[name], states, model.n_components))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of attempts that are not kept
        found.fit(X, lengths)
    return found.set_params(**{name: params[name] for name in options if name != "n_components"})


def _taken(values: Any, axes: tuple[int, ...], states: NDArray[np.intp], k: int) -> Any:
    """Some states of an array, along those of these axes that it has."""
    found = np.asarray(values)
    for axis in axes:
        if -axis <= found.ndim and found.shape[axis] == k:
            found = found.take(states, axis=axis)
    return values if found.shape == np.shape(values) else found
