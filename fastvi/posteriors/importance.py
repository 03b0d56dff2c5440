"""Mixture importance sampling: draws around an approximation, weighted towards its target.

Draws from q alone cannot show what q misses. The proposals here are a mixture of q, of q and its
mode with one coordinate stretched at a time, of Student distributions at every mode that matters,
and of ever wider Gaussians; weights divide by the density of the whole mixture (the balance
heuristic, Veach and Guibas 1995; Owen and Zhou 2000), so that no draw has a large weight only
because one proposal is narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, Self, TypeAlias

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import gammaln, logsumexp

from fastvi.base.typing import Array
from fastvi.families.base import Family
from fastvi.posteriors.modes import Mode
from fastvi.posteriors.psis import psis
from fastvi.targets.base import Target

__all__ = ["Bell", "Mixture", "Proposals", "Sampling", "Weighted", "near_modes", "weigh"]

OWN, STRETCHED, STUDENT, WIDE = 0.35, 0.3, 0.3, 0.05  # shares of the proposals
FACTORS = (2.0, 4.0)  # by which coordinates are stretched
SCALES = 2.0 ** (0.5 * np.arange(1, 13))  # of the wide Gaussians
DEGREES = 5.0  # of freedom of the Student distributions
NEAR = 8.0  # nats of evidence below the best mode at which a mode still counts
MOST_MODES = 8  # that get proposals


_Part: TypeAlias = tuple[float, Callable[[int, np.random.Generator], Array]]  # share, draws


class Proposals(Protocol):
    """A distribution to draw from, with a known density."""

    def everything(self) -> Array | None:
        """All points with a density, if they can be listed; there is nothing to draw then."""
        ...

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n points (n, D), each part of the mixture in proportion to its share."""
        ...

    def log_prob(self, Z: Array) -> Array:
        """Log densities (n,) of Z (n, D), in nats."""
        ...


