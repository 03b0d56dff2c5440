"""`fastvi.kernels.factors` equals its plain twins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import factors as naive

from fastvi.kernels import factors as kernels

DTYPES = [np.float32, np.float64]
sizes = st.tuples(st.integers(0, 20), st.integers(1, 19), st.integers(0, 9))


def close(result, want, dtype, size=0.0):
    """Equal within 20 roundings of the terms, whose sizes are `size` together."""
    tolerance = 20 * np.finfo(dtype).eps
    np.testing.assert_allclose(result, want, rtol=tolerance, atol=tolerance * size)


@given(st.integers(0, 2**32 - 1), sizes, st.sampled_from(DTYPES), st.sampled_from(DTYPES))
def test_standardize_and_column_squares(seed, shape, dtype, out):
    rng = np.random.default_rng(seed)
    n, d, _ = shape
    x = rng.normal(3, 10, size=(n, d)).astype(dtype)
    centre, factor = rng.normal(size=d), rng.lognormal(size=d)
    rows = np.full((n, d + 1), np.nan, out)
    kernels.standardize(x, centre, factor, rows)
    close(rows, naive.standardize(x, centre, factor).reshape(n, d + 1), out)
    squares = np.ones(d)
    kernels.column_squares(x, centre, squares)
    close(squares, 1 + naive.column_squares(x, centre), np.float64)


@given(st.integers(0, 2**32 - 1), sizes, st.sampled_from(DTYPES))
def test_weigh_and_norms(seed, shape, dtype):
    rng = np.random.default_rng(seed)
    n, d, k = shape
    rows = np.column_stack((rng.normal(size=(n, d)), np.ones(n))).astype(dtype)
    latent = np.column_stack((rng.normal(size=(n, k)), np.ones(n))).astype(dtype)
    weights = rng.choice([0.0, 0.3, 1.0, 40.0], n)
    weighted, squares = np.full((n, k + 1), np.nan, dtype), np.ones(d + 1)
    kernels.weigh(rows, latent, weights, weighted, squares)
    want = naive.weigh(rows.astype(float), latent.astype(float), weights)
    close(weighted, want[0].reshape(n, k + 1), dtype)
    close(squares, 1 + want[1], np.float64)
    root = rng.normal(size=(k, k))
    covariance = np.pad(root @ root.T, (0, 1))
    norms = np.full(n, np.nan)
    kernels.statistics_norms(rows, latent, covariance, norms)
    wide = zip(rows.astype(float), latent.astype(float))
    close(norms, [naive.statistics_norm(x, z, covariance) for x, z in wide], np.float64)


@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(0, 5))
def test_norms_of_rows_that_stand_for_many(seed, d, k):
    """A row whose last entry is not 1 has that many times the covariance, squared."""
    rng = np.random.default_rng(seed)
    row = rng.normal(size=(1, d))
    latent = np.column_stack((rng.normal(size=(1, k)), row[:, -1:]))
    covariance = np.pad(np.eye(k), (0, 1))
    norms = np.empty(1)
    kernels.statistics_norms(row, latent, covariance, norms)
    x, z, one = row[0, :-1], latent[0], row[0, -1]
    parts = [one**2], np.outer(z, z) + one**2 * covariance, np.outer(x, z), x**2
    close(norms[0] ** 2, sum(np.sum(np.square(part)) for part in parts), np.float64)


@pytest.mark.jit
def test_other_sizes_compile_nothing(rng):
    from fastvi.models.factors.model import Factors
    from fastvi.models.factors.rows import StandardRows
    from fastvi.models.fits import fit_conjugate

    def solve(n, d, k):
        for dtype in DTYPES:
            x = rng.normal(size=(n, d)).astype(dtype)
            model, source = (
                Factors(d, k, per_feature=True),
                StandardRows(x, np.zeros(d), np.ones(d)),
            )
            source.gram()
            start = model.start(n, np.ones((d, k)), np.ones(d))
            fit_conjugate(model, source, start, n_epochs=1, batch_size=7, sampling="adaptive")

    def compiled():
        names = "standardize", "weigh", "statistics_norms"
        return {name: len(getattr(kernels, name).signatures) for name in names}

    solve(20, 5, 2)
    before = compiled()
    solve(31, 8, 3)
    assert compiled() == before
