"""Which rows a step sees, and with which weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastvi.base import tree
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
    """Data in memory that hands out rows.

    `norms` (n_rows,) are about proportional to the norms of rows' statistics, or bound them, for
    importance sampling; None if they are not known.
    """

    n_rows: int

    @property
    def norms(self) -> NDArray[np.float64] | None:
        """As above."""
        ...

    def all(self) -> Any:
        """Every row, in order."""
        ...

    def take(self, rows: Any) -> Any:
        """The rows with these numbers."""
        ...


class InMemory:
    """Arrays by row: one array, or a NamedTuple of arrays of one length, as they are."""

    def __init__(self, rows: Any) -> None:
        self.rows, self.n_rows = rows, len(tree.leaves(rows)[0])

    @property
    def norms(self) -> NDArray[np.float64] | None:
        """Not known."""
        return None

    def all(self) -> Any:
        """Every row, in order."""
        return self.rows

    def take(self, rows: NDArray[np.integer[Any]]) -> Any:
        """The rows with these numbers."""
        return tree.map_leaves(lambda array: array[rows], self.rows)


class Batches(Protocol):
    """A plan of batches that can be entered anywhere, so that a fit can be resumed.

    `wants_noise` asks the gradient for the noise and the norms of rows, `wants_squared_norm` for
    its own squared norm, that `observe` learns from.
    """

    wants_noise: bool = False
    wants_squared_norm: bool = False

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """The batches of epoch `number` but the first `skip`; the same for the same arguments."""
        ...

    def observe(self, batch: Batch, info: dict[str, Any]) -> None:
        """See what the step on a batch reported; plans that do not adapt ignore it."""
        return

    def save(self) -> dict[str, NDArray[Any]]:
        """What was learnt from steps, as arrays."""
        return {}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take up what `save` gave."""
        return


class Everything(Batches):
    """One batch of all rows an epoch."""

    def __init__(self, source: Source) -> None:
        self._batch = Batch(source.all(), np.ones(source.n_rows))

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """The one batch, or none if it is skipped."""
        if skip == 0:
            yield self._batch


class Passes(Batches):
    """For steps that look at all of the data in their own way: one empty batch an epoch."""

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """The batch, of no rows (None), or none if it is skipped."""
        if skip == 0:
            yield Batch(None, np.empty(0))


