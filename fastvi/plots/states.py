"""Pictures of hidden chains."""

from __future__ import annotations

import os
from typing import Protocol

import numpy as np

from fastvi.base.typing import AnyArray, Array, ArrayLike, Path, RowsLike
from fastvi.plots.figures import blank, check_ending, save

__all__ = ["borders", "plot_states"]

MAX_FEATURES = 4


class Chain(Protocol):
    """A fitted hidden Markov model."""

    def predict_proba(self, X: RowsLike, lengths: ArrayLike | None = None) -> Array:
        """Posteriors of states, (n_rows, n_components)."""
        ...


def plot_states(
    model: Chain,
    X: RowsLike,
    path: Path,
    *,
    lengths: ArrayLike | None = None,
    name: str = "state",
) -> None:
    """Plot sequences in the colours of their states, above the posteriors of the states.

    Parameters
    ----------
    model : hidden Markov model or SwitchingSSM
        Fitted.
    X : (n_rows, n_features) array
        At most the first four features are drawn.
    path : path
        Its extension sets the format: .png, .svg or .pdf.
    lengths : (n_sequences,) array of int, optional
        Numbers of rows of the sequences, which dotted lines set apart.
    name : str, default="state"
        What states are called in the picture, such as "regime".

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> import fastvi
    >>> X = np.repeat([0.0, 5.0], 30)[:, None] + np.random.default_rng(0).normal(size=(60, 1))
    >>> model = fastvi.GaussianHMM(2, random_state=0).fit(X)
    >>> path = pathlib.Path(tempfile.mkdtemp(), "states.png")
    >>> fastvi.plots.plot_states(model, X, path)
    >>> path.exists()
    True
    """
    ending = check_ending(path)
    posterior, rows = model.predict_proba(X, lengths), np.asarray(X, np.float64)
    shown = min(rows.shape[1], MAX_FEATURES)
    figure, steps = blank(11, 2.0 * shown + 2.2), np.arange(len(rows))
    axes = figure.subplots(shown + 1, 1, sharex=True, squeeze=False).ravel()
    states = posterior.argmax(axis=1)
    colors = [f"C{k % 10}" for k in range(posterior.shape[1])]
    for d, axis in enumerate(axes[:-1]):
        axis.plot(steps, rows[:, d], color="#bbbbbb", linewidth=0.6, zorder=1)
        for k in np.unique(states):
            own = states == k
            axis.scatter(steps[own], rows[own, d], 6, color=colors[k], zorder=2)
        axis.set_ylabel(f"feature {d}")
    axes[-1].stackplot(
        steps, posterior.T, colors=colors, labels=[f"{name} {k}" for k in range(len(colors))]
    )
    axes[-1].set(ylabel="posterior", xlabel="row", ylim=(0, 1), xlim=(0, max(len(rows) - 1, 1)))
    for axis in axes:
        for end in borders(lengths):
            axis.axvline(end - 0.5, color="black", linestyle=":", linewidth=0.8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    axes[0].set_title(f"{len(rows):,} rows, {posterior.shape[1]} {name}s")
    save(figure, os.fspath(path), ending)


def borders(lengths: ArrayLike | None) -> AnyArray:
    """First rows of all sequences but the first."""
    return np.cumsum(np.asarray([0] if lengths is None else lengths))[:-1]
