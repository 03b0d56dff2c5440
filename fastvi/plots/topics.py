"""Pictures of topics."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fastvi.base.typing import AnyArray, Array, Path
from fastvi.models.topics.fitted import TopicModel
from fastvi.plots.figures import blank, check_ending, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

__all__ = ["plot_topic_graph", "plot_topics"]

MAX_TOPICS = 30


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

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> import fastvi
    >>> X = np.array([[5, 4, 0, 0], [4, 5, 0, 1], [0, 0, 5, 4], [0, 1, 4, 5]])
    >>> lda = fastvi.LatentDirichletAllocation(2, random_state=0).fit(X)
    >>> path = pathlib.Path(tempfile.mkdtemp(), "topics.png")
    >>> fastvi.plots.plot_topics(lda.topic_model(), path, n_words=2)
    >>> path.exists()
    True
    """
    ending = check_ending(path)
    model = topics.topic_model()
    shares = model.topic_shares
    shown = np.argsort(-shares, kind="stable")[:MAX_TOPICS]
    words = model.top_words(n_words)
    has_score = "held_out" in model.history
    n_columns = 5
    n_rows = -(-len(shown) // n_columns)
    figure = blank(13, 2.1 * n_rows + (3.2 if has_score else 0))
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
    save(figure, os.fspath(path), ending)


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

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> import fastvi
    >>> X = np.random.default_rng(0).poisson(1.0, (30, 8))
    >>> model = fastvi.CorrelatedTopicModel(3, max_iter=3, tol=1.0, random_state=0).fit(X)
    >>> path = pathlib.Path(tempfile.mkdtemp(), "graph.png")
    >>> fastvi.plots.plot_topic_graph(model, path)
    >>> path.exists()
    True
    """
    ending = check_ending(path)
    model, correlation = topics.topic_model(), topics.correlation_
    angles = around(correlation)
    x, y = np.cos(angles), np.sin(angles)
    figure = blank(11, 9)
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
    save(figure, os.fspath(path), ending)


def around(correlation: AnyArray) -> Array:
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
