"""The search for modes that comes before a fit.

The first path climbs from the user's start. Others follow from widely spread points, every other
one from where the density is highest relative to what the modes found so far explain, until paths
have stopped finding new modes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import gammaln, logsumexp

from fastvi.base.typing import Array
from fastvi.fitting.laplace import Laplace
from fastvi.fitting.paths import End, ascents
from fastvi.posteriors.modes import Mode
from fastvi.targets.base import Target
from fastvi.targets.curvature import hessian, inverse_of
from fastvi.targets.failures import quiet

__all__ = ["Found", "search"]

LEAST, MOST = 8, 24  # paths, by default
ROUND = 4  # paths that run side by side
POOL, FEW = 32, 2  # points per path: to choose the highest of, or to begin at any
WIDTH = 2.0  # of half of these points, which are uniform about 0
SPREADS = 4.0, 10.0, 30.0  # of the other half, in standard deviations of the first mode
HEAVY = 4.0  # degrees of freedom of the density that a mode explains
TOL, MAX_ITER = 1e-8, 1000  # of the first path
LOOSE, FEWER = 1e-4, 200  # of the others
NEAR = 0.5  # squared distance, in a mode's standard deviations, below which a path has led to it
DECREMENT, SETTLED = 0.05, 1e-6  # nats: of a mode, and of one found exactly
ASIDE = 0.5  # standard deviations from a mode at which nothing is higher
HESSIANS, NUMBERS = 3, 2000  # per path; gradients for those of all but the first, about
TIE = 0.05  # nats by which another mode must beat that of the first path


class Found(NamedTuple):
    """What a search has found.

    Attributes
    ----------
    modes : tuple of Mode
        Highest evidence first; if there is no proper mode, the end of the first path.
    best : Laplace
        Laplace's approximation at the first of them, where a fit begins.
    """

    modes: tuple[Mode, ...]
    best: Laplace


def search(
    target: Target, start: Array, n_starts: int | None = None, seed: int = 0, n_threads: int = 1
) -> Found:
    """Find modes of a target by L-BFGS from many starts, the first of which is given.

    Parameters
    ----------
    target : Target
        With gradient.
    start : (D,) array
    n_starts : int, optional
        Number of paths. By default 8 to 24, until the number of modes to be expected (Boender and
        Rinnooy Kan 1987) exceeds that of modes found by less than a half.
    seed : int
    n_threads : int
        Results have the same bits for any number.
    """
    least, most = (n_starts or LEAST), (n_starts or MOST)
    with quiet():
        course = _Search(target, start, seed, n_threads)
        n = 1
        while n < most and not (n >= least and _is_over(n, len(course.peaks))):
            size = min(ROUND - n % ROUND, most - n)
            course.go_on(n, size)
            n += size
    return course.found()


def _is_over(n: int, n_modes: int) -> bool:
    """Whether more modes are unlikely, after n paths have found so many."""
    left = n - n_modes - 2
    return left > 0 and n_modes * (n - 1) / left < n_modes + 0.5


class _Peak(NamedTuple):
    """A proper mode; `root` is the lower Cholesky factor of the covariance."""

    place: Array
    log_prob: float
    cov: Array
    root: Array
    decrement: float

    @property
    def log_evidence(self) -> float:
        D = len(self.place)
        log_det = float(np.log(np.diag(self.root)).sum())
        return self.log_prob + 0.5 * D * float(np.log(2.0 * np.pi)) + log_det

    def squares(self, Z: Array) -> Array:
        """Squared distances (n,) of Z (n, D) in the mode's standard deviations."""
        away = solve_triangular(self.root, (Z - self.place).T, lower=True, check_finite=False)
        return np.asarray(np.square(away).sum(axis=0))

    def heavy(self, Z: Array) -> Array:
        """Log (n,) of the evidence times Student's t density with the mode's place and scale."""
        D = len(self.place)
        log_det = np.log(np.diag(self.root)).sum()
        height = gammaln(0.5 * (HEAVY + D)) - gammaln(0.5 * HEAVY) - log_det
        height -= 0.5 * D * np.log(HEAVY * np.pi)
        tail = 0.5 * (HEAVY + D) * np.log1p(self.squares(Z) / HEAVY)
        return np.asarray(self.log_evidence + height - tail)


