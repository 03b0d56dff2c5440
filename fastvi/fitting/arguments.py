"""Arguments that fits of targets share: families, where to begin, rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from fastvi.base import checks
from fastvi.base.typing import Array, PointLike
from fastvi.batches import Batches, InMemory, Passes, ShuffledEpochs, WithReplacement
from fastvi.families import FAMILIES, FullRank, is_member
from fastvi.families.base import Family, Near
from fastvi.fitting.modes import Found, search
from fastvi.targets.base import Target
from fastvi.targets.checking import screen, screen_weights

__all__ = ["Chosen", "batches_of", "begin_near", "family_of", "point_of", "starts_of"]

FLAT, N_TRIED = 1e5, 64  # ratio of variances that is looked at, and draws for that
NAMES = tuple(name for name, family in FAMILIES.items() if family.near is not None)


class Chosen(NamedTuple):
    """A family: a member to ask for its powers, and how to make one near a Gaussian.

    `near` is None if the fit begins at the member itself; otherwise the member is one-dimensional.
    """

    member: Family
    near: Near | None


def family_of(target: Target, family: str | Family | Near) -> Chosen:
    """Return the family given by its name, by a member, or by a function of a mean and covariance.

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
    target: Target,
    near: Near,
    start: PointLike | None,
    seed: int,
    *,
    n_starts: int | None = None,
    n_threads: int = 1,
    by_gradient: bool = True,
) -> tuple[Family, Found | None]:
    """Return a member near Laplace's approximation at the best mode, or of unit scale without one.

    `by_gradient` says whether the method needs gradients; if not, none is derived for the search.
    """
    z = np.zeros(target.dim) if start is None else point_of(target, start)
    if not (by_gradient or target.gradient_given) or not target.has_gradient:
        if n_starts is not None:
            raise ValueError(
                f"n_starts={n_starts} for a target without gradients, which are needed to search "
                "for modes; wanted 'auto'"
            )
        return near(z, np.eye(target.dim)), None
    screen(target, z)
    found = search(target, z, n_starts, seed, n_threads)
    if found.best.cov is None:
        return near(z, np.eye(target.dim)), found
    return near(found.best.mode, _steady(target, found.best.mode, found.best.cov, seed)), found


def _steady(target: Target, mode: Array, cov: Array, seed: int) -> Array:
    """The covariance at a mode, or that of unit scale where a ridge is flat and draws show it."""
    values = np.linalg.eigvalsh(cov)
    if values[-1] < FLAT * values[0]:
        return cov
    rng = np.random.default_rng([seed, 11])
    unit, heights = np.eye(len(mode)), []
    for tried in (cov, unit):
        q = FullRank.of(mode, tried)
        draws = q.draw(N_TRIED, rng)
        values = target.attempt(draws.points, with_gradient=False)[0]
        bound = float(np.mean(values - q.log_prob_of(draws)))
        heights.append(bound if np.isfinite(bound) else -np.inf)
    return unit if heights[1] > heights[0] else cov


def starts_of(n_starts: str | int) -> int | None:
    """Return the number of paths of the search for modes, or None to leave it open."""
    if isinstance(n_starts, str):
        if n_starts != "auto":
            raise ValueError(f"n_starts is {n_starts!r}; wanted 'auto' or an integer >= 1")
        return None
    return checks.integer(n_starts, "n_starts", 1)


def point_of(target: Target, start: PointLike) -> Array:
    """Return the unconstrained parameters (D,) of a point given as an array or by name."""
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
    """Return passes over all rows, or mini-batches of them.

    Raises
    ------
    ValueError
        If an argument is out of its range, or the target takes no rows.
    TargetError
        If the target clearly ignores the weights of rows.
    """
    sampling = checks.choice(sampling, "sampling", ("uniform", "replacement"))
    if batch_size is None:
        if sampling != "uniform":
            raise ValueError(f"sampling={sampling!r} without batch_size: every row is in each step")
        return Passes()
    size = checks.integer(batch_size, "batch_size", 1)
    if target.n_rows is None:
        raise ValueError("batch_size is given, but the target takes no rows and weights")
    screen_weights(target, size)
    plan = ShuffledEpochs if sampling == "uniform" else WithReplacement
    return plan(InMemory(np.arange(target.n_rows)), size, seed)
