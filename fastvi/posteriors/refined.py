"""Draws by short Hamiltonian Monte Carlo, where importance sampling is undecided.

Chains begin at importance-resampled draws, and as many at draws that are spread wider. They give
moments only if they have forgotten which; how much of the mass each mode has they cannot know
unless they pass between modes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from fastvi.base.typing import Array
from fastvi.posteriors.bell import Bell
from fastvi.posteriors.bridge import Evidence, bridge
from fastvi.posteriors.chains import Course, Window
from fastvi.posteriors.importance import Proposals, Weighted, near_modes, weigh
from fastvi.posteriors.mixing import WILD, figures_of, why_not_mixed
from fastvi.posteriors.modes import Mode
from fastvi.targets.base import Target

__all__ = ["Refined", "run_chains"]

N_CHAINS, N_FIRST = 128, 64  # and of these begin at importance-resampled draws
FLATTENED = 0.25  # power of the weights at whose draws the others begin
WARM, MOVES = 10, 10
MOST_WINDOWS, PASSES = 24, 2  # of moves, the later half of which is kept; and in a row, to end
MOST_GRADIENTS = 1_000_000
LONGER, LONGEST = 1.5, 8.0  # factors of the length of moves, where chains do not mix
ACCEPTED, SMALLER = 0.8, 0.7  # share of moves below which steps get smaller, and a factor


class Refined(NamedTuple):
    """Draws of chains.

    Attributes
    ----------
    window : Window
        The moves that are kept.
    evidence : Evidence
        By bridge sampling between proposals and chains.
    figures : dict of str to float
        What they rest on, see `fastvi.posteriors.mixing.figures_of`; also `gradients`,
        and `unvisited`, the mass by importance weights where no chain came.
    why_not : str
        Why they cannot be trusted; empty if they can.
    """

    window: Window
    evidence: Evidence
    figures: dict[str, float]
    why_not: str


def run_chains(
    target: Target,
    proposals: Proposals,
    found: Weighted,
    modes: Sequence[Mode],
    seed: int,
    n_threads: int = 1,
) -> Refined:
    """Move draws until chains have mixed, or in vain.

    Parameters
    ----------
    target : Target
        With a gradient.
    proposals : Proposals
    found : Weighted
        Draws from them.
    modes : sequence of Mode
    seed : int
    n_threads : int
        Results have the same bits for any number.
    """
    log_ratios = np.where(np.isfinite(found.log_ratios), found.log_ratios, -np.inf)
    if not np.isfinite(log_ratios).any():
        raise ValueError("corrected moments cannot be had: no draw has a density")
    clean = weigh(found.points, log_ratios)
    starts = _starts(clean, np.random.default_rng([seed, 7]))
    course = Course(target, starts, _scale(starts), seed, n_threads)
    course.warm_up(WARM)
    course.scale = _scale(course.points)
    course.warm_up(WARM)
    shortest, passed = course.length, 0
    windows = [course.go_on(MOVES)]
    while True:
        windows.append(course.go_on(MOVES))
        kept = _joined(windows[-max(2, len(windows) // 2) :])
        figures = figures_of(kept, _sides(kept.points, modes), N_FIRST)
        why = why_not_mixed(figures)
        passed = 0 if why else passed + 1
        is_over = len(windows) >= MOST_WINDOWS or course.n_gradients > MOST_GRADIENTS
        if passed == PASSES or is_over:
            break
        if figures["accepted"] < ACCEPTED or figures["wild"] > WILD:
            course.size *= SMALLER
        elif why:
            course.length = min(LONGER * course.length, LONGEST * shortest)
    evidence = _evidence(proposals, clean, kept)
    figures["gradients"] = float(course.n_gradients)
    figures["unvisited"] = _unvisited(clean, kept.points, evidence.log)
    return Refined(kept, evidence, figures, why_not_mixed(figures))


def _starts(found: Weighted, rng: np.random.Generator) -> Array:
    """Places (C, D) where chains begin: by weights, and by flattened weights."""
    with np.errstate(divide="ignore"):
        logs = np.where(np.isfinite(found.log_ratios), np.log(found.weights), -np.inf)
    parts = []
    for power, n in ((1.0, N_FIRST), (FLATTENED, N_CHAINS - N_FIRST)):
        total = np.cumsum(np.exp(power * (logs - logs.max())))
        places = (np.arange(n) + rng.random()) / n * total[-1]  # systematic
        parts.append(
            found.points[np.minimum(np.searchsorted(total, places, "right"), len(logs) - 1)]
        )
    return np.concatenate(parts)


def _scale(points: Array) -> Array:
    """Standard deviations (D,) by quartiles, which do not know of outliers."""
    low, high = np.quantile(points, [0.25, 0.75], axis=0)
    scale = (high - low) / 1.349
    spread = points.std(axis=0)
    return np.asarray(np.where(scale > 0, scale, np.where(spread > 0, spread, 1.0)))


def _joined(windows: Sequence[Window]) -> Window:
    return Window(*(np.concatenate(parts) for parts in zip(*windows)))


def _sides(points: Array, modes: Sequence[Mode]) -> Array:
    """Whether points (n, C, D) belong to each mode, by the largest Gaussian: (n, C, K)."""
    near = [mode for mode in near_modes(modes) if mode.cov is not None]
    if len(near) < 2:
        return np.empty((*points.shape[:2], 0))
    Z = points.reshape(-1, points.shape[2])
    heights = []
    for mode in near:
        assert mode.cov is not None
        bell = Bell.of(mode.place, mode.cov)
        heights.append(bell.log_student(bell.squares(Z)) + mode.log_evidence)
    which = np.argmax(heights, axis=0)
    return np.asarray((which[:, None] == np.arange(len(near))).reshape(*points.shape[:2], -1) * 1.0)


def _evidence(proposals: Proposals, found: Weighted, kept: Window) -> Evidence:
    """Log evidence by the bridge between proposals and chains."""
    n, C, D = kept.points.shape
    with np.errstate(invalid="ignore", over="ignore"):
        log_q = proposals.log_probs(kept.points.reshape(-1, D)).proposals
    return bridge(found.log_ratios, kept.log_probs - log_q.reshape(n, C))


def _unvisited(found: Weighted, points: Array, log_evidence: float) -> float:
    """Share of the mass, by importance weights, beyond all chains in some coordinate."""
    low, high = points.min(axis=(0, 1)), points.max(axis=(0, 1))
    outside = np.any((found.points < low) | (found.points > high), axis=1)
    logs = found.log_ratios[outside]
    if not np.isfinite(logs).any():
        return 0.0
    return float(np.exp(min(logsumexp(logs) - np.log(len(found.points)) - log_evidence, 0.0)))
