"""Position and history of a fit: the records that loops keep and callbacks see."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["START", "FitState", "History", "Position"]


class Position(NamedTuple):
    """Position of a fit: the next step is number `step` of epoch `epoch`, both from 0."""

    epoch: int = 0
    step: int = 0


START = Position()


class FitState(NamedTuple):
    """State of a fit as passed to callbacks, after each step and after each pass over the data.

    Attributes
    ----------
    epoch : int
        Number of completed passes.
    step : int
        Number of steps in the current pass; 0 after a completed pass.
    n_steps : int
        Number of steps since the beginning of the fit.
    seconds : float
        Time spent in steps so far.
    values : dict of str to float
        What the last step reported, such as ``"elbo"`` or ``"rate"``, and ``"held_out"`` if that
        was scored since.
    params : tree of arrays
        The parameters found so far. Later steps may write into the arrays, so copy what you keep.
    """

    epoch: int
    step: int
    n_steps: int
    seconds: float
    values: dict[str, float]
    params: Any


class History:
    """Reports of all steps, as columns; `seconds` is the time spent in steps so far."""

    def __init__(self, columns: dict[str, list[float]] | None = None) -> None:
        self.columns: dict[str, list[float]] = {} if columns is None else columns

    def append(self, **values: float) -> None:
        """Add a row; missing entries, and those of new columns, are filled with nan."""
        length = len(self)
        for name in values:
            self.columns.setdefault(name, [np.nan] * length)
        for name, column in self.columns.items():
            column.append(float(values.get(name, np.nan)))

    def extend(self, length: int, **values: ArrayLike) -> None:
        """Add as many rows, of arrays (length,) or of numbers that are the same in all of them."""
        before = len(self)
        for name in values:
            self.columns.setdefault(name, [np.nan] * before)
        for name, column in self.columns.items():
            array = np.broadcast_to(np.asarray(values.get(name, np.nan), np.float64), length)
            column.extend(array.tolist())

    def note(self, name: str, value: float) -> None:
        """Add values to the last row."""
        self.columns.setdefault(name, [np.nan] * len(self))[-1] = float(value)

    def pass_scores(self, n_passes: int | None = None) -> dict[int, float]:
        """Return the held-out scores at the end of each pass, or of the first `n_passes` passes."""
        columns = (self.columns.get(name, []) for name in ("epoch", "held_out"))
        limit = np.inf if n_passes is None else n_passes
        return {int(e): score for e, score in zip(*columns) if e < limit and score == score}

    def best_pass(self, n_passes: int | None = None) -> int:
        """Return the number of the pass with the best held-out score, from 0."""
        scores = self.pass_scores(n_passes)
        return max(scores, key=lambda number: scores[number])

    def last(self) -> dict[str, float]:
        """Return the values of the last row, without missing ones."""
        row = {name: column[-1] for name, column in self.columns.items() if column}
        return {name: value for name, value in row.items() if value == value}

    def __len__(self) -> int:
        return max(map(len, self.columns.values()), default=0)

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """Return the columns as float64 arrays of the same length."""
        return {name: np.array(column) for name, column in self.columns.items()}
