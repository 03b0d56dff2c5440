"""`fastvi.kernels._registers` equals its plain twin for every width."""

import numpy as np
import pytest

from fastvi.kernels import _registers
from fastvi.kernels._jit import kernel

pytestmark = pytest.mark.skipif(
    not _registers.AVAILABLE, reason="no such registers, or bounds checks: the plain loop is taken"
)


@kernel
def compiled(words, counts, weights, e, ratio, total):
    """Call it from compiled code, where the vector form is taken."""
    _registers.register_sums(words, counts, weights, e, ratio, total)


def twin(words, counts, weights, e):
    rows = np.float64(weights)[words]
    ratio = counts / (rows @ np.float64(e) + 1e-30)
    return ratio, ratio @ rows


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_width(dtype, rng):
    for width in range(8, 512 // np.dtype(dtype).itemsize + 33, 8):  # some do not fit
        for n_words in (0, 1, 2, 7, 47):
            weights = rng.gamma(0.5, 1.0, (50, width)).astype(dtype) + dtype(1e-3)
            e = rng.gamma(0.5, 1.0, width).astype(dtype) + dtype(1e-3)
            words = rng.integers(0, 50, n_words).astype(np.int32)
            counts = rng.integers(0, 5, n_words).astype(dtype)
            ratio, total = np.full(n_words, np.nan, dtype), np.full(width, np.nan, dtype)
            compiled(words, counts, weights, e, ratio, total)
            want_ratio, want_total = twin(words, counts, weights, e)
            rtol = 20 * np.finfo(dtype).eps
            np.testing.assert_allclose(ratio, want_ratio, rtol=rtol)
            np.testing.assert_allclose(total, want_total, rtol=rtol)


def test_words_without_mass(rng):
    """A weight of 0 everywhere gives a finite ratio, as in the plain loop."""
    weights, e = np.zeros((1, 16), np.float32), np.ones(16, np.float32)
    ratio, total = np.empty(1, np.float32), np.empty(16, np.float32)
    compiled(np.zeros(1, np.int32), np.ones(1, np.float32), weights, e, ratio, total)
    np.testing.assert_allclose(ratio, 1e30, rtol=1e-6)
    assert np.all(total == 0)
