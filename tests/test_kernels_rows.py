"""`fastvi.kernels.rows` equals NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastvi.kernels import rows as kernels


@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.integers(0, 40))
def test_passes_over_rows(seed, n, m):
    rng = np.random.default_rng(seed)
    k, product, out = rng.normal(size=(3, n, m))
    weights, diagonal = rng.normal(size=m), rng.normal(size=n)
    first, second = rng.normal(size=(2, n))
    mean, variance = np.full((2, n), np.nan)
    kernels.moments(k, product, weights, diagonal, mean, variance)
    np.testing.assert_allclose(mean, k @ weights, atol=1e-12)
    np.testing.assert_allclose(variance, diagonal - (k * product).sum(axis=1), atol=1e-12)
    scaled = np.full((n, m), np.nan)
    kernels.scale_rows(k, first, scaled)
    np.testing.assert_allclose(scaled, first[:, None] * k)
    want = out + np.outer(first, weights) + second[:, None] * product
    kernels.add_adjoints(first, second, weights, product, out)
    np.testing.assert_allclose(out, want, atol=1e-12)


@pytest.mark.parametrize("m", [0, 1, 2, 31, 32, 33, 100])
def test_mirror(m, rng):
    a = rng.normal(size=(m, m))
    want = np.tril(a) + np.tril(a, -1).T
    kernels.mirror(a)
    np.testing.assert_array_equal(a, want)
