"""`fastvi.kernels.mixture` equals its plain twins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import mixture as naive
from test_addresses import GAPS, placed

from fastvi.kernels import mixture as kernels

DTYPES = [np.float32, np.float64]
SEEDS = st.integers(0, 2**32 - 1)


def close(result, want, dtype, size=1.0):
    """Equal within 40 roundings of the terms, whose sizes are `size` together."""
    tolerance = 40 * np.finfo(dtype).eps
    np.testing.assert_allclose(result, want, rtol=tolerance, atol=tolerance * size)


@given(
    SEEDS,
    st.integers(0, 70),
    st.integers(1, 7),
    st.sampled_from(["linear", "products", "squares", "mean_square"]),
    st.sampled_from(DTYPES),
    st.sampled_from(DTYPES),
)
def test_features(seed, n, d, name, dtype, work):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n + 3, d)).astype(dtype)
    centre, factor = rng.normal(size=d), 2.0 ** rng.integers(-3, 4, d)
    want = [getattr(naive, name)(x) for x in naive.coordinates(X[2 : n + 2], centre, factor)]
    width = len(getattr(naive, name)([0.0] * d))
    out = np.full((width, n), np.nan, work)
    getattr(kernels, name)(X, centre, factor, 2, n + 2, out)
    close(out, np.reshape(want, (n, width)).T, work)


@given(
    SEEDS,
    st.integers(0, 150),
    st.integers(1, 9),
    st.sampled_from(DTYPES),
    st.sampled_from([0.0, 1.0, 100.0, 1e4]),
)
def test_responsibilities(seed, n, k, dtype, scale):
    rng = np.random.default_rng(seed)
    logits = (scale * rng.normal(size=(k, n))).astype(dtype)
    common = rng.normal(size=n).astype(dtype)
    r, norm = logits.copy(), common.copy()
    kernels.responsibilities(r, norm)
    for b in range(n):
        row, total = naive.responsibilities(logits[:, b].astype(np.float64))
        close(r[:, b], row, dtype)
        close(norm[b], common[b] + total, dtype, 1 + scale)
    tiny = np.finfo(dtype).tiny
    assert np.all((r == 0) | (r > 0.9 * np.sqrt(tiny) / max(k, 1)))
    labels = np.full(n, -1)
    kernels.likeliest(logits, labels)
    np.testing.assert_array_equal(labels, logits.argmax(axis=0) if n else [])


@pytest.mark.parametrize("dtype", DTYPES)
def test_extreme_logits(dtype):
    """One component far above, all far below, ties."""
    logits = np.array([[1e4, -1e30, 3.0], [-1e4, -1e30, 3.0]], dtype)
    norm = np.zeros(3, dtype)
    labels = np.empty(3, np.int64)
    kernels.likeliest(logits, labels)
    kernels.responsibilities(logits, norm)
    np.testing.assert_array_equal(logits, [[1.0, 0.5, 0.5], [0.0, 0.5, 0.5]])
    np.testing.assert_allclose(norm, [1e4, -1e30, 3 + np.log(2)], rtol=1e-6)
    assert labels.tolist() == [0, 0, 0]


@given(SEEDS, st.integers(0, 70), st.integers(1, 6), st.integers(1, 5), st.sampled_from(DTYPES))
def test_norms_and_sums(seed, n, d, k, dtype):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(d, n)).astype(dtype)
    r, shift = rng.random((k, n)).astype(dtype), rng.random(d)
    weights = rng.random(n)
    wide = x.astype(np.float64)

    out = np.ones(n, dtype)
    kernels.subtract_squares(x, out)
    close(out, 1 - np.square(wide).sum(axis=0), dtype)
    scaled = np.full((d, n), np.nan, dtype)
    kernels.scaled_columns(x, weights, scaled)
    close(scaled, wide * weights, dtype)
    close(kernels.weighted_sum(x[0], weights), wide[0] @ weights, np.float64, n)

    beside = rng.random(n)
    more = rng.random(n)
    norms = beside.copy()
    kernels.statistics_norms(r, x, shift, more.copy(), norms)
    share = np.square(r.astype(float)).sum(axis=0)
    want = np.sqrt(beside + share * (more + np.square(wide.T + shift).sum(axis=1)))
    close(norms, want, np.float64)
    pairs = np.ones(n)
    more = rng.random(d * (d + 1) // 2)
    kernels.add_pair_squares(x, more, 3.0, pairs)
    want = [
        1 + np.sum((np.array(naive.products(wide[:, b])[: len(more)]) + more) ** 2) / 9
        for b in range(n)
    ]
    close(pairs, want, np.float64)


@pytest.mark.jit
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 7, 64, 75])
def test_bits_do_not_depend_on_addresses(dtype, n, rng):
    """See `test_addresses`: the two forms of a loop must do the same to every element."""
    X, centre, factor = rng.normal(size=(n, 5)).astype(dtype), np.ones(5), np.full(5, 0.3)
    logits = (10 * rng.normal(size=(3, n))).astype(dtype)
    features, norm = np.zeros((21, n), dtype), np.zeros(n, dtype)
    weights = rng.random(n)
    results = set()
    for gap in GAPS:
        x, r, phi, total, w = placed([X, logits, features, norm, weights], gap)
        bits = []
        for fill, width in (
            (kernels.products, 21),
            (kernels.squares, 11),
            (kernels.mean_square, 7),
        ):
            fill(x, centre, factor, 0, n, phi[:width])
            bits.append(phi[:width].tobytes())
        kernels.responsibilities(r, total)
        kernels.subtract_squares(phi[:5], total)
        kernels.scaled_columns(phi[:5], w, phi[5:10])
        bits += [r.tobytes(), total.tobytes(), phi.tobytes()]
        bits.append(repr(kernels.weighted_sum(total, w)).encode())
        results.add(b"".join(bits))
    assert len(results) == 1
