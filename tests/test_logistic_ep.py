"""Logistic and probit regression by expectation propagation."""

import json
import re
from pathlib import Path

import long_chains
import numpy as np
import pytest
from naive import propagation as naive
from scipy.sparse import csr_array
from scipy.special import log_expit, log_ndtr, logsumexp
from sklearn.multiclass import OneVsRestClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastvi
from fastvi import BayesianLogisticRegression

LINKS = {"logit": log_expit, "probit": log_ndtr}


def ep(**options):
    return BayesianLogisticRegression(solver="ep", **options)


def data(rng, n=60, d=2, size=1.0):
    X = rng.normal(size=(n, d))
    return X, rng.random(n) < 1 / (1 + np.exp(-size * X.sum(axis=1)))


def by_quadrature(X, y, variances, link, n=201, reach=8.0):
    """Means, deviations and log evidence of two coefficients under N(0, diag(variances))."""
    axes = [np.sqrt(v) * np.linspace(-reach, reach, n) for v in variances]
    a, b = (part.ravel() for part in np.meshgrid(*axes, indexing="ij"))
    log_p = -0.5 * (a * a / variances[0] + b * b / variances[1])
    log_p -= 0.5 * np.log(4 * np.pi**2 * variances[0] * variances[1])
    for x, sign in zip(X, np.where(y, 1.0, -1.0)):
        log_p += LINKS[link](sign * (x[0] * a + x[1] * b))
    total = logsumexp(log_p)
    p = np.exp(log_p - total)
    points = np.stack((a, b))
    mean = points @ p
    area = (axes[0][1] - axes[0][0]) * (axes[1][1] - axes[1][0])
    return mean, np.sqrt((points - mean[:, None]) ** 2 @ p), total + np.log(area)


@pytest.mark.parametrize("link", LINKS)
def test_the_fixed_point_is_that_of_sequential_ep(link, rng):
    X, y = data(rng, 8)
    model = ep(link=link, C=2.0, fit_intercept=False, tol=1e-20).fit(X, y)
    mean, covariance, evidence = naive.regression(
        LINKS[link], X, np.where(y, 1.0, -1.0), np.full(2, 0.5), 12
    )
    np.testing.assert_allclose(model.coef_[0], mean, rtol=1e-6)
    np.testing.assert_allclose(model.covariance_, covariance, rtol=1e-6)
    assert model.log_evidence_ == pytest.approx(evidence, abs=1e-7)
    assert model.converged_
    assert not hasattr(model, "elbo_")


def separable(rng):
    x = np.linspace(0.3, 2, 10)
    return np.concatenate((-x, x))[:, None], np.repeat([False, True], 10)


def rare(rng):
    x = rng.normal(size=300)
    y = np.zeros(300, bool)
    y[np.argsort(-x)[[0, 5, 9]]] = True
    return x[:, None], y


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize(
    ("make", "least"), [(lambda rng: data(rng, 50, 1), 0.97), (separable, 0.8), (rare, 0.8)]
)
def test_deviations_are_near_those_of_quadrature(make, least, link, rng):
    """Where the bound finds .1 to .5 of them; EP's may be below the truth, but never above."""
    X, y = make(rng)
    model = ep(link=link, C=10.0, intercept_precision=0.1).fit(X, y)
    ones = np.column_stack((X, np.ones(len(X))))
    mean, sd, evidence = by_quadrature(ones, y, np.full(2, 10.0), link)
    found = np.sqrt(np.diag(model.covariance_)) / sd
    assert np.all((found > least) & (found < 1.01))
    found = np.append(model.coef_[0], model.intercept_)
    assert np.all(np.abs(found - mean) < 0.1 * sd)
    assert model.log_evidence_ == pytest.approx(evidence, abs=0.15)
    if least < 0.9 and link == "logit":
        bound = BayesianLogisticRegression(C=10.0, intercept_precision=0.1).fit(X, y)
        assert np.all(np.sqrt(np.diag(bound.covariance_)) < 0.6 * sd)


# At most so far from the exact means (in sd) and, relatively, from the exact sd.
NEAR = {"10 D": (0.03, 0.1), "100 D": (0.02, 0.02), "separable": (0.1, 0.15), "rare": (0.1, 0.15)}


