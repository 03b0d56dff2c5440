"""Where a fit stands and what has happened: the records that loops keep and callbacks see."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["START", "FitState", "History", "Position"]


class Position(NamedTuple):
    """Where a fit stands: the next step is number `step` of epoch `epoch`, both from 0."""

    epoch: int = 0
    step: int = 0


START = Position()


class FitState(NamedTuple):
    """What a callback sees of a fit, after each step and after each pass over the data.

    Attributes
    ----------
    epoch : int
        Passes completed.
    step : int
        Steps taken in the pass under way; 0 once a pass is completed.
    n_steps : int
        Steps taken since the beginning of the fit.
    seconds : float
        Time spent in steps so far.
    values : dict of str to float
        What the last step reported, such as ``"elbo"`` or ``"rate"``, and ``"held_out"`` if that
        was scored since.
    params : tree of arrays
        The parameters found so far. Later steps may write into the arrays: copy what is to be kept.
    """

    epoch: int
    step: int
    n_steps: int
    seconds: float
    values: dict[str, float]
    params: Any


class History:
    """What each step reported, as columns; `seconds` is the time spent in steps so far."""

    def __init__(self, columns: dict[str, list[float]] | None = None) -> None:
        self.columns: dict[str, list[float]] = {} if columns is None else columns

    def append(self, **values: float) -> None:
        """Add a row; columns that it lacks, or that are new, are filled with nan."""
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
        """Add to the last row what was found out since."""
        self.columns.setdefault(name, [np.nan] * len(self))[-1] = float(value)

    def last(self) -> dict[str, float]:
        """The values of the last row, without those that it lacks."""
        row = {name: column[-1] for name, column in self.columns.items() if column}
        return {name: value for name, value in row.items() if value == value}

    def __len__(self) -> int:
        return max(map(len, self.columns.values()), default=0)

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """The columns as float64 arrays of one length."""
        return {name: np.array(column) for name, column in self.columns.items()}
