"""Pictures of predictions and of groups, for reports."""

from __future__ import annotations

import numpy as np

from fastvi.base.typing import AnyArray, Array
from fastvi.plots.figures import blank, check_ending, save

__all__ = ["plot_groups", "plot_predicted"]

MARKS = "o^sDvPX*<>"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def plot_predicted(y: Array, mean: Array, lower: Array, upper: Array, path: str) -> None:
    """Draw observed against predicted values (n,), with intervals."""
    ending = check_ending(path)
    figure = blank(6.0, 4.5)
    axis = figure.subplots()
    ends = min(y.min(), lower.min()), max(y.max(), upper.max())
    axis.plot(ends, ends, "--", color="0.4")
    axis.vlines(mean, lower, upper, color="0.75", linewidth=1.0)
    axis.plot(mean, y, "o", color=COLOURS[0], markersize=4)
    axis.set(xlabel="predicted, with 90 % intervals", ylabel="observed")
    save(figure, path, ending)


def plot_groups(X: Array, labels: AnyArray, weights: Array, path: str) -> None:
    """Draw rows (n, D) on their first two principal axes, and the weights of all groups.

    Groups have marks as well as colours, so that they can be told apart in black and white.
    """
    ending = check_ending(path)
    figure = blank(9.0, 4.0)
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    centred = X - X.mean(axis=0)
    if X.shape[1] > 1:
        axes = np.linalg.svd(centred, full_matrices=False)[2][:2]
        places = centred @ axes.T
        left.set(xlabel="first principal axis", ylabel="second principal axis")
    else:
        places = np.column_stack((X[:, 0], np.arange(len(X))))
        left.set(xlabel="value", ylabel="row")
    order = np.argsort(-weights, kind="stable")
    for rank, k in enumerate(order):
        rows = labels == k
        if rows.any():
            left.plot(
                *places[rows].T, MARKS[rank % len(MARKS)], markersize=4, alpha=0.8,
                color=COLOURS[rank % len(COLOURS)], label=f"{rank + 1}", linestyle="none",
            )  # fmt: skip
    left.legend(
        title="group", fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0),
        ncols=1 + (len(order) > 12),
    )  # fmt: skip
    right.bar(np.arange(1, len(weights) + 1), weights[order], color="0.4")
    right.set(xlabel="group", ylabel="weight")
    save(figure, path, ending)
