"""Held-out documents and halves of documents."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array, csr_matrix

from fastvi.corpus import halves, split

tables = arrays(
    np.int64,
    st.tuples(st.integers(0, 8), st.integers(1, 8)),
    elements=st.sampled_from([0, 0, 1, 2, 7, 10**6]),
)


@given(tables, st.integers(0, 2**32), st.sampled_from([np.int32, np.int64, np.float32]))
def test_halves_add_up(table, seed, dtype):
    counts = csr_array(table.astype(dtype))
    observed, scored = halves(counts, np.random.default_rng(seed))
    np.testing.assert_array_equal((observed + scored).toarray(), table)
    assert observed.dtype == scored.dtype == np.float32
    for half in (observed, scored):
        assert np.all(half.data > 0)
    tokens = table.sum(axis=1)
    np.testing.assert_array_equal(observed.toarray().astype(int).sum(axis=1), (tokens + 1) // 2)
    again = halves(counts, np.random.default_rng(seed))
    np.testing.assert_array_equal(observed.toarray(), again.observed.toarray())


def test_halves_draw_tokens_without_replacement(rng):
    """Mean and covariance are those of the multivariate hypergeometric distribution.

    20,000 copies of one document; bounds are five standard errors.
    """
    document, n_copies = np.array([6, 3, 1, 5]), 20_000
    counts = csr_matrix(np.tile(document, (n_copies, 1)))
    drawn = halves(counts, rng).observed.toarray()
    n, m = document.sum(), (document.sum() + 1) // 2
    p = document / n
    covariance = m * (n - m) / (n - 1) * (np.diag(p) - np.outer(p, p))
    errors = np.sqrt(np.diag(covariance) / n_copies)
    assert np.all(np.abs(drawn.mean(axis=0) - m * p) < 5 * errors)
    spread = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)) * 2 / n_copies)
    assert np.all(np.abs(np.cov(drawn.T) - covariance) < 5 * spread)


def test_halves_leave_their_input(rng):
    counts = csr_array(np.array([[2, 0, 3], [1, 1, 0]]))
    before = counts.copy()
    observed, _ = halves(counts, rng)
    observed.data[:] = -1
    observed.indices[:] = 0
    for part in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(counts, part), getattr(before, part))


@pytest.mark.parametrize(
    ("row", "message"),
    [([0.5], "whole"), ([-1], "whole"), ([10**9], "document 0 has 1000000000 tokens")],
)
def test_counts_that_cannot_be_halved(row, message, rng):
    with pytest.raises(ValueError, match=message):
        halves(csr_array([row]), rng)


@given(tables, st.floats(0.01, 0.99), st.integers(0, 2**32))
def test_split_is_a_partition(table, fraction, seed):
    counts = csr_array(table)
    long_enough = np.count_nonzero(table.sum(axis=1) >= 2)
    if len(table) < 2 or not long_enough:
        with pytest.raises(ValueError, match="nothing to hold out"):
            split(counts, fraction, np.random.default_rng(seed))
        return
    train, test = split(counts, fraction, np.random.default_rng(seed))
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(len(table)))
    assert np.all(np.diff(test) > 0)
    assert np.all(np.diff(train) > 0)
    assert np.all(table[test].sum(axis=1) >= 2)
    wanted = min(max(1, round(fraction * len(table))), len(table) - 1)
    assert len(test) == min(wanted, long_enough)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, float("nan")])
def test_bad_fraction(fraction, rng):
    with pytest.raises(ValueError, match="held_out_fraction"):
        split(csr_array(np.ones((3, 3))), fraction, rng)
