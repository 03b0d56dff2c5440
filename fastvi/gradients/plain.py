"""Plain gradients of conjugate models, in parameters without constraints."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastvi.core import Batch, Conjugate, Gradient, dense
from fastvi.gradients.natural import natural

__all__ = ["plain"]


def plain(
    model: Conjugate,
    *,
    remember: bool = False,
    noise: bool = False,
    squared_norm: bool = False,
) -> Gradient:
    """The gradient of the bound with respect to the model's free parameters.

    The Fisher matrix times the natural gradient, through the coordinates' Jacobian (Hoffman et al.
    2013, section 2.3). The parameters that it is an ascent of are ``coordinates.free(params)``, all
    of whose values are allowed, so that any optimizer may step along it.

    Parameters
    ----------
    model : Conjugate
        With `coordinates` other than None.
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
            f"{type(model).__name__} has no coordinates without constraints; "
            "wanted a natural gradient, and an optimizer with one rate for all of it"
        )
    inner = natural(model, remember=remember, noise=noise, squared_norm=squared_norm)

    def estimate(
        state: Any, free: Any, batch: Batch, rng: np.random.Generator
    ) -> tuple[Any, Any, dict[str, Any]]:
        params = coordinates.params(free)
        direction, state, info = inner.estimate(state, params, batch, rng)
        return coordinates.gradient(params, dense(direction, params)), state, info

    return Gradient(inner.init, estimate)
