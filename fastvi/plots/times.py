"""Pictures of functions of time."""

from __future__ import annotations

import os
from typing import Protocol

import numpy as np

from fastvi.base.typing import AnyArray, Array, ArrayLike, Path
from fastvi.plots.figures import blank, check_ending, save

__all__ = ["plot_times"]

N_POINTS = 600  # of a curve
BEYOND = 0.15  # of the range of times, that is shown after them


class Forecaster(Protocol):
    """A fitted regression on times."""

    def predict(self, X: AnyArray) -> Array:
        """Means of targets, (n,)."""
        ...

    def predict_interval(self, X: AnyArray, coverage: float = 0.95) -> tuple[Array, Array]:
        """Lower and upper ends, (n,) each."""
        ...


def plot_times(
    model: Forecaster,
    X: ArrayLike,
    y: ArrayLike,
    path: Path,
    *,
    until: float | None = None,
    coverage: float = 0.95,
) -> None:
    """Plot targets, their predicted mean, and the interval that they fall into.

    Parameters
    ----------
    model : TemporalGPRegressor
        Fitted.
    X : (n_rows,) or (n_rows, 1) array
        Times.
    y : (n_rows,) array
        Targets; NaN is not drawn.
    path : path
        Its extension sets the format: .png, .svg or .pdf.
    until : float, optional
        Time to which predictions go on; by default a little beyond the last one.
    coverage : float, default=0.95
        Probability of the interval.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> import fastvi
    >>> t = np.arange(30.0)
    >>> model = fastvi.TemporalGPRegressor(random_state=0).fit(t, np.sin(t / 3.0))
    >>> path = pathlib.Path(tempfile.mkdtemp(), "times.png")
    >>> fastvi.plots.plot_times(model, t, np.sin(t / 3.0), path, until=35.0)
    >>> path.exists()
    True
    """
    ending = check_ending(path)
    times = np.asarray(X, np.float64).reshape(len(np.asarray(X)), -1)[:, 0]
    first, last = float(times.min()), float(times.max())
    end = last + BEYOND * (last - first) if until is None else max(float(until), last)
    grid = np.linspace(first, end if end > first else first + 1.0, N_POINTS)[:, None]
    mean, (lower, upper) = model.predict(grid), model.predict_interval(grid, coverage)
    figure = blank(10, 4)
    axis = figure.subplots()
    label = f"{100 * coverage:g} % interval"
    axis.fill_between(grid[:, 0], lower, upper, color="C0", alpha=0.2, linewidth=0, label=label)
    axis.plot(grid[:, 0], mean, color="C0", label="mean")
    axis.scatter(times, np.asarray(y, np.float64), 6, color="black", zorder=3, label="targets")
    if end > last:
        axis.axvline(last, color="black", linestyle=":", linewidth=0.8)
    axis.set(xlabel="time", ylabel="target", xlim=(grid[0, 0], grid[-1, 0]))
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    save(figure, os.fspath(path), ending)
