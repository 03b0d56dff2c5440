"""Plain gradients of conjugate models, in unconstrained parameters."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from fastvi.base.typing import Info, Tree
from fastvi.core import Batch, Conjugate, Gradient, dense
from fastvi.gradients.natural import natural

__all__ = ["plain"]

T = TypeVar("T")


def plain(
    model: Conjugate,
    *,
    remember: bool = False,
    noise: bool = False,
    squared_norm: bool = False,
) -> Gradient:
    """The gradient of the bound with respect to the model's unconstrained parameters.

    It is the Fisher matrix times the natural gradient, mapped by the Jacobian of the coordinates
    (Hoffman et al. 2013, section 2.3). The parameters are ``coordinates.free(params)``. All of
    their values are allowed, so any optimizer may step along this gradient.

    Parameters
    ----------
    model : Conjugate
        A model with `coordinates`.
    remember, noise, squared_norm : bool
        As in `natural`; noise and norms are those of the natural gradient.

    Raises
    ------
    ValueError
        If the model has no `coordinates`.
    """
    coordinates = model.coordinates
    if coordinates is None:
        raise ValueError(
            f"{type(model).__name__} has no unconstrained coordinates; "
            "wanted a natural gradient, and an optimizer with one rate for all of it"
        )
    inner = natural(model, remember=remember, noise=noise, squared_norm=squared_norm)

    def estimate(
        state: T, free: Tree, batch: Batch, rng: np.random.Generator
    ) -> tuple[Tree, T, Info]:
        params = coordinates.params(free)
        direction, state, info = inner.estimate(state, params, batch, rng)
        return coordinates.gradient(params, dense(direction, params)), state, info

    return Gradient(inner.init, estimate)
