"""Conjugate models over shards: local steps where the rows are, and one step of the parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastvi.base.typing import Tree
from fastvi.cluster.executors import Held, Placed
from fastvi.cluster.shards import Share
from fastvi.cluster.sums import less, spread
from fastvi.core import Batch, Local

__all__ = ["Sharded", "excerpts"]

COPIES = 2  # of all parameters, which a few workers need at least


class _Common(NamedTuple):
    """What local steps on all shards need; `params` is None if each gets an excerpt."""

    model: Any
    params: Tree
    share: Share
    weight: float
    seed: int


class _Own(NamedTuple):
    """What one shard needs."""

    number: int
    params: Tree


class Sharded:
    """A conjugate model whose local step is a sum over shards, and which else is as it was.

    Batches say which rows to take (`Share`). Local variables stay where they are found and are
    not kept, so that the step is a function of parameters, rows and seed.
    """

    def __init__(self, model: Any, placed: Placed, source: Any) -> None:
        self.model, self.placed, self.source = model, placed, source

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def local(
        self,
        params: Tree,
        batch: Batch,
        start: Any,
        rng: np.random.Generator,
        *,
        norms: bool = False,
    ) -> Local:
        """Sum the statistics of the shards; norms of rows are not computed."""
        if norms:
            raise ValueError("norms of rows are not known on shards; wanted another sampling")
        seed = int(rng.integers(1 << 62))
        given = excerpts(self.placed, params, getattr(self.model, "excerpt", None))
        whole = params if all(own is None for own in given) else None
        common = _Common(self.model, whole, batch.rows, float(batch.weights[0]), seed)
        own = [_Own(i, one) for i, one in enumerate(given)]
        if hasattr(self.model, "gathered"):  # what it returns is no sum
            sums = self.placed.total(_gather, common, own)
            found: Local = self.model.maximised(params, self.source.all(), sums)
            return found
        statistics, bound, same = self.placed.total(_local_step, common, own)
        return Local(statistics, bound, None, None, same)


def excerpts(
    placed: Placed, params: Tree, excerpt: Callable[[Tree], Callable[[Any], Tree]] | None
) -> list[Tree | None]:
    """Return the parameters of each shard's columns, or None for each if it gets all of them.

    It does if it has all columns, or if all parameters are cheaper to send once to each worker than
    the excerpts of all shards.
    """
    nothing: list[Tree | None] = [None] * len(placed.shards)
    columns = [shard.columns for shard in placed.shards if shard.columns is not None]
    if not columns:
        return nothing
    if excerpt is None:
        raise ValueError(
            "this model reads all columns in each local step, which shards do not have; "
            "wanted a fit outside of fastvi.distributed"
        )
    n_columns = max(int(some[-1]) + 1 if len(some) else 0 for some in columns)
    if sum(map(len, columns)) > COPIES * n_columns:
        return nothing
    of = excerpt(params)
    return [of(some) for some in columns]


def _gather(common: _Common, own: _Own, held: Held) -> Tree:
    """Sums from which the model computes its step."""
    rows, _ = common.share.rows_of(held, own.number)
    return common.model.gathered(common.params, rows)


def _local_step(common: _Common, own: _Own, held: Held) -> tuple[Tree, float, float]:
    """Statistics, bound, and the squared norm of statistics that do not depend on the rows.

    The latter count once, in the first shard.
    """
    model, params, columns = common.model, own.params, held.part.columns
    if params is None:
        params = common.params if columns is None else model.excerpt(common.params)(columns)
    rows, n = common.share.rows_of(held, own.number)
    rng = np.random.default_rng([common.seed, own.number])
    local = model.local(params, Batch(rows, np.full(n, common.weight)), None, rng)
    statistics, same = local.statistics, local.common
    if same and own.number:
        nothing = held.part.source.take(np.empty(0, np.int64))
        empty = model.local(params, Batch(nothing, np.empty(0)), None, rng)
        statistics, same = less(statistics, empty.statistics), 0.0
    return spread(statistics, columns), local.bound, same
