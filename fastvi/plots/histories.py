"""Pictures of how fits went."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fastvi.base.typing import AnyArray, Array, ArrayLike, Path
from fastvi.plots.figures import blank, check_ending, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_history"]

PANELS = {  # columns of a history, and how to draw them
    "elbo": ("ELBO (nats)", "linear"),
    "local_elbo": ("ELBO of batches (nats)", "linear"),
    "held_out": ("held-out log-likelihood\n(nats per word)", "linear"),
    "rate": ("rate", "log"),
    "batch_size": ("rows in a batch", "linear"),
    "noise": ("noise of the gradient\n(trace of its covariance)", "log"),
}


def plot_history(history: Mapping[str, Any], path: Path, *, against: str = "seconds") -> None:
    """Plot the history of one fit, or of several on the same axes.

    There is one panel each for the ELBO (or that of batches), the held-out score, the rate, the
    batch size and the noise of the gradient, if any fit recorded it. Columns of 100 or more steps
    that fluctuate are drawn faintly under their running mean.

    Parameters
    ----------
    history : mapping of str to array, or of str to such mappings
        An estimator's `history_`, or a mapping from names to several of them; empty ones are left
        out.
    path : path
        Its extension sets the format: .png, .svg or .pdf. The file is replaced atomically.
    against : {"seconds", "step", "epoch"}
        The horizontal axis: time spent in steps, the number of the step, or passes over the rows.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError
        If `history` is not a mapping, for example an estimator.
    ValueError
        If there is nothing to plot, columns of a history differ in length, or the format or
        `against` is unknown.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> import fastvi
    >>> X = np.random.default_rng(0).normal(size=(60, 2))
    >>> model = fastvi.BayesianPCA(1).fit(X)
    >>> path = pathlib.Path(tempfile.mkdtemp(), "history.png")
    >>> fastvi.plots.plot_history(model.history_, path)
    >>> path.exists()
    True
    """
    ending = check_ending(path)
    several = _by_name(history)
    right = {name: _to_the_right(columns, against, name) for name, columns in several.items()}
    panels = [name for name in PANELS if any(_is_drawn(c.get(name)) for c in several.values())]
    if not panels:
        raise ValueError(
            f"nothing to draw: history has none of {', '.join(PANELS)} with a finite number in it"
        )
    n_columns = min(len(panels), 3)
    n_rows = -(-len(panels) // n_columns)
    figure = blank(4.4 * n_columns, 3.2 * n_rows)
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    for axis, panel in zip(axes, panels):
        for i, (name, columns) in enumerate(several.items()):
            if panel in columns:
                _draw_column(axis, right[name], columns[panel], panel, f"C{i % 10}")
        axis.set_xlabel(f"{against} of fitting" if against == "seconds" else against)
    if len(several) > 1:
        _legend(figure, list(several))
    save(figure, os.fspath(path), ending)


def _by_name(history: Mapping[str, Any]) -> dict[str, dict[str, Array]]:
    """Return histories by name, with columns of equal length; those without steps are left out."""
    if not isinstance(history, Mapping):
        hint = "; its history_ is one" if hasattr(history, "history_") else ""
        raise TypeError(
            f"history is of type {type(history).__name__}; wanted a mapping of names to columns"
            + hint
        )
    is_one = not any(isinstance(value, Mapping) for value in history.values())
    several = {"": history} if is_one else dict(history)
    found = {}
    for name, columns in several.items():
        if not isinstance(columns, Mapping):
            raise ValueError(f"history[{name!r}] is not a mapping of names to columns")
        arrays = {key: _column(key, column) for key, column in columns.items()}
        if len({array.shape for array in arrays.values()}) > 1:
            sizes = {key: array.shape for key, array in arrays.items()}
            raise ValueError(f"columns of history {name} differ in length: {sizes}")
        if any(array.size for array in arrays.values()):
            found[name] = arrays
    if not found:
        raise ValueError("nothing to draw: history has no steps")
    return found


def _column(name: str, values: ArrayLike) -> Array:
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        array = np.empty(())
    if array.ndim != 1:
        raise ValueError(
            f"history[{name!r}] is of type {type(values).__name__}; wanted a column of numbers, "
            "or a history"
        )
    return array


def _to_the_right(columns: dict[str, Array], against: str, name: str) -> AnyArray:
    if against == "step":
        return np.arange(1, len(next(iter(columns.values()), ())) + 1)
    if against not in ("seconds", "epoch"):
        raise ValueError(f"against is {against!r}; wanted 'seconds', 'step' or 'epoch'")
    if against not in columns:
        raise ValueError(f"history {name} has no column {against!r}".replace("  ", " "))
    if against == "seconds":
        return columns["seconds"]
    epoch = columns["epoch"]  # the number of the pass, spread over its steps
    _, first, sizes = np.unique(epoch, return_index=True, return_counts=True)
    place = np.arange(len(epoch)) - np.repeat(first, sizes)
    return epoch + (place + 1) / np.repeat(sizes, sizes)


def _is_drawn(column: Array | None) -> bool:
    return column is not None and bool(np.isfinite(column).any())


def _legend(figure: Figure, names: list[str]) -> None:
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], color=f"C{i % 10}") for i in range(len(names))]
    plain = [name.replace("$", r"\$") for name in names]
    figure.legend(lines, plain, loc="outside upper center", ncols=min(len(names), 4))


def _draw_column(axis: Axes, x: AnyArray, y: Array, panel: str, color: str) -> None:
    label, scale = PANELS[panel]
    seen = np.isfinite(y) & ((y > 0) if scale == "log" else True)
    x, y = x[seen], y[seen]
    if _is_noisy(y):
        axis.plot(x, y, linewidth=0.6, alpha=0.25, color=color)
        y = _running_mean(y, len(y) // 50)
    marker = "o" if len(y) < 60 else None
    axis.plot(x, y, marker=marker, markersize=3, linewidth=1.2, color=color)
    if seen.any():
        axis.set_yscale(scale)
    axis.set_ylabel(label)
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)


def _is_noisy(y: Array) -> bool:
    """Whether at least a fifth of many steps goes up, and a fifth down."""
    change = np.diff(y)
    return len(y) >= 100 and bool(min(np.mean(change > 0), np.mean(change < 0)) >= 0.2)


def _running_mean(y: Array, reach: int) -> Array:
    """Means over up to `reach` values before and after each."""
    sums = np.concatenate(([0.0], np.cumsum(y - y[0])))
    place = np.arange(len(y))
    first, last = np.maximum(place - reach, 0), np.minimum(place + reach + 1, len(y))
    return np.asarray(y[0] + (sums[last] - sums[first]) / (last - first))
