"""Constant stochastic gradient descent: its covariances, its refusals, and the sandwich."""

import math

import numpy as np
import pytest
from naive import sgd as naive
from toy_targets import bowl, regression

import fastvi
from fastvi.fitting.sgd import averaging, plan

N, D, S = 2000, 5, 20
SCALES = np.linspace(0.5, 1.5, D)


def problem(spread_of):
    """Rows, a target and the exact posterior; `spread_of` gives the noise's sd of each row."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, D)) * SCALES
    y = X @ np.ones(D) + spread_of(X) * rng.normal(size=N)
    precision = X.T @ X + np.eye(D)
    cov = np.linalg.inv(precision)
    return fastvi.target(regression, dim=D, data={"X": X, "y": y}, rows="X"), cov @ X.T @ y, cov


@pytest.fixture(scope="module")
def right():
    return problem(lambda X: 1.0)


@pytest.fixture(scope="module")
def wrong():
    """The model's noise does not grow with the first input, the data's does."""
    return problem(lambda X: np.abs(X[:, 0]) / SCALES[0])


def planned(target, mean, cov, **options):
    options = {"preconditioner": "full", "learning_rate": 1.0, "averaged": False, **options}
    return plan(target, mean, cov, batch_size=S, seed=0, **options)


def noise_of(target, mean):
    return N**2 / S * fastvi.posteriors.sandwich.row_covariance(target, mean)


@pytest.mark.parametrize("which", ["right", "wrong"])
def test_the_full_preconditioner_has_the_posterior_as_its_stationary_distribution(which, request):
    target, mean, cov = request.getfixturevalue(which)
    course = planned(target, mean, cov)
    found = naive.stationary(course.rate, np.linalg.inv(cov), noise_of(target, mean))
    np.testing.assert_allclose(found, cov, rtol=1e-9, atol=1e-12)


def test_rates_are_those_of_the_paper_for_small_batches(right):
    target, mean, cov = right
    C = fastvi.posteriors.sandwich.row_covariance(target, mean)
    scalar = N * planned(target, mean, cov, preconditioner="scalar").rate[0, 0]
    wanted = naive.best_scalar_rate(np.linalg.inv(cov) / N, C, N, S)
    assert scalar == pytest.approx(wanted, rel=2 * S / N)
    diagonal = planned(target, mean, cov, preconditioner="diagonal").rate[0] * N
    np.testing.assert_allclose(diagonal, 2 * S / (N * np.diag(C)), rtol=2 * S / N)


def test_no_other_scalar_rate_is_closer(right):
    """The KL divergence of the stationary distribution from the posterior, over a grid of rates."""
    target, mean, cov = right
    noise, curvature = noise_of(target, mean), np.linalg.inv(cov)

    def divergence(factor):
        rate = planned(target, mean, cov, preconditioner="scalar", learning_rate=factor).rate[
            0, 0
        ] * np.eye(D)
        found = naive.stationary(rate, curvature, noise)
        return 0.5 * (np.trace(curvature @ found) - D - np.linalg.slogdet(curvature @ found)[1])

    kls = [divergence(factor) for factor in (0.8, 1.0, 1.25)]
    assert kls[1] < min(kls[0], kls[2])


def fit(target, method="sgd", **options):
    options = {"tol": 0.05, "batch_size": S, "random_state": 1, "n_starts": 1, **options}
    return fastvi.fit(target, method=method, **options)


def test_iterates_have_the_moments_of_the_posterior(right, wrong):
    """To 10 per cent of variances, of which 8 are two standard errors at this tolerance."""
    for target, mean, cov in (right, wrong):
        posterior = fit(target, tol=0.035)
        assert posterior.settled
        np.testing.assert_allclose(np.diag(posterior.cov), np.diag(cov), rtol=0.1)
        assert np.max(np.abs(posterior.mean - mean) / np.sqrt(np.diag(cov))) < 0.15
        assert posterior.verdict.word == "good"
        assert posterior.history["spread"].mean() == pytest.approx(1.0, abs=0.1)


def test_one_rate_for_all_numbers_does_not_reach_them(right):
    """WIDTH.md's figure for scales 0.5 to 1.5: 0.58 of the trace, which theory gives too."""
    target, mean, cov = right
    course = planned(target, mean, cov, preconditioner="scalar")
    found = naive.stationary(
        np.diag(np.resize(course.rate, D)), np.linalg.inv(cov), noise_of(target, mean)
    )
    assert np.trace(found) / np.trace(cov) == pytest.approx(0.57, abs=0.03)
    posterior = fit(target, preconditioner="scalar", tol=0.07)
    np.testing.assert_allclose(np.diag(posterior.cov), np.diag(found), rtol=0.2)
    assert posterior.verdict.word == "means only"


