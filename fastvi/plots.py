"""Plots of fitted models; requires matplotlib (the extra `plot`)."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fastvi.base.archive import replacing
from fastvi.base.typing import AnyArray, Array, ArrayLike, Path
from fastvi.models.topics.fitted import TopicModel

if TYPE_CHECKING:
    from types import ModuleType

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase

__all__ = ["plot_history", "plot_topic_graph", "plot_topics"]

MAX_TOPICS = 30
PANELS = {  # columns of a history, and how to draw them
    "elbo": ("ELBO (nats)", "linear"),
    "local_elbo": ("ELBO of batches (nats)", "linear"),
    "held_out": ("held-out log-likelihood\n(nats per word)", "linear"),
    "rate": ("rate", "log"),
    "batch_size": ("rows in a batch", "linear"),
    "noise": ("noise of the gradient\n(trace of its covariance)", "log"),
}


def require_matplotlib() -> ModuleType:
    """Import matplotlib.

    Raises
    ------
    ImportError
        If it is not installed; the message says how to install it.
    """
    try:
        import matplotlib
    except ImportError:
        raise ImportError(
            "plots need matplotlib, which is not installed: pip install 'fastvi[plot]'"
        ) from None
    return matplotlib


def check_ending(path: Path) -> str:
    """Return the format that a file name's extension asks for, or png without one.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If matplotlib does not support that format.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    name = os.fspath(path)
    ending = os.path.splitext(name)[1].lstrip(".").lower() or "png"
    if ending not in FigureCanvasAgg.get_supported_filetypes():
        raise ValueError(f"{name}: cannot draw .{ending}; wanted .png, .svg or .pdf")
    return ending


class Topics(Protocol):
    """A fitted estimator of topics, or a topic model."""

    def topic_model(self) -> TopicModel:
        """What is to be drawn."""
        ...


