"""Batches that see each row once per epoch, or once at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.batches.base import Batches, Source
from fastvi.core import Batch

__all__ = ["Everything", "Passes", "ShuffledEpochs", "Stream"]


class Everything(Batches):
    """One batch of all rows per epoch."""

    def __init__(self, source: Source) -> None:
        self._batch = Batch(source.all(), np.ones(source.n_rows))

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Yield the one batch, unless it is skipped."""
        if skip == 0:
            yield self._batch


class Passes(Batches):
    """One empty batch per epoch, for steps that read all of the data in their own way."""

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Yield a batch without rows (None), unless it is skipped."""
        if skip == 0:
            yield Batch(None, np.empty(0))


class ShuffledEpochs(Batches):
    """Uniform mini-batches without replacement, in a new order each epoch.

    The order of epoch e is drawn from (seed, e). Batch sizes differ by at most one and do not
    exceed `batch_size`: a small last batch would be noisy, but count as much as the others.

    Parameters
    ----------
    source : Source
    batch_size : int
    seed : int
    population_size : float or "batch", optional
        Number of rows that the result represents; by default those of the source. ``"batch"``: each
        batch represents only itself, as in `fastvi.models.streaming`.
    """

    def __init__(
        self, source: Source, batch_size: int, seed: int, population_size: float | str | None = None
    ) -> None:
        self.source, self.batch_size, self.seed = source, batch_size, seed
        self.population_size = source.n_rows if population_size is None else population_size

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Yield the mini-batches of one epoch, with weights population_size / batch size."""
        n_rows = self.source.n_rows
        order = np.random.default_rng([self.seed, number]).permutation(n_rows)
        n_batches = -(-n_rows // self.batch_size)
        bounds = np.arange(n_batches + 1) * n_rows // max(n_batches, 1)
        for i in range(skip, n_batches):
            rows = order[bounds[i] : bounds[i + 1]]
            size = represented(self.population_size, len(rows), n_rows)
            yield Batch(self.source.take(rows), np.full(len(rows), size / len(rows)))


def represented(population_size: float | str, batch: float, seen: float) -> float:
    """Number of rows that a batch stands for: its own, all rows seen so far, or a given number."""
    named = {"batch": batch, "seen": seen}
    return named[population_size] if population_size in named else float(population_size)


class Stream(Batches):
    """Batches from an iterator, read once, of a population whose size may be unknown.

    Parameters
    ----------
    parts : iterable of (rows, weights)
        Rows as the model takes them, and how many rows of the population each counts as, (n,):
        ones, unless the rows have weights of their own.
    population_size : float or {"seen", "batch"}
        Number of rows that the result represents. ``"seen"``: those seen so far, this batch
        included, so that the posterior grows with the stream. ``"batch"``: each batch represents
        only itself, as in `fastvi.models.streaming`.

    Raises
    ------
    ValueError
        If `population_size` is neither a number above 0 nor one of these words.
    """

    def __init__(
        self,
        parts: Iterable[tuple[Any, NDArray[np.float64]]],
        population_size: float | str = "seen",
    ) -> None:
        known = population_size in ("seen", "batch")
        if not known and (isinstance(population_size, str) or not population_size > 0):
            raise ValueError(
                f"population_size is {population_size!r}; wanted a number > 0, 'seen' or 'batch'"
            )
        self.parts = iter(parts)
        self.population_size = population_size
        self.n_seen = 0.0

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Yield the remaining batches of the iterator.

        Raises
        ------
        ValueError
            If a second epoch or a start in the middle is requested.
        """
        if number or skip:
            raise ValueError("a stream is read once, from its beginning; wanted n_epochs=1")
        for rows, weights in self.parts:
            size = float(weights.sum())
            self.n_seen += size
            total = represented(self.population_size, size, self.n_seen)
            yield Batch(rows, np.full(len(weights), total / size))
