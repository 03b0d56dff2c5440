"""When fits by mini-batches have converged: bounds of the same rows, evaluated at intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastvi.base.typing import Tree
from fastvi.batches import InMemory
from fastvi.core import Batch
from fastvi.history import History, Position

__all__ = ["EVERY", "FEWEST", "PATIENCE", "Settling"]

EVERY = 100  # steps
PATIENCE = 5  # checks
FEWEST = EVERY * (PATIENCE + 1)  # steps after which a fit may have converged
MOST_ROWS = 1024
COLUMN = "check"  # of the history


class Settling:
    """A hook of the loop that stops a fit once the bound of some rows no longer rises.

    Every 100 steps it evaluates the bound on up to 1024 rows, always the same ones: the difference
    between two such values is free of the noise of batches. The fit has converged when none of the
    last five values exceeds the best earlier one by `tol`. The values are in the history, so a
    resumed fit stops where it would have stopped without the interruption.

    Parameters
    ----------
    bound : callable
        ``bound(state, batch)`` is that of a state of the fit on a batch, nats.
    source : InMemory
    tol : float
        Nats per row; 0 means never.
    seed : int
    """

    def __init__(
        self, bound: Callable[[Any, Batch], float], source: InMemory, tol: float, seed: int
    ) -> None:
        n = source.n_rows
        rows = np.random.default_rng([seed, MOST_ROWS]).permutation(n)[:MOST_ROWS]
        self._batch = Batch(source.take(np.sort(rows)), np.full(len(rows), n / len(rows)))
        self._total = float(self._batch.weights @ self._batch.rows.weights)
        self._bound, self._tol = bound, tol

    def __call__(self, state: Tree, position: Position, history: History) -> bool:
        """Evaluate the bound every 100 steps; return whether the fit has converged."""
        if self._tol <= 0 or len(history) % EVERY:
            return False
        history.note(COLUMN, self._bound(state, self._batch) / self._total)
        return self.settled(history)

    def settled(self, history: History) -> bool:
        """Return whether a fit with this history has converged."""
        values = np.array(history.columns.get(COLUMN, []))
        values = values[np.isfinite(values)]
        if self._tol <= 0 or len(values) <= PATIENCE:
            return False
        gain = values[-PATIENCE:].max() - values[:-PATIENCE].max()
        return bool(gain < self._tol)
