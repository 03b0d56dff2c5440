"""Kernels of blocks, their score functions and their relaxations equal their plain twins."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import score as naive

from fastvi import families
from fastvi.families.kinds import KINDS
from fastvi.kernels import blocks as kernels
from fastvi.kernels import relaxed, score

FEW = settings(max_examples=min(30, settings().max_examples))  # twins ask scipy.stats
CLOSE = {"rtol": 1e-10, "atol": 1e-10}


def member(rng, kinds=KINDS, scale=1.0):
    """Blocks of some kinds with random parameters."""
    pairs = {"gaussian", "lognormal", "gamma", "beta"}
    made = []
    for kind in kinds:
        size = 2 if kind in pairs else int(rng.integers(1, 5)) if "cat" in kind else 1
        size = int(rng.integers(1, 5)) if kind == "one_hot" else size
        made.append(families.Block(kind, scale * rng.normal(size=(1, size))))
    return families.blocks(*made)


@st.composite
def members(draw, kinds=KINDS):
    """(generator, blocks, number of draws)."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    chosen = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=6))
    return rng, member(rng, chosen), draw(st.integers(0, 7))


def differences(function, x, step=1e-5):
    """Central differences of a function (m,) -> array, along a last axis of m."""
    columns = []
    for i in range(len(x)):
        e = np.zeros(len(x))
        e[i] = step
        columns.append((function(x + e) - function(x - e)) / (2 * step))
    return np.stack(columns, axis=-1)


@FEW
@given(members())
def test_draws_come_from_the_same_stream(case):
    rng, q, n = case
    seed = int(rng.integers(2**31))
    Z = q.draw(n, np.random.default_rng(seed)).points
    want = naive.draw(q.layout, q.values, n, np.random.default_rng(seed))
    np.testing.assert_allclose(Z, want, rtol=1e-11, atol=1e-12)


