"""Mini-batches: which rows a step sees, and with which weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastvi.base import tree
from fastvi.base.typing import AnyArray, Indices, Info
from fastvi.core import Batch

__all__ = [
    "AdaptiveImportance",
    "AdaptiveSize",
    "Batches",
    "Everything",
    "InMemory",
    "Passes",
    "ShuffledEpochs",
    "Source",
    "Stream",
    "WithReplacement",
]


class Source(Protocol):
    """Data in memory that returns rows.

    `norms` (n_rows,) are roughly proportional to the norms of the rows' statistics, or bound them;
    importance sampling uses them. They are None if unknown.
    """

    n_rows: int

    @property
    def norms(self) -> NDArray[np.float64] | None:
        """Norms of the rows, or None."""
        ...

    def all(self) -> Any:
        """Every row, in order."""
        ...

    def take(self, rows: Any) -> Any:
        """The rows with these numbers."""
        ...


class InMemory:
    """Arrays by row: one array, or a NamedTuple of arrays of the same length."""

    def __init__(self, rows: Any) -> None:
        self.rows, self.n_rows = rows, len(tree.leaves(rows)[0])

    @property
    def norms(self) -> NDArray[np.float64] | None:
        """None: the norms are unknown."""
        return None

    def all(self) -> Any:
        """Every row, in order."""
        return self.rows

    def take(self, rows: Indices) -> Any:
        """The rows with these numbers."""
        return tree.map_leaves(lambda array: array[rows], self.rows)


class Batches(Protocol):
    """A sequence of batches that can be entered at any point, so that a fit can be resumed.

    `wants_noise` asks the gradient for the noise and the norms of rows, `wants_squared_norm` for
    its own squared norm; `observe` learns from them.
    """

    wants_noise: bool = False
    wants_squared_norm: bool = False

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Yield the batches of epoch `number` after the first `skip`; the same at each call."""
        ...

    def observe(self, batch: Batch, info: Info) -> None:
        """Learn from what the step on a batch reported; does nothing by default."""
        return

    def save(self) -> dict[str, AnyArray]:
        """Return what was learned from steps, as arrays."""
        return {}

    def restore(self, arrays: dict[str, AnyArray]) -> None:
        """Restore what `save` returned."""
        return


class Everything(Batches):
    """One batch of all rows per epoch."""

    def __init__(self, source: Source) -> None:
        self._batch = Batch(source.all(), np.ones(source.n_rows))

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Yield the one batch, unless it is skipped."""
        if skip == 0:
            yield self._batch


class Passes(Batches):
    """One empty batch per epoch, for steps that read all of the data in their own way."""

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Yield a batch without rows (None), unless it is skipped."""
        if skip == 0:
            yield Batch(None, np.empty(0))


