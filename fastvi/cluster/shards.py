"""Sources of rows, cut into shards; and the batches that take rows of every shard."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import AnyArray
from fastvi.batches.base import Batches, Part
from fastvi.cluster.executors import Held, Load, Shard
from fastvi.core import Batch

__all__ = ["EVERYTHING", "Given", "ShardedRows", "Share", "SuperBatches", "cut", "likewise"]

FEW = 64  # rows; smaller shards are not worth a task


class Given:
    """A shard of a matrix in the driver's memory."""

    def __init__(self, part: Part, name: str) -> None:
        self.part, self.name, self.delayed = part, name, None

    def __call__(self, computed: Any = None) -> Part:
        """Return the rows."""
        return self.part


def cut(source: Any, n_shards: int) -> list[Load]:
    """Cut a source into consecutive shards of nearly equal numbers of rows, at its `borders`."""
    if getattr(source, "part", None) is None:
        raise ValueError(
            f"rows of {type(source).__name__} cannot be cut into shards; "
            "wanted a fit outside of fastvi.distributed"
        )
    n = max(1, min(n_shards, source.n_rows // FEW))
    bounds = np.arange(n + 1) * source.n_rows // n
    borders = getattr(source, "borders", None)
    if borders is not None:
        bounds = np.unique(borders[np.searchsorted(borders, bounds)])
    return [
        Given(source.part(int(a), int(b)), f"shard {i} (rows {a} to {b - 1})")
        for i, (a, b) in enumerate(itertools.pairwise(bounds))
    ]


def likewise(source: Any) -> Callable[[Any], Part]:
    """Return what makes shards of the same kind as a source of matrices."""
    if getattr(source, "likewise", None) is None:
        raise ValueError(
            f"rows of {type(source).__name__} are not read from files or Dask collections; "
            "wanted a matrix"
        )
    found: Callable[[Any], Part] = source.likewise()
    return found


class Share(NamedTuple):
    """Which rows of every shard a step takes: part `step` of `n_steps` of an epoch's random order.

    With one step, all rows in their own order.
    """

    seed: int
    epoch: int
    step: int
    n_steps: int

    def rows_of(self, held: Held, number: int) -> tuple[Any, int]:
        """Return the rows of the shard with this number, and how many they are."""
        source = held.part.source
        if self.n_steps == 1:
            return held.once("everything", source.all), source.n_rows
        order = np.random.default_rng([self.seed, self.epoch, number]).permutation(source.n_rows)
        a, b = _bounds(source.n_rows, self.step, self.n_steps, number)
        return source.take(order[a:b]), b - a


EVERYTHING = Share(0, 0, 0, 1)


def _bounds(n_rows: int, step: int, n_steps: int, number: int) -> tuple[int, int]:
    """Cut a shard for a step; shards of few rows begin at different steps."""
    first = (step + number) % n_steps
    return first * n_rows // n_steps, (first + 1) * n_rows // n_steps


class ShardedRows:
    """All rows of all shards, as a source whose batches say which rows to take."""

    norms: NDArray[np.float64] | None = None

    def __init__(self, shards: Sequence[Shard]) -> None:
        self.n_rows = sum(shard.n_rows for shard in shards)

    def all(self) -> Share:
        """Every row, in order."""
        return EVERYTHING

    def take(self, rows: AnyArray) -> Any:
        """Rows cannot be taken by their numbers."""
        raise NotImplementedError


class SuperBatches(Batches):
    """Mini-batches of which every shard has its share; each row is seen once per epoch.

    Each shard's order in epoch e is drawn from (seed, e, the shard's number).
    """

    def __init__(self, shards: Sequence[Shard], batch_size: int, seed: int) -> None:
        self.shards, self.seed = shards, seed
        self.n_rows = sum(shard.n_rows for shard in shards)
        self.n_steps = -(-self.n_rows // batch_size)

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Yield the batches of one epoch, with weights n_rows / batch size."""
        for step in range(skip, self.n_steps):
            size = 0
            for i, shard in enumerate(self.shards):
                a, b = _bounds(shard.n_rows, step, self.n_steps, i)
                size += b - a
            if size:
                weights = np.full(size, self.n_rows / size)
                yield Batch(Share(self.seed, number, step, self.n_steps), weights)