class ShuffledEpochs(Batches):
    """Uniform mini-batches without replacement, in a new order each epoch.

    The order of epoch e is drawn from (seed, e). Batches are of equal size to within one, at most
    `batch_size`: a small one at the end would weigh as much as the others and say little.

    Parameters
    ----------
    source : Source
    batch_size : int
    seed : int
    population_size : float, optional
        How many rows the result is to stand for; by default those of the source.
    """

    def __init__(
        self, source: Source, batch_size: int, seed: int, population_size: float | None = None
    ) -> None:
        self.source, self.batch_size, self.seed = source, batch_size, seed
        self.population_size = source.n_rows if population_size is None else population_size

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Mini-batches of one epoch; each row weighs population_size / rows in its batch."""
        n_rows = self.source.n_rows
        order = np.random.default_rng([self.seed, number]).permutation(n_rows)
        n_batches = -(-n_rows // self.batch_size)
        bounds = np.arange(n_batches + 1) * n_rows // max(n_batches, 1)
        for i in range(skip, n_batches):
            rows = order[bounds[i] : bounds[i + 1]]
            weights = np.full(len(rows), self.population_size / len(rows))
            yield Batch(self.source.take(rows), weights)


class WithReplacement(Batches):
    """Rows drawn independently, by given norms or uniformly; an epoch draws as many as there are.

    A row drawn with probability p weighs 1 / (batch_size p), so that sums stay unbiased. The
    variance of a sum is least if p is proportional to the norm of a row's term, for which a bound
    that is cheap to know (the length of a document) stands in.

    Parameters
    ----------
    source : Source
    batch_size : int
    seed : int
    norms : (n_rows,) array, optional
        Non-negative; uniform by default.
    uniform_share : float
        Share of the draws that is uniform all the same, so that no weight is above
        n_rows / (batch_size uniform_share) and rows of norm 0 are seen.

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
        norms: NDArray[Any] | None = None,
        uniform_share: float = 0.1,
    ) -> None:
        self.source, self.batch_size, self.seed = source, batch_size, seed
        if not 0 < uniform_share <= 1:
            raise ValueError(f"uniform_share is {uniform_share}; wanted a number in (0, 1]")
        self.uniform_share = uniform_share
        self.norms = np.ones(source.n_rows) if norms is None else np.array(norms, float)
        if self.norms.shape != (source.n_rows,):
            raise ValueError(f"norms are of shape {self.norms.shape}; wanted ({source.n_rows},)")
        if not (np.all(np.isfinite(self.norms)) and np.all(self.norms >= 0)):
            raise ValueError("norms hold negative or non-finite numbers; wanted numbers >= 0")

    def probabilities(self) -> NDArray[np.float64]:
        """Of each row to be the next one drawn, (n_rows,)."""
        most = self.norms.max(initial=0.0)
        uniform = np.full(len(self.norms), 1.0 / len(self.norms))
        if not most > 0:
            return uniform
        shares = self.norms / most  # sums of the norms themselves could overflow
        p: NDArray[np.float64] = (1 - self.uniform_share) * shares / shares.sum()
        return p + self.uniform_share * uniform

    def _rows(self, number: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Row numbers and probabilities, batch by batch; fixed when the epoch begins."""
        n_rows = self.source.n_rows
        p = self.probabilities()
        ends = np.cumsum(p)
        rng = np.random.default_rng([self.seed, number])
        for _ in range(-(-n_rows // self.batch_size)):
            drawn = np.searchsorted(ends, rng.random(self.batch_size) * ends[-1], side="right")
            rows = np.sort(np.minimum(drawn, n_rows - 1))  # in the order of memory
            yield rows, p[rows]

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """As many batches as a pass over all rows has."""
        for i, (rows, p) in enumerate(self._rows(number)):
            if i >= skip:
                yield Batch(self.source.take(rows), 1.0 / (self.batch_size * p))


class AdaptiveImportance(WithReplacement):
    """Importance sampling by the norms that rows were last seen to have.

    Rows not seen yet count with the mean of those seen, scaled by the bound in `norms`. Draws of an
    epoch are by what was known when it began.
    """

    wants_noise = True

    def __init__(
        self,
        source: Source,
        batch_size: int,
        seed: int,
        norms: NDArray[Any] | None = None,
        uniform_share: float = 0.1,
    ) -> None:
        super().__init__(source, batch_size, seed, norms, uniform_share)
        self.bound = self.norms.copy()
        self.seen = np.full(len(self.norms), np.nan)
        self._last = np.empty(0, np.int64)

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """As many batches as a pass over all rows has."""
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

    def observe(self, batch: Batch, info: dict[str, Any]) -> None:
        """Remember the norms of the rows of the last batch."""
        self.seen[self._last] = info["norms"]

    def save(self) -> dict[str, NDArray[Any]]:
        """Norms in use, and norms seen since."""
        return {"norms": self.norms, "seen": self.seen}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take up what `save` gave."""
        self.norms, self.seen = arrays["norms"].copy(), arrays["seen"].copy()


class AdaptiveSize(Batches):
    """Shuffled epochs whose batches grow or shrink with the noise of the gradient.

    With V the trace of one row's covariance and G the squared norm of the gradient, both running
    means, the next batch has about V / (theta^2 G) rows, so that the noise stays below `theta`
    times the signal (De et al. 2017, eq. 5). With ``theta=None`` the size is coupled to the rate
    rho of the steps: 2 rho / (2 - rho) V / G, the size of the largest expected gain a row (Balles
    et al. 2017, eq. 9, with the natural gradient's Lipschitz constant of 1).

    Parameters
    ----------
    source : Source
    batch_size : int
        The first batch's, and the least.
    seed : int
    theta : float, optional
    largest : int, optional
        No batch is larger, an eighth of all rows by default, but for the last of an epoch, which
        takes along what would be less than `batch_size`.
    memory : float
        Share of the running means that is kept at a step.

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
        """Batches without replacement until all rows are used; the size is set as it goes."""
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

    def observe(self, batch: Batch, info: dict[str, Any]) -> None:
        """Set the next batch's size."""
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

    def save(self) -> dict[str, NDArray[Any]]:
        """Size, running means and place."""
        return {"size": self._state.copy()}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take up what `save` gave."""
        self._state = arrays["size"].copy()


class Stream(Batches):
    """Batches from an iterator, once, of a population whose size may be unknown.

    Parameters
    ----------
    parts : iterable of (rows, n_rows)
        Rows as the model takes them, and their number.
    population_size : float or {"seen", "batch"}
        How many rows the result is to stand for. ``"seen"``: as many as were seen so far, this
        batch included, so that the posterior grows with the stream. ``"batch"``: each batch stands
        for itself alone, as `fastvi.models.streaming` has it.

    Raises
    ------
    ValueError
        If `population_size` is neither a number above 0 nor one of these words.
    """

    def __init__(
        self, parts: Iterable[tuple[Any, int]], population_size: float | str = "seen"
    ) -> None:
        known = population_size in ("seen", "batch")
        if not known and (isinstance(population_size, str) or not population_size > 0):
            raise ValueError(
                f"population_size is {population_size!r}; wanted a number > 0, 'seen' or 'batch'"
            )
        self.parts = iter(parts)
        self.population_size = population_size
        self.n_seen = 0

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """What the iterator still has.

        Raises
        ------
        ValueError
            If a second epoch is asked for, or a start in the middle.
        """
        if number or skip:
            raise ValueError("a stream is read once, from its beginning: n_epochs is 1")
        for rows, n_rows in self.parts:
            self.n_seen += n_rows
            yield Batch(rows, np.full(n_rows, self._population(n_rows) / n_rows))

    def _population(self, n_rows: int) -> float:
        if isinstance(self.population_size, str):
            return self.n_seen if self.population_size == "seen" else n_rows
        return self.population_size
