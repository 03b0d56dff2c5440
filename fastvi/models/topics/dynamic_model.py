"""Dynamic topic models without scikit-learn: their documents, prior, and coordinate ascent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base import parallel
from fastvi.base.bags import Bags
from fastvi.base.typing import AnyArray, Array
from fastvi.core import Algorithm, Batch
from fastvi.kernels import dynamic as kernels
from fastvi.kernels import sparse
from fastvi.kernels.dynamic import Chains, Move, Pairs, Prior
from fastvi.models.counts import chunks_of, padded

__all__ = [
    "DynamicModel",
    "Single",
    "SlicedCorpus",
    "Start",
    "State",
    "ascent",
    "chain_moments",
    "empty_state",
    "first_state",
    "no_move",
    "padded_alpha",
    "pairs_of",
    "prior_of",
    "settle",
    "sorted_by",
    "start_of",
    "sweep",
    "totals_of",
]

CHUNK_CELLS = 400_000  # words x slices x topics per chunk, about 1 ms
N_SWEEPS = 2  # over the chains per pass over the documents
N_WARM = 10  # passes over the documents under the topics to start from
FIRST_VARIANCE = 1e-2  # of the chains' posterior

Single = NDArray[np.float32]


class SlicedCorpus(NamedTuple):
    """Documents sorted by slice, and their transpose.

    Attributes
    ----------
    indptr : (D + 1,) int64 array
    words, counts : (N,) int32, (N,) float32 arrays
    slices : (D,) int64 array
        Ascending.
    pair_starts : (V + 1,) int64 array
        First pair of each word; a pair is a word and a slice that has it.
    pair_slices : (P,) int64 array
    bounds : (P + 1,) int64 array
        First of each pair's `entries`.
    entries : (N,) int64 array
        Indices of entries by word.
    n_slices : int
    """

    indptr: NDArray[np.int64]
    words: NDArray[np.int32]
    counts: Single
    slices: NDArray[np.int64]
    pair_starts: NDArray[np.int64]
    pair_slices: NDArray[np.int64]
    bounds: NDArray[np.int64]
    entries: NDArray[np.int64]
    n_slices: int

    @property
    def n_words(self) -> int:
        """Size of the vocabulary."""
        return len(self.pair_starts) - 1

    @classmethod
    def of(cls, bags: Bags, slices: NDArray[np.int64], n_slices: int) -> SlicedCorpus:
        """Sort documents, given the slice of each (D,)."""
        order, indptr, words, counts = sorted_by(slices, bags)
        columns = np.empty(bags.n_words + 1, np.int64)
        documents = np.empty(len(words), np.int32)
        entries = np.empty(len(words), np.int64)
        sparse.transpose(indptr, words, columns, documents, entries)
        slices = slices[order]
        when, owner = slices[documents], np.repeat(np.arange(bags.n_words), np.diff(columns))
        new = np.ones(len(when), bool)
        new[1:] = (when[1:] != when[:-1]) | (owner[1:] != owner[:-1])
        first = np.flatnonzero(new)
        pair_starts = np.searchsorted(first, columns).astype(np.int64)
        bounds = np.append(first, len(words)).astype(np.int64)
        return cls(
            indptr, words, counts, slices, pair_starts, when[first], bounds, entries, n_slices
        )

    def by_slice(self, rows: AnyArray) -> Array:
        """Sums of rows (D, n) over the documents of each slice, (T, n), in float64."""
        bounds = np.searchsorted(self.slices, np.arange(self.n_slices + 1))
        sums = np.zeros((self.n_slices, rows.shape[1]))
        for t in range(self.n_slices):
            sums[t] = rows[bounds[t] : bounds[t + 1]].sum(axis=0, dtype=np.float64)
        return sums


def sorted_by(slices: NDArray[np.int64], bags: Bags) -> tuple[NDArray[np.int64], Any, Any, Any]:
    """Return an order of documents by slice, and their CSR arrays in this order, in float32."""
    order = np.argsort(slices, kind="stable")
    lengths = np.diff(bags.indptr)[order]
    indptr = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    words = np.empty(len(bags.indices), np.int32)
    counts = np.empty(len(words), np.float32)
    given = np.asarray(bags.counts, np.float32)
    sparse.take_rows(bags.indptr, bags.indices, given, order, indptr, words, counts)
    return order, indptr, words, counts


class Start(NamedTuple):
    """Prior of the chains in the first slice; those of the drift are empty if there is none.

    Attributes
    ----------
    mean, variance : (V, K padded) float32 arrays
    drift_mean, drift_variance : (V,) or (0,) float32 arrays
    """

    mean: Single
    variance: Single
    drift_mean: Single
    drift_variance: Single


@dataclass(frozen=True, eq=False)
class DynamicModel:
    """A dynamic topic model: all that a fit does not learn.

    Parameters
    ----------
    alpha : (n_topics,) float64 array
        Dirichlet prior of proportions.
    start : Start
    gaps : (T - 1,) float64 array
        Distances between slices, in units of the variances of a step.
    keep : float
        Share of the drift that is kept per step.
    learns : bool
        Whether the variances of steps are learned.
    n_threads : int
        Results do not depend on it.
    """

    alpha: Array
    start: Start
    gaps: Array
    keep: float = 0.0
    learns: bool = True
    n_threads: int = 1

    @property
    def has_drift(self) -> bool:
        """Whether words have a drift that all topics share."""
        return len(self.start.drift_mean) > 0

    @property
    def kept(self) -> Array:
        """Share of the drift that is kept from each slice to the next, (T - 1,)."""
        return self.keep**self.gaps

    @property
    def drift_gaps(self) -> Array:
        """Variances of the drift's steps (T - 1,), in units of that of one step."""
        return (1.0 - self.kept**2) / (1.0 - self.keep**2)

    def chunks(self) -> NDArray[np.int64]:
        """Boundaries of chunks of words, which depend only on sizes."""
        n_words, width = self.start.mean.shape
        per_word = (len(self.gaps) + 1) * width
        return parallel.split(np.arange(n_words + 1) * per_word, CHUNK_CELLS)


