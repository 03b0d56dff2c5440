"""`fastvi.kernels.lda` equals its plain twins."""

from itertools import pairwise

import hypothesis
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from naive import lda as naive
from naive import sparse as naive_sparse

from fastvi.kernels import lda as kernels
from fastvi.kernels.responsibilities import statistics
from fastvi.models.counts import DocumentSource

DTYPES = [np.float32, np.float64]
SEEDS = st.integers(0, 2**32 - 1)

pytestmark = pytest.mark.usefixtures("quiet")


def close(result, want, dtype, factor=1.0):
    """Equal within 400 units of rounding: sums of tens of terms of accuracy 1e-6 / 1e-14."""
    tolerance = factor * 400 * np.finfo(dtype).eps
    np.testing.assert_allclose(result, want, rtol=tolerance, atol=tolerance)


def padded(array, width, dtype, fill=0.0):
    """Topics (last axis) filled up to `width`."""
    out = np.full((*array.shape[:-1], width), fill, dtype)
    out[..., : array.shape[-1]] = array
    return out


class Problem:
    """Random documents, topics and priors, in both forms."""

    def __init__(self, seed, n_documents, n_words, n_topics, dtype, collapsed=False, scale=1):
        rng = np.random.default_rng(seed)
        self.dtype, self.n_topics, self.collapsed = dtype, n_topics, collapsed
        self.width = (n_topics + 7) // 8 * 8
        self.documents = []
        for _ in range(n_documents):
            n = rng.choice([0, 1, n_words // 2, n_words])
            words = rng.choice(n_words, n, replace=False)
            counts = rng.choice([0, 1, 1, 2, 7, 0.5], n) * scale
            self.documents.append(list(zip(words.tolist(), counts.tolist())))
        self.alpha = rng.gamma(2, 0.3, n_topics) + 0.02
        self.table = rng.gamma(1.0, 2.0, (n_words, n_topics)).astype(dtype) + dtype(0.05)
        self.table[0] = dtype(0.05)  # a word with no mass: only its prior
        self.sums = self.table.sum(axis=0, dtype=np.float64)
        self.weights, self.shift = naive.word_weights(self.table, self.sums, n_topics, collapsed)
        self.parts = naive_sparse.csr(self.documents, dtype)

    def local_step(self, n_iter, tol=0.0, before=None):
        """(gamma, e, ratio, bound) from the kernel."""
        indptr, words, counts = self.parts
        shape = (len(self.documents), self.width)
        gamma, e = np.full(shape, np.nan, self.dtype), np.full(shape, np.nan, self.dtype)
        if before is not None:
            gamma = padded(before, self.width, self.dtype)
        ratio = np.full(len(words), np.nan, self.dtype)
        bound = np.full(len(gamma), np.nan)
        weights = padded(self.weights, self.width, self.dtype)
        alpha = padded(self.alpha, self.width, self.dtype)
        if self.collapsed:
            kernels.collapsed_step(
                indptr, words, counts, weights, alpha, n_iter, tol, 0, len(gamma), gamma, ratio
            )
            return gamma, gamma, ratio, bound
        kernels.local_step(
            indptr, words, counts, weights, self.shift.astype(self.dtype), alpha, self.n_topics,
            before is not None, n_iter, tol, 0, len(gamma), gamma, e, ratio, bound,
        )  # fmt: skip
        return gamma, e, ratio, bound


PROBLEMS = st.builds(
    Problem,
    SEEDS,
    st.integers(0, 5),
    st.integers(1, 13),
    st.integers(1, 18),
    st.sampled_from(DTYPES),
    st.booleans(),
)


@given(PROBLEMS)
def test_word_weights(problem):
    values = padded(problem.table, problem.width, problem.dtype)
    sums = padded(problem.sums, problem.width, np.float64)
    weights = values.copy()
    shift = np.full(len(values), np.nan, problem.dtype)
    middle = len(values) // 2
    for start, stop in ((0, middle), (middle, len(values))):
        if problem.collapsed:
            kernels.mean_weights(weights, sums, problem.n_topics, start, stop)
        else:
            kernels.word_weights(weights, sums, problem.n_topics, start, stop, shift)
    close(weights[:, : problem.n_topics], problem.weights, problem.dtype)
    if not problem.collapsed:
        close(shift, problem.shift, problem.dtype)
    assert not weights[:, problem.n_topics :].any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_word_weights_of_tiny_priors_stay_in_range(dtype):
    """E[log beta] of -1e4 would be 0 for every topic; only ratios within the row matter."""
    values = np.full((3, 8), 1e-4, dtype)
    values[1, :2] = 2e-4
    weights, shift = values.copy(), np.empty(3, dtype)
    kernels.word_weights(weights, np.full(8, 50.0), 5, 0, 3, shift)
    want, want_shift = naive.word_weights(values, np.full(8, 50.0), 5, False)
    close(weights, want, dtype)
    close(shift / want_shift, np.ones(3), dtype)
    assert weights[0].tolist() == [1] * 5 + [0] * 3


def check_weights(problem, e, ratio, want):
    """They are e and ratio up to a factor that goes from one to the other."""
    factor = e.max() / want[1].max()
    # exp(digamma) of a small gamma is steep: its relative error is that of gamma / gamma
    close(e / factor, want[1], problem.dtype, 1 + abs(want[1]).max())
    close(ratio * factor, want[2], problem.dtype)


@given(PROBLEMS, st.integers(0, 6))
@example(Problem(1, 5, 9, 1, np.float32), 3)
@example(Problem(2, 5, 9, 9, np.float32, scale=1e6), 5)
@example(Problem(3, 5, 9, 9, np.float64, scale=1e9), 5)
def test_local_step(problem, n_iter):
    gamma, e, ratio, bound = problem.local_step(n_iter)
    indptr, n = problem.parts[0], problem.n_topics
    for d, document in enumerate(problem.documents):
        want = naive.local_step(
            document, problem.weights, problem.shift, problem.alpha, problem.collapsed, n_iter
        )
        close(gamma[d, :n] / want[0], np.ones(n), problem.dtype)
        check_weights(problem, e[d, :n], ratio[indptr[d] : indptr[d + 1]], want)
        size = 1 + sum(count for _, count in document)
        close(bound[d] / size, want[3] / size, problem.dtype)
    assert not gamma[:, n:].any()
    assert not e[:, n:].any()


@hypothesis.settings(max_examples=20)
@given(SEEDS, st.integers(0, 4), st.sampled_from(DTYPES))
def test_short_documents_with_many_topics_lose_no_word(seed, n_iter, dtype):
    """Every gamma is below 0.01: exp(digamma) of it is 0 in float32."""
    problem = Problem(seed, 0, 6, 300, dtype)
    rng = np.random.default_rng(seed)
    problem.alpha = np.float64(dtype(1 / 300)) * np.ones(300)
    problem.documents = [[(int(w), 1.0)] for w in rng.integers(1, 6, 3)] + [[(2, 1.0), (4, 1.0)]]
    problem.parts = naive_sparse.csr(problem.documents, dtype)
    gamma, e, ratio, bound = problem.local_step(n_iter)
    indptr, words, counts = problem.parts
    owners = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    held = ratio * (problem.weights[words] * e[owners, :300]).sum(axis=1)
    np.testing.assert_allclose(held, counts, rtol=1e-4)
    # a step multiplies relative errors by up to 1 / gamma = 150
    tolerance = float(3000 * np.finfo(dtype).eps * 150)
    for d, document in enumerate(problem.documents):
        want = naive.local_step(
            document, problem.weights, problem.shift, problem.alpha, False, n_iter
        )
        np.testing.assert_allclose(gamma[d, :300], want[0], rtol=tolerance)
        assert bound[d] == pytest.approx(want[3], rel=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
def test_empty_documents_get_the_prior(dtype):
    problem = Problem(4, 3, 5, 3, dtype)
    problem.documents = [[], [(1, 0.0)], []]
    problem.parts = naive_sparse.csr(problem.documents, dtype)
    gamma, _, ratio, bound = problem.local_step(10)
    np.testing.assert_array_equal(gamma[:, :3], np.tile(problem.alpha.astype(dtype), (3, 1)))
    assert ratio.tolist() == [0]
    np.testing.assert_allclose(bound, 0, atol=20 * np.finfo(dtype).eps)


@given(SEEDS, st.integers(1, 9), st.sampled_from(DTYPES))
def test_a_remembered_fit_is_never_left_for_a_worse_one(seed, n_topics, dtype):
    """The memory is a fixed point of random weights; the fresh start has few iterations."""
    problem = Problem(seed, 4, 8, n_topics, dtype)
    before = np.array(
        [
            naive.fixed_point(
                document, problem.weights, problem.alpha, False, 40, problem.alpha + start
            )
            for document, start in zip(
                problem.documents, np.random.default_rng(seed).gamma(0.5, 9, (4, n_topics))
            )
        ]
    )
    gamma, _, ratio, bound = problem.local_step(1, before=before)
    for d, document in enumerate(problem.documents):
        parts = document, problem.weights, problem.shift
        old = naive.document_bound(*parts, before[d], problem.alpha)
        size = 1 + sum(count for _, count in document)
        assert bound[d] >= old - 400 * np.finfo(dtype).eps * size
        now = naive.document_bound(*parts, np.float64(gamma[d, :n_topics]), problem.alpha)
        close(bound[d] / size, now / size, dtype)
        want = [count / (naive.topic_weights(gamma[d, :n_topics].astype(float), False)
                         @ problem.weights[word]) for word, count in document]  # fmt: skip
        a, b = problem.parts[0][d : d + 2]
        close(ratio[a:b], want, dtype)


@pytest.mark.parametrize("collapsed", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_tol_ends_a_document_when_it_settles(dtype, collapsed):
    """At the first iteration whose summed change is below tol, or else at the last."""
    problem, tol, last = Problem(7, 6, 12, 5, dtype, collapsed), 0.01, 25
    gamma = problem.local_step(last, tol=tol)[0]
    ends = []
    for d, document in enumerate(problem.documents):
        start = naive.start_gamma(document, problem.alpha)
        path = np.array(
            naive.iterates(document, problem.weights, problem.alpha, collapsed, last, start)
        )
        settled = abs(np.diff(path, axis=0)).sum(axis=1) < tol
        ends.append(settled.argmax() + 1 if settled.any() else last)
        close(gamma[d, : problem.n_topics], path[ends[-1]], dtype)
    assert len(set(ends)) > 1


@given(PROBLEMS, st.integers(0, 6))
def test_infer_equals_the_local_step(problem, n_iter):
    indptr, words, counts = problem.parts
    gamma = np.full((len(problem.documents), problem.width), np.nan, problem.dtype)
    weights = padded(problem.weights, problem.width, problem.dtype)
    alpha = padded(problem.alpha, problem.width, problem.dtype)
    middle = len(gamma) // 2
    for start, stop in ((0, middle), (middle, len(gamma))):
        kernels.infer(
            indptr, words, counts, weights, alpha, problem.collapsed, n_iter, 0.0,
            start, stop, gamma,
        )  # fmt: skip
    np.testing.assert_allclose(
        gamma, problem.local_step(n_iter)[0], rtol=400 * np.finfo(problem.dtype).eps
    )


@given(SEEDS, st.integers(1, 20), st.sampled_from(DTYPES))
def test_dirichlet_divergence(seed, n, dtype):
    rng = np.random.default_rng(seed)
    gamma, alpha = rng.gamma(0.7, 5, (2, n)).astype(dtype) + dtype(0.01)
    value = kernels.dirichlet_divergence(padded(gamma, 24, dtype), padded(alpha, 24, dtype), n)
    want = naive.dirichlet_divergence(gamma, alpha)
    close(value / (1 + gamma.sum() + alpha.sum()), want / (1 + gamma.sum() + alpha.sum()), dtype)
    assert value <= 1e-5


@given(PROBLEMS)
def test_statistics(problem):
    rng = np.random.default_rng(0)
    indptr, words, counts = problem.parts
    source = DocumentSource(indptr, words, counts, len(problem.table))
    columns, owners, entries = source.all()[4:]
    rows = source.all().rows
    ratio = rng.gamma(1.0, 1.0, len(words)).astype(problem.dtype)
    e = padded(rng.gamma(1.0, 1.0, (len(indptr) - 1, problem.n_topics)), problem.width,
               problem.dtype)  # fmt: skip
    doc_weights = rng.gamma(1.0, 1.0, len(e)).astype(problem.dtype)
    weights = padded(problem.weights[rows], problem.width, problem.dtype)
    out = weights.copy()
    middle = len(rows) // 2
    for start, stop in ((0, middle), (middle, len(rows))):
        statistics(columns, owners, entries, ratio, e, doc_weights, start, stop, out)
    want = naive.statistics(
        problem.documents,
        padded(problem.weights, problem.width, np.float64),
        [ratio[a:b].astype(float) for a, b in pairwise(indptr)],
        e.astype(float),
        doc_weights.astype(float),
    )
    close(out, want[rows], problem.dtype)
    np.testing.assert_array_equal(np.delete(want, rows, axis=0), 0)


@given(SEEDS, st.integers(1, 18), st.sampled_from(DTYPES))
def test_collapsed_statistics(seed, n_topics, dtype):
    problem = Problem(seed, 5, 13, n_topics, dtype, collapsed=True)
    indptr, words, counts = problem.parts
    _, e, ratio, _ = problem.local_step(3)
    documents = DocumentSource(indptr, words, counts, len(problem.table)).all()
    alpha = padded(problem.alpha, problem.width, dtype)
    doc_weights = np.random.default_rng(0).gamma(1.0, 1.0, len(e)).astype(dtype)
    out = padded(problem.weights[documents.rows], problem.width, dtype)
    middle = len(out) // 2
    for start, stop in ((0, middle), (middle, len(out))):
        kernels.collapsed_statistics(
            *documents[4:], counts, ratio, alpha, e, doc_weights, start, stop, out
        )
    want = naive.collapsed_statistics(
        problem.documents, problem.weights, problem.alpha, e[:, :n_topics].astype(float),
        doc_weights.astype(float),
    )  # fmt: skip
    close(out[:, :n_topics], want[documents.rows], dtype)
    assert not out[:, n_topics:].any()


@given(PROBLEMS)
def test_expected_counts_add_up_to_the_counts(problem):
    """Responsibilities of each entry sum to one, so that column n of the statistics is c_n."""
    indptr, words, counts = problem.parts
    _, e, ratio, _ = problem.local_step(3)
    source = DocumentSource(indptr, words, counts, len(problem.table))
    documents = source.all()
    out = padded(problem.weights[documents.rows], problem.width, problem.dtype)
    statistics(*documents[4:], ratio, e, np.ones(len(e), problem.dtype), 0, len(out), out)
    totals = np.bincount(words, counts, len(problem.table))[documents.rows]
    close(out.sum(axis=1), totals, problem.dtype)


@given(PROBLEMS)
def test_score_documents(problem):
    indptr, words, counts = problem.parts
    theta = np.random.default_rng(1).dirichlet(np.ones(problem.n_topics), len(indptr) - 1)
    theta = theta.reshape(len(indptr) - 1, problem.n_topics)
    out = np.full(len(theta), np.nan)
    kernels.score_documents(
        indptr, words, counts, padded(problem.weights, problem.width, problem.dtype),
        padded(theta, problem.width, problem.dtype), 0, len(theta), out,
    )  # fmt: skip
    for value, document, proportions in zip(out, problem.documents, theta):
        size = 1 + sum(count for _, count in document)
        want = naive.score(document, problem.weights, proportions)
        close(value / size, want / size, problem.dtype)
