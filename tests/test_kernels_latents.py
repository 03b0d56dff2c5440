"""`fastvi.kernels.latents` equals NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastvi.kernels import latents as kernels

pytestmark = pytest.mark.usefixtures("quiet")


@given(st.integers(0, 2**32 - 1), st.integers(0, 5), st.integers(0, 20))
def test_sums_of_pairs_and_their_reverse(seed, n, m):
    rng = np.random.default_rng(seed)
    pairs, near, logs = rng.normal(size=(n, m, m)), rng.normal(size=(n, m)), rng.normal(size=n)
    pairs += pairs.transpose(0, 2, 1)
    slopes, total = rng.normal(size=(m, m)), rng.normal(size=(m, m))
    slopes += slopes.T
    each = np.exp(logs[:, None, None] - near[:, :, None] - near[:, None] - pairs)
    want = total + np.tril(each.sum(axis=0))
    kernels.add_pairs(pairs, near, logs, total)
    np.testing.assert_allclose(total, want, rtol=1e-13, atol=1e-13)
    kernels.weigh_pairs(pairs, near, logs, slopes)
    np.testing.assert_allclose(pairs, each * slopes, rtol=1e-12)
