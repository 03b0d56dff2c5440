"""`fastvi.kernels.cvb0` equals its plain twins, to the resolution of 16 bits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import cvb0 as naive
from naive import sparse as naive_sparse

from fastvi.kernels import cvb0 as kernels
from fastvi.models.topics import collapsed

SEEDS = st.integers(0, 2**32 - 1)

pytestmark = pytest.mark.usefixtures("quiet")


class Problem:
    """A random corpus in a random grid, with random priors."""

    def __init__(self, seed, n_documents, n_words, n_topics, n_blocks, scale=1.0):
        self.rng = rng = np.random.default_rng(seed)
        self.n_topics, self.n_blocks, self.n_words = n_topics, n_blocks, n_words
        self.rows = []
        for _ in range(n_documents):
            words = np.sort(rng.choice(n_words, rng.integers(0, n_words + 1), replace=False))
            counts = rng.choice([0, 0.5, 1, 1, 3, 20], len(words)) * scale
            self.rows.append(list(zip(words.tolist(), counts.tolist())))
        self.parts = naive_sparse.csr(self.rows, np.float32)
        self.grid = collapsed.make_grid(*self.parts, n_words, rng, n_blocks)
        self.alpha = np.float64(np.float32(rng.gamma(1.0, 0.5, n_topics) + 0.01))
        self.eta = float(np.float32(rng.gamma(1.0, 0.2) + 0.01))
        self.width = (n_topics + 7) // 8 * 8

    def start(self):
        weights = np.zeros((self.n_words, self.width), np.float32)
        weights[:, : self.n_topics] = self.rng.gamma(0.3, 1.0, (self.n_words, self.n_topics)) + 1e-3
        return weights, collapsed.initial_state(self.grid, weights, self.alpha, self.eta)

    def padded_alpha(self):
        return np.concatenate([self.alpha, np.zeros(self.width - self.n_topics)])

    def owners(self):
        grid = self.grid
        return np.repeat(grid.run_doc, np.diff(grid.run_start))

    def counts_of(self, g):
        """Counts (D, K), (V, K) that responsibilities give, with priors and padding."""
        grid = self.grid
        doc_topic, word_topic = naive.count(
            self.owners(), grid.words, np.float64(grid.counts), g, len(self.rows), self.n_words
        )
        doc_topic[:, : self.n_topics] += self.alpha
        word_topic[:, : self.n_topics] += self.eta
        return doc_topic, word_topic

    def totals_of(self, word_topic):
        totals = word_topic.sum(axis=0)
        totals[self.n_topics :] = 1
        return totals


def problems(scale=1.0):
    sizes = st.integers(0, 6), st.integers(1, 9), st.integers(1, 18), st.integers(1, 4)
    return st.builds(Problem, SEEDS, *sizes, st.just(scale))


def check_responsibilities(problem, g):
    """They sum to one but for a rounding a topic, and the padding has none."""
    assert abs(g.sum(axis=1, dtype=np.int64) - kernels.FULL).max(initial=0) <= problem.n_topics / 2
    assert not g[:, problem.n_topics :].any()


def check_counts(problem, state, n_roundings):
    """Running sums equal those of the responsibilities, rounded in float32 so many times."""
    doc_topic, word_topic = problem.counts_of(state.g)
    size = 1 + word_topic.sum()
    limit = n_roundings * np.finfo(np.float32).eps * size
    np.testing.assert_allclose(state.doc_topic[0], doc_topic, atol=limit)
    np.testing.assert_allclose(state.word_topic[0], word_topic, atol=limit)
    np.testing.assert_allclose(state.totals[0], problem.totals_of(word_topic), atol=limit)


@given(problems())
def test_the_grid_holds_each_entry_once(problem):
    grid, n = problem.grid, problem.n_blocks
    doc_block, word_block = {}, {}
    entries = []
    for cell in range(n * n):
        runs = range(grid.runs[cell], grid.runs[cell + 1])
        documents = [int(grid.run_doc[r]) for r in runs]
        assert len(set(documents)) == len(documents)
        for r, d in zip(runs, documents):
            assert grid.run_start[r] < grid.run_start[r + 1]
            assert grid.doc_runs[d, cell % n] == r
            assert doc_block.setdefault(d, cell // n) == cell // n
            for j in range(grid.run_start[r], grid.run_start[r + 1]):
                word = int(grid.words[j])
                assert word_block.setdefault(word, cell % n) == cell % n
                entries.append((d, word, float(grid.counts[j])))
    want = [(d, w, c) for d, row in enumerate(problem.rows) for w, c in row]
    assert sorted(entries) == want
    assert (grid.doc_runs >= 0).sum() == grid.runs[-1] == len(grid.run_doc)
    assert grid.run_start[0] == 0 or not entries
    assert grid.run_start[-1] == len(entries)
    assert sorted(grid.order.tolist()) == list(range(len(problem.rows)))


@given(problems())
def test_the_order_within_the_grid(problem):
    """By cell, documents in `order` within a cell, entries as they came."""
    grid, n = problem.grid, problem.n_blocks
    rows = naive_sparse.rows_of(*problem.parts)
    doc_block = np.zeros(len(rows), np.int64)
    for d in range(len(rows)):
        for r in grid.doc_runs[d][grid.doc_runs[d] >= 0]:
            doc_block[d] = (np.searchsorted(grid.runs, r, side="right") - 1) // n
    word_block = np.zeros(problem.n_words, np.int64)
    for cell in range(n * n):
        a, b = grid.run_start[grid.runs[[cell, cell + 1]]]
        word_block[grid.words[a:b]] = cell % n
    want = naive.cells(rows, grid.order, doc_block, word_block, n)
    pairs = list(zip(grid.words.tolist(), grid.counts.tolist()))
    for cell in range(n * n):
        runs = range(grid.runs[cell], grid.runs[cell + 1])
        got = [(grid.run_doc[r], pairs[grid.run_start[r] : grid.run_start[r + 1]]) for r in runs]
        assert got == want[cell]


def test_cells_are_of_about_equal_size():
    rng = np.random.default_rng(1)
    frequency = 1 / np.arange(1, 2001)
    rows = [
        sorted(set(rng.choice(2000, rng.integers(0, 120), p=frequency / frequency.sum()).tolist()))
        for _ in range(600)
    ]
    parts = naive_sparse.csr([[(w, 1.0) for w in row] for row in rows], np.float32)
    grid = collapsed.make_grid(*parts, 2000, rng, 8)
    sizes = np.diff(grid.run_start[grid.runs])
    assert sizes.sum() == len(parts[1])
    assert sizes.max() < 1.5 * sizes.mean()


@given(problems())
def test_the_start(problem):
    """Entry by entry: the twin takes over what the kernel wrote before it judges the next."""
    weights, state = problem.start()
    grid = problem.grid
    doc_topic, _ = problem.counts_of(np.zeros_like(state.g))
    runs = [
        (d, [(grid.run_start[r], grid.run_start[r + 1]) for r in grid.doc_runs[d] if r >= 0])
        for d in grid.order
    ]
    counts = np.float64(grid.counts)
    want = naive.start(runs, grid.words, counts, np.float64(weights), doc_topic, follow=state.g)
    assert abs(want - state.g).max(initial=0) <= 1
    check_responsibilities(problem, state.g)
    check_counts(problem, state, 20)


def update(problem, state):
    """Every cell by the kernel and by the twin that follows it: (kernel's g, twin's g)."""
    grid = problem.grid
    doc_topic, word_topic = problem.counts_of(state.g)
    totals = state.totals[0].copy()
    want = np.float64(state.g)
    priors = problem.padded_alpha(), problem.eta
    arrays = np.float64(grid.counts), *priors, doc_topic, word_topic, totals, want
    for cell in range(problem.n_blocks**2):
        first, last = grid.runs[cell], grid.runs[cell + 1]
        old = want.copy()
        kernels.update_cell(
            first, last, grid.run_doc, grid.run_start, grid.words, grid.counts,
            np.float32(problem.padded_alpha()), np.float32([problem.eta]),
            state.doc_topic[0], state.word_topic[0], state.totals[0], state.g,
        )  # fmt: skip
        runs = [(grid.run_doc[r], *grid.run_start[r : r + 2]) for r in range(first, last)]
        worst = naive.update_cell(runs, grid.words, *arrays, follow=state.g)
        assert worst <= 1
        a, b = grid.run_start[[first, last]]
        np.testing.assert_array_equal(np.delete(state.g, np.s_[a:b], 0),
                                      np.delete(old, np.s_[a:b], 0))  # fmt: skip
    np.testing.assert_array_equal(want, state.g)
    np.testing.assert_allclose(state.totals[0], totals, rtol=1e-4)


@given(problems())
def test_update_cell(problem):
    _, state = problem.start()
    for _ in range(3):
        update(problem, state)
        check_responsibilities(problem, state.g)
    check_counts(problem, state, 100)


@given(problems(scale=1e5))
def test_huge_counts_do_no_harm(problem):
    """Counts of 2e6 swamp the priors in float32; a pass must end with sound numbers all the same.

    Recounting leaves no trace of the rounding.
    """
    _, state = problem.start()
    algorithm = collapsed.passes(problem.grid)
    for _ in range(collapsed.RECOUNT):
        state, _ = algorithm.step(state, None, problem.rng)
        check_responsibilities(problem, state.g)
        assert np.all(collapsed.topics(state)[:, : problem.n_topics] >= np.float32(problem.eta))
    check_counts(problem, state, 20)


@given(problems())
def test_count_runs(problem):
    _, state = problem.start()
    grid = problem.grid
    g = problem.rng.integers(0, kernels.FULL + 1, state.g.shape).astype(np.uint16)
    doc_topic = np.zeros((len(problem.rows), problem.width), np.float32)
    word_topic = np.zeros((problem.n_words, problem.width), np.float32)
    n_runs = int(grid.runs[-1])
    for first, last in ((0, n_runs // 2), (n_runs // 2, n_runs)):
        kernels.count_runs(
            first, last, grid.run_doc, grid.run_start, grid.words, grid.counts, g,
            doc_topic, word_topic,
        )  # fmt: skip
    want = naive.count(
        problem.owners(), grid.words, grid.counts, g, *map(len, (doc_topic, word_topic))
    )
    np.testing.assert_allclose(doc_topic, want[0], rtol=1e-5)
    np.testing.assert_allclose(word_topic, want[1], rtol=1e-5)


@given(problems())
def test_other_priors_leave_the_responsibilities(problem):
    _, state = problem.start()
    g = state.g.copy()
    problem.alpha, problem.eta = problem.alpha * 1.5, problem.eta / 2
    moved = collapsed.with_priors(state, problem.alpha, problem.eta)
    np.testing.assert_array_equal(moved.g, g)
    check_counts(problem, moved, 30)
    again = collapsed.recount(problem.grid, moved, 1)
    check_counts(problem, again, 20)


@given(problems())
def test_a_pass_walks_every_cell_once_in_the_stated_order(problem):
    cells = []
    totals = np.zeros(4)

    def task(cell, own):
        own += cell
        cells.append(cell)

    problem.grid.walk(task, 1, totals)
    n = problem.n_blocks
    assert cells == [b * n + (b + d) % n for d in range(n) for b in range(n)]
    np.testing.assert_array_equal(totals, sum(range(n * n)))
