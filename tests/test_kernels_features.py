"""`fastvi.kernels.features` equals its plain twins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import features as naive

from fastvi.kernels import features as kernels
from fastvi.models.features.rows import packed

pytestmark = pytest.mark.usefixtures("quiet")
SEEDS = st.integers(0, 2**32 - 1)
CLOSE = {"rtol": 1e-12, "atol": 1e-13}


def problem(rng, n, k, fixed):
    wide = rng.normal(size=(n, k, k + 2))
    grams = wide @ wide.transpose(0, 2, 1)
    nu = rng.uniform(size=(k, n))
    nu[k - fixed :] = 1.0
    return rng.normal(size=(k, n)) * 3, grams, rng.normal(size=k - fixed), nu


@given(SEEDS, st.integers(0, 150), st.integers(1, 9), st.integers(0, 1), st.integers(0, 3))
def test_sweeps(seed, n, k, fixed, n_sweeps):
    rng = np.random.default_rng(seed)
    evidence, grams, prior, nu = problem(rng, n, k, min(fixed, k))
    betas = rng.uniform(0.1, 1.0, n_sweeps)
    alike, each = nu.copy(), nu.copy()
    gram = grams[0] if n else np.eye(k)
    kernels.update_alike(evidence, gram, prior, betas, 0.0, alike)
    kernels.update_each(evidence, np.ascontiguousarray(packed(grams).T), prior, betas, 0.0, each)
    for i in range(n):
        for found, own in ((alike, gram), (each, grams[i])):
            want = nu[:, i]
            for beta in betas:
                want = naive.sweep(evidence[:, i], own, prior, beta, want)
            np.testing.assert_allclose(found[:, i], want, **CLOSE)


def test_blocks_end_when_they_have_settled():
    rng = np.random.default_rng(0)
    evidence, grams, prior, nu = problem(rng, 130, 3, 0)
    for update, gram in (
        (kernels.update_alike, grams[0]),
        (kernels.update_each, np.ascontiguousarray(packed(grams).T)),
    ):
        many, once, two = nu.copy(), nu.copy(), nu.copy()
        update(evidence, gram, prior, np.ones(100), 2.0, many)  # nothing changes by more than 2
        update(evidence, gram, prior, np.ones(2), 0.0, two)
        update(evidence, gram, prior, np.ones(1), 0.0, once)
        np.testing.assert_array_equal(many, two)
        assert np.any(once != two)


def test_extreme_evidence():
    nu = np.full((1, 3), 0.5)
    evidence = np.array([[1e5, -1e5, -50.0]])
    kernels.update_alike(evidence, np.zeros((1, 1)), np.zeros(1), np.ones(1), 0.0, nu)
    np.testing.assert_array_equal(nu, [[1.0, 0.0, 0.0]])
    assert kernels.entropy(nu, np.ones(3)) == 0.0


@given(SEEDS, st.integers(0, 70), st.integers(1, 6))
def test_moments_and_entropies(seed, n, k):
    rng = np.random.default_rng(seed)
    nu, weights = np.round(rng.uniform(size=(k, n)), 1), rng.gamma(1.0, size=n)
    out = np.empty((k * (k + 1) // 2, n))
    kernels.pairs(nu, out)
    want = np.array([naive.pairs(row) for row in nu.T]).reshape(n, len(out)).T
    np.testing.assert_allclose(out, want, **CLOSE)
    total = sum(w * naive.entropy(row) for w, row in zip(weights, nu.T))
    np.testing.assert_allclose(kernels.entropy(nu, weights), total, **CLOSE)


@pytest.mark.parametrize("scale", [0.0, 1e-9, 1e-3, 1.0, 1e3])
def test_bounds_of_logits(scale):
    rng = np.random.default_rng(1)
    squares, seen = scale * rng.gamma(1.0, size=(4, 9)), np.round(rng.uniform(size=(4, 9)))
    found, totals = squares.copy(), np.zeros(9)
    kernels.bound_logits(found, seen, totals)
    want = np.array([[naive.logit_bound(np.sqrt(x)) for x in row] for row in squares])
    np.testing.assert_allclose(found, seen * want[:, :, 0], **CLOSE)
    np.testing.assert_allclose(totals, (seen * want[:, :, 1]).sum(axis=0), **CLOSE)
