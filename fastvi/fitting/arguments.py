"""Arguments that fits of targets share: seeds, where to begin, rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.base import checks
from fastvi.batches import Batches, Passes, ShuffledEpochs, WithReplacement
from fastvi.families import FAMILIES, MEMBERS, LowRank
from fastvi.fitting.laplace import Laplace, laplace
from fastvi.targets import Target

__all__ = ["batches_of", "begin_at", "check_target", "point_of", "seed_of"]

Array = NDArray[np.float64]


def check_target(target: Any) -> None:
    """Raise ValueError if it is none."""
    if not isinstance(target, Target):
        raise ValueError(
            f"target is {target!r}; wanted one of fastvi.target(logp, dim=...) or its siblings, "
            "bound to its data"
        )


def seed_of(random_state: Any) -> int:
    """A number that generators follow from; a Generator draws it."""
    if random_state is None or isinstance(random_state, np.random.Generator):
        return int(np.random.default_rng(random_state).integers(2**31))
    return checks.integer(random_state, "random_state", 0)


def begin_at(target: Any, family: Any, start: Any, rank: int) -> tuple[Any, Laplace | None]:
    """The member to begin with: Laplace's approximation, or of unit scale where there is none."""
    if not isinstance(family, str):
        if type(family) not in MEMBERS.values():
            raise ValueError(f"family is {family!r}; wanted one of {', '.join(FAMILIES)}")
        if len(family.mean) != target.dim:
            raise ValueError(f"family has {len(family.mean)} numbers; the target {target.dim}")
        if start is not None:
            raise ValueError("start is given, but the fit begins at the member of family given")
        return family, None
    kind = FAMILIES[checks.choice(family, "family", tuple(FAMILIES))]
    z = np.zeros(target.dim) if start is None else point_of(target, start)
    if not target.has_gradient:
        return kind.of(z, np.eye(target.dim)), None
    target.screen(z)
    found = laplace(target, z)
    options = {"rank": checks.integer(rank, "rank", 1)} if kind is LowRank else {}
    if found.cov is None:
        return kind.of(z, np.eye(target.dim), **options), found
    return kind.of(found.mode, found.cov, **options), found


def point_of(target: Any, start: Any) -> Array:
    """Free numbers (D,) of a point that is given as such, or by name."""
    if isinstance(start, dict):
        start = target.parameters.unconstrain(start)
    try:
        z = np.array(start, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"start is {start!r}; wanted {target.dim} finite numbers") from None
    if z.shape != (target.dim,) or not np.all(np.isfinite(z)):
        raise ValueError(f"start has shape {z.shape}; wanted {target.dim} finite numbers")
    return z


class _RowNumbers:
    """A source whose rows are their numbers."""

    def __init__(self, n_rows: int) -> None:
        self.n_rows = n_rows

    def all(self) -> NDArray[np.int64]:
        """Every number."""
        return np.arange(self.n_rows)

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """These."""
        return rows


def batches_of(target: Any, batch_size: int | None, sampling: str, seed: int) -> Batches:
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
    return plan(_RowNumbers(target.n_rows), size, seed)