class ShuffledEpochs(Batches):
    """Uniform mini-batches without replacement, in a new order each epoch.

    The order of epoch e is drawn from (seed, e). Batch sizes differ by at most one and do not
    exceed `batch_size`: a small last batch would be noisy, but count as much as the others.

    Parameters
    ----------
    source : Source
    batch_size : int
    seed : int
    population_size : float, optional
        Number of rows that the result represents; by default those of the source.
    """

    def __init__(
        self, source: Source, batch_size: int, seed: int, population_size: float | None = None
    ) -> None:
        self.source, self.batch_size, self.seed = source, batch_size, seed
        self.population_size = source.n_rows if population_size is None else population_size

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Yield the mini-batches of one epoch, with weights population_size / batch size."""
        n_rows = self.source.n_rows
        order = np.random.default_rng([self.seed, number]).permutation(n_rows)
        n_batches = -(-n_rows // self.batch_size)
        bounds = np.arange(n_batches + 1) * n_rows // max(n_batches, 1)
        for i in range(skip, n_batches):
            rows = order[bounds[i] : bounds[i + 1]]
            weights = np.full(len(rows), self.population_size / len(rows))
            yield Batch(self.source.take(rows), weights)


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


class AdaptiveSize(Batches):
    """Shuffled epochs whose batches grow or shrink with the noise of the gradient.

    Let V be the trace of one row's covariance and G the squared norm of the gradient, both as
    running means. The next batch has about V / (theta^2 G) rows, so that the noise stays below
    `theta` times the signal (De et al. 2017, eq. 5). With ``theta=None`` the size is coupled to the
    learning rate rho: 2 rho / (2 - rho) V / G maximises the expected gain per row (Balles et al.
    2017, eq. 9, with Lipschitz constant 1 for the natural gradient).

    Parameters
    ----------
    source : Source
    batch_size : int
        Size of the first batch, and the smallest size.
    seed : int
    theta : float, optional
    largest : int, optional
        Largest size, an eighth of all rows by default. Only the last batch of an epoch may be
        larger, if fewer than `batch_size` rows would remain.
    memory : float
        Share of the running means that is kept at each step.

    Raises
    ------
    ValueError
        If `theta` is not above 0.
    """

    wants_noise = True
    wants_squared_norm = True

    def __init__(
        self,
        source: Source,
        batch_size: int,
        seed: int,
        *,
        theta: float | None = None,
        largest: int | None = None,
        memory: float = 0.8,
    ) -> None:
        if theta is not None and not theta > 0:
            raise ValueError(f"theta is {theta}; wanted a number > 0, or None")
        self.source, self.seed, self.theta, self.memory = source, seed, theta, memory
        self.least = min(batch_size, source.n_rows)
        self.largest = max(largest or source.n_rows // 8, self.least)
        # size of the next batch, running means of V and G, their weight, rows of this epoch used
        self._state = np.array([self.least, 0.0, 0.0, 0.0, 0.0])

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Yield batches without replacement until all rows are used; sizes adapt along the way."""
        n_rows = self.source.n_rows
        order = np.random.default_rng([self.seed, number]).permutation(n_rows)
        if skip == 0:
            self._state[4] = 0
        while (used := int(self._state[4])) < n_rows:
            stop = used + int(self._state[0])
            if n_rows - stop < self.least:  # no small batch at the end
                stop = n_rows
            self._state[4] = stop
            rows = order[used:stop]
            yield Batch(self.source.take(rows), np.full(len(rows), n_rows / len(rows)))

    def observe(self, batch: Batch, info: Info) -> None:
        """Set the size of the next batch."""
        n, noise, rate = len(batch.weights), info["noise"], info["rate"]
        if not np.isfinite(noise):
            return
        keep, news = self.memory, 1 - self.memory
        self._state[1:4] *= keep
        self._state[1:4] += news * np.array([n * noise, info["squared_norm"] - noise, 1.0])
        variance, signal = self._state[1:3] / self._state[3]
        factor = 2 * rate / (2 - rate) if self.theta is None else self.theta**-2
        wanted = factor * variance / signal if signal > 0 else np.inf
        self._state[0] = int(np.clip(wanted, self.least, self.largest))

    def save(self) -> dict[str, AnyArray]:
        """Return the size, the running means and the position."""
        return {"size": self._state.copy()}

    def restore(self, arrays: dict[str, AnyArray]) -> None:
        """Restore what `save` returned."""
        self._state = arrays["size"].copy()


class Stream(Batches):
    """Batches from an iterator, read once, of a population whose size may be unknown.

    Parameters
    ----------
    parts : iterable of (rows, weights)
        Rows as the model takes them, and how many rows of the population each counts as, (n,):
        ones, unless the rows have weights of their own.
    population_size : float or {"seen", "batch"}
        Number of rows that the result represents. ``"seen"``: those seen so far, this batch
        included, so that the posterior grows with the stream. ``"batch"``: each batch represents
        only itself, as in `fastvi.models.streaming`.

    Raises
    ------
    ValueError
        If `population_size` is neither a number above 0 nor one of these words.
    """

    def __init__(
        self,
        parts: Iterable[tuple[Any, NDArray[np.float64]]],
        population_size: float | str = "seen",
    ) -> None:
        known = population_size in ("seen", "batch")
        if not known and (isinstance(population_size, str) or not population_size > 0):
            raise ValueError(
                f"population_size is {population_size!r}; wanted a number > 0, 'seen' or 'batch'"
            )
        self.parts = iter(parts)
        self.population_size = population_size
        self.n_seen = 0.0

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Yield the remaining batches of the iterator.

        Raises
        ------
        ValueError
            If a second epoch or a start in the middle is requested.
        """
        if number or skip:
            raise ValueError("a stream is read once, from its beginning; wanted n_epochs=1")
        for rows, weights in self.parts:
            size = float(weights.sum())
            self.n_seen += size
            yield Batch(rows, np.full(len(weights), self._population(size) / size))

    def _population(self, size: float) -> float:
        if isinstance(self.population_size, str):
            return self.n_seen if self.population_size == "seen" else size
        return self.population_size