def plot_topics(topics: Topics, path: Path, n_words: int = 8) -> None:
    """Plot the top words of each topic, and the held-out score over time if there is one.

    Bars are probabilities of words in the topic, on the same scale in all panels.

    Parameters
    ----------
    topics : LatentDirichletAllocation or TopicModel
        Fitted. At most its 30 largest topics are shown.
    path : path
        Its extension sets the format: .png, .svg or .pdf.
    n_words : int
        Words per topic.
    """
    ending = check_ending(path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    model = topics.topic_model()
    shares = model.topic_shares
    shown = np.argsort(-shares, kind="stable")[:MAX_TOPICS]
    words = model.top_words(n_words)
    has_score = "held_out" in model.history
    n_columns = 5
    n_rows = -(-len(shown) // n_columns)
    figure = Figure(figsize=(13, 2.1 * n_rows + (3.2 if has_score else 0)), layout="constrained")
    FigureCanvasAgg(figure)
    parts: list[FigureBase] = [figure]
    if has_score:
        rows: Any = figure.subfigures(2, 1, height_ratios=[2.1 * n_rows, 3.2])
        parts = list(rows)
        _draw_score(parts[1].subplots(), model)
    parts[0].suptitle(_title(model, len(shown)), fontsize=12)
    axes = parts[0].subplots(n_rows, n_columns, squeeze=False, sharex=True).ravel()
    for axis in axes[len(shown) :]:
        axis.set_axis_off()
    for axis in axes[max(len(shown) - n_columns, 0) : len(shown)]:
        axis.tick_params(labelbottom=True)  # the lowest of each column
    for axis, k in zip(axes, shown):
        _draw_topic(axis, f"topic {k} ({100 * shares[k]:.1f} %)", words[k])
    _save(figure, os.fspath(path), ending)


class Correlated(Topics, Protocol):
    """A fitted estimator of correlated topics."""

    correlation_: AnyArray


def plot_topic_graph(
    topics: Correlated, path: Path, *, least: float = 0.2, n_words: int = 3
) -> None:
    """Draw correlated topics as a graph: lines join topics that occur together or avoid each other.

    Topics lie on a circle, neighbours where they are correlated; the larger the dot, the larger the
    topic's share. Blue lines are positive correlations, dashed red ones negative.

    Parameters
    ----------
    topics : CorrelatedTopicModel
        Fitted.
    path : path
        Its extension sets the format: .png, .svg or .pdf.
    least : float
        Size of the smallest correlation that is drawn.
    n_words : int
        Words per topic.
    """
    ending = check_ending(path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    model, correlation = topics.topic_model(), topics.correlation_
    angles = _around(correlation)
    x, y = np.cos(angles), np.sin(angles)
    figure = Figure(figsize=(11, 9), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    pairs = np.argwhere(np.triu(np.abs(correlation) >= least, 1))
    for i, j in pairs:
        value = correlation[i, j]
        color, style = ("#4878a8", "-") if value > 0 else ("#b04a4a", "--")
        width = 6 * abs(value)
        axis.plot(x[[i, j]], y[[i, j]], style, color=color, alpha=0.6, linewidth=width, zorder=1)
    axis.scatter(x, y, 3000 * model.topic_shares, color="#d8b365", edgecolor="white", zorder=2)
    for k, words in enumerate(model.top_words(n_words)):
        label = f"{k}: " + ", ".join(word[:18] for word, _ in words)
        side = "left" if x[k] >= 0 else "right"
        axis.text(
            1.08 * x[k], 1.08 * y[k], label, fontsize=8, ha=side, va="center", parse_math=False
        )
    axis.set_title(f"{model.n_topics} topics, {len(pairs)} correlations of at least {least:g}")
    axis.set(xlim=(-1.9, 1.9), ylim=(-1.25, 1.25))
    axis.set_axis_off()
    _save(figure, os.fspath(path), ending)


def _around(correlation: AnyArray) -> Array:
    """Return angles of topics on a circle: each next one is the most correlated of the rest."""
    rest = list(range(len(correlation)))
    order = [rest.pop(int(np.argmax(np.abs(correlation).sum(axis=0))))]
    while rest:
        order.append(rest.pop(int(np.argmax(correlation[order[-1], rest]))))
    angles = np.empty(len(order))
    angles[order] = np.linspace(0, 2 * np.pi, len(order), endpoint=False)
    return angles


def _title(model: TopicModel, n_shown: int) -> str:
    """Return what was fitted to how much, and how well."""
    parts = [f"{model.n_topics} topics"]
    if n_shown < model.n_topics:
        parts[0] += f" (the {n_shown} largest are shown)"
    if model.info.get("n_documents"):
        parts.append(f"{model.info['n_documents']:,} documents")
    scores = model.history.get("held_out", np.empty(0))
    scores = scores[np.isfinite(scores)]
    if len(scores):
        parts.append(f"held-out perplexity {np.exp(-scores[-1]):,.0f}")
    return ", ".join(parts)


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
    """
    ending = check_ending(path)
    several = _by_name(history)
    right = {name: _to_the_right(columns, against, name) for name, columns in several.items()}
    panels = [name for name in PANELS if any(_is_drawn(c.get(name)) for c in several.values())]
    if not panels:
        raise ValueError(
            f"nothing to draw: history has none of {', '.join(PANELS)} with a finite number in it"
        )
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    n_columns = min(len(panels), 3)
    n_rows = -(-len(panels) // n_columns)
    figure = Figure(figsize=(4.4 * n_columns, 3.2 * n_rows), layout="constrained")
    FigureCanvasAgg(figure)
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
    _save(figure, os.fspath(path), ending)


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


def _draw_topic(axis: Axes, title: str, words: list[tuple[str, float]]) -> None:
    labels = [word[:18] for word, _ in words]
    axis.barh(range(len(words)), [weight for _, weight in words], color="#4878a8")
    axis.set_yticks(range(len(words)), labels, fontsize=8, parse_math=False)
    axis.invert_yaxis()
    axis.tick_params(axis="x", labelsize=7)
    axis.set_title(title, fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)


def _draw_score(axis: Axes, model: TopicModel) -> None:
    seconds, score = model.history["seconds"], model.history["held_out"]
    seen = np.isfinite(score)
    axis.plot(seconds[seen], score[seen], marker="o", markersize=3, color="#b04a4a")
    axis.set_xlabel("seconds of fitting")
    axis.set_ylabel("held-out log-likelihood\n(nats per word)")
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)


def _save(figure: Figure, name: str, ending: str) -> None:
    """Write a temporary file and rename it, so that no partial picture is left."""
    with replacing(name) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # drawn as a box
        figure.savefig(temporary, format=ending, dpi=120)
