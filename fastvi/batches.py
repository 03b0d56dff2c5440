"""Which rows a step sees, and with which weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from fastvi.core import Batch

__all__ = ["Batches", "Everything", "ShuffledEpochs", "Source"]


class Source(Protocol):
    """Data in memory that hands out rows."""

    n_rows: int

    def all(self) -> Any:
        """Every row, in order."""
        ...

    def take(self, rows: Any) -> Any:
        """The rows with these numbers."""
        ...


class Batches(Protocol):
    """A plan of batches that can be entered anywhere, so that a fit can be resumed."""

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """The batches of epoch `number` but the first `skip`; the same for the same arguments."""
        ...


class Everything:
    """One batch of all rows an epoch."""

    def __init__(self, source: Source) -> None:
        self._batch = Batch(source.all(), np.ones(source.n_rows))

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """The one batch, or none if it is skipped."""
        if skip == 0:
            yield self._batch


class ShuffledEpochs(NamedTuple):
    """Uniform mini-batches without replacement, in a new order each epoch.

    The order of epoch e is drawn from (seed, e). Batches are of equal size to within one, at most
    `batch_size`: a small one at the end would weigh as much as the others and say little.
    """

    source: Source
    batch_size: int
    seed: int

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Mini-batches of one epoch; each row weighs n_rows / rows in its batch."""
        n_rows = self.source.n_rows
        order = np.random.default_rng([self.seed, number]).permutation(n_rows)
        n_batches = -(-n_rows // self.batch_size)
        bounds = np.arange(n_batches + 1) * n_rows // max(n_batches, 1)
        for i in range(skip, n_batches):
            rows = order[bounds[i] : bounds[i + 1]]
            yield Batch(self.source.take(rows), np.full(len(rows), n_rows / len(rows)))
