"""Switching linear systems: all paths, exact special cases, segments that are known."""

import copy
from functools import cache
from itertools import product

import numpy as np
import pytest
from naive import kalman as naive
from sklearn.utils.estimator_checks import parametrize_with_checks
from tolerances import rounding

import fastvi
from fastvi.core import Batch
from fastvi.models.statespace.regimes import (
    Regimes,
    SwitchingPriors,
    states_of,
    step_logs,
    switches_of,
)  # fmt: skip
from fastvi.models.statespace.rows import SequenceRows
from fastvi.models.statespace.switching import SwitchingModel

pytestmark = pytest.mark.jit
SSM = fastvi.SwitchingSSM
PRIORS = SwitchingPriors(2.0, 0.1, 1.0, 1e-3, 1e-2, np.ones((2, 2)))
GENERATOR = np.random.default_rng(0)


def regimes(n, apart=1.0, k=2, d=3):
    """Two regimes whose steps differ by `apart`, and random weights of n rows."""
    rng = np.random.RandomState(4)
    steps = np.tile(rng.normal(size=(k, k + 1)) / k, (2, 1, 1))
    steps[1] += apart * rng.normal(size=(k, k + 1))
    root = rng.normal(size=(2, k, k)) / 2
    noises = root @ root.swapaxes(1, 2) + 0.1 * np.eye(k)
    noises[1] += (noises[0] - noises[1]) * (apart == 0)
    return Regimes(
        np.array([0.3, 0.7]), np.array([[0.8, 0.2], [0.4, 0.6]]), steps, noises,
        rng.normal(size=k), np.eye(k) + 0.3, rng.normal(size=(d, k)), rng.normal(size=(d, 1)),
        rng.rand(d) + 0.1, rng.dirichlet(np.ones(2), n),
    )  # fmt: skip


def some_rows(n, lengths=None):
    X = np.random.RandomState(1).normal(size=(n, 3))
    X[2], X[4, 1] = np.nan, np.nan
    return SequenceRows(X, np.array([n] if lengths is None else lengths), np.zeros((n, 0)))


def with_gaps(rows):
    return np.where(rows.patterns[rows.pattern], rows.X, np.nan)


def step(model, params, rows):
    return model.local(params, Batch(rows, None), None, GENERATOR)


def joint_of(params, path):
    """Mean and covariance of the states of a path, by one step at a time."""
    k = len(params.mean)
    mean, whole = params.mean, params.covariance
    for s in path[1:]:
        A, b = params.steps[s, :, :k], params.steps[s, :, k]
        cross = A @ whole[-k:]
        last = A @ whole[-k:, -k:] @ A.T + params.noises[s]
        whole = np.block([[whole, cross.T], [cross, last]])
        mean = np.concatenate((mean, A @ mean[-k:] + b))
    return mean, whole


def paths_of(params, rows):
    """Log probability of each path and rows, and those of the path alone."""
    rest = with_gaps(rows) - params.offsets[:, 0]
    found = []
    for path in product(range(2), repeat=rows.n_rows):
        prior = np.log(params.start[path[0]]) + np.log(params.moves[path[:-1], path[1:]]).sum()
        noise = np.diag(params.rows_noise)
        density = naive.conditioned(*joint_of(params, path), params.loadings, noise, rest)[0]
        found.append((path, prior, prior + density))
    return found


def settled(params, rows, n=100):
    model = SwitchingModel(params, PRIORS, learns=False)
    bounds = []
    for _ in range(n):
        local = step(model, params, rows)
        bounds.append(local.bound)
        params = local.statistics
    assert np.diff(bounds).min() > -rounding(np.float64, 100, abs(bounds[0]))
    return local, params


@pytest.mark.parametrize("apart", [0.3, 2.0])
def test_the_bound_is_below_the_sum_over_all_paths(apart):
    params = regimes(6, apart)._replace(rows_noise=np.full(3, 0.05))
    rng, x, X = np.random.RandomState(1), params.mean, []
    for s in (0, 0, 1, 1, 1, 0):
        X.append(params.loadings @ x + params.offsets[:, 0] + 0.2 * rng.normal(size=3))
        x = params.steps[s] @ np.append(x, 1.0)
        x = x + np.linalg.cholesky(params.noises[s]) @ rng.normal(size=2)
    rows = SequenceRows(np.array(X), np.array([6]), np.zeros((6, 0)))
    local, params = settled(params, rows)
    logs = np.array([log for *_, log in paths_of(params, rows)])
    evidence = np.logaddexp.reduce(logs)
    assert -1e-9 < evidence - local.bound < 0.3 * apart
    exact = np.exp(logs - evidence)
    shares = np.array([np.eye(2)[list(path)] for path, *_ in paths_of(params, rows)])
    np.testing.assert_allclose(
        params.weights, np.tensordot(exact, shares, 1), atol=0.1 if apart < 1 else 0.25
    )


