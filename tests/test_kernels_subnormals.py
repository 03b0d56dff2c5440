"""Kernels may flush subnormal numbers, and leave the mode as it was."""

import numpy as np
import pytest

from fastvi.kernels._jit import kernel
from fastvi.kernels._subnormals import IS_X86, flush_subnormals, restore_subnormals


@kernel
def products(x, y, out):
    mode = flush_subnormals()
    for i in range(x.shape[0]):
        out[i] = x[i] * y[i]
    restore_subnormals(mode)


@pytest.mark.jit
@pytest.mark.skipif(not IS_X86, reason="only x86 processors have this mode")
@pytest.mark.parametrize(
    ("dtype", "tiny", "factor"), [(np.float32, 1e-30, 1e-10), (np.float64, 1e-300, 1e-12)]
)
def test_products_are_flushed_inside_and_not_outside(dtype, tiny, factor):
    x = np.array([tiny, 2.0, tiny], dtype)
    y = np.array([factor, 3.0, 1.0], dtype)
    assert 0 < x[0] * y[0] < np.finfo(dtype).tiny
    out = np.empty(3, dtype)
    products(x, y, out)
    assert out.tolist() == [0.0, 6.0, x[2]]
    assert x[0] * y[0] > 0  # this thread is as before
