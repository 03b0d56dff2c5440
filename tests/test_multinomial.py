"""Logistic regression for more than two labels: its plain twin, closed forms and the estimator."""

import numpy as np
import pytest
from naive import multinomial as naive
from scipy.linalg import helmert
from scipy.sparse import csr_array
from scipy.special import log_softmax, logsumexp, softmax
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import StandardScaler
from tolerances import assert_never_falls

import fastvi
from fastvi.core import Batch
from fastvi.models.acceleration import accelerated
from fastvi.models.fits import fit_conjugate
from fastvi.models.logistic.estimator import BayesianLogisticRegression
from fastvi.models.logistic.links import log_mean_sigmoid
from fastvi.models.logistic.model import Prior
from fastvi.models.logistic.multinomial import Multinomial, log_mean_softmax

PRIORS = ["fixed", "gamma", "ard"]
LABELS = np.array(["ant", "bee", "cat"])


def data(rng, n=200, n_features=4, K=3):
    """Rows and the numbers of their classes; the last column says nothing."""
    X = rng.normal(size=(n, n_features))
    W = 1.5 * rng.normal(size=(n_features, K))
    W[-1] = 0.0
    return X, (X @ W + rng.gumbel(size=(n, K))).argmax(axis=1)


def with_ones(X):
    return np.column_stack((X, np.ones(len(X))))


def small_model(kind, n_features, K=3, **options):
    groups = {"fixed": [-1], "gamma": [0], "ard": range(n_features)}[kind]
    groups = np.append(np.resize(groups, n_features), -1).astype(np.int64)
    fixed = np.append(np.full(n_features, 0.7), 1e-3)
    return Multinomial(Prior(fixed, groups, 0.3, 0.2), K, intercept=True, **options)


# The model


@pytest.mark.parametrize("kind", PRIORS)
def test_coordinate_ascent_equals_a_plain_one(kind, rng):
    X, y = data(rng, 40, 3)
    model = small_model(kind, 3)
    start = model.start(np.append(np.square(X).mean(axis=0), 1.0))
    covariance = np.linalg.inv(start.precision + np.diag(model.precisions(start.rates)))
    fitted = fit_conjugate(model, model.source(X, y, np.ones(40)), start, n_epochs=12)
    mean, covariance, alpha, bounds = naive.fit(
        with_ones(X), y, 3, model.hyper.fixed, model.groups, 0.3, 0.2, covariance, 12
    )
    posterior = model.posterior(fitted.params)
    np.testing.assert_allclose(posterior.mean, mean, rtol=1e-8, atol=1e-10)
    ours = np.kron(posterior.covariance, np.eye(2))  # the same for both contrasts
    np.testing.assert_allclose(ours, covariance, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(fitted.history["elbo"], bounds, rtol=1e-9)
    learnt = model.in_group
    np.testing.assert_allclose(model.precisions(fitted.params.rates)[learnt], alpha[learnt])
    assert_never_falls(fitted.history["elbo"], np.float64, X.size, abs(bounds[-1]))


def test_the_expansion_is_at_the_best_logits(rng):
    x, K = rng.normal(size=2), 3
    mean, covariance = rng.normal(size=4), np.diag(rng.random(4))
    here = naive.design(x, K) @ mean
    best = naive.row_bound(x, 1, here, mean, covariance, K)
    for _ in range(50):
        there = here + rng.normal(size=K) * rng.choice([1e-3, 0.1, 3.0])
        assert naive.row_bound(x, 1, there, mean, covariance, K) <= best + 1e-12


def contrasts_of_one_column(x, y, C, n=201):
    """Log density of the data and two contrasts on a grid of (n, n), and the contrasts."""
    line = np.linspace(-8.0, 8.0, n)
    grid = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1)
    logits = grid @ helmert(3)
    logs = -0.5 * np.square(grid).sum(axis=-1) / C - np.log(2 * np.pi * C)
    for value, label in zip(x, y):
        logs += value * logits[..., label] - logsumexp(value * logits, axis=-1)
    return logs, grid, (line[1] - line[0]) ** 2


@pytest.mark.parametrize("n", [5, 40])
def test_the_bound_is_below_the_evidence(n, rng):
    """By less than 2 nats, for one column and three labels, integrated on a grid."""
    x, y = rng.normal(size=n), np.arange(n) % 3
    logs, grid, area = contrasts_of_one_column(x, y, 1.0)
    ours = BayesianLogisticRegression(fit_intercept=False).fit(x[:, None], y)
    gap = logsumexp(logs) + np.log(area) - ours.elbo_
    assert 0 < gap < 2
    p = np.exp(logs - logsumexp(logs))
    mean = np.einsum("ij,ijk->k", p, grid)
    variance = np.einsum("ij,ijk->", p, np.square(grid - mean)) / 2
    assert ours.sigma_[0, 0] < variance < 4 * ours.sigma_[0, 0]
    np.testing.assert_allclose(ours.coef_[:, 0], mean @ helmert(3), atol=1.5 / n)