def test_the_bound_is_the_expectation_that_it_stands_for():
    """Path by path, with the quadratic forms of the joint Gaussians."""
    params, rows = regimes(5), some_rows(5)
    states, density = states_of(params, rows)
    logs = step_logs(params, rows, states)
    bound = step(SwitchingModel(params, PRIORS, learns=False), params, rows).bound
    spread = np.zeros((10, 10))
    for t in range(5):
        own = slice(2 * t, 2 * t + 2)
        spread[own, own] = states.covariances[t]
        if t:
            past = slice(2 * t - 2, 2 * t)
            spread[own, past], spread[past, own] = states.cross[t], states.cross[t].T
    total, found = [], []
    for path, prior, _ in paths_of(params, rows):
        mean, whole = joint_of(params, path)
        inverse, away = np.linalg.inv(whole), states.means.ravel() - mean
        expected = away @ inverse @ away + np.sum(inverse * spread)
        expected += np.linalg.slogdet(2 * np.pi * whole)[1]
        total.append(prior + logs[np.arange(5), path].sum())
        found.append(prior - 0.5 * expected)
    q = np.exp(np.array(total) - np.logaddexp.reduce(total))
    expected = q @ (np.array(found) - np.log(q)) + density + states.entropy
    np.testing.assert_allclose(bound, expected, rtol=1e-10)


def test_the_gaussian_chain_is_the_inverse_of_its_precision():
    params, rows = regimes(6, 2.0), some_rows(6, [4, 2])
    states, _ = states_of(params, rows)
    precision, linear, k = np.zeros((12, 12)), np.zeros(12), 2
    rest = np.where(np.isnan(with_gaps(rows)), 0.0, rows.X - params.offsets[:, 0])
    for t in range(6):
        own, past = slice(2 * t, 2 * t + 2), slice(2 * t - 2, 2 * t)
        seen = rows.patterns[rows.pattern[t]] / params.rows_noise
        precision[own, own] += params.loadings.T @ (seen[:, None] * params.loadings)
        linear[own] += params.loadings.T @ (seen * rest[t])
        if rows.begins[t]:
            inverse = np.linalg.inv(params.covariance)
            precision[own, own] += inverse
            linear[own] += inverse @ params.mean
            continue
        for s in range(2):
            inverse, A = np.linalg.inv(params.noises[s]), params.steps[s, :, :k]
            both = np.hstack((-A, np.eye(2)))
            some = slice(past.start, own.stop)
            precision[some, some] += params.weights[t, s] * both.T @ inverse @ both
            linear[some] += params.weights[t, s] * both.T @ inverse @ params.steps[s, :, k]
    whole = np.linalg.inv(precision)
    np.testing.assert_allclose(states.means.ravel(), whole @ linear, atol=1e-11)
    blocks, at = whole.reshape(6, 2, 6, 2), np.arange(6)
    np.testing.assert_allclose(states.covariances, blocks[at, :, at], atol=1e-11)
    later = np.flatnonzero(rows.steps)
    np.testing.assert_allclose(states.cross[later], blocks[later, :, later - 1], atol=1e-11)
    entropy = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * whole)[1]
    np.testing.assert_allclose(states.entropy, entropy, rtol=1e-11)


def test_regimes_that_are_the_same_are_exact():
    """The bound is then the likelihood of a linear system."""
    params, rows = regimes(8, 0.0), some_rows(8)
    local, params = settled(params, rows, 2)
    rest = with_gaps(rows) - params.offsets[:, 0]
    exact = naive.conditioned(
        *joint_of(params, [0] * 8), params.loadings, np.diag(params.rows_noise), rest
    )
    np.testing.assert_allclose(local.bound, exact[0], rtol=1e-10)
    np.testing.assert_allclose(local.variables.means, exact[1], atol=1e-10)
    _, weights = switches_of(params, rows, np.zeros((8, 2)))
    np.testing.assert_allclose(params.weights, weights, atol=1e-10)


