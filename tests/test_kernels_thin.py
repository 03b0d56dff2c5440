"""`fastvi.kernels.thin` equals its plain twin, in BLAS and in tiles, whatever the processor."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import thin as naive
from numba.core.errors import TypingError

from fastvi.kernels import thin

DTYPES = [np.float32, np.float64]
ROWS = st.integers(0, 9)
TERMS = st.integers(0, 9) | st.integers(60, 70)
SEEDS = st.integers(0, 2**32 - 1)


def tiles(a, b, out):
    """As on a processor with AVX2 and no more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thin, "AVAILABLE", True)
        out += thin.product(a, b)


def plain(a, b, out):
    out += thin.product(a, b)


FORMS = [thin.add_product, plain, pytest.param(tiles, marks=pytest.mark.jit)]


def close(found, a, b, dtype, start=0.0):
    """Equal within two roundings for each term."""
    want = np.array(naive.product(a, b)).reshape(len(a), b.shape[1])
    size = np.abs(a).astype(float) @ np.abs(b).astype(float) + np.abs(start)
    assert found.dtype == dtype
    most = 2 * (a.shape[1] + 1) * np.finfo(dtype).eps * size
    assert np.all(np.abs(found - start - want) <= most)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("add", FORMS)
@given(seed=SEEDS, m=ROWS, n=TERMS, width=st.integers(0, 26), transposed=st.booleans())
def test_sums_are_added(add, dtype, seed, m, n, width, transposed):
    rng = np.random.default_rng(seed)
    shape = (n, m) if transposed else (m, n)
    a, b, start = (rng.normal(size=x).astype(dtype) for x in (shape, (n, width), (m, width)))
    a = a.T if transposed else a
    out = start.copy()
    add(a, b, out)
    close(out, a, b, dtype, start)


@pytest.mark.parametrize("dtype", DTYPES)
@given(seed=SEEDS, m=ROWS, n=st.integers(1, 70), width=st.integers(1, 26))
def test_times(dtype, seed, m, n, width):
    """What `out` held does not matter."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(m, n)).astype(dtype), rng.normal(size=(n, width)).astype(dtype)
    out = np.full((m, width), np.nan, dtype)
    thin.times(a, b, out)
    close(out, a, b, dtype)


@pytest.mark.jit
@pytest.mark.parametrize("function", [thin.times, thin.add_product])
def test_what_tiles_would_read_wrongly_is_refused(function):
    """On every processor, so that a density that works on one works on all."""
    a, b, out = np.ones((2, 4)), np.ones((4, 3)), np.ones((2, 3))
    for arrays in ((a.astype(np.float32), b, out), (a, np.asfortranarray(b), out)):
        with pytest.raises(TypingError, match="wanted matrices of one dtype"):
            function(*arrays)
    for arrays in ((a[:, 1:], b, out), (a, b[:, 1:], out), (a[1:], b, out)):
        with pytest.raises(ValueError, match="shapes do not fit"):
            function(*map(np.ascontiguousarray, arrays))


@pytest.mark.jit
@pytest.mark.parametrize("dtype", DTYPES)
def test_wide_and_long(dtype, rng):
    """Of so many columns, few terms are added at a time."""
    for n, width in ((3, 257), (1000, 10), (200, 700)):
        a, b = rng.normal(size=(5, n)).astype(dtype), rng.normal(size=(n, width)).astype(dtype)
        out = np.zeros((5, width), dtype)
        tiles(a, b, out)
        want = a.astype(float) @ b.astype(float)
        np.testing.assert_allclose(out, want, rtol=0, atol=200 * n * np.finfo(dtype).eps)


@pytest.mark.jit
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_number_has_the_same_bits_in_any_tile(dtype, rng):
    """Whichever rows and columns are computed with it, and wherever they lie."""
    a, b = rng.normal(size=(11, 70)).astype(dtype), rng.normal(size=(70, 29)).astype(dtype)
    whole = np.zeros((11, 29), dtype)
    tiles(a, b, whole)
    for rows in (slice(0, 1), slice(3, 8), slice(10, 11)):
        for columns in (slice(0, 1), slice(4, 6), slice(5, 8), slice(3, 15), slice(16, 29)):
            part = np.ascontiguousarray(b[:, columns])
            out = np.zeros((rows.stop - rows.start, part.shape[1]), dtype)
            tiles(np.asfortranarray(a[rows]), part, out)
            np.testing.assert_array_equal(out, whole[rows, columns])


@pytest.mark.jit
@pytest.mark.parametrize("dtype", DTYPES)
def test_subnormal_and_infinite_numbers(dtype):
    """They are those of plain sums, and stay in their own row and column."""
    tiny = np.finfo(dtype).smallest_subnormal
    a = np.ones((6, 2), dtype)
    a[1] = tiny
    a[2, 0], a[3, 0] = np.inf, np.nan
    b = np.ones((2, 5), dtype)
    b[:, 4] = 3
    out = np.zeros((6, 5), dtype)
    tiles(a, b, out)
    np.testing.assert_array_equal(out[:, 0], [2, 2 * tiny, np.inf, np.nan, 2, 2])
    np.testing.assert_array_equal(out[:, 1:4], out[:, :1].repeat(3, axis=1))
    np.testing.assert_array_equal(out[:, 4], 3 * out[:, 0])