class _Search:
    """A search under way: the modes found, and the points that paths may begin at."""

    def __init__(self, target: Target, start: Array, seed: int, n_threads: int) -> None:
        self.target, self.n_threads = target, n_threads
        self.rng = np.random.default_rng([seed, 6])
        self.peaks: list[_Peak] = []
        self.n_evaluations, self.plain = 0, np.ones((1, target.dim))
        self.n_hessians = max(4, NUMBERS // target.dim)  # that may still be computed
        self.pool, self.heights = np.empty((0, target.dim)), np.empty(0)
        (self.first,) = self._ascents(start[None], [self.plain], TOL, MAX_ITER)
        self.centre, self.units, self.begins_at_peak = self.first.place, self.plain, False
        if np.isfinite(self.first.log_prob):
            peak = self._peak(self.first)
            if peak is not None:
                self.peaks.append(peak)
                self.centre, self.units, self.begins_at_peak = peak.place, peak.root, True

    def go_on(self, n: int, size: int) -> None:
        """Take `size` more paths, after n."""
        sizes = [FEW if i % 2 else POOL for i in range(n, n + size)]
        fresh = self._drawn(sum(sizes))
        heights = self.target.attempt(fresh, with_gradient=False)[0]
        heights = np.where(np.isfinite(heights), heights, -np.inf)
        own = np.cumsum([len(self.pool), *sizes])
        self.pool = np.concatenate((self.pool, fresh))
        self.heights = np.concatenate((self.heights, heights))
        above = self._above()
        starts, frames = [], []
        for i, first in zip(range(n, n + size), own):
            chosen = first + int(np.argmax(above[first:] > -np.inf)) if i % 2 else np.argmax(above)
            if above[chosen] > -np.inf:
                starts.append(self.pool[chosen])
                frames.append(self.plain if i % 4 < 2 else self.units)
                self.heights[chosen] = above[chosen] = -np.inf
        if starts:
            for end in self._ascents(np.array(starts), frames, LOOSE, FEWER):
                self._judge(end)

    def found(self) -> Found:
        """The modes, and where to begin."""
        if not self.peaks:
            end = self.first
            mode = Mode(end.place, end.log_prob, None, np.nan, np.nan)
            laplace = Laplace(end.place, None, np.nan, end.arrived, self.n_evaluations)
            return Found((mode,) if np.isfinite(end.log_prob) else (), laplace)
        evidence = np.array([peak.log_evidence for peak in self.peaks])
        shares = np.exp(evidence - logsumexp(evidence))
        ranks = evidence.copy()
        ranks[0] += TIE if self.begins_at_peak else 0.0
        order = np.argsort(-ranks, kind="stable")
        modes = tuple(
            Mode(p.place, p.log_prob, p.cov, float(e), float(share))
            for p, e, share in ((self.peaks[i], evidence[i], shares[i]) for i in order)
        )
        best = self.peaks[order[0]]
        return Found(
            modes,
            Laplace(
                best.place,
                best.cov,
                best.log_evidence,
                best.decrement < SETTLED,
                self.n_evaluations,
            ),
        )

    def _ascents(self, starts: Array, units: list[Array], tol: float, max_iter: int) -> list[End]:
        ends = ascents(
            self.target, starts, units, tol=tol, max_iter=max_iter, n_threads=self.n_threads
        )
        self.n_evaluations += sum(end.n_evaluations for end in ends)
        return ends

    def _drawn(self, n: int) -> Array:
        """Points (n, D) for paths to begin at."""
        D = self.target.dim
        points = self.rng.uniform(-WIDTH, WIDTH, (n, D))
        eps = self.rng.standard_normal((n // 2, D))
        away = eps * self.units if len(self.units) == 1 < D else eps @ self.units.T
        scales = np.resize(SPREADS, len(eps))
        points[1::2] = self.centre + scales[:, None] * away
        return points

    def _above(self) -> Array:
        """Log density of each point above what the modes account for; -inf without a density."""
        if not self.peaks:
            return self.heights.copy()
        known = logsumexp([peak.heavy(self.pool) for peak in self.peaks], axis=0)
        return np.where(np.isfinite(self.heights), self.heights - known, -np.inf)

    def _judge(self, end: End) -> None:
        """Keep the mode that a path has led to, if it is a new one."""
        if not np.isfinite(end.log_prob) or self.n_hessians < 1:
            return
        if self._is_known(end.place, end.grad):
            return
        peak, still = self._peak(end), np.zeros_like(end.grad)
        if (
            peak is not None
            and peak.decrement < DECREMENT
            and not self._is_known(peak.place, still)
        ):
            self.peaks.append(peak)

    def _is_known(self, place: Array, grad: Array) -> bool:
        """Whether a known mode is at a place, or one Newton step away from it."""
        return any(
            peak.squares(np.array([place, place + peak.cov @ grad])).min() < NEAR
            for peak in self.peaks
        )

    def _peak(self, end: End) -> _Peak | None:
        """Newton steps from the end of a path; None if the Hessian is not negative definite."""
        place, log_prob, grad = end.place, end.log_prob, end.grad
        for i in range(HESSIANS):
            cov = inverse_of(-hessian(self.target, place))
            self.n_evaluations += 2 * len(place)
            self.n_hessians -= 1
            root = None if cov is None else _root(cov)
            if cov is None or root is None:
                return None
            decrement = float(grad @ cov @ grad)
            place, log_prob, grad, left = self._closer(place, log_prob, grad, cov)
            if decrement < DECREMENT or self.n_hessians < 1 or i == HESSIANS - 1:
                peak = _Peak(place, log_prob, cov, root, left)
                return peak if self._is_top(peak) else None
        return None

    def _is_top(self, peak: _Peak) -> bool:
        """Whether the density is nowhere higher half a standard deviation from a mode.

        It is where curvature is only negative for a while, such as beside an inflection.
        """
        steps = ASIDE * peak.root.T
        around = np.concatenate((peak.place + steps, peak.place - steps))
        values = self.target.attempt(around, with_gradient=False)[0]
        return not np.any(values > peak.log_prob)

    def _closer(
        self, place: Array, log_prob: float, grad: Array, cov: Array
    ) -> tuple[Array, float, Array, float]:
        """Newton steps with one covariance while they help; the decrement (nats) comes last."""
        decrement = float(grad @ cov @ grad)
        while decrement > 0.01 * TOL:
            further = place + cov @ grad
            values, slopes = self.target.attempt(further[None])
            self.n_evaluations += 1
            left = float(slopes[0] @ cov @ slopes[0])
            if not (np.isfinite(values[0]) and left < 0.25 * decrement):
                break
            place, log_prob, grad, decrement = further, float(values[0]), slopes[0], left
        return place, log_prob, grad, decrement


def _root(cov: Array) -> Array | None:
    """Lower Cholesky factor; None if rounding has made the matrix indefinite."""
    try:
        return np.ascontiguousarray(np.linalg.cholesky(cov))
    except np.linalg.LinAlgError:
        return None