@FEW
@given(members())
def test_densities(case):
    rng, q, n = case
    Z = q.draw(n, rng).points
    np.testing.assert_allclose(
        q.block_log_prob(Z), naive.log_densities(q.layout, q.values, Z), rtol=1e-9, atol=1e-9
    )
    log_tau = rng.uniform(0.05, 1.5, len(q.layout))
    wide, log_q, log_r = q.dispersed(log_tau, n, rng)
    here, there = (naive.log_densities(q.layout, q.values, wide, t) for t in (None, log_tau))
    np.testing.assert_allclose(log_q, here, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(log_r, there, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    ("kind", "outside"),
    [
        ("lognormal", [-1.0, 0.0, np.nan]),
        ("gamma", [-1.0, 0.0, np.nan]),
        ("beta", [-0.1, 0.0, 1.0, 1.1, np.nan]),
        ("bernoulli", [-1.0, 0.5, 2.0, np.nan]),
        ("poisson", [-1.0, 0.5]),
        ("categorical", [-1.0, 0.5, 3.0, 1e30, np.nan]),
    ],
)
def test_no_density_outside_of_the_range(kind, outside):
    q = families.blocks(**{kind: 3 if kind == "categorical" else 1})
    assert np.all(q.log_prob(np.array(outside)[:, None]) == -np.inf)


def test_one_hot_vectors_only():
    q = families.blocks(one_hot=3)
    Z = np.array([[0, 0, 0], [1, 1, 0], [0.5, 0.5, 0], [0, 2, 0], [0, 1, 0.0]])
    np.testing.assert_array_equal(np.isfinite(q.log_prob(Z)), [False, False, False, False, True])


@FEW
@given(members())
def test_moments(case):
    _, q, _ = case
    mean, cov = naive.moments(q.layout, q.values)
    np.testing.assert_allclose(q.mean, mean, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(q.cov, cov, rtol=1e-8, atol=1e-12)


@FEW
@given(members())
def test_scores_are_gradients_of_the_density(case):
    """The twin's formulas equal the kernel's, and both the differences of the kernel's density."""
    rng, q, _ = case
    Z = q.draw(1, rng).points
    one = np.ones((1, 1))
    found, scratch = np.empty(len(q.values)), np.empty((q.layout[:, 4].max(), 1))
    score.gather(q.layout, *q._prepared(), Z, one, one, False, scratch, found)
    ones = np.ones((1, len(q.layout)))
    np.testing.assert_allclose(found, naive.terms(q.layout, q.values, Z, ones)[0][0], **CLOSE)
    of_density = differences(lambda v: q.from_free(v).log_prob(Z), q.values)[0]
    np.testing.assert_allclose(found, of_density, rtol=1e-5, atol=1e-6)


@FEW
@given(members(), st.booleans(), st.booleans(), st.booleans())
def test_gather(case, controlled, whole_weight, whole_signal):
    rng, q, n = case
    n += 1
    B = len(q.layout)
    Z = q.draw(n, rng).points
    weights = rng.gamma(1.0, size=(n, 1 if whole_weight else B))
    signals = rng.normal(size=(n, 1 if whole_signal else B)) + 50
    found, scratch = np.empty(len(q.values)), np.empty((q.layout[:, 4].max(), n))
    score.gather(q.layout, *q._prepared(), Z, weights, signals, controlled, scratch, found)
    spread = [np.broadcast_to(x, (n, B)) for x in (weights, signals)]
    want = naive.gather(q.layout, q.values, Z, *spread, controlled)
    size = 1 + np.abs(naive.terms(q.layout, q.values, Z, spread[0])[0]).max() * 50
    np.testing.assert_allclose(found, want, rtol=1e-8, atol=1e-9 * size)
    units, out = rng.gamma(1.0, size=len(q.values)), np.full(n, np.nan)
    score.lengths(q.layout, *q._prepared(), Z, weights, signals, controlled, units, scratch, out)
    want = naive.lengths(q.layout, q.values, Z, *spread, controlled, units)
    np.testing.assert_allclose(out, want, rtol=1e-8, atol=1e-9 * size**2)


@FEW
@given(members())
def test_dispersions_are_gradients_of_the_wide_density(case):
    rng, q, _ = case
    log_tau = rng.uniform(0.1, 1.5, len(q.layout))
    Z, _, _ = q.dispersed(log_tau, 3, rng)
    found = np.empty((3, len(q.layout)))
    score.dispersions(q.layout, *q._prepared(log_tau), Z, found)
    of_all = differences(lambda t: q._log_prob(Z, q._prepared(t)), log_tau)
    want = np.einsum("sbb->sb", of_all)
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5)


def test_dispersion_of_counts_is_continuous_at_one():
    """The series at tau = 1, and the formulas right above the bound from which they are used."""
    q = families.blocks(families.poisson([0.3, 4.0, 300.0]))
    Z = np.array([[0.0, 3.0, 280.0], [2.0, 4.0, 320.0]])
    here, near = np.empty((2, 3)), np.empty((2, 3))
    log_tau = np.full(3, np.log1p(1.01 * kernels.DISPERSED))
    score.dispersions(q.layout, *q._prepared(), Z, here)
    score.dispersions(q.layout, *q._prepared(log_tau), Z, near)
    np.testing.assert_allclose(near, here, rtol=0.02, atol=0.01)
    np.testing.assert_allclose(q._log_prob(Z, q._prepared(log_tau)), q.block_log_prob(Z), atol=0.01)


@FEW
@given(members())
def test_information_is_the_variance_of_scores(case):
    """By the identity of Bartlett: the gradient of the divergence's gradient, by differences."""
    _, q, _ = case
    found = np.empty(len(q.values))
    kernels.information(q.layout, *q._prepared(), found)
    h = 1e-3
    want = [
        q.from_free(q.values + h * e).divergence(q.from_free(q.values - h * e)) / (4 * h * h)
        for e in np.eye(len(q.values))
    ]
    np.testing.assert_allclose(found, want, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_divergence(kind, rng):
    """Against the mean of log ratios under both, 4 standard errors."""
    a, b = member(rng, [kind], 0.5), member(rng, [kind], 0.5)
    b = a.from_free(a.values + 0.3 * rng.normal(size=len(a.values)))
    total, variance = 0.0, 0.0
    for one, other in ((a, b), (b, a)):
        Z = one.draw(20_000, rng).points
        ratios = one.log_prob(Z) - other.log_prob(Z)
        total += ratios.mean()
        variance += ratios.var() / len(Z)
    assert abs(a.divergence(b) - total) < 4 * np.sqrt(variance) + 1e-12
    assert a.divergence(a) == 0.0


RELAXABLE = ("gaussian", "lognormal", "bernoulli", "one_hot")


@FEW
@given(members(RELAXABLE), st.floats(0.1, 3.0))
def test_relaxed_draws(case, temperature):
    rng, q, n = case
    eps, soft, hard = np.full((3, n, q.dim), np.nan)
    relaxed.noise(q.layout, rng, eps)
    relaxed.move(q.layout, q.values, temperature, eps, soft, hard)
    want = naive.move(q.layout, q.values, temperature, eps)
    np.testing.assert_allclose(soft, want[0], **CLOSE)
    np.testing.assert_allclose(hard, want[1], **CLOSE)


@FEW
@given(members(RELAXABLE), st.floats(0.3, 3.0))
def test_pull_is_the_gradient_of_soft_draws(case, temperature):
    rng, q, n = case
    n += 1
    eps, soft, hard = np.empty((3, n, q.dim))
    relaxed.noise(q.layout, rng, eps)
    relaxed.move(q.layout, q.values, temperature, eps, soft, hard)
    slopes, found = rng.normal(size=(n, q.dim)), np.ones(len(q.values))
    relaxed.pull(q.layout, q.values, temperature, eps, soft, slopes, found)
    of_draws = differences(lambda v: naive.move(q.layout, v, temperature, eps)[0], q.values)
    want = 1 + np.einsum("sd,sdp->p", slopes, of_draws) / n
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)


@FEW
@given(members(RELAXABLE))
def test_entropy(case):
    _, q, _ = case
    found = np.ones(len(q.values))
    value = relaxed.entropy(q.layout, *q._prepared(), found)
    np.testing.assert_allclose(value, naive.entropy(q.layout, q.values), **CLOSE)
    want = 1 + differences(lambda v: naive.entropy(q.layout, v), q.values)
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)


