"""Arguments that fits of targets share: families, where to begin, rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from fastvi.base import checks
from fastvi.base.typing import Array, PointLike
from fastvi.batches import Batches, InMemory, Passes, ShuffledEpochs, WithReplacement
from fastvi.families import FAMILIES, is_member
from fastvi.families.base import Family, Near
from fastvi.fitting.laplace import Laplace, laplace
from fastvi.targets.base import Target
from fastvi.targets.checking import screen

__all__ = ["Chosen", "batches_of", "begin_near", "family_of", "point_of"]

NAMES = tuple(name for name, family in FAMILIES.items() if family.near is not None)


class Chosen(NamedTuple):
    """A family: a member to ask for its powers, and how to make one near a Gaussian.

    `near` is None where a fit is to begin at the member itself; else the member has one number.
    """

    member: Family
    near: Near | None


def family_of(target: Target, family: str | Family | Near) -> Chosen:
    """Return the family that is given by name, by a member, or by a function near a Gaussian.

    Raises
    ------
    ValueError
        If it is anything else, or a member with another dimension than the target.
    """
    if is_member(family):
        if family.dim != target.dim:
            raise ValueError(f"family has {family.dim} numbers; the target {target.dim}")
        return Chosen(family, None)
    if isinstance(family, str) or not callable(family):
        near = FAMILIES[checks.choice(family, "family", NAMES)].near
    else:
        near = family
    assert near is not None
    return Chosen(near(np.zeros(1), np.eye(1)), near)


def begin_near(
    target: Target, near: Near, start: PointLike | None, *, by_gradient: bool = True
) -> tuple[Family, Laplace | None]:
    """A member near Laplace's approximation, or of unit scale where that does not exist.

    by_gradient: whether the method needs gradients; without, none is derived for the start.
    """
    z = np.zeros(target.dim) if start is None else point_of(target, start)
    if not (by_gradient or target.gradient_given) or not target.has_gradient:
        return near(z, np.eye(target.dim)), None
    screen(target, z)
    found = laplace(target, z)
    if found.cov is None:
        return near(z, np.eye(target.dim)), found
    return near(found.mode, found.cov), found


def point_of(target: Target, start: PointLike) -> Array:
    """Free numbers (D,) of a point that is given as such, or by name."""
    if isinstance(start, Mapping):
        start = target.parameters.unconstrain(start)
    try:
        z = np.array(start, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"start is {start!r}; wanted {target.dim} finite numbers") from None
    if z.shape != (target.dim,) or not np.all(np.isfinite(z)):
        raise ValueError(f"start has shape {z.shape}; wanted {target.dim} finite numbers")
    return z


def batches_of(target: Target, batch_size: int | None, sampling: str, seed: int) -> Batches:
    """Passes over all rows, or mini-batches of them."""
    sampling = checks.choice(sampling, "sampling", ("uniform", "replacement"))
    if batch_size is None:
        if sampling != "uniform":
            raise ValueError(f"sampling={sampling!r} without batch_size: every row is in each step")
        return Passes()
    size = checks.integer(batch_size, "batch_size", 1)
    if target.n_rows is None:
        raise ValueError("batch_size is given, but the target takes no rows and weights")
    plan = ShuffledEpochs if sampling == "uniform" else WithReplacement
    return plan(InMemory(np.arange(target.n_rows)), size, seed)
