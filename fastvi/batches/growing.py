"""Batches whose size adapts to the noise of the gradient."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastvi.base.typing import AnyArray, Info
from fastvi.batches.base import Batches, Source
from fastvi.core import Batch

__all__ = ["AdaptiveSize"]


class AdaptiveSize(Batches):
    """Shuffled epochs whose batches grow or shrink with the noise of the gradient.

    Let V be the trace of one row's covariance and G the squared norm of the gradient, both as
    running means. The next batch has about V / (theta^2 G) rows, so that the noise stays below
    `theta` times the signal (De et al. 2017, eq. 5). With ``theta=None`` the size is coupled to the
    learning rate rho: 2 rho / (2 - rho) V / G maximises the expected gain per row (Balles et al.
    2017, eq. 9, with Lipschitz constant 1 for the natural gradient).

    Parameters
    ----------
    source : Source
    batch_size : int
        Size of the first batch, and the smallest size.
    seed : int
    theta : float, optional
    largest : int, optional
        Largest size, an eighth of all rows by default. Only the last batch of an epoch may be
        larger, if fewer than `batch_size` rows would remain.
    memory : float
        Share of the running means that is kept at each step.

    Raises
    ------
    ValueError
        If `theta` is not above 0.
    """

    wants_noise = True
    wants_squared_norm = True

    def __init__(
        self,
        source: Source,
        batch_size: int,
        seed: int,
        *,
        theta: float | None = None,
        largest: int | None = None,
        memory: float = 0.8,
    ) -> None:
        if theta is not None and not theta > 0:
            raise ValueError(f"theta is {theta}; wanted a number > 0, or None")
        self.source, self.seed, self.theta, self.memory = source, seed, theta, memory
        self.least = min(batch_size, source.n_rows)
        self.largest = max(largest or source.n_rows // 8, self.least)
        # size of the next batch, running means of V and G, their weight, rows of this epoch used
        self._state = np.array([self.least, 0.0, 0.0, 0.0, 0.0])

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Yield batches without replacement until all rows are used; sizes adapt along the way."""
        n_rows = self.source.n_rows
        order = np.random.default_rng([self.seed, number]).permutation(n_rows)
        if skip == 0:
            self._state[4] = 0
        while (used := int(self._state[4])) < n_rows:
            stop = used + int(self._state[0])
            if n_rows - stop < self.least:  # no small batch at the end
                stop = n_rows
            self._state[4] = stop
            rows = order[used:stop]
            yield Batch(self.source.take(rows), np.full(len(rows), n_rows / len(rows)))

    def observe(self, batch: Batch, info: Info) -> None:
        """Set the size of the next batch."""
        n, noise, rate = len(batch.weights), info["noise"], info["rate"]
        if not np.isfinite(noise):
            return
        keep, news = self.memory, 1 - self.memory
        self._state[1:4] *= keep
        self._state[1:4] += news * np.array([n * noise, info["squared_norm"] - noise, 1.0])
        variance, signal = self._state[1:3] / self._state[3]
        factor = 2 * rate / (2 - rate) if self.theta is None else self.theta**-2
        wanted = factor * variance / signal if signal > 0 else np.inf
        self._state[0] = int(np.clip(wanted, self.least, self.largest))

    def save(self) -> dict[str, AnyArray]:
        """Return the size, the running means and the position."""
        return {"size": self._state.copy()}

    def restore(self, arrays: dict[str, AnyArray]) -> None:
        """Restore what `save` returned."""
        self._state = arrays["size"].copy()
