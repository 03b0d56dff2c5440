"""`fastvi.kernels.dirichlet` equals its plain twins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import dirichlet as naive

from fastvi.kernels import dirichlet as kernels

DTYPES = [np.float32, np.float64]
SEEDS = st.integers(0, 2**32 - 1)

pytestmark = pytest.mark.usefixtures("quiet")


def close(result, want, dtype, limit=0.0):
    """Accuracy of a term 5e-7 / 2e-15, sums of tens of them."""
    limit = max(limit, 200 * np.finfo(dtype).eps)
    np.testing.assert_allclose(result, want, rtol=limit, atol=limit * (1 + abs(want).max()))


def in_two_parts(kernel, values, *arguments, weights, n_columns):
    first, second = np.zeros((2, n_columns + 1))
    middle = len(values) // 2
    for start, stop in ((0, middle), (middle, len(values))):
        kernel(values, *arguments, weights, start, stop, first, second)
    return first, second


@given(SEEDS, st.integers(0, 7), st.integers(1, 12), st.sampled_from(DTYPES))
def test_digamma_sums(seed, n_rows, n_columns, dtype):
    rng = np.random.default_rng(seed)
    values = rng.gamma(0.5, 20.0, (n_rows, n_columns + 3)).astype(dtype) + dtype(1e-3)
    weights = rng.gamma(1.0, 1.0, n_rows)
    result = in_two_parts(
        kernels.digamma_sums, values, n_columns, weights=weights, n_columns=n_columns
    )
    for got, want in zip(result, naive.digamma_sums(values[:, :n_columns], weights)):
        close(got, want, dtype)


@given(SEEDS, st.integers(0, 7), st.integers(1, 12), st.sampled_from(DTYPES))
def test_polya_sums(seed, n_rows, n_columns, dtype):
    """Means from none over tiny to large ones, priors from 1e-5."""
    rng = np.random.default_rng(seed)
    prior = rng.gamma(0.5, 1.0, n_columns) + 1e-5
    prior = prior.astype(dtype).astype(np.float64)
    shape = (n_rows, n_columns)
    means = rng.choice([0.0, 1e-7, 3e-5, 2e-4, 0.3, 4.0, 1e3], shape) * rng.random(shape)
    values = np.zeros((n_rows, n_columns + 3), dtype)
    values[:, :n_columns] = prior + means
    weights = rng.gamma(1.0, 1.0, n_rows)
    result = in_two_parts(kernels.polya_sums, values, prior, weights=weights, n_columns=n_columns)
    for got, want in zip(result, naive.polya_sums(values[:, :n_columns], prior, weights)):
        close(got, want, dtype, 2e-7)  # the series for small means


def test_polya_sums_take_counts_below_their_prior_for_none():
    values = np.full((1, 8), 0.1, np.float32)  # a rounding below the prior
    first, second = in_two_parts(
        kernels.polya_sums, values, np.array([0.2]), weights=np.ones(1), n_columns=1
    )
    assert first[0] == 0
    assert second[0] == 0