class Bell(NamedTuple):
    """A Gaussian to draw around: mean (D,), lower triangular root (D, D), and what follows.

    `lines` (D, D) holds in row j how all coordinates move with coordinate j, on average; `sd` (D,).
    """

    mean: Array
    root: Array
    sd: Array
    lines: Array

    @classmethod
    def of(cls, mean: Array, cov: Array) -> Self:
        """Return the Gaussian with these moments; without correlations if `cov` is singular."""
        variance = np.diag(cov)
        try:
            root = np.asarray(np.linalg.cholesky(cov))
        except np.linalg.LinAlgError:
            root, cov = np.diag(np.sqrt(variance)), np.diag(variance)
        return cls(np.array(mean), root, np.sqrt(variance), cov / variance[:, None])

    @property
    def log_norm(self) -> float:
        """Log density at the mean."""
        return float(-np.log(np.diag(self.root)).sum() - 0.5 * len(self.mean) * np.log(2 * np.pi))

    def squares(self, Z: Array) -> Array:
        """Squared distances (n,) of Z from the mean, in the Gaussian's own units."""
        white = solve_triangular(self.root, (Z - self.mean).T, lower=True, check_finite=False)
        return np.asarray(np.einsum("dn,dn->n", white, white))

    def draw(self, n: int, rng: np.random.Generator, scale: float | Array = 1.0) -> Array:
        """Draw n points, with deviations times `scale`."""
        deviations = rng.standard_normal((n, len(self.mean))) @ self.root.T
        return np.asarray(self.mean + np.reshape(scale, (-1, 1)) * deviations)

    # One coordinate stretched along its line

    def draw_stretched(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n points, each with one coordinate stretched; all of them in turn."""
        Z, D = self.draw(n, rng), len(self.mean)
        cells = np.floor((np.arange(n) + rng.random(n)) * (2 * D / max(n, 1))).astype(int)
        which, factor = cells % D, np.take(FACTORS, cells // D)
        away = (factor - 1.0) * (Z[np.arange(n), which] - self.mean[which])
        return np.asarray(Z + away[:, None] * self.lines[which])

    def log_stretched(self, Z: Array, squares: Array) -> Array:
        """Log densities of `draw_stretched`: only the marginal of that coordinate changes."""
        halves = 0.5 * np.square((Z - self.mean) / self.sd)
        largest = halves.max(axis=1) * (1.0 - FACTORS[-1] ** -2)
        total = np.zeros(len(Z))
        for factor in FACTORS:
            gains = halves * (1.0 - factor**-2)
            gains -= largest[:, None]
            total += np.exp(gains, out=gains).sum(axis=1) / factor
        size = len(FACTORS) * Z.shape[1]
        return np.asarray(self.log_norm - 0.5 * squares + largest + np.log(total / size))

    # Wider in all directions

    def draw_student(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n points of a Student distribution."""
        return self.draw(n, rng, np.sqrt(DEGREES / rng.chisquare(DEGREES, n)))

    def log_student(self, squares: Array) -> Array:
        """Log densities of `draw_student`."""
        D = len(self.mean)
        constant = gammaln(0.5 * (DEGREES + D)) - gammaln(0.5 * DEGREES)
        constant += self.log_norm + 0.5 * D * np.log(2.0 / DEGREES)
        return np.asarray(constant - 0.5 * (DEGREES + D) * np.log1p(squares / DEGREES))

    def draw_wide(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n points of wider Gaussians, of each in turn."""
        cells = np.floor((np.arange(n) + rng.random(n)) * (len(SCALES) / max(n, 1))).astype(int)
        return self.draw(n, rng, SCALES[cells])

    def log_wide(self, squares: Array) -> Array:
        """Log densities of `draw_wide`."""
        each = (
            -0.5 * squares / np.square(SCALES)[:, None] - len(self.mean) * np.log(SCALES)[:, None]
        )
        return np.asarray(self.log_norm + logsumexp(each, axis=0) - np.log(len(SCALES)))


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

    def plus(self, total: Array, Z: Array) -> Array:
        """Add the densities of these proposals to log densities."""
        squares = self.bell.squares(Z)
        if self.stretched:
            own = np.log(self.stretched) + self.bell.log_stretched(Z, squares)
            total = np.logaddexp(total, own)
            total = np.logaddexp(total, np.log(self.wide) + self.bell.log_wide(squares))
        if self.student:
            total = np.logaddexp(total, np.log(self.student) + self.bell.log_student(squares))
        return total


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

    def log_prob(self, Z: Array) -> Array:
        """Log densities (n,) of Z (n, D), in nats."""
        total = np.log(OWN) + np.asarray(self.member.log_prob(Z))
        for around in self._around:
            total = around.plus(total, Z)
        return np.asarray(total)


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
        self._rng = np.random.default_rng([seed, 3])
        listed = proposals.everything()
        self.is_exact = listed is not None
        if listed is None:
            self._points, self._log_ratios = self._drawn(n)
        else:
            self._points, self._log_ratios = listed, self._values(listed)

    def double(self) -> None:
        """Draw as many again."""
        points, log_ratios = self._drawn(len(self._points))
        self._points = np.concatenate((self._points, points))
        self._log_ratios = np.append(self._log_ratios, log_ratios)

    def weighted(self) -> Weighted:
        """Return the draws with their weights."""
        if not self.is_exact:
            return weigh(self._points, self._log_ratios)
        total, weights = float(logsumexp(self._log_ratios)), np.zeros(len(self._points))
        if np.isfinite(total):
            weights = np.exp(self._log_ratios - total)
        return Weighted(self._points, self._log_ratios, weights, -np.inf, np.inf, total)

    def _drawn(self, n: int) -> tuple[Array, Array]:
        Z = self.proposals.draw(n, self._rng)
        with np.errstate(invalid="ignore"):
            return Z, self._values(Z) - self.proposals.log_prob(Z)

    def _values(self, Z: Array) -> Array:
        values = self.target.attempt(Z, with_gradient=False)[0]
        return np.where(np.isnan(values), -np.inf, values)