def test_relaxed_noise_has_its_distributions(rng):
    """Kolmogorov and Smirnov, 20000 draws, p above 1e-4."""
    from scipy import stats

    q = families.blocks(gaussian=1, bernoulli=1, one_hot=2)
    eps = np.empty((20_000, 4))
    relaxed.noise(q.layout, rng, eps)
    for column, name in zip(eps.T, ("norm", "logistic", "gumbel_r", "gumbel_r")):
        assert stats.kstest(column, name).pvalue > 1e-4


@pytest.mark.parametrize("log_shape", [60.0, -800.0, 800.0, np.nan])
@pytest.mark.parametrize("kind", ["gamma", "beta", "poisson"])
def test_draws_come_to_an_end(kind, log_shape):
    """Where rejection would not, they are nan, which no target has a density at."""
    q = families.blocks(**{kind: 1})
    with np.errstate(all="ignore"):  # interpreted kernels warn of overflow
        Z = q.from_free(np.full(len(q.values), log_shape)).draw(3, np.random.default_rng(0)).points
    assert Z.shape == (3, 1)
    assert np.isnan(Z).all()


def test_other_sizes_compile_nothing():
    for q in (families.blocks(gaussian=1), families.blocks(gamma=3, one_hot=(2, 5))):
        Z, _, _ = q.dispersed(np.full(len(q.layout), 0.1), 3, np.random.default_rng(0))
        q.divergence(q)
        assert Z.shape == (3, q.dim)
    for kernel in (kernels.draw, kernels.log_densities, kernels.divergence):
        if hasattr(kernel, "signatures"):  # not when kernels are interpreted
            assert len(kernel.signatures) == 1
