"""Shards on the workers of a Dask cluster.

A task's arguments are in the graph that the scheduler keeps, or are results of other tasks, so
that whatever a lost worker held is computed again, with the same bits.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fastvi.base.parallel import alone, single_threaded_blas
from fastvi.cluster.executors import Held, Load, Placed, Shard, Task
from fastvi.cluster.remote import Raw
from fastvi.cluster.sums import grouped, of_parts

__all__ = ["DaskExecutor"]

FAN = 8  # sums that one task adds up; a power of 2
LOST = (
    "the scheduler of the cluster is lost ({}). Fits with `checkpoint` have saved their last "
    "pass; fit again on a new cluster with resume=True to go on"
)


class DaskExecutor:
    """The workers of a client of `dask.distributed`."""

    def __init__(self, client: Any) -> None:
        try:
            from distributed import Client
        except ImportError as error:
            raise ImportError(
                "fastvi.distributed(client) needs Dask; wanted pip install 'fastvi[distributed]'"
            ) from error
        if not isinstance(client, Client):
            raise TypeError(
                f"client is a {type(client).__name__}; wanted a dask.distributed.Client, or None "
                "for this process"
            )
        if client.asynchronous:
            raise TypeError("client is asynchronous; wanted Client(..., asynchronous=False)")
        self.client = client

    def place(self, loads: Sequence[Load]) -> Placed:
        """Let workers load the shards."""
        return _There(self.client, loads)

    def heads(self, raws: Sequence[Raw], n_rows: int) -> list[Any]:
        """Let workers read them."""
        with _explained(), _large_graphs():
            futures = [
                self.client.submit(raw.head, self.client.compute(raw.delayed), n_rows, pure=False)
                for raw in raws
            ]
            found: list[Any] = self.client.gather(futures)
            return found


class _There:
    def __init__(self, client: Any, loads: Sequence[Load]) -> None:
        self.client, self.names = client, [load.name for load in loads]
        self.run, self.versions = uuid.uuid4().hex[:12], itertools.count()
        with _explained(), _large_graphs():
            self.held = [
                client.submit(
                    _loaded, load, client.compute(load.delayed), key=self._key("shard", i)
                )
                for i, load in enumerate(loads)
            ]
        self.shards: list[Shard] = self.each(Held.described)

    def _key(self, what: str, number: int) -> str:
        return f"fastvi-{what}-{self.run}-{number}"

    def _submit(self, function: Any, argument: Any, what: str, number: int) -> Any:
        with _large_graphs():
            return self.client.submit(function, argument, key=self._key(what, number))

    def total(self, task: Task, common: Any, own: Sequence[Any]) -> Any:
        """Return the sum of the task over all shards."""
        version = next(self.versions)
        numbers = itertools.count()

        def key(what: str) -> str:
            return f"fastvi-{what}-{self.run}-{version}-{next(numbers)}"

        shared = key("common")
        graph: dict[str, Any] = {shared: (_Given(common),)}
        level = []
        for number, held in enumerate(self.held):
            level.append(key("map"))
            graph[level[-1]] = (_worked, _Given((task, own[number])), shared, held)
        while len(level) > 1:
            groups, level = grouped(level, FAN), []
            for group in groups:
                level.append(key("sum"))
                graph[level[-1]] = (of_parts, *group)
        with _explained(), _large_graphs():
            (found,) = self.client.get(graph, level, sync=False)
            return found.result()

    def each(self, function: Callable[[Held], Any]) -> list[Any]:
        """Return the function of each shard."""
        version = next(self.versions)
        with _explained():
            futures = [
                self._submit(function, held, f"each-{version}", i)
                for i, held in enumerate(self.held)
            ]
            found: list[Any] = self.client.gather(futures)
            return found

    def release(self) -> None:
        """Let workers forget the shards."""
        self.held = []


@contextmanager
def _explained() -> Iterator[None]:
    """Say in our words that a worker or the scheduler was lost."""
    from concurrent.futures import CancelledError

    from distributed import KilledWorker
    from distributed.comm.core import CommClosedError

    try:
        yield
    except KilledWorker as error:
        raise RuntimeError(
            f"several workers died of one task ({error.task}), as they do if the memory of "
            "a worker is too small for a shard; wanted more shards, or workers with more memory"
        ) from error
    except (CancelledError, CommClosedError, TimeoutError) as error:
        raise ConnectionError(LOST.format(error or type(error).__name__)) from error


class _Given:
    """A function without arguments, or an argument that Dask does not look into."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self) -> Any:
        return self.value


def _loaded(load: Load, computed: Any) -> Held:
    return Held(load(computed))


def _worked(given: _Given, common: Any, held: Held) -> Any:
    """Work on a shard with one thread."""
    task, own = given.value
    with alone(), single_threaded_blas():
        return task(common, own, held)


@contextmanager
def _large_graphs() -> Iterator[None]:
    """Let graphs hold data, without a warning, so that a lost worker's are there again."""
    import dask

    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}):
        yield
