"""Proposals for products of independent parts, some of them discrete.

If all combinations can be listed, they are. Otherwise proposals are q, q with every part dispersed,
q with one to three parts replaced by dispersed ones (a flip, for a part that is 0 or 1), and
products around local maxima that coordinate ascent finds from random and from extreme starts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import log_softmax, logsumexp

from fastvi.base.typing import Array
from fastvi.families.base import Dispersible
from fastvi.posteriors.importance import Densities
from fastvi.targets.base import Target

__all__ = ["Flips"]

OWN, DISPERSED, FLIPPED, OPTIMA = 0.35, 0.1, 0.25, 0.3  # shares of the proposals
FLAT = 50.0  # log dispersion at which finitely many values are equally likely
WIDER = np.log(4.0)  # of other parts, and of all in the dispersed q
MOST_FLIPS = 3
MOST_LISTED = 4096  # combinations
N_RANDOM, MOST_SWEEPS = 8, 20  # of coordinate ascent
NEAR = 8.0  # nats below the best local maximum within which others count
MOST_OPTIMA = 6
LEAST_CHANCE = 0.02  # of each value around a local maximum


class _Optimum(NamedTuple):
    """A local maximum, and log probabilities of each discrete part's values given the others."""

    height: float
    point: Array
    log_chances: dict[int, Array]


