"""Collapsed variational Bayes, zeroth order (Asuncion et al. 2009), for topics."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi import parallel
from fastvi.core import Algorithm, Batch
from fastvi.kernels import cvb0 as kernels

__all__ = ["Grid", "State", "cvb0", "initial_state", "make_grid", "topics", "with_priors"]

N_BLOCKS = 8  # blocks of documents and of words; not a matter of threads, so that bits agree
RECOUNT = 10  # passes between recounts, which undo the rounding of running float32 sums


class Grid(NamedTuple):
    """Entries sorted into cells (document block x word block), by document within a cell.

    Attributes
    ----------
    runs : (B * B + 1,) int64 array
        First run of each cell; a run is one document's entries in a cell.
    run_doc, run_start : (R,), (R + 1,) int64 arrays
        Document and first entry of each run.
    doc_runs : (D, B) int64 array
        Each document's runs, -1 for none.
    words, counts : (N,) int32, (N,) float32 arrays
    order : (D,) int64 array
        The order of documents within cells.
    n_words : int
    """

    runs: NDArray[np.int64]
    run_doc: NDArray[np.int64]
    run_start: NDArray[np.int64]
    doc_runs: NDArray[np.int64]
    words: NDArray[np.int32]
    counts: NDArray[np.float32]
    order: NDArray[np.int64]
    n_words: int

    @property
    def n_blocks(self) -> int:
        """Blocks along each side, B."""
        return int(self.doc_runs.shape[1])

    def walk(self, task: Any, n_threads: int, totals: NDArray[np.float64]) -> None:
        """``task(cell, totals)`` for every cell, diagonal by diagonal, in the same order always.

        The cells of a diagonal start from the same totals (K,); what they add is summed after it.
        """
        n = self.n_blocks
        own = np.empty((n, len(totals)))
        for diagonal in range(n):
            own[:] = totals

            def one(block: int, diagonal: int = diagonal) -> None:
                task(block * n + (block + diagonal) % n, own[block])  # noqa: B023

            parallel.run(one, n, n_threads)
            own -= totals
            totals += own.sum(axis=0)


def make_grid(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    counts: NDArray[Any],
    n_words: int,
    rng: np.random.Generator,
    n_blocks: int = N_BLOCKS,
) -> Grid:
    """Sort a CSR corpus into a grid of cells of about equal size, documents in random order."""
    n_documents = len(indptr) - 1
    order = rng.permutation(n_documents)
    filled = np.cumsum(np.diff(indptr)[order])
    doc_block = np.empty(n_documents, np.int64)
    doc_block[order] = np.minimum(filled * n_blocks // (indptr[-1] + 1), n_blocks - 1)
    # words by falling frequency, dealt out back and forth: blocks of about equal size
    by_frequency = np.argsort(-np.bincount(indices, minlength=n_words), kind="stable")
    turn, seat = np.divmod(np.arange(n_words), n_blocks)
    word_block = np.empty(n_words, np.int64)
    word_block[by_frequency] = np.where(turn % 2 == 0, seat, n_blocks - 1 - seat)

    cell = np.zeros(n_blocks**2 + 1, np.int64)
    runs = np.zeros(n_blocks**2 + 1, np.int64)
    kernels.grid(indptr, indices, order, doc_block, word_block, n_blocks, cell, runs)
    grid = Grid(
        runs,
        run_doc=np.empty(runs[-1], np.int64),
        run_start=np.empty(runs[-1] + 1, np.int64),
        doc_runs=np.full((n_documents, n_blocks), -1, np.int64),
        words=np.empty(len(indices), np.int32),
        counts=np.empty(len(indices), np.float32),
        order=order,
        n_words=n_words,
    )
    kernels.fill_grid(
        indptr, indices, counts, order, doc_block, word_block, n_blocks, cell, runs,
        grid.words, grid.counts, grid.run_doc, grid.run_start, grid.doc_runs,
    )  # fmt: skip
    return grid


class State(NamedTuple):
    """Responsibilities and the counts they give, with the priors added.

    Attributes
    ----------
    g : (N, K padded) uint16 array
        Responsibilities in units of 1 / 65535.
    doc_topic, word_topic : (D, K padded), (V, K padded) float32 arrays
    totals : (K padded,) float64 array
    alpha : (n_topics,) float64 array
    eta : float
    n_passes : int
    """

    g: NDArray[np.uint16]
    doc_topic: NDArray[np.float32]
    word_topic: NDArray[np.float32]
    totals: NDArray[np.float64]
    alpha: NDArray[np.float64]
    eta: Any
    n_passes: int


def _with_priors(
    shape: tuple[int, int, int], alpha: NDArray[np.float64], eta: Any
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Counts that are only priors; (D, V, K padded)."""
    n_documents, n_words, width = shape
    doc_topic = np.zeros((n_documents, width), np.float32)
    doc_topic[:, : len(alpha)] = alpha
    word_topic = np.zeros((n_words, width), np.float32)
    word_topic[:, : len(alpha)] = eta
    return doc_topic, word_topic