def test_statistics_norms_are_those_of_a_plain_one(rng):
    X, y = data(rng, 9, 3)
    model = small_model("fixed", 3)
    params = model.start(np.ones(4))
    params = params._replace(precision_mean=rng.normal(size=(4, 3)))
    source = model.source(X, y, np.ones(9))
    found = model.local(params, Batch(source.all(), np.ones(9)), None, rng, norms=True).norms
    logits = with_ones(X) @ model.posterior(params).mean
    want = [naive.statistics_norm(*row) for row in zip(with_ones(X), y, logits)]
    np.testing.assert_allclose(found, want)
    want = [naive.statistics_norm(x, label, np.zeros(3)) for x, label in zip(with_ones(X), y)]
    np.testing.assert_allclose(source.norms, want)


def test_two_classes_are_the_optimum_of_the_same_bound(rng):
    """With curvature 1/4 and twice the prior variance, as the difference of two coefficients."""
    X, y = data(rng, 100, 3, K=2)
    prior = Prior(np.full(3, 1 / 0.7), np.full(3, -1))
    model = Multinomial(prior, 2, intercept=False)
    source, start = model.source(X, y, np.ones(100)), model.start(np.ones(3))
    fitted = fit_conjugate(model, source, start, n_epochs=300, tol=1e-10, ascent=accelerated)
    posterior = model.posterior(fitted.params)
    mode = LogisticRegression(C=1.4, fit_intercept=False, tol=1e-10).fit(X, y).coef_[0]
    np.testing.assert_allclose(np.diff(posterior.mean)[:, 0], mode, atol=1e-5)
    precision = np.eye(3) / 1.4 + X.T @ X / 4
    np.testing.assert_allclose(2 * posterior.covariance, np.linalg.inv(precision))
    logits = (2 * y - 1) * (X @ mode)
    bound = -np.logaddexp(0, -logits).sum() - 0.5 * mode @ mode / 1.4
    bound -= 0.5 * (3 * np.log(1.4) + np.linalg.slogdet(precision)[1])
    assert fitted.history["elbo"][-1] == pytest.approx(bound, abs=1e-6)
    tighter = BayesianLogisticRegression(C=1.4, fit_intercept=False).fit(X, y)
    assert bound < tighter.elbo_ < bound + 2


# Its predictions


@pytest.mark.parametrize("variance", [0.0, 0.25, 2.0, 4.0, 10.0, 25.0, 100.0, 1e4])
def test_log_mean_softmax(variance, rng):
    """Against quadrature on a grid of two contrasts, and for two classes the logistic function's
    mean: the errors in the documentation.
    """
    sd, allowed = np.sqrt(variance), 1e-4 if variance <= 4 else 2e-3
    mean = np.concatenate((rng.normal(size=(6, 3)), 6 * rng.normal(size=(6, 3))))
    found = np.exp(log_mean_softmax(mean, np.full(12, variance)))
    line = np.linspace(-6.5, 6.5, 261)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    weights = np.exp(-0.5 * np.square(grid).sum(axis=1))
    for row, ours in zip(mean, found):
        want = weights @ softmax(row + sd * grid @ helmert(3), axis=1) / weights.sum()
        np.testing.assert_allclose(ours, want, atol=allowed, rtol=0)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    lower = np.array([-0.0, -1.0, -7.0])
    two = log_mean_softmax(np.column_stack((lower, np.zeros(3))), np.full(3, variance))
    want = log_mean_sigmoid(lower, np.full(3, 2 * variance))
    np.testing.assert_allclose(np.exp(two[:, 0]), np.exp(want), atol=allowed, rtol=0)


def test_small_probabilities_of_softmax(rng):
    """exp(mean + variance), since two Gaussians add up; and no underflow."""
    mean = np.array([[0.0, -30.0, -60.0], [0.0, -800.0, -900.0]])
    found = log_mean_softmax(mean, np.full(2, 0.5))
    np.testing.assert_allclose(found[:, 1:], mean[:, 1:] + 0.5, rtol=1e-5)
    found = log_mean_softmax(mean, np.zeros(2))
    np.testing.assert_allclose(found, log_softmax(mean, axis=1), atol=1e-12)


