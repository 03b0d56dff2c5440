"""`fastvi.kernels.sparse` and the batches prepared with it, against lists of pairs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import sparse as naive

from fastvi.kernels import sparse as kernels
from fastvi.models.counts import DocumentSource

N_WORDS = 9
PAIRS = st.tuples(st.integers(0, N_WORDS - 1), st.integers(0, 5))
ROWS = st.lists(st.lists(PAIRS, max_size=7), max_size=6)
DTYPES = st.sampled_from([np.float32, np.float64])


@given(ROWS, DTYPES, st.data())
def test_take_rows(rows, dtype, data):
    """Any rows in any order, also twice."""
    indptr, indices, counts = naive.csr(rows, dtype)
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=8)) if rows else []
    want = naive.csr([rows[i] for i in chosen], dtype)
    out = want[0], np.full(len(want[1]), -1, np.int32), np.full(len(want[2]), np.nan, dtype)
    kernels.take_rows(indptr, indices, counts, np.array(chosen, np.int64), *out)
    for result, array in zip(out, want):
        np.testing.assert_array_equal(result, array)


@given(st.lists(st.integers(0, N_WORDS - 1), max_size=30))
def test_distinct_and_renumber(values):
    indices = np.array(values, np.int32)
    marker, found = np.full(N_WORDS, -1, np.int32), np.empty(len(values), np.int32)
    n = kernels.distinct(indices, marker, found)
    assert found[:n].tolist() == list(dict.fromkeys(values))
    places = np.empty(len(values), np.int32)
    kernels.renumber(indices, marker, found[:n], places)
    assert found[:n][places].tolist() == values
    assert marker.tolist() == [-1] * N_WORDS


@given(ROWS, DTYPES)
def test_transpose(rows, dtype):
    indptr, indices, _ = naive.csr(rows, dtype)
    columns = np.full(N_WORDS + 1, -1, np.int64)
    documents, entries = np.full(len(indices), -1, np.int32), np.full(len(indices), -1, np.int64)
    kernels.transpose(indptr, indices, columns, documents, entries)
    pairs = [*zip(documents.tolist(), entries.tolist())]
    want = naive.transpose(indptr, indices, N_WORDS)
    assert [pairs[a:b] for a, b in zip(columns, columns[1:])] == want  # noqa: RUF007


@given(ROWS, DTYPES, st.data())
def test_batches_hold_the_documents_asked_for(rows, dtype, data):
    source = DocumentSource(*naive.csr(rows, dtype), N_WORDS)
    chosen = data.draw(st.permutations(range(len(rows))))[: len(rows) // 2 + 1]
    for batch, want in (
        (source.take(np.array(chosen, np.int64)), [rows[i] for i in chosen]),
        (source.all(), rows),
    ):
        assert batch.n_documents == len(want)
        assert naive.rows_of(batch.indptr, batch.rows[batch.words], batch.counts) == want
        assert batch.rows.tolist() == sorted({word for row in want for word, _ in row})
        assert batch.counts.dtype == dtype
        assert [batch.columns.dtype, batch.entries.dtype] == [np.int64] * 2
        assert [batch.words.dtype, batch.rows.dtype, batch.documents.dtype] == [np.int32] * 3


def status(indptr, indices, data):
    """What check_csr says about a matrix of 3 columns."""
    arrays = np.array(indptr, np.int64), np.array(indices, np.int32), np.array(data, np.float64)
    return kernels.check_csr(*arrays, 3)


@pytest.mark.parametrize(
    ("want", "matrix"),
    [
        (0, ([0, 2, 2, 3], [0, 2, 1], [1, 1, 2.5])),
        (1, ([0, 2, 2, 3], [0, 2, 1], [1, 0, 2.5])),
        (0, ([0], [], [])),
        (1, ([0, 2], [2, 0], [1, 1])),
        (1, ([0, 2], [1, 1], [1, 1])),
        (2, ([1, 2], [0, 1], [1, 1])),
        (2, ([0, 3], [0, 1], [1, 1])),
        (2, ([0, 2, 1, 2], [0, 1], [1, 1])),
        (2, ([0, 2], [0, 1], [1])),
        (3, ([0, 1], [3], [1])),
        (3, ([0, 1], [-1], [1])),
        (4, ([0, 1], [1], [np.nan])),
        (4, ([0, 1], [1], [np.inf])),
        (5, ([0, 1], [1], [-1])),
        (5, ([0, 3], [2, 0, 1], [1, 1, -1])),
    ],
)
def test_check_csr(want, matrix):
    assert status(*matrix) == want
