"""Blocks of compiled steps against the same steps taken one by one in Python, their plain twin."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastvi
from fastvi import loop
from fastvi.base import tree
from fastvi.batches import InMemory, Passes, ShuffledEpochs
from fastvi.core import EACH_STEP, Batch
from fastvi.families import FullRank, LowRank, MeanField
from fastvi.families.fullrank import LARGEST
from fastvi.fitting.compiled import compiled_steps, stepwise
from fastvi.gradients.reparam import reparam
from fastvi.kernels import drivers, steps, vectors
from fastvi.objectives import elbo, iwae, tempered
from fastvi.optimizers import adam, constant
from fastvi.targets import TargetError
from fastvi.targets.standardised import Standardised

seeds = st.integers(0, 2**32 - 1)
FAMILIES = [MeanField, FullRank]


def rows_of(z, data, rows, weights, terms, grad):
    """A logistic regression whose prior is a term of its own; no density where z[0] > 3 or so."""
    terms[0] = terms[1] = 0.0
    for j in range(z.size):
        terms[0] -= 0.5 * z[j] * z[j]
        grad[j] -= z[j]
    for m in range(rows.size):
        logit = 0.0
        for j in range(z.size):
            logit += data.X[rows[m], j] * z[j]
        terms[1] -= weights[m] * math.log1p(math.exp(-logit))
        for j in range(z.size):
            grad[j] += weights[m] * data.X[rows[m], j] / (1.0 + math.exp(logit))
    if z[0] > data.edge:
        terms[1] = math.nan
    if z[0] < -data.edge:
        grad[z.size - 1] = math.inf
    return 0.0


def cliff(z, data, grad):
    """Fails beyond an edge: a status, not a NaN."""
    value = 0.0
    for j in range(z.size):
        grad[j] = -(z[j] ** 3)
        value -= 0.25 * z[j] ** 4
    return value / (0 if z[0] > data.edge else 1)


logistic = fastvi.target(rows_of, terms=2, rows="X")


def target_of(rng, dim, edge=np.inf):
    return logistic.bind({"X": rng.normal(size=(30, dim)), "edge": edge}, dim=dim)


def member_of(family, rng, dim):
    root = np.tril(rng.normal(size=(dim, dim)), -1) * 0.2 + np.diag(rng.uniform(0.3, 1.5, dim))
    return family.of(rng.normal(size=dim) * 0.3, root @ root.T)


def algorithms(target, member, n_draws, rate, n_steps, natural, goal=None):
    """(params, in Python, compiled)."""
    goal = goal or elbo()
    gradient = reparam(target, goal, n_draws=n_draws, family=None if natural else member)
    params = member if natural else member.free()
    optimizer = constant(rate) if natural else adam(rate)
    if natural:
        one = stepwise(gradient, optimizer, None, lambda s: s.gain(), lambda q, s: q.moved(s))
    else:
        one = stepwise(gradient, optimizer, None, lambda step: 0.0)
    compiled = compiled_steps(target, goal, member, n_draws=n_draws, natural=natural)
    compiled._length = 4
    return params, one, compiled(rate, n_steps)


def walk(algorithm, params, n_steps, seed, batches=None):
    """(state, history, what the generator gives next)."""
    rng = np.random.default_rng(seed)
    state = algorithm.init(tree.map_leaves(np.array, params))
    state, history = loop.run(
        algorithm, state, batches or Passes(), n_epochs=10**6, rng=rng,
        after_step=lambda state, position, history: state.gradient.stage.n >= n_steps,
    )  # fmt: skip
    return state, history.arrays(), rng.random()


def assert_equal(found, wanted, rtol=1e-9):
    """Rounding grows from step to step, and sums of opposite noise cancel."""
    for a, b in zip(tree.leaves(found), tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * max(1.0, np.abs(b).max(initial=0)))


def compare(params, one, block, n_steps, seed, batches=None):
    a, columns, after = walk(one, params, n_steps, seed, batches)
    b, found, also = walk(block, params, n_steps, seed, batches)
    assert after == also
    assert_equal(b.params, a.params)
    stage, wanted = b.gradient.stage, a.gradient.stage
    assert stage.n == wanted.n == n_steps
    assert type(stage.params) is type(wanted.params)
    assert_equal(tuple(stage)[:3], tuple(wanted)[:3])
    for name in ("epoch", "elbo", "elbo_error", "rate", "rejected"):
        np.testing.assert_allclose(found[name], columns[name], rtol=1e-8, atol=1e-9)
    assert np.all(np.diff(found["seconds"]) >= 0)
    return found


@pytest.mark.parametrize("natural", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
@given(
    seed=seeds, dim=st.integers(1, 6), n_draws=st.integers(1, 7), power=st.sampled_from([1, 0.3])
)
def test_a_block_is_as_many_steps(family, natural, seed, dim, n_draws, power):
    """Whatever the batches: blocks of one step where these have rows."""
    rng = np.random.default_rng(seed)
    target, member = target_of(rng, dim), member_of(family, rng, dim)
    rate = rng.choice([1.0, 0.3]) if natural else 0.1
    goal = tempered(elbo(), power)
    one = algorithms(target, member, n_draws, rate, 9, natural, goal)
    compare(*one, 9, seed)


@pytest.mark.parametrize("natural", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_mini_batches_are_blocks_of_one_step(family, natural, rng):
    target, member = target_of(rng, 3), member_of(family, rng, 3)
    found = algorithms(target, member, 4, 0.1, 7, natural)
    history = compare(*found, 7, 5, ShuffledEpochs(InMemory(np.arange(30)), 8, 0))
    assert set(history["batch_size"]) <= {7.0, 8.0}


@pytest.mark.parametrize("natural", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_draws_that_fail_are_left_out(family, natural, rng):
    """NaN in a term, infinity in a gradient, and a division by zero, which is a status."""
    member = member_of(family, rng, 3)
    member = member._replace(mean=np.zeros(3))
    data = {"edge": 0.5}
    for target in (target_of(rng, 3, edge=0.8), fastvi.target(cliff, data=data, dim=3)):
        found = algorithms(target, member, 6, 0.05, 20, natural)
        history = compare(*found, 20, 3)
        assert 0 < history["rejected"].sum() < 6 * 20


@pytest.mark.parametrize("family", FAMILIES)
def test_in_other_units(family, rng):
    target, member = target_of(rng, 4), member_of(family, rng, 4)
    standard = Standardised(target, member.mean, member.units)
    compare(*algorithms(standard, member.standard(), 3, 0.1, 12, False), 12, 0)


@pytest.mark.parametrize("natural", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_without_a_density_ends_a_block(family, natural, rng):
    """The steps before it are kept, the generator stands where they left it, then it is named."""
    target = target_of(rng, 2, edge=1.2)
    member = member_of(family, rng, 2)
    member = type(member).of(np.zeros(2), np.eye(2))
    found = algorithms(target, member, 1, 1e-3, 10**6, natural)
    ends = []
    for algorithm in found[1:]:
        history = loop.History()
        state = algorithm.init(tree.map_leaves(np.array, found[0]))
        with pytest.raises(TargetError):
            loop.run(
                algorithm, state, Passes(), n_epochs=10**6, rng=np.random.default_rng(0),
                history=history,
            )  # fmt: skip
        ends.append(history.arrays()["elbo"])
    assert len(ends[0]) > 1
    np.testing.assert_allclose(ends[1], ends[0], rtol=1e-9)


def test_bits_do_not_depend_on_the_length_of_calls(rng):
    target, member = target_of(rng, 3), member_of(FullRank, rng, 3)
    ends = []
    for length in (1, 3, 64):
        compiled = compiled_steps(target, elbo(), member, n_draws=5, natural=True)
        compiled._length = length
        state, history, after = walk(compiled(0.5, 50), member, 50, 1)
        ends.append((state.params.root.tobytes(), history["elbo"].tobytes(), after))
    assert ends[0] == ends[1] == ends[2]


def test_compiled_steps_are_for_the_elbo_of_families_that_have_them(rng):
    target, member = target_of(rng, 3), member_of(FullRank, rng, 3)

    def compiled(target, goal, member, natural=True):
        return compiled_steps(target, goal, member, n_draws=4, natural=natural)

    assert compiled(target, iwae(), member) is None
    assert compiled(target, tempered(elbo(), 0.5), member) is not None
    assert compiled(target, elbo(), LowRank.of(member.mean, member.cov), natural=False) is None
    large = LARGEST + 1
    target = target_of(rng, large)
    assert compiled(target, elbo(), member_of(FullRank, rng, large)) is None
    assert compiled(target, elbo(), member_of(MeanField, rng, large)) is not None


@given(seeds, st.integers(1, 40), st.booleans())
def test_the_spectral_norm(seed, n, both_signs):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(n, n))
    A = A + A.T if both_signs else A @ A.T
    scratch = np.empty((2, n, n))
    found = drivers.spectral_norm(A, *scratch)
    np.testing.assert_allclose(found, np.linalg.norm(A, 2), rtol=1e-12)
    found = drivers.spectral_norm(np.diag((-1.0) ** np.arange(n)), *scratch)
    np.testing.assert_allclose(found, 1.0, rtol=1e-12)


@given(seeds, st.integers(1, 9))
def test_the_inverse_has_a_lower_root(seed, n):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(n, n))
    A = A @ A.T + np.eye(n)
    root = np.full((n, n), 7.0)
    drivers.inverse_root(A, np.full((n, n), 9.0), root)
    np.testing.assert_array_equal(root, np.tril(root))
    np.testing.assert_allclose(root @ root.T @ A, np.eye(n), atol=1e-10)


@pytest.mark.parametrize("n", [0, 1, 5])
def test_sums_of_flat_arrays(n, rng):
    x, out = rng.uniform(0.5, 2.0, n), np.empty(n)
    assert steps.sum_of_logs(x, 1) == pytest.approx(np.log(x).sum())
    assert steps.sum_of_logs(x, 3) == pytest.approx(np.log(x[::3]).sum())
    near, far = steps.sums_of_squares(x, min(n, 2))
    assert (near, far) == pytest.approx(((x[:2] ** 2).sum(), (x[2:] ** 2).sum()))
    assert steps.largest(-x) == max(x, default=0.0)
    assert steps.exponential(x, out) == pytest.approx(x.sum())
    np.testing.assert_allclose(out, np.exp(x), rtol=1e-15)
    vectors.fill(out, 3.0)
    steps.scale(out, 2.0)
    assert np.all(out == 6.0)


def test_a_batch_of_no_rows_is_the_prior(rng):
    """Rows [] and rows None, which are all, are not the same."""
    target = target_of(rng, 2)
    none = Batch(np.empty(0, np.int64), np.empty(0))
    Z = rng.normal(size=(3, 2))
    np.testing.assert_allclose(target.attempt(Z, none)[0], -0.5 * (Z**2).sum(axis=1), rtol=1e-14)
    member = MeanField(np.zeros(2), np.ones(2))
    algorithm = compiled_steps(target, elbo(), member, n_draws=4, natural=True)(1.0, 1)
    state, info = algorithm.step(algorithm.init(member), none, rng)
    np.testing.assert_allclose(info[EACH_STEP]["elbo"], np.log(2 * np.pi), rtol=1e-14)
    np.testing.assert_allclose(state.params.mean, 0.0, atol=1e-14)
