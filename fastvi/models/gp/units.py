"""Dual parameters in other units, and along with hyperparameters that move."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.base import tree
from fastvi.base.blas import solve_rows
from fastvi.models.gp.inducing import Inducing
from fastvi.models.gp.rows import Sites

__all__ = ["between", "converted"]

Array = NDArray[np.float64]


def between(old: Inducing, new: Inducing) -> Callable[[Sites], Sites]:
    """What makes dual parameters those of other inducing inputs, of nearly the same factor of f.

    They are sums of K(z, x_i) times numbers, and K(z_new, z) K(z, z)^-1 takes K(z, x) to what z
    says of K(z_new, x); all of it where x is in z. In whitened units this is L_new^-1 K(z_new, z)
    L^-T, which magnifies nothing as long as the kernel is the same: its singular values are
    correlations.
    """
    map_ = old.covariances(new.z, np.empty((len(new.z), len(old.z))))
    solve_rows(old.factor, map_)
    if not old.whitened:
        solve_rows(old.factor, map_, transposed=True)
    c = solve_rows(new.factor, map_.T.copy()).T if new.whitened else map_

    def move(sites: Sites) -> Sites:
        linear, precision = sites.linear @ c.T, c @ sites.precision @ c.T
        return Sites(linear, 0.5 * (precision + precision.transpose(0, 2, 1)))

    return move


def converted(state: Any, move: Callable[[Sites], Sites]) -> Any:
    """A tree, such as an optimizer's state, with whatever dual parameters it holds moved."""
    if isinstance(state, Sites):
        return move(state)
    if isinstance(state, tuple):
        return tree.rebuild(state, (converted(part, move) for part in state))
    return state
