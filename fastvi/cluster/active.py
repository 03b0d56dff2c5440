"""Which cluster the fits of a ``with`` block run on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from fastvi.base import checks
from fastvi.base.typing import JsonObject
from fastvi.cluster.executors import Executor, InProcess, Placed
from fastvi.cluster.shards import cut

__all__ = ["Cluster", "active", "distributed", "fitting", "identity"]

ELSEWHERE = "wanted a fit outside of fastvi.distributed"


class Cluster:
    """An executor, and into how many shards a local matrix is cut."""

    def __init__(self, executor: Executor, n_shards: int) -> None:
        self.executor, self.n_shards = executor, n_shards

    def place(self, source: Any) -> Placed:
        """Cut a source into shards, and keep these until the end of the `fitting` block."""
        placed = self.executor.place(cut(source, self.n_shards))
        kept = _placed.get()
        if kept is not None:
            kept.append(placed)
        return placed


_active: ContextVar[Cluster | None] = ContextVar("fastvi cluster", default=None)


_placed: ContextVar[list[Placed] | None] = ContextVar("fastvi shards", default=None)


@contextmanager
def fitting(what: str, over_shards: bool) -> Iterator[None]:
    """Release the shards that were placed in this block at its end: plans are cycles of references,
    which the garbage collector finds late.

    Raises
    ------
    ValueError
        If there is a cluster, and what is fitted does not support shards.
    """
    if active() is not None and not over_shards:
        raise ValueError(f"{what} does not support shards; {ELSEWHERE}")
    placed: list[Placed] = []
    token = _placed.set(placed)
    try:
        yield
    finally:
        for one in placed:
            one.release()
        _placed.reset(token)


def active() -> Cluster | None:
    """Return the cluster of the ``with`` block that this runs in, if any."""
    return _active.get()


def identity() -> JsonObject:
    """Return what bits depend on besides the fit's own parameters and rows."""
    cluster = active()
    return {} if cluster is None else {"n_shards": cluster.n_shards}


@contextmanager
def distributed(client: Any = None, *, n_shards: int = 16) -> Iterator[None]:
    """Fit over shards of the rows, on the workers of a Dask cluster.

    Every ``fit`` inside the ``with`` block cuts its rows into shards, sends these to the workers
    once, and then only parameters and sums of statistics, pass by pass. A worker's task is a
    function of the parameters, the shard and a seed, and sums are taken by a fixed binary tree
    over the shards' numbers. Results therefore have bits that depend on the data, the seed and
    the number of shards, but not on the number of workers, their order, or on workers that are
    lost, replaced or added during the fit.

    Parameters
    ----------
    client : dask.distributed.Client, optional
        Workers should have one thread each. None: this process works on all shards; it finds the
        same bits as any cluster, and needs no Dask.
    n_shards : int, default=16
        Number of shards; fewer if there would be less than 64 rows in each.

    Raises
    ------
    ImportError
        If Dask is not installed: ``pip install 'fastvi[distributed]'``.
    TypeError
        If `client` is not a client of Dask.
    ValueError
        If `n_shards` is not an integer above 0. In ``fit``: if the estimator or one of its
        options does not support shards.
    ConnectionError
        In ``fit``, if the scheduler is lost. A fit with `checkpoint` goes on with ``resume=True``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastvi
    >>> X = np.random.default_rng(0).normal(size=(1000, 2)) + [[0, 0], [9, 9]] * 500
    >>> model = fastvi.BayesianGaussianMixture(n_components=2, random_state=0)
    >>> with fastvi.distributed(n_shards=4):
    ...     means = model.fit(X).means_
    >>> sorted(means[:, 0].round().astype(int).tolist())
    [0, 9]
    """
    n_shards = checks.integer(n_shards, "n_shards", 1)
    token = _active.set(Cluster(_executor(client), n_shards))
    try:
        yield
    finally:
        _active.reset(token)


def _executor(client: Any) -> Executor:
    if client is None:
        return InProcess()
    from fastvi.cluster.dask_executor import DaskExecutor

    return DaskExecutor(client)
