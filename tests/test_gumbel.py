"""Gumbel-softmax and straight-through gradients: exact where they must be, near where they can."""

import itertools

import numpy as np
import pytest
from naive import score as naive

import fastvi
from fastvi import families
from fastvi.families import blocks
from fastvi.fitting.fit import fit
from fastvi.gradients.gumbel import annealed, gumbel
from fastvi.gradients.svrg import corrected
from fastvi.kernels import relaxed
from fastvi.objectives import elbo, renyi, tempered

pytestmark = pytest.mark.jit


@fastvi.target
def quadratic(z, data, grad):
    """b'z + z'A z / 2 - 5."""
    total = -5.0
    for i in range(len(z)):
        slope = data.b[i]
        for j in range(len(z)):
            slope += 0.5 * data.A[i, j] * z[j]
            grad[i] += data.A[i, j] * z[j]
        grad[i] += data.b[i]
        total += slope * z[i]
    return total


def problem(dim, size=1.0, seed=0):
    rng = np.random.default_rng(seed)
    A = size * rng.normal(size=(dim, dim))
    return quadratic.bind({"A": A + A.T, "b": rng.normal(size=dim)}, dim=dim)


def two_by_two():
    """Two one-hot blocks of two categories each, and their four states."""
    q = blocks(families.one_hot([[0.3, 0.7], [0.6, 0.4]]))
    Z = np.array([[*a, *b] for a, b in itertools.product(np.eye(2), np.eye(2))])
    return q, Z


def exact(q, target, Z, power=1.0):
    """Gradient of the ELBO by enumeration and differences."""

    def bound(v):
        log_q = q.from_free(v).log_prob(Z)
        return np.exp(log_q) @ (power * target.log_prob(Z) - log_q)

    h = 1e-5
    return np.array(
        [(bound(q.values + h * e) - bound(q.values - h * e)) / (2 * h) for e in np.eye(len(Z[0]))]
    )


def mean_gradient(gradient, q, n, seed):
    """(mean, standard error) of n gradients, and the last info."""
    rng, state, found = np.random.default_rng(seed), gradient.init(q.free()), []
    for _ in range(n):
        direction, state, info = gradient.estimate(state, q.free(), None, rng)
        found.append(direction)
    return np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(n), info


def test_gradient_is_that_of_the_soft_bound():
    """With the same noise: differences of the mean soft value and the entropy, to 1e-6."""
    q = blocks(families.one_hot([0.2, 0.5, 0.3]), bernoulli=2, gaussian=1, lognormal=1)
    target, heat = problem(7, 0.3), 0.7
    goal = tempered(elbo(), 0.6)
    gradient = gumbel(target, goal, n_draws=6, family=q, temperature=heat)
    found, step, info = gradient.estimate(0, q.free(), None, np.random.default_rng(1))
    eps = np.empty((6, 7))
    relaxed.noise(q.layout, np.random.default_rng(1), eps)

    def soft_bound(v):
        values = target.log_prob(naive.move(q.layout, v, heat, eps)[0])
        return 0.6 * values.mean() + naive.entropy(q.layout, v)

    h = 1e-5
    want = [
        (soft_bound(q.values + h * e) - soft_bound(q.values - h * e)) / (2 * h)
        for e in np.eye(len(q.values))
    ]
    np.testing.assert_allclose(found, want, rtol=1e-6, atol=1e-6)
    assert (step, info["temperature"], info["rejected"]) == (1, heat, 0)
    hard = target.log_prob(naive.move(q.layout, q.values, heat, eps)[1])
    bound = 0.6 * hard.mean() + naive.entropy(q.layout, q.values)
    np.testing.assert_allclose(info["elbo"], bound, rtol=1e-12)


def test_bias_falls_with_the_temperature():
    """2 x 2 states by enumeration, 40000 draws, seed 2: from 1 to 0.1 it falls to a third."""
    q, Z = two_by_two()
    target = problem(4, 0.7)
    want, bias = exact(q, target, Z), {}
    for heat in (1.0, 0.1):
        gradient = gumbel(target, n_draws=1000, family=q, temperature=heat)
        found, error, _ = mean_gradient(gradient, q, 40, seed=2)
        bias[heat] = np.abs(found - want).max()
    assert bias[0.1] < max(bias[1.0] / 3, 4 * error.max())
    assert bias[1.0] > 4 * error.max()


def test_straight_through_is_exact_for_linear_targets_in_the_limit():
    """Seed 3, 60000 draws at temperature 0.1: within 5 standard errors and 1 % of the largest."""
    q, Z = two_by_two()
    target = problem(4, 0.0)
    gradient = gumbel(target, n_draws=1000, family=q, temperature=0.1, straight_through=True)
    found, error, info = mean_gradient(gradient, q, 60, seed=3)
    want = exact(q, target, Z)
    assert np.all(np.abs(found - want) < 5 * error + 0.01 * np.abs(want).max())
    assert info["rejected"] == 0


