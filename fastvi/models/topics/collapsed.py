"""Collapsed variational Bayes for topics: CVB0 (Asuncion, Welling, Smyth and Teh 2009) and CVB
(Teh, Newman and Welling 2007), which differ only in the update of a cell of the grid.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base import parallel
from fastvi.base.typing import AnyArray
from fastvi.core import Algorithm, Batch
from fastvi.kernels import cvb
from fastvi.kernels import cvb0 as kernels

__all__ = [
    "CountTable",
    "Grid",
    "State",
    "initial_state",
    "make_grid",
    "passes",
    "topics",
    "with_priors",
]

N_BLOCKS = 8  # blocks of documents and of words, independent of threads so that bits agree
RECOUNT = 10  # passes between recounts, which remove rounding errors of running float32 sums


class Grid(NamedTuple):
    """Entries sorted into cells (document block x word block), and by document within cells.

    Attributes
    ----------
    runs : (B * B + 1,) int64 array
        First run of each cell; a run is one document's entries in a cell.
    run_doc, run_start : (R,), (R + 1,) int64 arrays
        Document and first entry of each run.
    doc_runs : (D, B) int64 array
        Runs of each document, or -1.
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
        """Call ``task(cell, totals)`` for every cell, by diagonals, always in the same order.

        Cells of a diagonal start from the same totals; their changes are added up afterwards.
        """
        n = self.n_blocks
        own = np.empty((n, *totals.shape))
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
    counts: AnyArray,
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
    # deal out words by decreasing frequency, back and forth, for blocks of about equal size
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
    """Responsibilities and the moments of their counts: M is 1 for CVB0 and 2 for CVB.

    Attributes
    ----------
    g : (N, K padded) uint16 array
        Responsibilities in units of 1 / 65535.
    doc_topic, word_topic : (M, D, K padded), (M, V, K padded) float32 arrays
        Means with the priors added and, if M is 2, variances.
    totals : (M, K padded) float64 array
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


def _only_priors(
    n_moments: int, n_rows: int, width: int, prior: Any, n_topics: int
) -> NDArray[np.float32]:
    """Moments (M, n_rows, K padded) without counts."""
    values = np.zeros((n_moments, n_rows, width), np.float32)
    values[0, :, :n_topics] = prior
    return values


def _totals(word_topic: NDArray[np.float32], n_topics: int) -> NDArray[np.float64]:
    totals: NDArray[np.float64] = word_topic.sum(axis=1, dtype=np.float64)
    totals[0, n_topics:] = 1.0
    return totals


def initial_state(
    grid: Grid,
    weights: NDArray[np.float32],
    alpha: NDArray[np.float64],
    eta: Any,
    n_threads: int = 1,
    n_moments: int = 1,
    room: NDArray[np.uint16] | None = None,
) -> State:
    """Compute initial responsibilities under given topics.

    `weights` (V, K padded) is E[beta]; `n_moments` is 1 for CVB0 and 2 for CVB. The start
    determines how fast and how well either converges. Responsibilities are written into `room`
    (N, K padded), if given.
    """
    n_documents, width = len(grid.doc_runs), weights.shape[1]
    doc_topic = _only_priors(n_moments, n_documents, width, alpha, len(alpha))
    word_topic = _only_priors(n_moments, grid.n_words, width, eta, len(alpha))
    g = np.empty((len(grid.words), width), np.uint16) if room is None else room
    chunks = parallel.split(np.arange(n_documents + 1), 64)

    def task(i: int) -> None:
        kernels.start(
            chunks[i], chunks[i + 1], grid.doc_runs, grid.run_start, grid.words, grid.counts,
            weights, doc_topic[0], g,
        )  # fmt: skip

    parallel.run(task, len(chunks) - 1, n_threads)
    totals = np.zeros((n_moments, width))
    return recount(grid, State(g, doc_topic, word_topic, totals, alpha, eta, 0), n_threads)


def topics(state: State, rows: NDArray[np.integer[Any]] | None = None) -> NDArray[np.float32]:
    """Return a copy of expected counts plus prior of all words or some, (n, K padded).

    Exact counts are not below the prior, but rounding of a running sum may take them there.
    """
    means = state.word_topic[0]
    counts: NDArray[np.float32] = means.copy() if rows is None else means[rows]
    prior = state.eta if np.ndim(state.eta) == 0 or rows is None else state.eta[rows]
    real = counts[:, : len(state.alpha)]
    np.maximum(real, np.asarray(prior, np.float32), out=real)
    return counts


class CountTable(NamedTuple):
    """Expected counts plus prior as a table with the interface of `fastvi.core.LazyTable`."""

    state: State
    dtype: Any

    @property
    def column_sums(self) -> NDArray[np.float64]:
        """Sums over all words, (K padded,)."""
        sums: NDArray[np.float64] = self.state.totals[0]
        return sums

    def read(self, rows: NDArray[np.integer[Any]]) -> AnyArray:
        """Return some rows, (n, K padded)."""
        return topics(self.state, rows).astype(self.dtype, copy=False)

    def dense(self) -> AnyArray:
        """Return a copy of all rows, (V, K padded)."""
        return topics(self.state).astype(self.dtype, copy=False)


def with_priors(state: State, alpha: NDArray[np.float64], eta: float) -> State:
    """Return the same responsibilities under other priors."""
    n = len(alpha)
    state.doc_topic[0, :, :n] += (alpha - state.alpha).astype(np.float32)
    state.word_topic[0, :, :n] += np.float32(eta - state.eta)
    totals = _totals(state.word_topic, n)
    return state._replace(alpha=alpha, eta=eta, totals=totals)


def recount(grid: Grid, state: State, n_threads: int) -> State:
    """Recompute the moments from the responsibilities and priors of `state`."""
    n_moments, n_topics, width = len(state.totals), len(state.alpha), state.g.shape[1]
    doc_topic = _only_priors(n_moments, state.doc_topic.shape[1], width, state.alpha, n_topics)
    word_topic = _only_priors(n_moments, state.word_topic.shape[1], width, state.eta, n_topics)
    adders = kernels.count_runs, cvb.count_variances

    def task(cell: int, totals: NDArray[np.float64]) -> None:
        for moment in range(n_moments):
            adders[moment](
                grid.runs[cell], grid.runs[cell + 1], grid.run_doc, grid.run_start, grid.words,
                grid.counts, state.g, doc_topic[moment], word_topic[moment],
            )  # fmt: skip

    grid.walk(task, n_threads, state.totals)
    totals = _totals(word_topic, n_topics)
    return state._replace(doc_topic=doc_topic, word_topic=word_topic, totals=totals)


def passes(grid: Grid, n_threads: int = 1) -> Algorithm:
    """CVB0 or CVB, depending on whether the state has one moment or two.

    A step is a pass over all entries; the batch is ignored. Results do not depend on the number of
    threads.
    """

    def step(
        state: State, batch: Batch | None, rng: np.random.Generator
    ) -> tuple[State, dict[str, float]]:
        alpha = np.zeros(state.g.shape[1], np.float32)
        alpha[: len(state.alpha)] = state.alpha
        eta = np.ravel(state.eta).astype(np.float32)
        second_order = len(state.totals) == 2
        update_cell = cvb.update_cell if second_order else kernels.update_cell
        which = slice(None) if second_order else 0  # the kernel of CVB0 takes only the means
        doc_topic, word_topic = state.doc_topic[which], state.word_topic[which]

        def task(cell: int, totals: NDArray[np.float64]) -> None:
            update_cell(
                grid.runs[cell], grid.runs[cell + 1], grid.run_doc, grid.run_start, grid.words,
                grid.counts, alpha, eta, doc_topic, word_topic, totals[which], state.g,
            )  # fmt: skip

        grid.walk(task, n_threads, state.totals)
        state = state._replace(n_passes=state.n_passes + 1)
        if state.n_passes % RECOUNT == 0:
            state = recount(grid, state, n_threads)
        return state, {}

    return Algorithm(initial_state, step)