# The estimator


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_the_posterior_mean_is_the_mode_of_the_same_model(class_weight, rng):
    X, y = data(rng, 300, 4, K=4)
    options = {"C": 0.5, "class_weight": class_weight}
    ours = BayesianLogisticRegression(tol=1e-12, intercept_precision=1e-12, **options).fit(X, y)
    mode = LogisticRegression(tol=1e-10, max_iter=1000, **options).fit(X, y)
    np.testing.assert_allclose(ours.coef_, mode.coef_, atol=1e-4)
    np.testing.assert_allclose(ours.intercept_, mode.intercept_ - mode.intercept_.mean(), atol=1e-4)
    assert ours.converged_
    assert_never_falls(ours.history_["elbo"], np.float64, X.size, abs(ours.elbo_))


def laplace_variances(model, X):
    """Variances of centred coefficients (K, P) at the mode, for C = 1."""
    K, P = len(model.classes_), X.shape[1] + 1
    hessian = np.kron(np.eye(K), np.diag([1.0] * (P - 1) + [1e-6]))
    logits = with_ones(X) @ np.column_stack((model.coef_, model.intercept_)).T
    for x, p in zip(with_ones(X), softmax(logits, axis=1)):
        hessian += np.kron(np.diag(p) - np.outer(p, p), np.outer(x, x))
    centre = np.kron(np.eye(K) - 1 / K, np.eye(P))
    return np.diag(centre @ np.linalg.inv(hessian) @ centre).reshape(K, P)


