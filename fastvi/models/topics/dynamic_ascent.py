"""Coordinate ascent for dynamic topics: assignments of tokens, and chains."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from fastvi.base import parallel
from fastvi.base.typing import AnyArray, Array
from fastvi.core import Algorithm, Batch
from fastvi.kernels import dynamic as kernels
from fastvi.kernels.dynamic import Chains, Move, Pairs
from fastvi.kernels.dynamic_moments import moments
from fastvi.models.counts import chunks_of
from fastvi.models.topics.dynamic_corpus import Single, SlicedCorpus
from fastvi.models.topics.dynamic_model import (
    DynamicModel,
    State,
    distances,
    empty_state,
    padded_alpha,
    prior_of,
)

__all__ = [
    "Moments",
    "ascent",
    "assign",
    "chain_moments",
    "first_state",
    "no_move",
    "pairs_of",
    "settle",
    "sweep",
    "totals_of",
]

N_SWEEPS = 2  # over the chains per pass over the documents
N_WARM = 10  # passes over the documents under the topics to start from
FIRST_VARIANCE = 1e-2  # of the chains' posterior


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
    chains.weights[:, :, :n_topics] = topics[:, :n_topics]
    chains.means[:, :, :n_topics] = np.log(chains.weights[:, :, :n_topics])
    for variances in (chains.variances, chains.drift_variances):
        variances[:] = FIRST_VARIANCE
    state.doc_topic[:] = padded_alpha(model.alpha)
    for _ in range(N_WARM):
        assign(model, corpus, state)
    totals = totals_of(model, corpus, state).astype(np.float32)
    np.multiply(chains.weights, totals[:, None], out=chains.sites)
    return state


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


def totals_of(model: DynamicModel, corpus: SlicedCorpus, state: State) -> Array:
    """Expected counts of topics by slice, (T, K padded)."""
    n = len(model.alpha)
    totals = corpus.by_slice(state.doc_topic)
    totals[:, :n] -= np.outer(np.bincount(corpus.slices, minlength=corpus.n_slices), model.alpha)
    empty = np.bincount(corpus.slices, np.diff(corpus.indptr), corpus.n_slices) == 0
    totals[empty] = 0.0  # not what rounding has left
    return np.maximum(totals, 0.0)


def no_move(state: State) -> Move:
    """Return what takes nothing off."""
    shape = state.zeta.shape
    drift = np.zeros(len(state.chains.drift_means), np.float32)
    return Move(np.zeros(shape, np.float32), drift, np.ones(shape, np.float32))


def sweep(
    model: DynamicModel, pairs: Pairs, totals: Array, state: State, move: Move
) -> tuple[State, Move]:
    """Update the chains in place, given expected counts and their sums over words (T, K padded).

    Returns also what centres them: their mean deviation from the prior, which topics do not depend
    on, and without which it would take many sweeps to reach the optimum.
    """
    prior = prior_of(model, state.chain_variance, state.drift_variance)
    rates = _repeated((totals / state.zeta).astype(np.float32))
    chunks, (n_slices, width) = model.chunks(), totals.shape
    n_chunks, columns, moved = len(chunks) - 1, _columns(state.chains), _repeated_move(move)
    zeta, sums = np.zeros((2, n_chunks, *rates.shape))
    drift_sums = np.zeros((n_chunks, n_slices if model.has_drift else 0))

    def task(i: int) -> None:
        kernels.sweep(
            chunks[i], chunks[i + 1], width, pairs, prior, rates, moved, columns, zeta[i], sums[i],
            drift_sums[i],
        )  # fmt: skip

    parallel.run(task, n_chunks, model.n_threads)
    n_words = chunks[-1]
    topics, drift = _folded(sums, width) / n_words, drift_sums.sum(axis=0) / n_words
    topics[:, len(model.alpha) :] = 0.0
    topics, drift = topics.astype(np.float32), drift.astype(np.float32)
    scale = np.exp(-topics.astype(np.float64) - (drift[:, None] if model.has_drift else 0.0))
    state = state._replace(zeta=_folded(zeta, width))
    return state, Move(topics, drift, scale.astype(np.float32))


def _columns(chains: Chains) -> Chains:
    """Chains as the columns of matrices, as kernels take them."""
    flat = {
        name: getattr(chains, name).reshape(len(chains.means), -1)
        for name in ("means", "variances", "sites", "weights")
    }
    return chains._replace(**flat)


def _repeated(rows: Single) -> Single:
    """Rows (T, K) for each word of a block, (T, B)."""
    return np.ascontiguousarray(np.tile(rows, (1, kernels.BLOCK)))


def _repeated_move(move: Move) -> Move:
    return move._replace(topics=_repeated(move.topics), scale=_repeated(move.scale))


def _folded(sums: Array, width: int) -> Array:
    """Sums (n_chunks, T, B) over chunks and the words of a block, (T, K)."""
    whole = sums.sum(axis=0)
    folded: Array = whole.reshape(len(whole), -1, width).sum(axis=1)
    return folded


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
    n_chunks, (n_slices, n_words, width) = len(chunks) - 1, chains.means.shape
    columns, moved = _columns(chains), _repeated_move(move)
    increments = np.zeros((n_chunks, n_slices, kernels.BLOCK * width))
    drift = np.zeros((n_chunks, len(chains.drift_means)))
    bounds = np.zeros((n_chunks, 1))

    def task(i: int) -> None:
        moments(
            chunks[i], chunks[i + 1], width, n, pairs, prior, moved, columns, increments[i],
            drift[i], bounds[i],
        )  # fmt: skip

    parallel.run(task, n_chunks, model.n_threads)
    by_slice, drift_increments = _folded(increments, width)[:, :n].sum(axis=1), drift.sum(axis=0)
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
    gaps = distances(model.gaps, state.chain_variance)
    squares = (found.increments[1:] / gaps).sum()
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
