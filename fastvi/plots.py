"""Pictures of fitted models; needs matplotlib, an extra."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np

from fastvi._archive import replacing
from fastvi.models._topic_model import TopicModel

__all__ = ["check_ending", "plot_topics", "require_matplotlib"]

MAX_TOPICS = 30


def require_matplotlib() -> Any:
    """Import matplotlib.

    Raises
    ------
    ImportError
        If it is not installed; says how to get it.
    """
    try:
        import matplotlib
    except ImportError:
        raise ImportError(
            "plots need matplotlib, which is not installed: pip install 'fastvi[plot]'"
        ) from None
    return matplotlib


def check_ending(path: str | os.PathLike[str]) -> str:
    """The format that a file's name asks for, png where it has no ending.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If it cannot draw that format.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    name = os.fspath(path)
    ending = os.path.splitext(name)[1].lstrip(".").lower() or "png"
    if ending not in FigureCanvasAgg.get_supported_filetypes():
        raise ValueError(f"--plot {name}: cannot draw .{ending}; wanted .png, .svg or .pdf")
    return ending


def plot_topics(model: TopicModel, path: str | os.PathLike[str], n_words: int = 8) -> None:
    """Draw the top words of each topic, and the held-out score over time where there is one.

    Parameters
    ----------
    model : TopicModel
        At most its 30 largest topics are drawn.
    path : path
        Its ending names the format: .png, .svg or .pdf.
    n_words : int
        Words a topic.
    """
    ending = check_ending(path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shares = model.topic_shares
    shown = np.argsort(-shares, kind="stable")[:MAX_TOPICS]
    words = model.top_words(n_words)
    has_score = "held_out" in model.history
    n_columns = 5
    n_rows = -(-len(shown) // n_columns)
    figure = Figure(figsize=(13, 2.1 * n_rows + (3.2 if has_score else 0)), layout="constrained")
    FigureCanvasAgg(figure)
    parts: list[Any] = [figure]
    if has_score:
        rows: Any = figure.subfigures(2, 1, height_ratios=[2.1 * n_rows, 3.2])
        parts = list(rows)
        _draw_score(parts[1].subplots(), model)
    axes = parts[0].subplots(n_rows, n_columns, squeeze=False).ravel()
    for axis in axes[len(shown) :]:
        axis.set_axis_off()
    for axis, k in zip(axes, shown):
        _draw_topic(axis, f"topic {k} ({100 * shares[k]:.1f} %)", words[k])
    _save(figure, os.fspath(path), ending)


def _draw_topic(axis: Any, title: str, words: list[tuple[str, float]]) -> None:
    labels = [word[:18] for word, _ in words]
    axis.barh(range(len(words)), [weight for _, weight in words], color="#4878a8")
    axis.set_yticks(range(len(words)), labels, fontsize=8, parse_math=False)
    axis.invert_yaxis()
    axis.tick_params(axis="x", labelsize=7)
    axis.set_title(title, fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)


def _draw_score(axis: Any, model: TopicModel) -> None:
    seconds, score = model.history["seconds"], model.history["held_out"]
    seen = np.isfinite(score)
    axis.plot(seconds[seen], score[seen], marker="o", markersize=3, color="#b04a4a")
    axis.set_xlabel("seconds of fitting")
    axis.set_ylabel("held-out log-likelihood\n(nats a word)")
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)


def _save(figure: Any, name: str, ending: str) -> None:
    """Write beside the file and rename, so that no half of a picture is left."""
    with replacing(name) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # drawn as a box
        figure.savefig(temporary, format=ending, dpi=120)
