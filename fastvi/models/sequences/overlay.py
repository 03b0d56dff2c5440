"""Likelihoods of rows, changed where kernels do not know better."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import Array
from fastvi.models.sequences.stream import Stream

__all__ = ["Emissions", "Joined", "Overlaid"]


class Emissions(Protocol):
    """Log likelihoods of rows in each state, for the rows of a stream."""

    def write(self, group: int, out: Array, *, logs: bool) -> float:
        """Write likelihoods relative to the largest, or their logs, (Q, K, W).

        Returns the sum of the logs of the largest, over rows that count.
        """

    def logs(self) -> Array:
        """Return log likelihoods of all rows, (n, K); 0 for missing ones."""


class _Changed:
    """Emissions that differ from others at some rows; see `Emissions`."""

    def __init__(self, others: Emissions, stream: Stream, rows: NDArray[np.int64]) -> None:
        self._others, self._stream, self._rows = others, stream, rows
        self._group, self._strip, self._column = stream.places(rows)

    def _of(self, group: int) -> tuple[NDArray[np.intp], Array, Array]:
        """Which of these rows are in a group, and their strips and columns."""
        here = np.flatnonzero(self._group == group)
        return here, self._strip[here], self._column[here]


class Overlaid(_Changed):
    """Rows that the others take as missing have log likelihoods of their own, (n, K)."""

    def __init__(
        self, others: Emissions, stream: Stream, rows: NDArray[np.int64], logs: Array
    ) -> None:
        super().__init__(others, stream, rows)
        self._logs = logs
        self._top = np.maximum(logs.max(axis=1), -1e300)
        self._relative = logs - self._top[:, None]

    def write(self, group: int, out: Array, *, logs: bool) -> float:
        """Write likelihoods, or their logs."""
        total = self._others.write(group, out, logs=logs)
        here, strip, column = self._of(group)
        relative = self._relative[here]
        out[strip, :, column] = relative if logs else np.exp(relative)
        return total + float(self._top[here][self._stream.inside[self._rows[here]]].sum())

    def logs(self) -> Array:
        """Return logs, (n, K)."""
        found = self._others.logs()
        found[self._rows] = self._logs
        return found


class Joined(_Changed):
    """First rows of parts of sequences begin elsewhere than those of whole ones.

    Their likelihoods are multiplied by weights of states, so that the chain's own are 1.
    """

    def __init__(self, others: Emissions, stream: Stream, start: Array, middle: Array) -> None:
        first = np.concatenate((np.setdiff1d(stream.first, stream.joining), stream.joining))
        super().__init__(others, stream, first)
        whole = len(first) - len(stream.joining)
        self._weights = np.vstack(
            (np.tile(start, (whole, 1)), np.tile(middle, (len(first) - whole, 1)))
        )
        with np.errstate(divide="ignore"):
            self._log_weights = np.log(self._weights)

    def write(self, group: int, out: Array, *, logs: bool) -> float:
        """Write likelihoods, or their logs."""
        total = self._others.write(group, out, logs=logs)
        here, strip, column = self._of(group)
        old = out[strip, :, column]
        out[strip, :, column] = old + self._log_weights[here] if logs else old * self._weights[here]
        return total

    def logs(self) -> Array:
        """Return logs, (n, K)."""
        found = self._others.logs()
        found[self._rows] += self._log_weights
        return found
