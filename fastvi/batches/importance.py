"""Batches of rows drawn with replacement, uniformly or by importance."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import AnyArray, Info
from fastvi.batches.base import Batches, Source
from fastvi.core import Batch

__all__ = ["AdaptiveImportance", "WithReplacement"]


class WithReplacement(Batches):
    """Rows drawn independently, by given norms or uniformly; an epoch draws about n_rows of them.

    A row drawn with probability p has weight 1 / (batch_size p), so that sums stay unbiased. Their
    variance is smallest if p is proportional to the norm of a row's term; a cheap bound on that
    (such as the length of a document) is used in its place.

    Parameters
    ----------
    source : Source
    batch_size : int
    seed : int
    norms : (n_rows,) array, optional
        Non-negative; uniform by default.
    uniform_share : float
        Share of the draws that is uniform, so that no weight exceeds n_rows / (batch_size
        uniform_share) and rows of norm 0 are seen.

    Raises
    ------
    ValueError
        If norms are negative or not finite, or the share is not in (0, 1].
    """

    def __init__(
        self,
        source: Source,
        batch_size: int,
        seed: int,
        norms: AnyArray | None = None,
        uniform_share: float = 0.1,
    ) -> None:
        self.source, self.batch_size, self.seed = source, batch_size, seed
        if not 0 < uniform_share <= 1:
            raise ValueError(f"uniform_share is {uniform_share}; wanted a number in (0, 1]")
        self.uniform_share = uniform_share
        self.norms = np.ones(source.n_rows) if norms is None else np.array(norms, float)
        if self.norms.shape != (source.n_rows,):
            raise ValueError(f"norms has shape {self.norms.shape}; wanted ({source.n_rows},)")
        if not (np.all(np.isfinite(self.norms)) and np.all(self.norms >= 0)):
            raise ValueError("norms hold negative or non-finite numbers; wanted numbers >= 0")

    def probabilities(self) -> NDArray[np.float64]:
        """Probability (n_rows,) that each row is the next one drawn."""
        most = self.norms.max(initial=0.0)
        uniform = np.full(len(self.norms), 1.0 / len(self.norms))
        if not most > 0:
            return uniform
        shares = self.norms / most  # sums of the norms themselves could overflow
        p: NDArray[np.float64] = (1 - self.uniform_share) * shares / shares.sum()
        return p + self.uniform_share * uniform

    def _rows(self, number: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Yield row numbers and probabilities by batch; they are fixed when the epoch begins."""
        n_rows = self.source.n_rows
        p = self.probabilities()
        ends = np.cumsum(p)
        rng = np.random.default_rng([self.seed, number])
        for _ in range(-(-n_rows // self.batch_size)):
            drawn = np.searchsorted(ends, rng.random(self.batch_size) * ends[-1], side="right")
            rows = np.sort(np.minimum(drawn, n_rows - 1))  # in the order of memory
            yield rows, p[rows]

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Yield as many batches as a pass over all rows has."""
        for i, (rows, p) in enumerate(self._rows(number)):
            if i >= skip:
                yield Batch(self.source.take(rows), 1.0 / (self.batch_size * p))


class AdaptiveImportance(WithReplacement):
    """Importance sampling by the norms that rows had when they were last seen.

    A row not seen yet gets the mean norm of the rows seen, scaled by its bound in `norms`. The
    draws of an epoch use the norms known at its beginning.
    """

    wants_noise = True

    def __init__(
        self, source: Source, batch_size: int, seed: int, norms: AnyArray | None = None
    ) -> None:
        super().__init__(source, batch_size, seed, norms)
        self.bound = self.norms.copy()
        self.seen = np.full(len(self.norms), np.nan)
        self._last = np.empty(0, np.int64)

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Yield as many batches as a pass over all rows has."""
        if skip == 0:
            self._learn()
        for i, (rows, p) in enumerate(self._rows(number)):
            if i >= skip:
                self._last = rows
                yield Batch(self.source.take(rows), 1.0 / (self.batch_size * p))

    def _learn(self) -> None:
        known = np.isfinite(self.seen)
        bound = self.bound[known].sum()
        if bound > 0:
            ratio = self.seen[known].sum() / bound
            self.norms = np.where(known, self.seen, ratio * self.bound)

    def observe(self, batch: Batch, info: Info) -> None:
        """Remember the norms of the rows of the last batch."""
        self.seen[self._last] = info["norms"]

    def save(self) -> dict[str, AnyArray]:
        """Return the norms in use and the norms seen since."""
        return {"norms": self.norms, "seen": self.seen}

    def restore(self, arrays: dict[str, AnyArray]) -> None:
        """Restore what `save` returned."""
        self.norms, self.seen = arrays["norms"].copy(), arrays["seen"].copy()