class State(NamedTuple):
    """State of a fit.

    Attributes
    ----------
    g : (N, K padded) uint16 array
        Responsibilities in units of 1 / 65535.
    doc_topic : (D, K padded) float32 array
        Expected counts plus prior.
    chains : Chains
    zeta : (T, K padded) float64 array
        Sums over words of the chains' weights.
    chain_variance, drift_variance : float
        Variances of a step.
    alpha : (n_topics,) float64 array
        The prior of proportions, which comes from the static topics.
    """

    g: NDArray[np.uint16]
    doc_topic: Single
    chains: Chains
    zeta: Array
    chain_variance: float
    drift_variance: float
    alpha: Array


def prior_of(model: DynamicModel, chain_variance: float, drift_variance: float) -> Prior:
    """Return the chains' prior in the form that kernels take."""
    start, first = model.start, np.zeros(1)
    steps = np.concatenate((first, chain_variance * model.gaps))
    drift: list[Any] = [np.zeros(0)] * 4
    if model.has_drift:
        kept = np.concatenate((first, model.kept))
        drift_steps = np.concatenate((first, drift_variance * model.drift_gaps))
        drift = [start.drift_mean, start.drift_variance, kept, drift_steps]
    parts = (start.mean, start.variance, steps, *drift)
    return Prior(*(np.ascontiguousarray(part, np.float32) for part in parts))


def first_state(
    model: DynamicModel,
    corpus: SlicedCorpus,
    topics: AnyArray,
    chain_variance: float,
    drift_variance: float,
) -> State:
    """Start all slices from the same topics (V, K padded), probabilities of words."""
    n_topics = len(model.alpha)
    state = empty_state(model, corpus)._replace(
        chain_variance=chain_variance, drift_variance=drift_variance, alpha=model.alpha
    )
    chains = state.chains
    chains.weights[:, :, :n_topics] = topics[:, None, :n_topics]
    chains.means[:, :, :n_topics] = np.log(chains.weights[:, :, :n_topics])
    for variances in (chains.variances, chains.drift_variances):
        variances[:] = FIRST_VARIANCE
    for _ in range(N_WARM):
        assign(model, corpus, state)
    totals = totals_of(model, corpus, state).astype(np.float32)
    np.multiply(chains.weights, totals, out=chains.sites)
    return state


def empty_state(model: DynamicModel, corpus: SlicedCorpus) -> State:
    """Return a state without content, which a checkpoint may fill."""
    (n_words, width), n_slices = model.start.mean.shape, corpus.n_slices
    drift = n_words, n_slices if model.has_drift else 0
    shapes = ((n_words, n_slices, width),) * 3 + (drift, drift, (n_words, n_slices, width))
    return State(
        np.zeros((len(corpus.words), width), np.uint16),
        np.zeros((len(corpus.slices), width), np.float32),
        Chains(*(np.zeros(shape, np.float32) for shape in shapes)),
        np.ones((n_slices, width)),
        0.0,
        0.0,
        np.ones(len(model.alpha)),
    )


