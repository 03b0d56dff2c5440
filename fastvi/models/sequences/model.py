"""Hidden Markov models fitted by expectation maximisation, without scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fastvi.base import tree
from fastvi.base.typing import Array, Tree
from fastvi.batches import Part
from fastvi.core import Batch, Coordinates, Local
from fastvi.models.sequences.chains import Expected, Weights, chain_of
from fastvi.models.sequences.overlay import Emissions
from fastvi.models.sequences.stream import Stream

__all__ = [
    "Gathered",
    "Growth",
    "HiddenMarkov",
    "Parameters",
    "Rows",
    "Sequences",
    "States",
    "expected",
]


class Growth(NamedTuple):
    """The same rows with larger buffers, until posteriors at borders change by less than `tol`."""

    tol: float
    wider: Callable[[], Rows]


class Rows(Protocol):
    """Rows of the data in the order of a stream.

    `growth` says how sub-chains get larger buffers, if they should.
    """

    stream: Stream
    growth: Growth | None

    def of(self, stream: Stream, X: Array, /) -> Rows:
        """Other rows, laid out and measured as these."""

    def part(self, stream: Stream, rows: NDArray[np.int64], /) -> Rows:
        """Some of these rows, as another stream."""

    def weighed(self, coefficients: Any, /) -> Emissions:
        """Return likelihoods of states with these coefficients."""


class States(Protocol):
    """What rows look like in each state: a family of distributions, and how they are fitted."""

    def coefficients(self, rows: Any, params: Any) -> Any:
        """Return what `Rows.weighed` takes."""

    def sums(self, rows: Any, posterior: Array, params: Any) -> Any:
        """Return sums over rows, by posteriors of their states, on which `maximised` depends."""

    def maximised(self, rows: Any, sums: Any, params: Any) -> Any:
        """Return the parameters that maximise the expected log density plus log prior.

        Of the rows it sees only the coordinates of their sums.
        """


class Parameters(NamedTuple):
    """Probabilities of a chain (K,) and (K, K) [from, to], and of its states."""

    start: Array
    transitions: Array
    states: Tree

    @property
    def weights(self) -> Weights:
        """Those of the chain."""
        return Weights(self.start, self.transitions)


class Gathered(NamedTuple):
    """Sums over sequences: of first states, of pairs of states, over rows; log likelihood."""

    starts: Array
    pairs: Array
    sums: Tree
    log_norm: float


class Sequences:
    """All rows of all sequences, as one batch."""

    norms = None

    def __init__(self, rows: Rows) -> None:
        self.rows, self.n_rows = rows, rows.stream.n_rows

    def all(self) -> Rows:
        """Every row, in order."""
        return self.rows

    def take(self, rows: object) -> Rows:
        """Rows of a chain cannot be taken out of it."""
        raise NotImplementedError

    @property
    def borders(self) -> NDArray[np.int64]:
        """Where rows may be cut: between sequences."""
        return np.append(self.rows.stream.first, self.n_rows)

    def part(self, start: int, stop: int) -> Part:
        """The sequences from row `start` to ``stop - 1``."""
        stream, borders = self.rows.stream, self.borders
        lengths = np.diff(borders[(borders >= start) & (borders <= stop)])
        rows = np.arange(start, stop)
        own = Stream(lengths, stream.is_missing[rows], stream.n_threads)
        return Part(Sequences(self.rows.part(own, rows)))


class HiddenMarkov:
    """Expectation maximisation (Baum-Welch), in the form of a conjugate model.

    Its `local` returns the next parameters in place of statistics, under a prior of zeros, so a
    step of rate 1 goes there. The bound of a step is the log likelihood before it.

    Parameters
    ----------
    states : States
    template : Parameters
        Of the right shapes.
    start_prior, transitions_prior : float or array
        Concentrations of Dirichlet priors; 1 is flat.
    fitted : str
        "s" if the start is fitted, "t" if transitions are.
    """

    coordinates: Coordinates | None = None

    def __init__(
        self,
        states: States,
        template: Parameters,
        start_prior: Array | float = 1.0,
        transitions_prior: Array | float = 1.0,
        fitted: str = "st",
    ) -> None:
        self.states, self.fitted = states, fitted
        self.start_prior, self.transitions_prior = start_prior, transitions_prior
        self.prior: Parameters = tree.map_leaves(np.zeros_like, template)

    def local(
        self,
        params: Parameters,
        batch: Batch,
        start: Any,
        rng: np.random.Generator,
        *,
        norms: bool = False,
    ) -> Local:
        """Compute posteriors of states, and the parameters that maximise under them."""
        return self.maximised(params, batch.rows, self.gathered(params, batch.rows))

    def gathered(self, params: Parameters, rows: Rows) -> Gathered:
        """Return the sums of a pass, which add up over sequences."""
        emissions = rows.weighed(self.states.coefficients(rows, params.states))
        found = expected(rows.stream, params.weights, emissions)
        sums = self.states.sums(rows, found.posterior, params.states)
        return Gathered(found.starts, found.pairs, sums, found.log_norm)

    def maximised(self, params: Parameters, rows: Rows, found: Gathered) -> Local:
        """Return the parameters that maximise under the sums of a pass."""
        states = self.states.maximised(rows, found.sums, params.states)
        first, pairs = params.start, params.transitions
        if "s" in self.fitted:
            first = _normalised(first, found.starts + self.start_prior - 1)
        if "t" in self.fitted:
            pairs = _normalised(pairs, found.pairs + self.transitions_prior - 1)
        return Local(Parameters(first, pairs, states), found.log_norm, None)

    def global_bound(self, params: Parameters) -> float:
        """Return 0: parameters are points."""
        return 0.0

    def confine(self, params: Parameters, step: Parameters) -> Parameters:
        """Return the step, which never leaves the domain."""
        return step


def expected(stream: Stream, weights: Weights, emissions: Emissions) -> Expected:
    """Pass over all sequences, of which each must be possible; the next pass overwrites this."""
    found = chain_of(stream, len(weights.start)).expect(weights, emissions)
    if len(found.impossible):
        ends = np.append(stream.first[1:], stream.n_rows)
        i = int(found.impossible[0])
        more = len(found.impossible) - 1
        others = f", as {more} others are" if more > 1 else ", as another one is" if more else ""
        raise ValueError(
            f"sequence {i} of X (rows {stream.first[i]} to {ends[i] - 1}) is impossible: no path "
            f"through the states explains it{others}; wanted a start without zeros in its way"
        )
    return found


def _normalised(old: Array, counts: Array) -> Array:
    """Shares of counts along the last axis; what was 0 stays 0, and rows without counts stay."""
    counts = np.where(old == 0, 0.0, np.maximum(counts, 0.0))
    total = counts.sum(axis=-1, keepdims=True)
    return np.where(total > 0, counts / np.where(total > 0, total, 1.0), old)
