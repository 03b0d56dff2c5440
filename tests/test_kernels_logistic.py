"""`fastvi.kernels.logistic` equals its plain twins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import logistic as naive

from fastvi.kernels import logistic as kernels

DTYPES = [np.float32, np.float64]


def close(result, want, dtype, size=1.0):
    """Equal within 200 roundings of the terms, whose sizes are `size` together."""
    tolerance = 200 * np.finfo(dtype).eps
    np.testing.assert_allclose(result, want, rtol=tolerance, atol=tolerance * size)


def problem(seed, n, p, dtype, scale=1.0):
    """Rows, targets, weights and a root of E[w w'] that is one column wider."""
    rng = np.random.default_rng(seed)
    block = (scale * rng.normal(size=(n, p))).astype(dtype)
    root = rng.normal(size=(p, p + 1)).astype(dtype) / dtype(scale)
    return block, root, rng.choice([-0.5, 0.5], n), rng.choice([0.0, 0.3, 1.0, 40.0], n)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 20),
    st.integers(1, 19),
    st.sampled_from(DTYPES),
    st.sampled_from([1e-8, 1.0, 1e8]),
)
def test_rows(seed, n, p, dtype, scale):
    block, root, targets, weights = problem(seed, n, p, dtype, scale)
    wide = root.astype(np.float64)
    xi, scaled = np.full(n, np.nan, dtype), np.full((n, p), np.nan, dtype)
    linear = np.ones(p)
    whitened = (block.astype(np.float64) @ wide).astype(dtype)
    bound = kernels.fit_rows(block, whitened, targets, weights, xi, scaled, linear)
    want = naive.fit_rows(block, wide @ wide.T, targets, weights)
    close(xi, want[0], dtype)
    close(scaled, want[1].reshape(n, p), dtype)
    close(linear, 1 + want[2], np.float64, 1 + np.abs(weights @ np.abs(block)).sum())
    close(bound, want[3], dtype, 1.0)
    norms = np.full(n, np.nan)
    kernels.statistics_norms(block, xi, norms)
    wanted = [
        naive.statistics_norm(*row) for row in zip(block.astype(np.float64), targets, want[0])
    ]
    close(norms, wanted, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_small_and_large_xi(dtype):
    """The curvature is continuous where its series begins, and nothing overflows."""
    xi = np.array([0.0, 1e-30, 0.99e-3, 1.01e-3, 1.0, 50.0, 1e4, 1e18], dtype)
    block, targets = np.ones((len(xi), 1), dtype), np.full(len(xi), 0.5)
    out, scaled = np.empty_like(xi), np.empty((len(xi), 1), dtype)
    bound = kernels.fit_rows(
        block, xi[:, None], targets, np.ones(len(xi)), out, scaled, np.zeros(1)
    )
    want = [np.sqrt(2 * naive.curvature(float(x))) for x in xi]
    np.testing.assert_allclose(scaled[:, 0], want, rtol=8 * np.finfo(dtype).eps + 1e-12)
    exact = -0.5 * xi.astype(np.float64) - np.log1p(np.exp(-xi.astype(np.float64)))
    np.testing.assert_allclose(bound, exact.sum(), rtol=8 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_append_one(dtype, rng):
    x = rng.normal(size=(7, 3)).astype(dtype)
    block = np.full((4, 4), np.nan, dtype)
    kernels.append_one(x, 2, 5, block)
    np.testing.assert_array_equal(block[:3], np.column_stack((x[2:5], np.ones(3, dtype))))
    assert np.isnan(block[3]).all()