def _totals(word_topic: NDArray[np.float32], n_topics: int) -> NDArray[np.float64]:
    totals: NDArray[np.float64] = word_topic.sum(axis=0, dtype=np.float64)
    totals[n_topics:] = 1.0
    return totals


def initial_state(
    grid: Grid,
    weights: NDArray[np.float32],
    alpha: NDArray[np.float64],
    eta: Any,
    n_threads: int = 1,
) -> State:
    """Give each word its first responsibilities under topics that are known already.

    `weights` (V, K padded) is E[beta]. The start decides how soon and how well CVB0 ends.
    """
    n_documents = len(grid.doc_runs)
    doc_topic, word_topic = _with_priors((n_documents, *weights.shape), alpha, eta)
    g = np.empty((len(grid.words), weights.shape[1]), np.uint16)
    chunks = parallel.split(np.arange(n_documents + 1), 64)

    def task(i: int) -> None:
        kernels.start(
            chunks[i], chunks[i + 1], grid.doc_runs, grid.run_start, grid.words, grid.counts,
            weights, doc_topic, g,
        )  # fmt: skip

    parallel.run(task, len(chunks) - 1, n_threads)
    totals = np.zeros(weights.shape[1])
    return recount(grid, State(g, doc_topic, word_topic, totals, alpha, eta, 0), n_threads)


def topics(state: State, rows: NDArray[np.integer[Any]] | None = None) -> NDArray[np.float32]:
    """Expected counts plus prior of all words or of some, (n, K padded), a copy.

    They cannot be below the prior, but a running sum of many steps may be rounded to there.
    """
    counts = state.word_topic.copy() if rows is None else state.word_topic[rows]
    prior = state.eta if np.ndim(state.eta) == 0 or rows is None else state.eta[rows]
    real = counts[:, : len(state.alpha)]
    np.maximum(real, np.asarray(prior, np.float32), out=real)
    return counts


def with_priors(state: State, alpha: NDArray[np.float64], eta: float) -> State:
    """The same responsibilities under other priors."""
    n = len(alpha)
    state.doc_topic[:, :n] += (alpha - state.alpha).astype(np.float32)
    state.word_topic[:, :n] += np.float32(eta - state.eta)
    totals = _totals(state.word_topic, n)
    return state._replace(alpha=alpha, eta=eta, totals=totals)


def recount(grid: Grid, state: State, n_threads: int) -> State:
    """Counts summed afresh from the responsibilities and the priors of `state`."""
    shape = (len(state.doc_topic), len(state.word_topic), state.g.shape[1])
    doc_topic, word_topic = _with_priors(shape, state.alpha, state.eta)

    def task(cell: int, totals: NDArray[np.float64]) -> None:
        first, last = grid.runs[cell], grid.runs[cell + 1]
        kernels.count_runs(
            first, last, grid.run_doc, grid.run_start, grid.words, grid.counts, state.g,
            doc_topic, word_topic,
        )  # fmt: skip

    grid.walk(task, n_threads, state.totals)
    totals = _totals(word_topic, len(state.alpha))
    return state._replace(doc_topic=doc_topic, word_topic=word_topic, totals=totals)


def cvb0(grid: Grid, n_threads: int = 1) -> Algorithm:
    """A pass over all entries is a step; the batch is not looked at.

    Results do not depend on the number of threads.
    """

    def step(
        state: State, batch: Batch | None, rng: np.random.Generator
    ) -> tuple[State, dict[str, float]]:
        alpha = np.zeros(state.g.shape[1], np.float32)
        alpha[: len(state.alpha)] = state.alpha
        eta = np.ravel(state.eta).astype(np.float32)

        def task(cell: int, totals: NDArray[np.float64]) -> None:
            kernels.update_cell(
                grid.runs[cell], grid.runs[cell + 1], grid.run_doc, grid.run_start, grid.words,
                grid.counts, alpha, eta, state.doc_topic, state.word_topic, totals, state.g,
            )  # fmt: skip

        grid.walk(task, n_threads, state.totals)
        state = state._replace(n_passes=state.n_passes + 1)
        if state.n_passes % RECOUNT == 0:
            state = recount(grid, state, n_threads)
        return state, {}

    return Algorithm(initial_state, step)
