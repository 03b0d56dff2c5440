"""`fastvi.kernels.gammas` equals its plain twins, and draws from Gamma distributions."""

import numpy as np
import pytest
from naive import gammas as naive
from scipy import stats

from fastvi.kernels import gammas as kernels

DTYPES = [np.float32, np.float64]

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.mark.parametrize("dtype", DTYPES)
def test_draws_equal_those_of_the_twin(dtype):
    """Across blocks, and in parts. In float32 a trial in some thousand ends on the other side."""
    rng = np.random.default_rng(3)
    shapes = np.exp(rng.uniform(np.log(1e-3), np.log(1e4), 700)).astype(dtype)
    shapes[:2] = 1.0, np.nextafter(dtype(1), dtype(0))
    seed = 2**64 - 5
    want = naive.log_gammas(shapes.astype(np.float64), seed)
    result = shapes.copy()
    kernels.log_gammas(result, np.uint64(seed), 0, len(shapes))
    wrong = np.abs(result - want) > 100 * np.finfo(dtype).eps * (1 + np.abs(want)) + 1e-6
    assert wrong.sum() <= (2 if dtype is np.float32 else 0)
    parts = shapes.copy()
    kernels.log_gammas(parts, np.uint64(seed), 0, 300)
    kernels.log_gammas(parts, np.uint64(seed), 300, len(shapes))
    np.testing.assert_allclose(parts, result, rtol=100 * np.finfo(dtype).eps)


@pytest.mark.parametrize("shape", [1e-3, 0.05, 0.7, 1.0, 2.5, 1000.0])
def test_draws_follow_gamma_distributions(shape):
    """Kolmogorov and Smirnov's test of 20,000 draws of one seed."""
    is_compiled = hasattr(kernels.log_gammas, "py_func")
    logs = np.full(20_000 if is_compiled else 300, shape)
    kernels.log_gammas(logs, np.uint64(11), 0, len(logs))
    assert stats.kstest(logs, stats.loggamma(shape).cdf).pvalue > 1e-3


def test_no_shape_gives_nothing():
    """Padding has shape 0, whose variable is 0."""
    shapes = np.zeros(8, np.float32)
    kernels.log_gammas(shapes, np.uint64(1), 0, 8)
    assert np.all(shapes == -np.inf)


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_and_sums_equal_their_twins(dtype):
    """Also where all logs of a word are far below the smallest number, and with a single row."""
    rng = np.random.default_rng(4)
    logs = rng.normal(0, 3, (9, 8)).astype(dtype)
    logs[2] = rng.normal(-900, 30, 8)
    logs[:, 5:] = -np.inf
    for start, stop in ((0, 9), (4, 5)):
        top, total = np.empty(8, dtype), np.empty(8)
        kernels.log_sums(logs, start, stop, top, total)
        want = naive.log_sums(logs[start:stop, :5].astype(np.float64))
        tolerance = 100 * np.finfo(dtype).eps
        np.testing.assert_allclose(top[:5] + np.log(total[:5]), want, rtol=tolerance, atol=1e-5)
    totals = rng.normal(0, 1, 5).astype(dtype)
    weights, shift = naive.drawn_weights(logs[:, :5].astype(np.float64), totals)
    result, log_factors = logs.copy(), np.empty(9, dtype)
    kernels.drawn_weights(result, totals, 5, 0, 9, log_factors)
    np.testing.assert_allclose(result[:, :5], weights, rtol=2000 * tolerance / 100, atol=1e-30)
    np.testing.assert_allclose(log_factors, shift, rtol=tolerance, atol=tolerance)
    assert not result[:, 5:].any()
