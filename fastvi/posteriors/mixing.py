"""Whether many short chains have forgotten where they began, and reach all that they should."""

from __future__ import annotations

import numpy as np

from fastvi.base.typing import Array
from fastvi.posteriors.chains import Window
from fastvi.posteriors.psis import shapes

__all__ = ["TAIL_OF_SQUARES", "WILD", "figures_of", "why_not_mixed"]

RHAT = 1.05  # largest; each chain is then worth ten draws
HALVES, GROUPS = 0.15, 0.3  # largest differences of means, in standard deviations
LEAST_ACCEPTED, WILD, ENERGY = 0.6, 0.005, 10.0  # shares of moves, and nats that are wild
TAIL, TAIL_OF_SQUARES = 0.5, 0.7  # largest k-hats of deviations and of their squares
UNVISITED = 0.03  # of the mass, by importance weights, where no chain came


def figures_of(window: Window, sides: Array, n_first: int) -> dict[str, float]:
    """What chains say of themselves.

    Parameters
    ----------
    window : Window
        Of n moves of C chains.
    sides : (n, C, K) array
        What else must mix, such as to which mode a point belongs.
    n_first : int
        So many chains began at one kind of points, the others at another.

    Returns
    -------
    dict of str to float
        `rhat`, the largest of all numbers, their distances from the median, the log density and the
        sides (Gelman and Rubin 1992); `halves`, `groups`, by how much means of the first moves
        differ from those of the last, and of the first chains from those of the others, at most;
        `accepted`, `wild` and `stuck` shares of moves and of chains; `khat_means`, `khat_sds`.
    """
    points = window.points
    n, _, D = points.shape
    away = np.abs(points - np.median(points.reshape(-1, D), axis=0))
    values = np.concatenate((points, away, window.log_probs[:, :, None], sides), axis=2)
    centre, spread = values.mean(axis=(0, 1)), values.std(axis=(0, 1))
    values = (values - centre) / np.where(spread > 0, spread, 1.0)
    means = values.mean(axis=0)  # (C, F) of each chain
    within = values.var(axis=0, ddof=1).mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (n - 1) / n + means.var(axis=0, ddof=1) / within
    rhat = np.sqrt(np.where(spread > 0, ratio, 1.0))
    later = values[n // 2 :].mean(axis=(0, 1)) - values[: n // 2].mean(axis=(0, 1))
    between = means[:n_first].mean(axis=0) - means[n_first:].mean(axis=0)
    draws = np.abs(points - points.mean(axis=(0, 1))).reshape(-1, D)
    return {
        "rhat": float(np.max(rhat)),
        "halves": float(np.abs(later).max()),
        "groups": float(np.abs(between).max()),
        "accepted": float(np.exp(-np.maximum(window.errors, 0.0)).mean()),
        "wild": float(np.mean(~(np.abs(window.errors) < ENERGY))),
        "stuck": float(np.mean(np.all(np.diff(window.log_probs, axis=0) == 0.0, axis=0))),
        "khat_means": float(shapes(draws).max()),
        "khat_sds": float(shapes(np.square(draws)).max()),
    }


def why_not_mixed(figures: dict[str, float]) -> str:
    """Why chains cannot be trusted for means, as a sentence; empty if they can."""
    if not figures["rhat"] < RHAT:
        return (
            f"Chains do not mix (R-hat {figures['rhat']:.3g}): they stay where they began, such as "
            "at one of several modes."
        )
    if figures["stuck"] > 0 or figures["wild"] > WILD or figures["accepted"] < LEAST_ACCEPTED:
        return (
            f"Chains cannot follow the density: {100 * figures['accepted']:.0f} % of moves are "
            f"made, energies are wrong by more than {ENERGY:.0f} nats in "
            f"{100 * figures['wild']:.1f} %, {100 * figures['stuck']:.0f} % of chains are stuck."
        )
    if figures["halves"] > HALVES or figures["groups"] > GROUPS:
        return (
            f"The chains did not converge: means of their halves differ by {figures['halves']:.2f} "
            f"standard deviations, those of different starts by {figures['groups']:.2f}."
        )
    if figures["khat_means"] >= TAIL:
        return f"Tails are too heavy for chains (k-hat {figures['khat_means']:.2f})."
    if figures.get("unvisited", 0.0) > UNVISITED:
        return (
            f"Importance weights put {100 * figures['unvisited']:.0f} % of the mass where no chain "
            "came."
        )
    return ""