def test_averages_have_the_sandwich_and_not_the_posterior(wrong):
    target, _, cov = wrong
    posterior = fit(target, "averaged-sgd", tol=0.03)
    sandwich = posterior.sandwich()
    assert sandwich.ratio[0] > 1.5
    np.testing.assert_allclose(np.diag(posterior.cov), np.diag(sandwich.cov), rtol=0.12)
    assert np.diag(posterior.cov)[0] > 2.0 * cov[0, 0]
    assert "sandwich" in posterior.summary()
    assert posterior.verdict.word == "means only"


def test_slow_directions_keep_averages_too_narrow(right):
    target, mean, cov = right
    shares = averaging(
        planned(target, mean, cov, averaged=True, preconditioner="scalar", learning_rate=0.25)
    )
    course = planned(target, mean, cov, averaged=True, preconditioner="scalar", learning_rate=0.25)
    a, n = 1.0 - course.drift, course.n_steps
    lags = np.arange(1, n)
    exact = (1 + 2 * np.sum((1 - lags / n) * a[:, None] ** lags, axis=1)) * (1 - a) / (1 + a)
    np.testing.assert_allclose(shares, exact, rtol=1e-9)
    assert shares[0] < 0.5
    assert shares[-1] > 0.9


def test_a_sandwich_is_the_closed_form(wrong):
    target, mean, cov = wrong
    X, y = target._data.by_name["X"], target._data.by_name["y"]
    scores = X * (y - X @ mean)[:, None]
    wanted = cov @ (N * np.cov(scores.T, ddof=0)) @ cov
    sandwich = fastvi.fit(target, random_state=0, n_starts=1, verdict=False).sandwich()
    np.testing.assert_allclose(sandwich.cov, wanted, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(sandwich.sd, np.sqrt(np.diag(wanted)), rtol=1e-5)
    assert sandwich.n_rows == N


def test_a_sandwich_needs_rows():
    posterior = fastvi.fit(fastvi.target(bowl, dim=2), random_state=0)
    with pytest.raises(ValueError, match="takes no rows"):
        posterior.sandwich()


def hierarchy(z, data, rows, weights, grad):
    """The spread of the prior, z[1], is informed by no row."""
    value = -0.5 * math.exp(-2 * z[1]) * z[0] * z[0] - z[1] - 0.5 * z[1] * z[1]
    grad[0] = -math.exp(-2 * z[1]) * z[0]
    grad[1] = math.exp(-2 * z[1]) * z[0] * z[0] - 1.0 - z[1]
    for m in range(rows.size):
        away = data.y[rows[m]] - z[0]
        value -= 0.5 * weights[m] * away * away
        grad[0] += weights[m] * away
    return value


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 500, "method": "averaged-sgd"}, "at least 10"),
        ({"learning_rate": 120.0}, "wanted less than"),
        ({"max_iter": 1}, "wanted at least"),
        ({"preconditioner": "none"}, "preconditioner is 'none'"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"objective": "iwae"}, "no choice of objectives"),
        ({"method": "natural", "preconditioner": "scalar"}, "are for method='sgd'"),
        ({"family": "meanfield"}, "families with a full covariance"),
    ],
)
def test_refusals(right, options, words):
    with pytest.raises(ValueError, match=words):
        fit(right[0], **options)


def test_targets_without_rows_or_noise_are_refused():
    with pytest.raises(ValueError, match="takes no rows"):
        fastvi.fit(fastvi.target(bowl, dim=2), method="sgd", random_state=0)
    y = np.random.default_rng(0).normal(size=200) + 3.0
    target = fastvi.target(hierarchy, dim=2, data={"y": y}, rows="y")
    with pytest.raises(ValueError, match=r"hardly vary along z\[1\]"):
        fit(target)


def test_batches_have_a_default_size_and_files_keep_the_fit(right, tmp_path):
    posterior = fastvi.fit(right[0], method="sgd", tol=0.2, random_state=0, n_starts=1)

    posterior.save(tmp_path / "p.npz")
    again = fastvi.Posterior.load(tmp_path / "p.npz", right[0])
    assert again.objective == "sgd"
    assert np.array_equal(again.cov, posterior.cov)
    assert np.array_equal(again.history["drift"], posterior.history["drift"])
    same = fastvi.fit(right[0], method="sgd", tol=0.2, random_state=0, n_starts=1, n_jobs=2)
    assert np.array_equal(same.cov, posterior.cov)