def padded_alpha(alpha: Array) -> Single:
    """The prior of proportions, (K padded,)."""
    result = np.zeros(padded(len(alpha)), np.float32)
    result[: len(alpha)] = alpha
    return result


def assign(model: DynamicModel, corpus: SlicedCorpus, state: State) -> float:
    """Update responsibilities in place; return the score of the tokens, in nats."""
    alpha = padded_alpha(model.alpha)
    inverse = (1.0 / state.zeta).astype(np.float32)
    scores = np.empty(len(corpus.slices))
    chunks = chunks_of(corpus.indptr, len(model.alpha))

    def task(i: int) -> None:
        kernels.assign(
            chunks[i], chunks[i + 1], corpus.indptr, corpus.words, corpus.counts, corpus.slices,
            alpha, inverse, state.chains.weights, 1, 0.0, state.g, state.doc_topic, scores,
        )  # fmt: skip

    parallel.run(task, len(chunks) - 1, model.n_threads)
    return float(scores.sum())


def pairs_of(model: DynamicModel, corpus: SlicedCorpus, state: State) -> Pairs:
    """Expected counts of words in topics, by slice."""
    counts = np.empty((len(corpus.pair_slices), state.g.shape[1]), np.float32)
    chunks = chunks_of(corpus.bounds, len(model.alpha), passes=10)

    def task(i: int) -> None:
        kernels.gather(
            chunks[i], chunks[i + 1], corpus.bounds, corpus.entries, corpus.counts, state.g, counts
        )

    parallel.run(task, len(chunks) - 1, model.n_threads)
    return Pairs(corpus.pair_starts, corpus.pair_slices, counts)


def no_move(state: State) -> Move:
    """Return what takes nothing off."""
    shape = state.zeta.shape
    drift = np.zeros(state.chains.drift_means.shape[1], np.float32)
    return Move(np.zeros(shape, np.float32), drift, np.ones(shape, np.float32))


def sweep(
    model: DynamicModel, pairs: Pairs, totals: Array, state: State, move: Move
) -> tuple[State, Move]:
    """Update the chains in place, given expected counts and their sums over words (T, K padded).

    Returns also what centres them: their mean deviation from the prior, which topics do not depend
    on, and without which it would take many sweeps to reach the optimum.
    """
    prior = prior_of(model, state.chain_variance, state.drift_variance)
    rates = (totals / state.zeta).astype(np.float32)
    chunks, n_slices = model.chunks(), len(totals)
    n_chunks = len(chunks) - 1
    zeta, sums = np.zeros((2, n_chunks, *totals.shape))
    drift_sums = np.zeros((n_chunks, n_slices if model.has_drift else 0))

    def task(i: int) -> None:
        kernels.sweep(
            chunks[i], chunks[i + 1], pairs, prior, rates, move, state.chains, zeta[i], sums[i],
            drift_sums[i],
        )  # fmt: skip

    parallel.run(task, n_chunks, model.n_threads)
    n_words = chunks[-1]
    topics, drift = sums.sum(axis=0) / n_words, drift_sums.sum(axis=0) / n_words
    topics[:, len(model.alpha) :] = 0.0
    topics, drift = topics.astype(np.float32), drift.astype(np.float32)
    scale = np.exp(-topics.astype(np.float64) - (drift[:, None] if model.has_drift else 0.0))
    zeta = zeta.sum(axis=0)
    return state._replace(zeta=zeta), Move(topics, drift, scale.astype(np.float32))


class Moments(NamedTuple):
    """Sums over words and topics: (T,) each, as in `fastvi.kernels.dynamic.moments`, and `bound`,
    the chains' part of the bound in nats.
    """

    increments: Array
    drift_increments: Array
    bound: float


def settle(
    model: DynamicModel, pairs: Pairs, totals: Array, state: State, move: Move
) -> tuple[State, Moments]:
    """Centre the chains in place, and return them with their moments and whole bound."""
    found = chain_moments(
        model, pairs, move, state.chains, state.chain_variance, state.drift_variance
    )
    state, n = state._replace(zeta=state.zeta * move.scale), len(model.alpha)
    normaliser = float((totals[:, :n] * np.log(state.zeta[:, :n])).sum())
    return state, found._replace(bound=found.bound - normaliser)


