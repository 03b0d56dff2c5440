"""Mixture importance sampling: draws around an approximation, weighted towards its target.

Draws from q alone cannot show what q misses. The proposals here are a mixture of q, of q and its
mode with one coordinate stretched at a time, of Student distributions at every mode that matters,
and of ever wider Gaussians; weights divide by the density of the whole mixture (the balance
heuristic, Veach and Guibas 1995; Owen and Zhou 2000), so that no draw has a large weight only
because one proposal is narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from scipy.special import logsumexp

from fastvi.base.typing import Array
from fastvi.families.base import Family
from fastvi.posteriors.bell import Bell, log_sum
from fastvi.posteriors.modes import Mode
from fastvi.posteriors.psis import psis
from fastvi.targets.base import Target

__all__ = [
    "Densities",
    "Mixture",
    "Own",
    "Proposals",
    "Sampling",
    "Weighted",
    "near_modes",
    "weigh",
]

OWN, STRETCHED, STUDENT, WIDE = 0.35, 0.3, 0.3, 0.05  # shares of the proposals
NEAR = 8.0  # nats of evidence below the best mode at which a mode still counts
MOST_MODES = 8  # that get proposals


_Part: TypeAlias = tuple[float, Callable[[int, np.random.Generator], Array]]  # share, draws


class Densities(NamedTuple):
    """Log densities (n,) of points, nats: of the proposals, and of the approximation among them."""

    proposals: Array
    own: Array


class Proposals(Protocol):
    """A mixture around an approximation to draw from, with a known density."""

    @property
    def member(self) -> Family:
        """The approximation."""
        ...

    def everything(self) -> Array | None:
        """All points with a density, if they can be listed; there is nothing to draw then."""
        ...

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n points (n, D), each part of the mixture in proportion to its share."""
        ...

    def log_probs(self, Z: Array) -> Densities:
        """Log densities of Z (n, D)."""
        ...


def near_modes(modes: Sequence[Mode]) -> list[Mode]:
    """Modes whose evidence is within 8 nats of the best, best first.

    A mode without curvature counts by its height.
    """
    if not modes:
        return []
    heights = [m.log_prob if np.isnan(m.log_evidence) else m.log_evidence for m in modes]
    order = np.argsort(-np.array(heights), kind="stable")
    return [modes[i] for i in order if heights[i] > heights[order[0]] - NEAR]


class _Around(NamedTuple):
    """Proposals around a Gaussian, with the share of each kind in the mixture."""

    bell: Bell
    stretched: float
    student: float
    wide: float

    def draws(self) -> list[_Part]:
        """Return the shares and the functions that draw."""
        bell = self.bell
        kinds = bell.draw_stretched, bell.draw_student, bell.draw_wide
        return [(share, draw) for share, draw in zip(self[1:], kinds) if share]

    def log_parts(self, Z: Array) -> list[Array]:
        """Log densities (n,) of these proposals times their shares."""
        bell, squares = self.bell, self.bell.squares(Z)
        found = []
        if self.stretched:
            found.append(np.log(self.stretched) + bell.log_stretched(Z, squares))
        if self.student:
            found.append(np.log(self.student) + bell.log_student(squares))
        if self.wide:
            found.append(np.log(self.wide) + bell.log_wide(squares))
        return found


