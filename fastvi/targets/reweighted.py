"""A target whose rows have weights of their own."""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from fastvi.base.typing import Array
from fastvi.core import Batch
from fastvi.targets.base import Target

__all__ = ["Reweighted"]


class Reweighted(Target):
    """A target that takes rows, each of whose terms counts `row_weights` (n_rows,) times."""

    def __init__(self, target: Target, row_weights: Array) -> None:
        self.target, self.row_weights = target, np.array(row_weights, np.float64)
        numerical = target.has_gradient and target._numerical  # compiles a derived one
        super().__init__(
            target.name, target.compiled, target.parameters, target._data, target.n_rows,
            numerical=numerical, touches=target.touches,
        )  # fmt: skip
        n = len(self.row_weights)
        self._table = self.table(Batch(np.arange(n), np.ones(n)))

    def _checked(self, batch: Batch) -> Batch:
        """As `Target._checked`; weights of the batch multiply those of the rows."""
        rows, weights = super()._checked(batch)
        return Batch(rows, weights * self.row_weights[rows])

    def refuse(self, Z: Array, batch: Batch | None = None) -> NoReturn:
        """As `Target.refuse`, by the original target, which can explain more."""
        if batch is None or batch.rows is None:
            batch = Batch(np.arange(len(self.row_weights)), np.ones(len(self.row_weights)))
        self.target.refuse(Z, self._checked(batch))
