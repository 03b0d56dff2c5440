"""Pictures of linear systems: states that were hidden, and rows to come."""

from __future__ import annotations

import os
from typing import Any, Protocol

import numpy as np

from fastvi.base.typing import AnyArray, Array, ArrayLike, Path, RowsLike
from fastvi.plots.figures import blank, check_ending, save
from fastvi.plots.states import MAX_FEATURES, borders

__all__ = ["plot_forecast", "plot_trajectories"]

PAST = 4  # rows before a forecast are drawn, by default so many times its steps


class System(Protocol):
    """A fitted linear system."""

    def smooth(self, X: RowsLike, lengths: ArrayLike | None = None) -> Any:
        """Means (n, K) and covariances (n, K, K) of states."""
        ...

    def forecast(self, steps: int, *, level: float = 0.95) -> Any:
        """Means and intervals of rows to come."""
        ...


def plot_trajectories(
    model: System, X: RowsLike, path: Path, *, lengths: ArrayLike | None = None, **known: Any
) -> None:
    """Plot the means of smoothed states with two standard deviations, a panel for each.

    Parameters
    ----------
    model : LinearGaussianSSM or SwitchingSSM
        Fitted.
    X : (n_rows, n_features) array
    path : path
        Its extension sets the format: .png, .svg or .pdf.
    lengths : (n_sequences,) array of int, optional
        Numbers of rows of the sequences, which dotted lines set apart.
    **known
        Further arguments of `smooth`: `inputs`, if the model was fitted with some.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> import fastvi
    >>> rng = np.random.default_rng(0)
    >>> X = np.sin(np.arange(60.0) / 4.0)[:, None] + 0.1 * rng.normal(size=(60, 1))
    >>> model = fastvi.LinearGaussianSSM(2, random_state=0, max_iter=20, tol=0.01).fit(X)
    >>> path = pathlib.Path(tempfile.mkdtemp(), "states.png")
    >>> fastvi.plots.plot_trajectories(model, X, path)
    >>> path.exists()
    True
    """
    ending = check_ending(path)
    means, covariances = model.smooth(X, lengths, **known)
    half, steps = 2.0 * np.sqrt(np.diagonal(covariances, axis1=1, axis2=2)), np.arange(len(means))
    figure = blank(11, 1.8 * means.shape[1] + 0.8)
    axes = figure.subplots(means.shape[1], 1, sharex=True, squeeze=False).ravel()
    starts = borders(lengths)
    for k, axis in enumerate(axes):
        for own in np.split(steps, starts):
            low, high = means[own, k] - half[own, k], means[own, k] + half[own, k]
            axis.fill_between(own, low, high, color=f"C{k % 10}", alpha=0.2, linewidth=0)
            axis.plot(own, means[own, k], color=f"C{k % 10}")
        for start in starts:
            axis.axvline(start - 0.5, color="black", linestyle=":", linewidth=0.8)
        axis.set_ylabel(f"state {k}")
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set(xlabel="row", xlim=(0, max(len(means) - 1, 1)))
    axes[0].set_title("smoothed states, mean and two standard deviations")
    save(figure, os.fspath(path), ending)


def plot_forecast(
    model: System,
    X: RowsLike,
    path: Path,
    *,
    steps: int = 20,
    level: float = 0.95,
    past: int | None = None,
    **known: Any,
) -> None:
    """Plot the end of a sequence, and the rows that are expected to follow, with intervals.

    Parameters
    ----------
    model : LinearGaussianSSM or SwitchingSSM
        Fitted.
    X : (n_rows, n_features) array
        The last sequence of the fit, for which forecasts are made; at most the first four features
        are drawn, and NaN is not.
    path : path
        Its extension sets the format: .png, .svg or .pdf.
    steps : int, default=20
        Number of rows to come.
    level : float, default=0.95
        Probability of the intervals.
    past : int, optional
        Number of rows of X to draw; by default four for each to come.
    **known
        Further arguments of `forecast`, such as `inputs`.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> import fastvi
    >>> rng = np.random.default_rng(0)
    >>> X = np.sin(np.arange(60.0) / 4.0)[:, None] + 0.1 * rng.normal(size=(60, 1))
    >>> model = fastvi.LinearGaussianSSM(2, random_state=0, max_iter=20, tol=0.01).fit(X)
    >>> path = pathlib.Path(tempfile.mkdtemp(), "forecast.png")
    >>> fastvi.plots.plot_forecast(model, X, path, steps=10)
    >>> path.exists()
    True
    """
    ending = check_ending(path)
    found, rows = model.forecast(steps, level=level, **known), np.asarray(X, np.float64)
    begin = max(len(rows) - (PAST * steps if past is None else past), 0)
    before, ahead = np.arange(begin, len(rows)), np.arange(len(rows), len(rows) + steps)
    shown = min(rows.shape[1], MAX_FEATURES)
    figure = blank(10, 2.0 * shown + 0.8)
    axes = figure.subplots(shown, 1, sharex=True, squeeze=False).ravel()
    for d, axis in enumerate(axes):
        _draw(axis, before, rows[begin:, d], ahead, found, d, f"{100 * level:g} % interval")
        axis.set_ylabel(f"feature {d}")
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set(xlabel="row", xlim=(begin, ahead[-1]))
    axes[0].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    save(figure, os.fspath(path), ending)


def _draw(
    axis: Any, before: AnyArray, rows: Array, ahead: AnyArray, found: Any, d: int, label: str
) -> None:
    """One feature: its past, its mean and interval, and where they meet."""
    axis.plot(before, rows, color="black", marker=".", markersize=3, linewidth=0.6, label="rows")
    axis.fill_between(
        ahead, found.lower[:, d], found.upper[:, d], color="C0", alpha=0.2, linewidth=0, label=label
    )
    axis.plot(ahead, found.mean[:, d], color="C0", label="mean")
    axis.axvline(ahead[0] - 0.5, color="black", linestyle=":", linewidth=0.8)