@cache
def turning(n=80):
    """A point that moves round a circle, slowly and fast in turns."""
    rng = np.random.RandomState(0)
    fast = np.tile(np.repeat([False, True], 40), n // 40)[: 4 * n]
    angle = np.cumsum(np.where(fast, 0.5, 0.06))
    X = np.column_stack((np.sin(angle), np.cos(angle))) + 0.05 * rng.normal(size=(len(angle), 2))
    X[[5, 90]], X[30, 0] = np.nan, np.nan
    return X, fast


@cache
def fitted(**options):
    options = {"max_iter": 40, "tol": 0.0, "n_init": 1, "random_state": 0} | options
    return SSM(2, 2, **options).fit(turning()[0])


def test_segments_are_found():
    X, fast = turning()
    model = fitted()
    found = model.predict(X) == 1
    share = np.mean(found == fast)
    assert max(share, 1 - share) > 0.95
    assert np.diag(model.transmat_).min() > 0.9
    speeds = np.sort(np.abs(np.angle(np.linalg.eigvals(model.transition_matrices_))).max(axis=1))
    np.testing.assert_allclose(speeds, [0.06, 0.5], atol=0.03)


def test_the_bound_never_falls():
    bounds = fitted().history_["elbo"]
    assert np.diff(bounds).min() >= -rounding(np.float64, 1000, np.abs(bounds).max())
    assert bounds[-1] > bounds[0] + 1


def test_forecasts_have_the_moments_of_all_paths():
    model = fitted()
    found, params = model.forecast(3), model._params
    weights, mean, covariance = model._end
    parts = []
    for path in product(range(2), repeat=4):
        share = weights[path[0]] * np.prod(model.transmat_[path[:-1], path[1:]])
        own = params._replace(mean=mean, covariance=covariance)
        means, whole = joint_of(own, path)
        parts.append((share, means[-2:], whole[-2:, -2:]))
    total = sum(share * m for share, m, _ in parts)
    second = sum(share * (V + np.outer(m, m)) for share, m, V in parts)
    C = model.observation_matrix_
    np.testing.assert_allclose(found.mean[-1], C @ total + model.observation_offset_, atol=1e-10)
    spread = C @ (second - np.outer(total, total)) @ C.T + np.diag(model.observation_covariance_)
    np.testing.assert_allclose(found.covariances[-1], spread, atol=1e-10)


def test_draws_follow_the_regimes():
    rows, drawn, states = fitted().sample(4000, 0)
    assert rows.shape == states.shape == (4000, 2)
    counts = np.zeros((2, 2))
    np.add.at(counts, (drawn[:-1], drawn[1:]), 1)
    moves = counts / counts.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(moves, fitted().transmat_, atol=0.02)


def test_files_hold_all_of_it(tmp_path):
    model, X = fitted(), turning()[0]
    model.save(tmp_path / "model")
    again = fastvi.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert again.score(X) == model.score(X)
    np.testing.assert_array_equal(again.forecast(3).upper, model.forecast(3).upper)
    changed = copy.copy(again).set_params(n_regimes=3, n_components=1, noise_rows=9.0)
    changed.set_params(transmat_prior=[[2.0]])
    assert changed.score(X) == model.score(X)  # of the fit, whatever is set for the next one
    changed.save(tmp_path / "changed")
    again = fastvi.load(tmp_path / "changed")
    assert again.get_params() == changed.get_params()
    assert again.score(X) == model.score(X)


def test_rows_that_are_missing_follow_from_those_around_them():
    X, model = turning()[0], fitted()
    gaps = X.copy()
    gaps[30:36] = np.nan
    means, covariances = model.smooth(gaps)
    whole = model.smooth(X)
    assert np.isfinite(means).all()
    assert np.isfinite(model.score(gaps))
    wider = np.trace(covariances[33]) / np.trace(whole.covariances[33])
    assert wider > 1.0
    np.testing.assert_array_equal(model.predict(gaps)[:25], model.predict(X)[:25])
    nothing = np.full((5, X.shape[1]), np.nan)
    np.testing.assert_allclose(model.score(nothing), 0.0, atol=1.0)  # p(nothing) is 1
    first = model.smooth(nothing).means[0]
    np.testing.assert_allclose(first, model.initial_mean_, atol=1.0)


def test_a_fit_goes_on_from_its_checkpoint_with_the_same_bits(tmp_path):
    X, path = turning()[0], tmp_path / "fit"
    options = {"n_init": 1, "tol": 0.0, "random_state": 0}
    SSM(max_iter=4, **options).fit(X, checkpoint=path)
    rest = SSM(max_iter=40, **options).fit(X, checkpoint=path, resume=True)
    assert rest.transmat_.tobytes() == fitted().transmat_.tobytes()
    assert rest.n_iter_ == 40


REFUSED = {
    "lengths do not add up": (lambda X: SSM().fit(X, [5]), "lengths add up to 5 rows; X has 160"),
    "single rows": (lambda X: SSM().fit(X, [1] * 160), "all sequences have one row"),
    "no regimes": (lambda X: SSM(0).fit(X), "n_regimes is 0; wanted"),
    "a prior of a shape": (
        lambda X: SSM(transmat_prior=np.ones(3)).fit(X), r"transmat_prior has shape \(3,\)"),
    "a prior below 1": (lambda X: SSM(transmat_prior=0.5).fit(X), "must hold numbers >= 1"),
    "a scale of 0": (lambda X: SSM(noise_scale=0.0).fit(X), "noise_scale is 0.0; wanted"),
    "checkpoints of several fits": (
        lambda X: SSM(n_init=2).fit(X, checkpoint="unused"), "wanted n_init=1"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_fitted_is_refused(case):
    call, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        call(turning()[0])


class Rows(SSM):
    """The model as scikit-learn's checks call it, whose second argument is a target."""

    def fit(self, X, y=None):
        return super().fit(X)

    def score(self, X, y=None):
        return super().score(X)


@parametrize_with_checks(
    [Rows(max_iter=3, tol=0.0, n_init=1)],
    expected_failed_checks=lambda estimator: {
        "check_methods_subset_invariance": "rows of a sequence depend on each other",
        "check_methods_sample_order_invariance": "rows of a sequence depend on each other",
    },
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
