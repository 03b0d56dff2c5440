"""Where shards are kept and worked on: what a cluster must do, and this process as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from fastvi.base.typing import AnyArray
from fastvi.batches.base import Part
from fastvi.cluster.remote import Raw
from fastvi.cluster.sums import summed

__all__ = ["Executor", "Held", "InProcess", "Load", "Placed", "Shard", "Task"]

T = TypeVar("T")

Task = Callable[[Any, Any, "Held"], Any]  # task(common, own, held) -> a tree to be summed


class Load(Protocol):
    """How a worker comes by a shard, as often as it needs to; pickled to get there."""

    name: str  # in messages
    delayed: Any  # what the cluster computes first, or None

    def __call__(self, computed: Any = None) -> Part:
        """Return the shard, from what was `delayed`."""
        ...


class Shard(NamedTuple):
    """What the driver knows of a shard: its number of rows and its columns, see `Part`."""

    n_rows: int
    columns: AnyArray | None


class Held:
    """A shard in the process that works on it, and what was derived from it there."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self._derived: dict[str, Any] = {}

    def once(self, name: str, make: Callable[[], T]) -> T:
        """Return ``make()``, which depends only on the shard, from an earlier call if any."""
        if name not in self._derived:
            self._derived[name] = make()
        found: T = self._derived[name]
        return found

    def described(self) -> Shard:
        """Return what the driver is told."""
        return Shard(self.part.source.n_rows, self.part.columns)

    def __getstate__(self) -> dict[str, Any]:
        return {"part": self.part, "_derived": {}}


class Placed(Protocol):
    """Shards that are kept for a fit."""

    shards: list[Shard]

    def total(self, task: Task, common: Any, own: Sequence[Any]) -> Any:
        """Return the sum of ``task(common, own[i], shard i)``, by a fixed tree over i."""
        ...

    def each(self, function: Callable[[Held], Any]) -> list[Any]:
        """Return ``function(shard)`` of each."""
        ...

    def release(self) -> None:
        """Forget the shards."""
        ...


class Executor(Protocol):
    """What keeps shards and works on them."""

    def place(self, loads: Sequence[Load]) -> Placed:
        """Keep shards for a fit."""
        ...

    def heads(self, raws: Sequence[Raw], n_rows: int) -> list[Any]:
        """Return the first rows of each shard, read where it lies."""
        ...


class InProcess:
    """The process of the fit, with the threads that the estimator asks for."""

    def place(self, loads: Sequence[Load]) -> Placed:
        """Keep all shards in memory."""
        return _Here([Held(load(_computed(load.delayed))) for load in loads])

    def heads(self, raws: Sequence[Raw], n_rows: int) -> list[Any]:
        """Read them."""
        return [raw.head(_computed(raw.delayed), n_rows) for raw in raws]


def _computed(delayed: Any) -> Any:
    return None if delayed is None else delayed.compute(scheduler="synchronous")


class _Here:
    def __init__(self, held: list[Held]) -> None:
        self.held = held
        self.shards = [one.described() for one in held]

    def total(self, task: Task, common: Any, own: Sequence[Any]) -> Any:
        return summed(len(self.held), lambda i: task(common, own[i], self.held[i]))

    def each(self, function: Callable[[Held], Any]) -> list[Any]:
        return [function(one) for one in self.held]

    def release(self) -> None:
        self.held = []
