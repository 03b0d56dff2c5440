"""Which cluster the fits of a ``with`` block run on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from fastvi.base import checks
from fastvi.base.typing import JsonObject
from fastvi.cluster.executors import Executor, InProcess, Placed
from fastvi.cluster.remote import Raw, Read, Remote, is_remote, raw_shards, sample_of
from fastvi.cluster.shards import cut, likewise

__all__ = [
    "Cluster",
    "active",
    "distributed",
    "fitting",
    "identity",
    "lies_elsewhere",
    "local_rows",
    "refuse_shards",
    "rows_placed",
]

SAMPLE = 8192  # rows from which starts, scales and priors are taken if X lies elsewhere
ELSEWHERE = "wanted a fit outside of fastvi.distributed"


class Cluster:
    """An executor, and into how many shards a local matrix is cut."""

    def __init__(self, executor: Executor, n_shards: int, read: Read | None = None) -> None:
        self.executor, self.n_shards, self.read = executor, n_shards, read

    def place(self, source: Any) -> Placed:
        """Cut a source into shards, and keep these until the end of the `fitting` block.

        If X lies elsewhere, its shards are kept instead, as sources of the same kind.
        """
        raws = _raws.get()
        if raws is None:
            placed = self.executor.place(cut(source, self.n_shards))
        else:
            part_of = likewise(source)
            placed = self.executor.place([Remote(raw, part_of) for raw in raws])
        kept = _placed.get()
        if kept is not None:
            kept.append(placed)
        return placed


_active: ContextVar[Cluster | None] = ContextVar("fastvi cluster", default=None)


_raws: ContextVar[list[Raw] | None] = ContextVar("fastvi raw shards", default=None)
_placed: ContextVar[list[Placed] | None] = ContextVar("fastvi shards", default=None)


def refuse_shards(what: str) -> None:
    """Raise ValueError if there is a cluster: `what` is fitted in one process only."""
    if active() is not None:
        raise ValueError(f"{what} does not support shards; {ELSEWHERE}")


@contextmanager
def fitting(what: str, over_shards: bool) -> Iterator[None]:
    """Release the shards that were placed in this block at its end: plans are cycles of references,
    which the garbage collector finds late.

    Raises
    ------
    ValueError
        If there is a cluster, and what is fitted does not support shards.
    """
    if not over_shards:
        refuse_shards(what)
    placed: list[Placed] = []
    token = _placed.set(placed)
    try:
        yield
    finally:
        for one in placed:
            one.release()
        _placed.reset(token)


@contextmanager
def local_rows(X: Any) -> Iterator[Any]:
    """Yield X, or a sample of it if it lies elsewhere; `Cluster.place` then takes all of it."""
    cluster = active()
    if cluster is None or not is_remote(X):
        yield X
        return
    raws = raw_shards(X, cluster.read)
    token = _raws.set(raws)
    try:
        yield sample_of(cluster.executor.heads(raws, -(-SAMPLE // len(raws))))
    finally:
        _raws.reset(token)


def lies_elsewhere() -> bool:
    """Whether this process has a sample of the rows only."""
    return _raws.get() is not None


def rows_placed(otherwise: int) -> int:
    """Return how many rows the shards of this fit have together; `otherwise` without shards."""
    placed = _placed.get()
    return sum(shard.n_rows for shard in placed[-1].shards) if placed else otherwise


def active() -> Cluster | None:
    """Return the cluster of the ``with`` block that this runs in, if any."""
    return _active.get()


def identity() -> JsonObject:
    """Return what bits depend on besides the fit's own parameters and rows."""
    cluster, raws = active(), _raws.get()
    if cluster is None:
        return {}
    return {"n_shards": cluster.n_shards if raws is None else len(raws)}


@contextmanager
def distributed(
    client: Any = None, *, n_shards: int = 16, read: Read | None = None
) -> Iterator[None]:
    """Fit over shards of the rows, on the workers of a Dask cluster.

    Every ``fit`` inside the ``with`` block cuts its rows into shards, sends these to the workers
    once, and then only parameters and sums of statistics, pass by pass. A worker's task is a
    function of the parameters, the shard and a seed, and sums are taken by a fixed binary tree
    over the shards' numbers. Results therefore have bits that depend on the data, the seed and
    the number of shards, but not on the number of workers, their order, or on workers that are
    lost, replaced or added during the fit.

    Besides a matrix, `fit` of topics, counts, mixtures and factor models takes a list of paths, a
    Dask array whose blocks have all columns, or a Dask bag of rows or matrices: each file, block
    or partition is a shard, which workers read where it lies. The fit starts from a sample of 8192
    rows, which are the first of all shards; data-dependent priors and scales are those of the
    sample.

    Parameters
    ----------
    client : dask.distributed.Client, optional
        Workers should have one thread each. None: this process works on all shards; it finds the
        same bits as any cluster, and needs no Dask.
    n_shards : int, default=16
        Number of shards of a matrix; fewer if there would be less than 64 rows in each.
    read : callable, optional
        ``read(path)`` returns the matrix in a file of `fit`'s X, dense or sparse; by default files
        .npy and .npz are read, the latter as SciPy saves sparse matrices.

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
    token = _active.set(Cluster(_executor(client), n_shards, read))
    try:
        yield
    finally:
        _active.reset(token)


def _executor(client: Any) -> Executor:
    if client is None:
        return InProcess()
    from fastvi.cluster.dask_executor import DaskExecutor

    return DaskExecutor(client)
