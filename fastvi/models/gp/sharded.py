"""Sparse Gaussian process regression over shards: sums over rows are made where the rows are."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastvi.base.typing import Array
from fastvi.batches import InMemory
from fastvi.cluster.active import Cluster
from fastvi.cluster.executors import Held, Task
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.reverse import Reverse
from fastvi.models.gp.sgpr import Evaluation, SparseRegression

__all__ = ["ShardedRegression"]


class ShardedRegression(SparseRegression):
    """The collapsed bound of rows on a cluster, which has its own copy of them; see the base."""

    def __init__(
        self,
        covariance: Covariance,
        x: Array,
        y: Array,
        cluster: Cluster,
        n_threads: int = 1,
        weights: Array | None = None,
    ) -> None:
        super().__init__(covariance, x, y, n_threads, weights)
        rows = (x, y) if weights is None else (x, y, weights)
        self.placed = cluster.place(InMemory(rows))

    def take_room(self, m: int) -> Array | None:
        """None: covariances are not kept."""
        return None

    def evaluation(self, theta: Array, z: Array) -> Evaluation:
        """See the base."""
        return _Sharded(self, theta, z)

    def whole(self) -> SparseRegression:
        """The same bound, computed in one process once the shards are gone."""
        found = SparseRegression.__new__(SparseRegression)
        found.__dict__.update(self.__dict__)
        del found.__dict__["placed"]
        return found


class _Common(NamedTuple):
    """Where the bound is evaluated; of the second pass, also what `Evaluation.reverse` takes."""

    covariance: Covariance
    theta: Array
    z: Array
    careful: bool
    centre: Array
    n_threads: int
    given: tuple[Array, ...] = ()


class _Sums(NamedTuple):
    """Sums of a `Reverse`."""

    moments: Array
    squares: Array
    slopes: Array


class _Sharded(Evaluation):
    model: ShardedRegression

    def variance_of_rows(self) -> float:
        if self.covariance.is_stationary:
            return super().variance_of_rows()
        return float(self._total(_variance))

    def sums(self) -> tuple[Array, Array]:
        square, product = self._total(_sums)
        return square, product

    def reverse(self, matrix: Array, outer: Array) -> Reverse:
        found, total = self._reversed(), self._total(_reverse, matrix, outer)
        found.moments, found.squares, found.slopes = total
        return found

    def _total(self, task: Task, *given: Array) -> Any:
        model, placed = self.model, self.model.placed
        common = _Common(
            self.covariance, self.theta, self.z, self.careful, model.centre, model.n_threads, given
        )
        return placed.total(task, common, [None] * len(placed.shards))


def _evaluation(common: _Common, held: Held) -> Evaluation:
    def model_of() -> SparseRegression:
        x, y, *weights = held.part.source.all()
        return SparseRegression(common.covariance, x, y, common.n_threads, *weights)

    model = held.once("regression", model_of)
    model.centre, model.n_threads = common.centre, common.n_threads
    found = Evaluation(model, common.theta, common.z)
    found.careful = common.careful
    return found


def _variance(common: _Common, own: None, held: Held) -> float:
    return _evaluation(common, held).variance_of_rows()


def _sums(common: _Common, own: None, held: Held) -> tuple[Array, Array]:
    return _evaluation(common, held).sums()


def _reverse(common: _Common, own: None, held: Held) -> _Sums:
    matrix, outer = common.given
    found = _evaluation(common, held).reverse(np.ascontiguousarray(matrix), outer)
    return _Sums(found.moments, found.squares, found.slopes)