def test_the_spread_is_too_small():
    """The numbers in the documentation: 0.29 to 0.71 of the Laplace approximation's."""
    X, y = load_iris(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    ours = BayesianLogisticRegression().fit(X, y)
    ratio = np.sqrt(2 / 3 * np.diag(ours.sigma_) / laplace_variances(ours, X)[:, :-1])
    np.testing.assert_allclose([ratio.min(), ratio.max()], [0.29, 0.71], atol=0.005)


FITS = {
    "fixed": BayesianLogisticRegression(),
    "gamma": BayesianLogisticRegression(prior="gamma"),
    "ard": BayesianLogisticRegression(prior="ard"),
    "one versus rest": OneVsRestClassifier(BayesianLogisticRegression()),
    "scikit-learn": LogisticRegression(max_iter=1000),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("load", "n_splits", "wanted"),
    [
        (load_iris, 5, (-0.194, -0.101, -0.160, -0.340, -0.187)),
        (load_wine, 5, (-0.110, -0.175, -0.143, -0.115, -0.103)),
        (load_digits, 1, (-0.115, -0.321, -0.225, -0.158, -0.115)),
    ],
)
def test_probabilities_of_new_rows(load, n_splits, wanted):
    """The numbers in the documentation."""
    X, y = load(return_X_y=True)
    X, half = StandardScaler().fit_transform(X), len(y) // 2
    scores = np.zeros(len(FITS))
    for seed in range(n_splits):
        order = np.random.default_rng(seed).permutation(len(y))
        train, test = order[:half], order[half:]
        for i, model in enumerate(FITS.values()):
            proba = model.fit(X[train], y[train]).predict_proba(X[test])
            scores[i] += np.log(proba[np.arange(len(test)), y[test]]).mean() / n_splits
    np.testing.assert_allclose(scores, wanted, atol=1e-3)


def test_what_it_predicts(rng):
    X, y = data(rng)
    ours = BayesianLogisticRegression().fit(X, LABELS[y])
    assert ours.classes_.tolist() == LABELS.tolist()
    assert (ours.coef_.shape, ours.intercept_.shape, ours.sigma_.shape) == ((3, 4), (3,), (4, 4))
    np.testing.assert_allclose(ours.coef_.sum(axis=0), 0.0, atol=1e-12)
    proba, decision = ours.predict_proba(X), ours.decision_function(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    np.testing.assert_allclose(softmax(decision, axis=1), proba)
    np.testing.assert_allclose(np.exp(ours.predict_log_proba(X)), proba)
    assert np.all(ours.predict(X) == LABELS[proba.argmax(axis=1)])
    assert ours.score(X, LABELS[y]) > 0.7
    draws = np.random.default_rng(0).normal(size=(20000, 3))
    x = with_ones(X)[:5]
    logits = x @ np.column_stack((ours.coef_, ours.intercept_)).T
    sd = np.sqrt(np.einsum("ij,jk,ik->i", x, ours.covariance_, x))
    for row, deviation, found in zip(logits, sd, proba):
        want = np.mean([softmax(row + s * deviation * draws, axis=1).mean(0) for s in (1, -1)], 0)
        np.testing.assert_allclose(found, want, atol=5e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("prior", PRIORS)
def test_weights_and_sparse_rows(prior, dtype, rng):
    X, y = data(rng, 90, 3)
    X = np.where(rng.random(X.shape) < 0.6, X, 0.0).astype(dtype)
    weights = rng.integers(0, 3, 90)
    options = {"prior": prior, "max_iter": 8, "tol": 0, "lambda_1": 0.5, "lambda_2": 0.5}
    ours = BayesianLogisticRegression(**options).fit(X, y, weights)
    repeated = np.repeat(np.arange(90), weights)
    same = BayesianLogisticRegression(**options).fit(X[repeated], y[repeated])
    sparse = BayesianLogisticRegression(**options).fit(csr_array(X), y, weights)
    rtol = 1e-3 if dtype == np.float32 else 1e-8
    for other in (same, sparse):
        assert other.coef_.dtype == dtype
        np.testing.assert_allclose(other.coef_, ours.coef_, rtol=rtol, atol=rtol)
        np.testing.assert_allclose(other.covariance_, ours.covariance_, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(sparse.predict_proba(csr_array(X)), ours.predict_proba(X), atol=rtol)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "options",
    [{}, {"variance_reduction": "svrg"}, {"sampling": "importance"}],
)
def test_mini_batches_come_near(options, rng):
    X, y = data(rng, 600, 3)
    best = BayesianLogisticRegression().fit(X, y)
    ours = BayesianLogisticRegression(
        batch_size=50, max_iter=40, optimizer=0.3, random_state=3, **options
    ).fit(X, y, X_val=X, y_val=y)
    np.testing.assert_allclose(ours.coef_, best.coef_, atol=0.1)
    score = best.predict_log_proba(X)[np.arange(600), y].mean()
    assert ours.history_["held_out"][-1] == pytest.approx(score, abs=3e-3)


def test_ard_switches_off_what_says_nothing(rng):
    X, y = data(rng, 2000, 5)
    ours = BayesianLogisticRegression(prior="ard").fit(X, y)
    assert ours.lambda_[:4].max() < 5 < 100 < ours.lambda_[4]


def test_files_and_warm_starts(rng, tmp_path):
    X, y = data(rng)
    ours = BayesianLogisticRegression(prior="ard", warm_start=True, lambda_1=0.5, lambda_2=0.5)
    ours.fit(X, LABELS[y]).save(tmp_path / "model.npz")
    loaded = fastvi.load(tmp_path / "model.npz")
    assert loaded.classes_.tolist() == LABELS.tolist()
    np.testing.assert_array_equal(loaded.predict_log_proba(X), ours.predict_log_proba(X))
    bound = ours.elbo_
    ours.classes_ = LABELS[:2]
    ours.save(tmp_path / "broken.npz")
    with pytest.raises(ValueError, match=r"broken.npz: .*coefficients"):
        fastvi.load(tmp_path / "broken.npz")
    assert ours.fit(X, LABELS[y]).n_iter_ == 1
    assert ours.elbo_ >= bound - 1e-9 * abs(bound)
    with pytest.raises(ValueError, match=r"for 3 labels; X, y .* ask for 5 and 4 for 2"):
        ours.fit(X, y > 0)


def test_float32_stops_where_float64_does():
    """To 1e-6 nats per row: a rise of 1e-3 nats may be followed by larger ones."""
    X, y = load_digits(return_X_y=True)
    double, single = (
        BayesianLogisticRegression().fit((X / 16).astype(dtype), y)
        for dtype in (np.float64, np.float32)
    )
    assert double.converged_
    assert single.converged_
    assert abs(single.elbo_ - double.elbo_) < 1e-6 * len(y)


def test_a_resumed_fit_has_the_same_bits(rng, tmp_path):
    X, y = data(rng)
    path = tmp_path / "fit.npz"
    options = {"batch_size": 32, "random_state": 1}
    whole = BayesianLogisticRegression(max_iter=6, **options).fit(X, y)
    BayesianLogisticRegression(max_iter=3, **options).fit(X, y, checkpoint=path)
    resumed = BayesianLogisticRegression(max_iter=6, **options)
    resumed.fit(X, y, checkpoint=path, resume=True)
    np.testing.assert_array_equal(resumed.coef_, whole.coef_)
    np.testing.assert_array_equal(resumed.covariance_, whole.covariance_)