class Mixture:
    """The proposals for a family of continuous numbers.

    Parameters
    ----------
    member : Family
        The approximation q.
    modes : sequence of Mode
        What is known of the target's modes; may be empty.
    """

    def __init__(self, member: Family, modes: Sequence[Mode]) -> None:
        self.member, cov = member, member.cov
        own = Bell.of(member.mean, cov)
        near = near_modes(modes)[:MOST_MODES]
        bells = [Bell.of(m.place, cov if m.cov is None else m.cov) for m in near]
        self.own = own
        self.closest = min(bells, key=lambda b: float(own.squares(b.mean[None])[0]), default=own)
        if not bells:
            self._around = [_Around(own, STRETCHED, STUDENT, WIDE)]
            return
        half, each = (0.5 * STRETCHED, 0.5 * WIDE), STUDENT / len(bells)
        self._around = [_Around(own, half[0], 0.0, half[1])]
        for bell in bells:
            stretched, wide = half if bell is self.closest else (0.0, 0.0)
            self._around.append(_Around(bell, stretched, each, wide))

    def everything(self) -> Array | None:
        """Nothing: continuous numbers cannot be listed."""
        return None

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n points (n, D), each part in proportion to its share."""
        parts: list[_Part] = [(OWN, self._draw_own)]
        parts += [part for around in self._around for part in around.draws()]
        ends = np.floor(np.cumsum([share for share, _ in parts]) * n + 0.5).astype(int)
        counts = np.diff(ends, prepend=0)
        return np.concatenate([draw(int(k), rng) for (_, draw), k in zip(parts, counts)])

    def _draw_own(self, n: int, rng: np.random.Generator) -> Array:
        return self.member.draw(n, rng).points

    def log_probs(self, Z: Array) -> Densities:
        """Log densities of Z (n, D)."""
        own = np.asarray(self.member.log_prob(Z))
        parts = [np.log(OWN) + own]
        for around in self._around:
            parts += around.log_parts(Z)
        return Densities(log_sum(np.array(parts)), own)


class Own(NamedTuple):
    """Weights (n,) of draws towards the approximation, whose mean and sd (D,) are known."""

    weights: Array
    mean: Array
    sd: Array


class Weighted(NamedTuple):
    """Draws from proposals, with weights that make them draws from the target.

    Attributes
    ----------
    points : (n, D) array
    log_ratios : (n,) array
        Log of target over proposal density, nats; -inf where the target has no density.
    weights : (n,) array
        Smoothed (see `fastvi.posteriors.psis`) and normalised.
    khat : float
        Pareto shape of the ratios.
    size : float
        Number of draws from the target that they are worth, 1 / sum of squared weights; infinite
        where all points are listed.
    log_mean : float
        Log of the target's integral, nats.
    """

    points: Array
    log_ratios: Array
    weights: Array
    khat: float
    size: float
    log_mean: float

    @property
    def mean(self) -> Array:
        """Weighted means, (D,)."""
        return np.asarray(self.weights @ self.points)

    @property
    def sd(self) -> Array:
        """Weighted standard deviations, (D,)."""
        return np.asarray(np.sqrt(self.weights @ np.square(self.points - self.mean)))


def weigh(points: Array, log_ratios: Array) -> Weighted:
    """Weigh draws by their log ratios."""
    smooth = psis(log_ratios)
    weights = np.exp(smooth.log_weights)
    largest = log_ratios.max(initial=-np.inf)
    size = 0.0
    if np.isfinite(largest):
        raw = np.exp(log_ratios - largest)
        size = float(raw.sum() ** 2 / np.square(raw).sum())
    return Weighted(points, log_ratios, weights, smooth.khat, size, smooth.log_mean)


class Sampling:
    """Draws from proposals with log ratios to a target, which can be doubled.

    Parameters
    ----------
    target : Target
    proposals : Proposals
    n : int
        Number of draws to begin with.
    seed : int
    """

    def __init__(self, target: Target, proposals: Proposals, n: int, seed: int) -> None:
        self.target, self.proposals = target, proposals
        self._rng = np.random.default_rng([seed, 7])
        listed = proposals.everything()
        self.is_exact = listed is not None
        self._log_ratios, self._shares = np.empty((2, 0))
        if listed is None:
            self._points = np.empty((0, target.dim))
            self.draw_on(n)
        else:
            self._points, self._log_ratios = listed, self._values(listed)

    def draw_on(self, n: int) -> None:
        """Draw so many more."""
        Z = self.proposals.draw(n, self._rng)
        with np.errstate(invalid="ignore", over="ignore"):  # far from a narrow part
            densities = self.proposals.log_probs(Z)
            log_ratios = self._values(Z) - densities.proposals
            shares = np.exp(densities.own - densities.proposals)
        self._points = np.concatenate((self._points, Z))
        self._log_ratios = np.append(self._log_ratios, log_ratios)
        self._shares = np.append(self._shares, np.nan_to_num(shares))

    @property
    def of_own(self) -> Own | None:
        """How the draws would be weighted towards the approximation; None of all points."""
        member, shares = self.proposals.member, self._shares
        if self.is_exact:
            return None
        return Own(shares / len(shares), np.array(member.mean), np.array(member.sd))

    def weighted(self) -> Weighted:
        """Return the draws with their weights."""
        if not self.is_exact:
            return weigh(self._points, self._log_ratios)
        total, weights = float(logsumexp(self._log_ratios)), np.zeros(len(self._points))
        if not np.isfinite(total):
            return Weighted(self._points, self._log_ratios, weights, np.inf, 0.0, total)
        weights = np.exp(self._log_ratios - total)
        return Weighted(self._points, self._log_ratios, weights, -np.inf, np.inf, total)

    def _values(self, Z: Array) -> Array:
        values = self.target.attempt(Z, with_gradient=False)[0]
        return np.where(np.isnan(values), -np.inf, values)
