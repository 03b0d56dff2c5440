"""`fastvi.kernels.layers` equals NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastvi.kernels import layers as kernels

pytestmark = pytest.mark.usefixtures("quiet")


@given(st.integers(0, 2**32 - 1), st.integers(0, 9), st.integers(0, 4), st.integers(0, 40))
def test_passes_over_rows_of_a_layer(seed, n, t, m):
    rng = np.random.default_rng(seed)
    k, products = rng.normal(size=(n, m)), rng.normal(size=(n, t, m))
    diagonal, slopes, out = rng.normal(size=n), rng.normal(size=(n, t)), rng.normal(size=(n, m))
    variance = np.full((n, t), np.nan)
    kernels.variances(k, products, diagonal, variance)
    want = diagonal[:, None] - np.einsum("im,itm->it", k, products)
    np.testing.assert_allclose(variance, want, atol=1e-12)
    want = out - 2.0 * np.einsum("it,itm->im", slopes, products)
    kernels.take_adjoints(slopes, products, out)
    np.testing.assert_allclose(out, want, atol=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(0, 9), st.integers(0, 40))
def test_rows_split_by_sign(seed, n, m):
    rng = np.random.default_rng(seed)
    k, factors, out = rng.normal(size=(n, m)), rng.normal(size=n), np.full((n, m), np.nan)
    first = kernels.split_by_sign(k, factors, out)
    assert first == np.sum(factors >= 0)
    found = out[:first].T @ out[:first] - out[first:].T @ out[first:]
    np.testing.assert_allclose(found, k.T @ (factors[:, None] * k), atol=1e-12)
