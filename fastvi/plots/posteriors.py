"""Pictures of posteriors: pairs of numbers, the approximation against the target."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fastvi.base.typing import Array, Path, RandomState
from fastvi.plots.figures import blank, check_ending, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_comparison", "plot_posterior", "warped"]

N_LINES, N_ALONG = 13, 121  # lines of a grid each way, and points on each
N_DRAWS, N_BINS, MOST = 4000, 40, 6  # draws, bins of histograms, numbers to draw
COLOURS = {"approximation": "tab:blue", "target": "tab:orange"}


class _Moments(Protocol):
    points: Array
    weights: Array


class Drawn(Protocol):
    """A posterior with draws and, where importance weights can tell, those of the target."""

    names: tuple[str, ...]

    def sample(self, n: int, random_state: RandomState = None) -> Array:
        """Draw unconstrained numbers, (n, D)."""
        ...

    def corrected(self) -> _Moments:
        """Weighted draws of the target."""
        ...


class Compared(Protocol):
    """What `fastvi.compare` returns."""

    names: tuple[str, ...]
    seconds: Array
    weights: Array | None

    @property
    def bounds(self) -> Array:
        """Lower bounds in nats, (n,)."""
        ...


def plot_posterior(posterior: Drawn, path: Path, which: Sequence[int | str] | None = None) -> None:
    """Draw pairs of unconstrained numbers: the approximation's draws, and those of the target.

    Histograms are on the diagonal and pairs of draws below it; those of a flow of two numbers have
    a grid of its noise, as the flow warps it. Draws of the target are those of
    `Posterior.corrected`; where these cannot be had, the title says so.

    Parameters
    ----------
    posterior : Posterior
    path : path
        Its extension sets the format: .png, .svg or .pdf. The file is replaced atomically.
    which : sequence of int or str, optional
        Numbers, by position or name; by default the first six.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If a number is unknown, or matplotlib does not support the extension.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import fastvi
    >>> target = fastvi.targets.from_callable(lambda z: (-0.5 * z @ z, -z), dim=2)
    >>> path = pathlib.Path(tempfile.mkdtemp(), "posterior.png")
    >>> fastvi.plots.plot_posterior(fastvi.fit(target, random_state=0), path)
    >>> path.exists()
    True
    """
    ending, chosen = check_ending(path), _chosen(posterior.names, which)
    own = posterior.sample(N_DRAWS, np.random.default_rng(0))
    groups, title = {"approximation": own}, "draws of the approximation"
    try:
        found = posterior.corrected()
    except ValueError:
        title += "; importance weights cannot tell those of the target"
    else:
        rng = np.random.default_rng(1)
        rows = rng.choice(len(found.points), N_DRAWS, p=found.weights / found.weights.sum())
        groups["target"] = found.points[rows]
        title += " (blue) and of the target (orange)"
    n, grid = len(chosen), warped(posterior)
    figure = blank(1.0 + 2.0 * n, 1.0 + 2.0 * n)
    axes = figure.subplots(n, n, squeeze=False)
    both = np.concatenate(list(groups.values()))
    low, high = np.quantile(both, [0.002, 0.998], axis=0)
    for r, i in enumerate(chosen):
        for c, j in enumerate(chosen):
            axis, ends = axes[r][c], (low[[i, j]], high[[i, j]])
            if c > r:
                axis.set_axis_off()
                continue
            _panel(axis, groups, i, j, *ends)
            for line in grid if i != j else []:
                axis.plot(line[:, j], line[:, i], color="0.6", linewidth=0.5, zorder=0)
            if r == n - 1:
                axis.set_xlabel(posterior.names[j])
            if c == 0 and r > 0:
                axis.set_ylabel(posterior.names[i])
    figure.suptitle(title)
    save(figure, os.fspath(path), ending)


def _panel(axis: Axes, groups: dict[str, Array], i: int, j: int, low: Array, high: Array) -> None:
    """A histogram of number j if i is j, otherwise draws of both."""
    axis.set_xlim(low[1], high[1])
    for name, draws in groups.items():
        if i == j:
            axis.hist(
                draws[:, j], bins=np.linspace(low[1], high[1], N_BINS).tolist(), density=True,
                histtype="step", color=COLOURS[name],
            )  # fmt: skip
            axis.set_yticks([])
        else:
            axis.plot(draws[:, j], draws[:, i], ",", color=COLOURS[name], alpha=0.5)
            axis.set_ylim(low[0], high[0])


def warped(posterior: Any) -> list[Array]:
    """Lines (n, 2) of a grid of noise as the approximation warps it; none if it is no such map."""
    member = getattr(posterior, "member", None)
    if member is None or member.powers.warp is None or member.dim != 2:
        return []
    warp = member.powers.warp
    ends, along = np.linspace(-3.0, 3.0, N_LINES), np.linspace(-3.0, 3.0, N_ALONG)
    lines = [np.column_stack((np.full(N_ALONG, end), along)) for end in ends]
    return [
        np.asarray(warp.at(line[:, order]).points) for order in ([0, 1], [1, 0]) for line in lines
    ]


def _chosen(names: Sequence[str], which: Sequence[int | str] | None) -> list[int]:
    if which is None:
        return list(range(min(len(names), MOST)))
    found = []
    for one in which:
        known = isinstance(one, str) and one in names
        place = list(names).index(str(one)) if known else one
        if not isinstance(place, int | np.integer) or not 0 <= place < len(names):
            raise ValueError(
                f"which holds {one!r}; wanted names or positions of the {len(names)} numbers "
                + ", ".join(map(str, names[:10]))
            )
        found.append(int(place))
    if not found:
        raise ValueError("which is empty; wanted at least one number")
    return found


def plot_comparison(comparison: Compared, path: Path) -> None:
    """Draw what `fastvi.compare` found: bounds below the best, stacking weights, and seconds.

    Parameters
    ----------
    comparison : Comparison
    path : path
        As in `plot_posterior`.

    Raises
    ------
    ImportError, ValueError
        As in `plot_posterior`.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import fastvi
    >>> target = fastvi.targets.from_callable(lambda z: (-0.5 * z @ z, -z), dim=2)
    >>> found = fastvi.compare(target, ["fullrank", "meanfield"], random_state=0)
    >>> path = pathlib.Path(tempfile.mkdtemp(), "comparison.png")
    >>> fastvi.plots.plot_comparison(found, path)
    >>> path.exists()
    True
    """
    ending, bounds = check_ending(path), comparison.bounds
    finite = bounds[np.isfinite(bounds)]
    below = np.where(np.isfinite(bounds), finite.max(initial=-np.inf) - bounds, np.nan)
    panels = {"nats below the best bound": below, "CPU seconds": comparison.seconds}
    if comparison.weights is not None:
        panels["stacking weight"] = comparison.weights
    figure = blank(3.2 * len(panels) + 1.0, 1.0 + 0.4 * len(bounds))
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (title, values) in zip(axes, panels.items()):
        axis.barh(np.arange(len(bounds)), values)
        axis.set_title(title)
    axes[0].set_yticks(np.arange(len(bounds)), comparison.names)
    axes[0].invert_yaxis()
    save(figure, os.fspath(path), ending)