def chain_moments(
    model: DynamicModel,
    pairs: Pairs,
    move: Move,
    chains: Chains,
    chain_variance: float,
    drift_variance: float,
) -> Moments:
    """Take `move` off the chains, and return their moments; the bound lacks -N log zeta."""
    prior = prior_of(model, chain_variance, drift_variance)
    chunks, n = model.chunks(), len(model.alpha)
    n_chunks, (n_words, n_slices, width) = len(chunks) - 1, chains.means.shape
    increments = np.zeros((n_chunks, n_slices, width))
    drift = np.zeros((n_chunks, chains.drift_means.shape[1]))
    bounds = np.zeros((n_chunks, 1))

    def task(i: int) -> None:
        kernels.moments(
            chunks[i], chunks[i + 1], n, pairs, prior, move, chains, increments[i], drift[i],
            bounds[i],
        )  # fmt: skip

    parallel.run(task, n_chunks, model.n_threads)
    by_slice, drift_increments = increments[:, :, :n].sum(axis=(0, 2)), drift.sum(axis=0)
    bound = bounds.sum() + 0.5 * n_words * n_slices * (n + model.has_drift)
    for squares, steps in ((by_slice, prior.steps), (drift_increments, prior.drift_steps)):
        scales = np.concatenate(([1.0], steps[1:].astype(np.float64)))[: len(squares)]
        bound -= 0.5 * (squares / scales).sum()
    return Moments(by_slice, drift_increments, float(bound))


def _with_variances(model: DynamicModel, state: State, found: Moments) -> State:
    """Learn the variances of steps, by a step of EM."""
    n_words, n_steps = len(model.start.mean), len(model.gaps)
    if not model.learns or not n_steps:
        return state
    squares = (found.increments[1:] / model.gaps).sum()
    state = state._replace(chain_variance=float(squares / (n_words * n_steps * len(model.alpha))))
    if model.has_drift:
        squares = (found.drift_increments[1:] / model.drift_gaps).sum()
        state = state._replace(drift_variance=float(squares / (n_words * n_steps)))
    return state


def ascent(given: DynamicModel, corpus: SlicedCorpus, n_sweeps: int = N_SWEEPS) -> Algorithm:
    """Coordinate ascent: a step is a pass over all documents, then sweeps over all chains."""
    n_tokens = float(corpus.counts.sum(dtype=np.float64))

    def step(
        state: State, batch: Batch | None, rng: np.random.Generator
    ) -> tuple[State, dict[str, float]]:
        model = replace(given, alpha=state.alpha)
        score = assign(model, corpus, state)
        pairs = pairs_of(model, corpus, state)
        totals = totals_of(model, corpus, state)
        move = no_move(state)
        for _ in range(n_sweeps):
            state, move = sweep(model, pairs, totals, state, move)
        state, found = settle(model, pairs, totals, state, move)
        info = {"training_score": score / n_tokens, "chain_elbo": found.bound}
        info["chain_variance"] = state.chain_variance
        if model.has_drift:
            info["drift_variance"] = state.drift_variance
        return _with_variances(model, state, found), info

    return Algorithm(lambda state: state, step)


def totals_of(model: DynamicModel, corpus: SlicedCorpus, state: State) -> Array:
    """Expected counts of topics by slice, (T, K padded)."""
    n = len(model.alpha)
    totals = corpus.by_slice(state.doc_topic)
    totals[:, :n] -= np.outer(np.bincount(corpus.slices, minlength=corpus.n_slices), model.alpha)
    return np.maximum(totals, 0.0)


def start_of(
    word_counts: Array, n_topics: int, initial_variance: float, drift_variance: float | None
) -> Start:
    """The prior of the first slice: word frequencies (V,), the same for all topics."""
    shape = len(word_counts), padded(n_topics)
    frequency = np.log((word_counts + 0.5) / (word_counts + 0.5).sum())
    mean = np.repeat(frequency.astype(np.float32)[:, None], shape[1], axis=1)
    variance = np.full(shape, initial_variance, np.float32)
    n = shape[0] if drift_variance is not None else 0
    return Start(
        mean, variance, np.zeros(n, np.float32), np.full(n, drift_variance or 0.0, np.float32)
    )
