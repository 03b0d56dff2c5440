"""CVB0 over shards: a sweep over each, then an exchange of counts.

The form of Newman, Asuncion, Smyth and Welling (2009), "Distributed algorithms for topic models",
section 3.1: within a pass each shard sees its own counts as they change, and those of the others
as they were. A pass depends only on the topics before it: responsibilities start from these, so
that nothing but counts of words outlives a pass, and a lost worker costs only time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base.tables import Excerpt, RowStatistics
from fastvi.base.typing import AnyArray, Array
from fastvi.batches import Passes
from fastvi.cluster.active import Cluster
from fastvi.cluster.conjugate import excerpts
from fastvi.cluster.executors import Held
from fastvi.core import Algorithm, Batch, LazyTable
from fastvi.models.topics import collapsed
from fastvi.models.topics.base import Solver
from fastvi.models.topics.inference import word_weights
from fastvi.models.topics.model import TopicParameters
from fastvi.models.topics.settings import Settings

__all__ = ["exchange_solver"]


class _Common(NamedTuple):
    alpha: Array
    table: LazyTable | None  # None if each shard gets an excerpt
    seed: int
    n_threads: int


class _Own(NamedTuple):
    number: int
    eta: Any  # of the words of the shard, a number or (U, 1)
    table: Excerpt | None


def exchange_solver(
    settings: Settings,
    source: Any,
    n_threads: int,
    first_table: Callable[[], AnyArray],
    cluster: Cluster,
) -> Solver:
    """Make the solver "cvb0" or "cvb" over shards, which starts from ``first_table()``."""
    if settings.learn_alpha or settings.learn_eta:
        raise ValueError(
            "learned priors need the counts of each document, which stay on their shards; wanted "
            "fixed priors inside of fastvi.distributed"
        )
    if settings.solver == "cvb":
        raise ValueError(
            "solver='cvb' needs the variances of all counts, which are not exchanged; wanted "
            "'cvb0' inside of fastvi.distributed"
        )
    placed = cluster.place(source)
    eta, n_topics = np.asarray(settings.eta, settings.dtype), settings.n_topics
    etas = [eta[shard.columns] if eta.ndim else settings.eta for shard in placed.shards]

    def init(table: AnyArray) -> LazyTable:
        return LazyTable(table, eta)

    def step(
        table: LazyTable, batch: Batch, rng: np.random.Generator
    ) -> tuple[LazyTable, dict[str, float]]:
        given = excerpts(placed, table, lambda table: table.excerpt)
        whole = table if all(some is None for some in given) else None
        common = _Common(settings.alpha, whole, settings.seed, n_threads)
        own = [_Own(i, *parts) for i, parts in enumerate(zip(etas, given))]
        counts: RowStatistics = placed.total(_swept, common, own)
        values = np.zeros_like(table.values)
        values[:, :n_topics] = eta
        values[counts.rows] += counts.values
        return init(values), {}

    def read(table: LazyTable) -> TopicParameters:
        return TopicParameters(table, settings.alpha, settings.eta)

    return Solver(settings, Algorithm(init, step), Passes(), first_table, read)


def _swept(common: _Common, own: _Own, held: Held) -> RowStatistics:
    """Expected counts of the shard's words in topics, after a sweep over its documents."""
    grid: collapsed.Grid = held.once("grid", lambda: _grid(common.seed, own.number, held))
    columns, n_threads, k = held.part.columns, common.n_threads, len(common.alpha)
    assert columns is not None
    table = own.table
    if table is None:
        assert common.table is not None
        table = common.table.excerpt(columns)
    weights, _ = word_weights(table.values.copy(), table.column_sums, k, True, n_threads)
    weights = weights.astype(np.float32, copy=False)
    room = held.once("responsibilities", lambda: _room(len(grid.words), weights.shape[1]))
    state = collapsed.initial_state(grid, weights, common.alpha, own.eta, n_threads, room=room)
    others = _add_others(table, state)
    state, _ = collapsed.passes(grid, n_threads).step(state, None, np.random.default_rng(0))
    counts = state.word_topic[0]
    counts -= others
    np.maximum(counts, 0.0, out=counts)  # rounding of sums may take them below
    return RowStatistics(columns, counts.astype(table.values.dtype, copy=False))


def _room(n_entries: int, width: int) -> NDArray[np.uint16]:
    """Memory for responsibilities: fresh memory in each pass would cost as much as the sweep."""
    return np.empty((n_entries, width), np.uint16)


def _grid(seed: int, number: int, held: Held) -> collapsed.Grid:
    source = held.part.source
    rng = np.random.default_rng([seed, number])
    return collapsed.make_grid(source.indptr, source.indices, source.counts, source.n_words, rng)


def _add_others(table: Excerpt, state: collapsed.State) -> NDArray[np.float32]:
    """Add what other shards have to this shard's counts: the last counts of all shards, less those
    with which this one starts. Return what has been added, and the prior, (U, K padded).
    """
    k, mine = len(state.alpha), state.word_topic[0]
    others = table.values.astype(np.float32)
    others -= mine
    np.maximum(others, 0.0, out=others)
    mine += others
    others[:, :k] += np.asarray(state.eta, np.float32)
    state.totals[0, :k] = np.maximum(table.column_sums[:k], state.totals[0, :k])
    return others