@pytest.mark.parametrize("name", long_chains.PROBLEMS)
def test_posteriors_are_near_those_of_long_chains(name):
    """Chains whose standard errors are below 0.005 sd: 200 of 10,000 steps each, seed 0."""
    wanted = json.loads(Path(long_chains.__file__).with_suffix(".json").read_text())[name]
    X, y, variance = long_chains.problem(name)
    link = long_chains.PROBLEMS[name].link
    model = ep(link=link, C=variance, fit_intercept=False).fit(X, y)
    of_mean, of_sd = NEAR[name.split(",")[0]]
    assert max(wanted["error of mean"], wanted["error of sd"]) < 0.005
    away = np.abs(model.coef_[0] - wanted["mean"]) / wanted["sd"]
    assert away.max() < of_mean + 4 * wanted["error of mean"]
    ratio = np.sqrt(np.diag(model.covariance_)) / wanted["sd"]
    assert np.abs(ratio - 1.0).max() < of_sd


@pytest.mark.parametrize("seed", range(10))
def test_separable_and_rare_labels_converge(seed):
    """20 data sets, with the default prior, which hardly confines the intercept."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(4, 60)), int(rng.integers(1, 4))
    X = rng.normal(size=(n, d)) * 10 ** rng.uniform(-1, 1.5)
    direction = X @ rng.normal(size=d)
    few = np.zeros(n, bool)
    few[np.argsort(-direction + 0.1 * rng.normal(size=n))[: int(rng.integers(1, 3))]] = True
    for y in (direction > np.median(direction), few):
        model = ep(link=("logit", "probit")[seed % 2], C=10 ** rng.uniform(0, 2)).fit(X, y)
        assert model.converged_
        assert np.all(np.isfinite(model.covariance_))
        assert model.log_evidence_ < 0


@pytest.mark.parametrize("link", LINKS)
def test_a_row_of_weight_two_counts_twice(link, rng):
    X, y = data(rng)
    weights = rng.integers(1, 4, size=len(X))
    once = ep(link=link, tol=1e-18).fit(X, y, sample_weight=weights)
    twice = ep(link=link, tol=1e-18).fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    np.testing.assert_allclose(once.coef_, twice.coef_, rtol=1e-9)
    np.testing.assert_allclose(once.covariance_, twice.covariance_, rtol=1e-9)
    assert once.log_evidence_ == pytest.approx(twice.log_evidence_, rel=1e-10)


def test_weights_below_one_are_powers_of_the_likelihood(rng):
    X, y = data(rng, 40, 1)
    weights = np.where(np.arange(40) % 2 == 0, 0.4, 1.0)
    model = ep(fit_intercept=False).fit(X, y, sample_weight=weights)
    w = np.linspace(-8, 8, 20001)
    log_p = -0.5 * w * w + weights @ log_expit(np.where(y, 1, -1)[:, None] * X * w)
    p = np.exp(log_p - log_p.max())
    mean = p @ w / p.sum()
    assert model.coef_[0, 0] == pytest.approx(mean, abs=3e-3)
    sd = np.sqrt(p @ (w - mean) ** 2 / p.sum())
    assert np.sqrt(model.sigma_[0, 0]) == pytest.approx(sd, rel=0.03)


@pytest.mark.parametrize("link", LINKS)
def test_rows_of_zeros_say_nothing_without_an_intercept(link, rng):
    X, y = data(rng, 40)
    X[3] = 0.0
    model = ep(link=link, fit_intercept=False).fit(X, y)
    rest = ep(link=link, fit_intercept=False).fit(np.delete(X, 3, axis=0), np.delete(y, 3))
    np.testing.assert_allclose(model.coef_, rest.coef_, rtol=1e-4)
    np.testing.assert_allclose(model.covariance_, rest.covariance_, rtol=1e-4, atol=1e-6)
    assert model.log_evidence_ == pytest.approx(rest.log_evidence_ + np.log(0.5), abs=1e-6)


@pytest.mark.parametrize("prior", ["gamma", "ard"])
def test_learned_precisions_are_at_their_fixed_point(prior, rng):
    X, y = data(rng, 300, 4)
    X = np.column_stack((X, rng.normal(size=(300, 2))))
    model = ep(prior=prior, tol=1e-14).fit(X, y)
    squares = model.coef_[0] ** 2 + np.diag(model.sigma_)
    if prior == "gamma":
        squares = np.full(6, squares.sum() / 6)
    np.testing.assert_allclose(model.lambda_, (1e-6 + 0.5) / (1e-6 + 0.5 * squares), rtol=2e-5)
    assert model.converged_
    assert model.n_iter_ < 30


def test_precisions_of_the_evidence_are_stationary(rng):
    """Under a narrow Gamma prior the evidence is that of a fixed prior, and peaks where learned."""
    X, y = data(rng, 200, 3)
    learned = ep(prior="gamma", tol=1e-16, fit_intercept=False).fit(X, y)
    fixed = [
        ep(C=scale / learned.lambda_[0], tol=1e-16, fit_intercept=False).fit(X, y).log_evidence_
        for scale in (0.8, 1.0, 1.25)
    ]
    assert fixed[1] > max(fixed[0], fixed[2]) - 0.01
    assert abs(fixed[0] - fixed[2]) < 0.3


def test_threads_sparse_rows_and_dtypes_change_nothing_but_rounding(rng):
    X, y = data(rng, 3000, 5)
    X[np.abs(X) < 0.5] = 0.0
    one = ep().fit(X, y)
    two = ep(n_jobs=2).fit(X, y)
    assert one.covariance_.tobytes() == two.covariance_.tobytes()
    sparse = ep().fit(csr_array(X), y)
    np.testing.assert_allclose(sparse.coef_, one.coef_, rtol=1e-9)
    single = ep().fit(X.astype(np.float32), y)
    assert single.coef_.dtype == np.float32
    np.testing.assert_allclose(single.coef_, one.coef_, rtol=1e-5)
    np.testing.assert_allclose(single.covariance_, one.covariance_, rtol=1e-4, atol=1e-7)


def test_probabilities_have_the_uncertainty_of_the_posterior(rng):
    X, y = data(rng, 30)
    model = ep(link="probit").fit(X, y)
    w = rng.multivariate_normal(
        np.append(model.coef_[0], model.intercept_), model.covariance_, size=200000
    )
    new = 3 * X[:4]
    wanted = np.exp(log_ndtr(w[:, :2] @ new.T + w[:, 2:])).mean(axis=0)
    np.testing.assert_allclose(model.predict_proba(new)[:, 1], wanted, atol=4e-3)
    np.testing.assert_allclose(model.compiled()(new), model.predict_proba(new), rtol=1e-9)
    three = BayesianLogisticRegression().fit(X, np.arange(30) % 3)
    np.testing.assert_allclose(three.compiled()(new), three.predict_proba(new), rtol=1e-9)


def test_files_and_warm_starts(tmp_path, rng):
    X, y = data(rng)
    model = ep(link="probit", prior="ard", warm_start=True).fit(X, y)
    model.save(tmp_path / "model")
    loaded = fastvi.load(tmp_path / "model")
    assert loaded.log_evidence_ == model.log_evidence_
    assert loaded.predict_proba(X).tobytes() == model.predict_proba(X).tobytes()
    again = loaded.fit(X, y, X_val=X, y_val=y)
    assert again.n_iter_ <= model.n_iter_
    np.testing.assert_allclose(again.coef_, model.coef_, rtol=1e-4)
    score = np.log(again.predict_proba(X)[np.arange(len(y)), y.astype(int)]).mean()
    assert again.history_["held_out"][-1] == pytest.approx(score, rel=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solver": "bound", "link": "probit"}, "link is 'probit'; wanted 'logit', or solver"),
        ({"batch_size": 10}, "batch_size is 10; wanted None with solver='ep'"),
        ({"optimizer": "adam"}, "optimizer is 'adam'"),
        ({"optimizer": 0.0}, "optimizer is 0.0"),
        ({"solver": "laplace"}, "solver is 'laplace'"),
        ({"link": "cauchit"}, "link is 'cauchit'"),
    ],
)
def test_refusals(options, message, rng):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        ep(**{"tol": 1e-9}).set_params(**options).fit(*data(rng))


def test_more_labels_are_refused_and_one_versus_rest_works(rng):
    X, _ = data(rng)
    y = X.argmax(axis=1) + (X[:, 0] > 1) * 2
    with pytest.raises(ValueError, match="y holds 4 labels; solver='ep' wanted 2"):
        ep().fit(X, y)
    assert OneVsRestClassifier(ep()).fit(X, y).score(X, y) > 0.8


def test_a_fit_that_was_too_short_says_so(rng):
    with pytest.warns(UserWarning, match="the posterior still moved by more than tol"):
        ep(max_iter=1).fit(*data(rng))


@parametrize_with_checks([ep()])
@pytest.mark.jit
def test_scikit_learn_checks(estimator, check):
    check(estimator)