class Flips:
    """Proposals for a product of parts, see the module.

    Parameters
    ----------
    member : Dispersible
        The approximation q.
    target : Target
    seed : int
    """

    def __init__(self, member: Dispersible, target: Target, seed: int) -> None:
        self.member, self.target, self.choices = member, target, member.choices
        finite = np.array([values is not None for values in self.choices])
        self._n_parts = len(finite)
        self._wider = member.dispersal(np.full(self._n_parts, WIDER))
        self._flat = member.dispersal(np.where(finite, FLAT, WIDER))
        self._optima: list[_Optimum] = []
        self._listed = self._list() if finite.all() else None
        if self._listed is None and finite.any():
            self._optima = self._ascend(np.random.default_rng([seed, 5]))

    # Draws

    def everything(self) -> Array | None:
        """All combinations, if there are few."""
        return self._listed

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n points (n, D), each part of the mixture in proportion to its share."""
        optima = self._optima
        shares = [OWN + OPTIMA * (not optima), DISPERSED, FLIPPED]
        shares += [OPTIMA / len(optima) for _ in optima]
        counts = np.diff(np.floor(np.cumsum(shares) * n + 0.5).astype(int), prepend=0)
        found = [
            self.member.draw(counts[0], rng).points,
            self._wider.draw(counts[1], rng),
            self._draw_flipped(counts[2], rng),
        ]
        found += [self._draw_around(best, k, rng) for best, k in zip(optima, counts[3:])]
        return np.concatenate(found)

    def log_probs(self, Z: Array) -> Densities:
        """Log densities of Z (n, D)."""
        optima, own = self._optima, self.member.block_log_prob(Z)
        found = [
            np.log(OWN + OPTIMA * (not optima)) + own.sum(axis=1),
            np.log(DISPERSED) + self._wider.block_log_prob(Z).sum(axis=1),
            np.log(FLIPPED) + self._log_flipped(own, self._flat.block_log_prob(Z)),
        ]
        share = np.log(OPTIMA / max(len(optima), 1))
        found += [share + self._log_around(best, Z, own) for best in optima]
        return Densities(np.asarray(logsumexp(found, axis=0)), own.sum(axis=1))

    def _columns(self, part: int) -> slice:
        first = int(self.member.starts[part])
        values = self.choices[part]
        return slice(first, first + (1 if values is None else values.shape[1]))

    @property
    def _most(self) -> int:
        return min(MOST_FLIPS, self._n_parts)

    def _draw_flipped(self, n: int, rng: np.random.Generator) -> Array:
        Z, other = self.member.draw(n, rng).points, self._flat.draw(n, rng)
        counts = 1 + np.arange(n) % self._most
        ranks = np.argsort(np.argsort(rng.random((n, self._n_parts)), axis=1), axis=1)
        for part in range(self._n_parts):
            flipped, columns = ranks[:, part] < counts, self._columns(part)
            Z[flipped, columns] = other[flipped, columns]
        return Z

    def _log_flipped(self, own: Array, flat: Array) -> Array:
        """Log densities with exactly 1, 2 or 3 parts replaced, all choices of them equally likely.

        `own`, `flat` (n, B) are log densities of the parts; a recursion over parts sums over the
        choices.
        """
        most, n_parts = self._most, own.shape[1]
        logs = np.full((most + 1, len(own)), -np.inf)
        logs[0] = 0.0
        for part in range(n_parts):
            replaced = logs[:-1] + flat[:, part]
            logs += own[:, part]
            logs[1:] = np.logaddexp(logs[1:], replaced)
        counts = np.array([_log_choose(n_parts, k) for k in range(1, most + 1)])
        return np.asarray(logsumexp(logs[1:] - counts[:, None], axis=0) - np.log(most))

    def _draw_around(self, best: _Optimum, n: int, rng: np.random.Generator) -> Array:
        Z = self.member.draw(n, rng).points
        for part, log_chances in best.log_chances.items():
            values = self.choices[part]
            assert values is not None
            picked = np.searchsorted(np.cumsum(np.exp(log_chances))[:-1], rng.random(n), "right")
            Z[:, self._columns(part)] = values[picked]
        return Z

    def _log_around(self, best: _Optimum, Z: Array, own: Array) -> Array:
        total = np.zeros(len(Z))
        for part in range(self._n_parts):
            values = self.choices[part]
            if values is None:
                total += own[:, part]
                continue
            same = np.all(Z[:, None, self._columns(part)] == values, axis=2)
            which = np.argmax(same, axis=1)
            total += np.where(same.any(axis=1), best.log_chances[part][which], -np.inf)
        return total

    # Combinations, and local maxima

    def _list(self) -> Array | None:
        values = [v for v in self.choices if v is not None]
        if np.sum(np.log([len(v) for v in values])) > np.log(MOST_LISTED) + 1e-9:
            return None
        grid = np.stack(np.meshgrid(*(np.arange(len(v)) for v in values), indexing="ij"), axis=-1)
        picks = grid.reshape(-1, len(values))
        return np.concatenate([v[picks[:, i]] for i, v in enumerate(values)], axis=1)

    def _starts(self, rng: np.random.Generator) -> Array:
        """Random points, all first and all last values, and the most and least likely under q."""
        points = np.tile(self.member.mean, (N_RANDOM + 4, 1))
        for part, values in enumerate(self.choices):
            if values is None:
                continue
            Z, columns = np.tile(self.member.mean, (len(values), 1)), self._columns(part)
            Z[:, columns] = values
            likely = self.member.block_log_prob(Z)[:, part]
            picks = rng.integers(len(values), size=N_RANDOM + 4)
            picks[-4:] = 0, len(values) - 1, np.argmax(likely), np.argmin(likely)
            points[:, columns] = values[picks]
        return points

    def _values(self, points: Array) -> Array:
        values = self.target.attempt(points, with_gradient=False)[0]
        return np.where(np.isfinite(values), values, -np.inf)

    def _ascend(self, rng: np.random.Generator) -> list[_Optimum]:
        """Local maxima by coordinate ascent from all starts at once."""
        points = self._starts(rng)
        log_chances: dict[int, Array] = {}
        for _ in range(MOST_SWEEPS):
            before = points.copy()
            for part, values in enumerate(self.choices):
                if values is None:
                    continue
                tried = np.repeat(points[:, None], len(values), axis=1)
                tried[:, :, self._columns(part)] = values
                heights = self._values(tried.reshape(-1, points.shape[1])).reshape(tried.shape[:2])
                points = tried[np.arange(len(points)), np.argmax(heights, axis=1)]
                log_chances[part] = heights
            if np.array_equal(points, before):
                break
        points, first = np.unique(points, axis=0, return_index=True)
        heights = self._values(points)
        order = np.argsort(-heights, kind="stable")[:MOST_OPTIMA]
        return [
            _Optimum(float(heights[i]), points[i], self._chances(log_chances, first[i]))
            for i in order
            if heights[i] > heights[order[0]] - NEAR
        ]

    @staticmethod
    def _chances(log_chances: dict[int, Array], i: int) -> dict[int, Array]:
        """Log probabilities of values given the other parts, none of them too small."""
        found = {}
        for part, heights in log_chances.items():
            logs = heights[i]
            flat = np.full(len(logs), -np.log(len(logs)))
            own = log_softmax(logs) if np.any(np.isfinite(logs)) else flat
            least = LEAST_CHANCE
            found[part] = np.logaddexp(np.log1p(-least) + own, np.log(least) + flat)
        return found


def _log_choose(n: int, k: int) -> float:
    return float(np.sum(np.log(np.arange(n - k + 1, n + 1)) - np.log(np.arange(1, k + 1))))