def test_soft_draws_become_categories():
    """At temperature 1e-3 nearly all are corners, with the frequencies of the chances; seed 4."""
    q = blocks(families.one_hot([0.2, 0.5, 0.3]), families.bernoulli(0.35))
    eps, soft, hard = np.empty((3, 20_000, 4))
    relaxed.noise(q.layout, np.random.default_rng(4), eps)
    relaxed.move(q.layout, q.values, 1e-3, eps, soft, hard)
    assert np.mean(np.abs(soft - hard).max(axis=1) > 0.01) < 0.01
    error = np.sqrt(q.mean * (1 - q.mean) / len(soft))
    assert np.all(np.abs(soft.mean(axis=0) - q.mean) < 4.5 * error + 1e-3)
    assert np.all(np.abs(hard.mean(axis=0) - q.mean) < 4.5 * error)


def test_temperatures():
    heat = annealed(1.0, 0.25, n_steps=2)
    np.testing.assert_allclose([heat(t) for t in (0, 1, 2, 50)], [1.0, 0.5, 0.25, 0.25])
    q, _ = two_by_two()
    gradient = gumbel(problem(4), n_draws=2, family=q, temperature=heat)
    state, rng, seen = gradient.init(q.free()), np.random.default_rng(0), []
    for _ in range(4):
        _, state, info = gradient.estimate(state, q.free(), None, rng)
        seen.append(info["temperature"])
    np.testing.assert_allclose(seen, [1.0, 0.5, 0.25, 0.25])


def test_pathwise_so_that_svrg_takes_it():
    q, _ = two_by_two()
    gradient = corrected(gumbel(problem(4), n_draws=3, family=q), lambda: None, every=2)
    found, _, _ = gradient.estimate(
        gradient.init(q.free()), q.free(), None, np.random.default_rng(0)
    )
    assert found.shape == (4,)


def test_draws_without_density_are_left_out():
    @fastvi.target(dim=2)
    def half(z, grad):
        grad[0] = 1.0
        return z[0] if z[0] > 0.5 else np.nan

    q = blocks(one_hot=2)
    gradient = gumbel(half, n_draws=40, family=q, straight_through=True)
    found, _, info = gradient.estimate(0, q.free(), None, np.random.default_rng(0))
    assert 5 < info["rejected"] < 35
    assert np.all(np.isfinite(found))
    assert np.isfinite(info["elbo"])
    sure = q.from_free(np.array([-60.0, 60.0]))
    with pytest.raises(fastvi.targets.TargetError, match="half"):
        gradient.estimate(0, sure.free(), None, np.random.default_rng(0))


@pytest.mark.parametrize("method", ["gumbel", "straight-through"])
def test_fit_against_enumeration(method):
    """Means of the best mean field, by BFGS on the exact ELBO, to 0.02 for the bias."""
    from scipy.optimize import minimize

    target = problem(7, 0.3, seed=5)
    q = blocks(one_hot=(3, 2), bernoulli=2)
    Z = np.array(
        [
            [*a, *b, c, d]
            for a, b, c, d in itertools.product(np.eye(3), np.eye(2), (0.0, 1.0), (0.0, 1.0))
        ]
    )
    log_p = target.log_prob(Z)

    def loss(v):
        log_q = q.from_free(v).log_prob(Z)
        return -np.exp(log_q) @ (log_p - log_q)

    best = minimize(loss, q.values, method="BFGS")
    found = fit(target, q, method=method, random_state=0)
    assert found.settled
    np.testing.assert_allclose(found.mean, q.from_free(best.x).mean, atol=0.02)
    assert abs(found.elbo + best.fun) < 0.02 + 4.5 * found.elbo_error


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda q, t: gumbel(t, n_draws=3, family=blocks(categorical=4)), "without relaxed draws"),
        (lambda q, t: gumbel(t, n_draws=3, family=blocks(gaussian=3)), "3 numbers; the target"),
        (lambda q, t: gumbel(t, renyi(0.5), n_draws=3, family=q), "support only the ELBO"),
        (lambda q, t: gumbel(t, n_draws=0, family=q), "n_draws"),
        (lambda q, t: gumbel(t, n_draws=3, family=q, temperature=0.0), "temperature"),
        (lambda q, t: annealed(0.0), "start"),
        (lambda q, t: annealed(n_steps=0), "n_steps"),
        (lambda q, t: fit(t, q, method="gumbel", variance_reduction="control"), "method='score'"),
    ],
)
def test_errors(call, message):
    q, _ = two_by_two()
    with pytest.raises(ValueError, match=message):
        call(q, problem(4))
