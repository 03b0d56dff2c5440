"""Bayesian logistic regression: closed forms, bounds of the evidence, and the estimator."""

import warnings

import numpy as np
import pytest
from naive import logistic as naive
from scipy.integrate import dblquad, quad
from scipy.optimize import minimize_scalar
from scipy.sparse import csc_matrix, csr_array
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks
from tolerances import assert_never_falls, rounding

import fastvi
from fastvi.core import Batch
from fastvi.models.fits import fit_conjugate
from fastvi.models.logistic.estimator import BayesianLogisticRegression
from fastvi.models.logistic.links import log_mean_sigmoid
from fastvi.models.logistic.model import (
    Coefficients,
    Logistic,
    Prior,
)
from fastvi.models.logistic.rows import LabelledRows

PRIORS = ["fixed", "gamma", "ard"]


def data(rng, n=200, n_features=4, shift=0.3):
    """Rows and labels whose last two coefficients are 0."""
    X = rng.normal(size=(n, n_features))
    w = np.where(np.arange(n_features) < n_features - 2, 1.5, 0.0)
    y = (rng.random(n) < 1 / (1 + np.exp(-(X @ w + shift)))).astype(float)
    return X, y


def with_ones(X):
    return np.column_stack((X, np.ones(len(X))))


def small_model(kind, n_features, a0=0.3, b0=0.2, **options):
    groups = {"fixed": [-1], "gamma": [0], "ard": range(n_features)}[kind]
    groups = np.append(np.resize(groups, n_features), -1).astype(np.int64)
    fixed = np.append(np.full(n_features, 0.7), 1e-3)
    return Logistic(Prior(fixed, groups, a0, b0), intercept=True, **options)


# The model


@pytest.mark.parametrize("kind", PRIORS)
def test_coordinate_ascent_equals_a_plain_one(kind, rng):
    X, y = data(rng, 60, 3)
    model = small_model(kind, 3)
    start = model.start(np.append(np.square(X).mean(axis=0), 1.0))
    covariance = np.diag(1 / np.diag(start.precision + np.diag(model.precisions(start.rates))))
    fitted = fit_conjugate(model, LabelledRows(X, y - 0.5), start, n_epochs=25)
    groups, fixed = model.groups, model.hyper.fixed
    mean, covariance, alpha, bounds = naive.fit(
        with_ones(X), y, fixed, groups, 0.3, 0.2, covariance, 25
    )
    posterior = model.posterior(fitted.params)
    np.testing.assert_allclose(posterior.mean, mean, rtol=1e-8)
    np.testing.assert_allclose(posterior.covariance, covariance, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(fitted.history["elbo"], bounds, rtol=1e-9)
    learnt = model.in_group
    np.testing.assert_allclose(model.precisions(fitted.params.rates)[learnt], alpha[learnt])
    assert_never_falls(fitted.history["elbo"], np.float64, X.size, abs(bounds[-1]))


def test_xi_maximises_the_bound(rng):
    """The closed form against a numerical maximum; values are flat there, to sqrt(eps)."""
    X, y = data(rng, 8, 2)
    model = small_model("fixed", 2)
    params = model.start(np.ones(3))
    local = model.local(params, Batch(LabelledRows(X, y - 0.5).all(), np.ones(8)), None, rng)
    posterior = model.posterior(params)
    for x, t, xi in zip(with_ones(X), y, local.variables):
        best = minimize_scalar(
            lambda z, x=x, t=t: -naive.row_bound(x, t, z, posterior.mean, posterior.covariance),
            bounds=(1e-6, 20), method="bounded", options={"xatol": 1e-9},
        )  # fmt: skip
        assert abs(best.x - xi) < 1e-5 * (1 + xi)


@pytest.mark.parametrize("n", [5, 30])
def test_the_bound_is_below_the_evidence(n, rng):
    """One and two coefficients, integrated numerically; the gap is below a nat here."""
    X, y = data(rng, n, 2)

    def evidence(X, integrate):
        signs = 2 * y - 1

        def joint(*w):
            w = np.array(w)
            return np.exp(-np.logaddexp(0, -signs * (X @ w)).sum() - 0.5 * w @ w) / np.sqrt(
                2 * np.pi
            ) ** len(w)

        return np.log(integrate(joint))

    for columns, integrate in (
        (1, lambda f: quad(f, -10, 10, epsabs=0, limit=200)[0]),
        (2, lambda f: dblquad(f, -8, 8, -8, 8, epsabs=0, epsrel=1e-6)[0]),
    ):
        part = X[:, :columns]
        estimator = BayesianLogisticRegression(C=1.0, fit_intercept=False, tol=1e-10).fit(part, y)
        gap = evidence(part, integrate) - estimator.elbo_
        assert 0 < gap < 1


def separable():
    """40 rows that a threshold at 0 separates."""
    x = np.linspace(-20, 20, 40)
    return x[:, None], (x > 0).astype(float)


def test_separable_data_leave_the_bound_too_little_spread():
    """The numbers in the documentation: the slope is 1.56 with sd 0.60, by quadrature."""
    X, y = separable()
    ours = BayesianLogisticRegression().fit(X, y)
    slope, intercept = np.linspace(0, 6, 401), np.linspace(-40, 40, 801)
    logs = -0.5 * np.square(slope)[:, None] - 0.5e-6 * np.square(intercept)
    for x, label in zip(X[:, 0], y):
        logs -= np.logaddexp(0, (1 - 2 * label) * (slope[:, None] * x + intercept))
    p = np.exp(logs - logs.max()).sum(axis=1)
    mean = p @ slope / p.sum()
    sd = np.sqrt(p @ np.square(slope - mean) / p.sum())
    assert abs(mean - 1.56) < 0.01
    assert abs(sd - 0.60) < 0.01
    assert abs(ours.coef_[0, 0] - 1.43) < 0.01
    assert abs(np.sqrt(ours.sigma_[0, 0]) - 0.083) < 0.001


@pytest.mark.thorough
@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("of", ["separable", "noisy"])
def test_the_default_fit_ends_at_the_optimum(of, prior, rng):
    """Within 1e-4 nats of plain coordinate ascent that goes on, in a tenth of its passes or 40."""
    X, y = separable() if of == "separable" else data(rng, 300, 4)
    options = {"prior": prior, "lambda_1": 0.5, "lambda_2": 0.5}
    ours = BayesianLogisticRegression(**options).fit(X, y)
    plain = BayesianLogisticRegression(optimizer=1.0, tol=1e-12, max_iter=5000, **options)
    plain.fit(X, y)
    assert ours.converged_
    assert abs(ours.elbo_ - plain.elbo_) < 1e-4
    assert ours.n_iter_ < max(40, plain.n_iter_ / 10)
    if prior == "fixed":  # learned precisions are nearly flat
        np.testing.assert_allclose(ours.coef_, plain.coef_, rtol=1e-4)
    assert_never_falls(ours.history_["elbo"], np.float64, X.size, abs(ours.elbo_))


@pytest.mark.parametrize("kind", PRIORS)
def test_statistics_are_weighted_sums_over_rows(kind, rng):
    X, y = data(rng, 11, 3)
    model = small_model(kind, 3)
    params = model.start(np.ones(4))
    source = LabelledRows(X, y - 0.5)
    weights = rng.random(11)
    whole = model.local(params, Batch(source.all(), weights), None, rng, norms=True)
    parts = [
        model.local(params, Batch(source.take([i]), weights[i : i + 1]), None, rng)
        for i in range(11)
    ]
    for name in ("precision_mean", "precision"):
        total = sum(getattr(part.statistics, name) for part in parts)
        np.testing.assert_allclose(getattr(whole.statistics, name), total, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(whole.bound, sum(part.bound for part in parts))
    want = [naive.statistics_norm(*row) for row in zip(with_ones(X), y - 0.5, whole.variables)]
    np.testing.assert_allclose(whole.norms, want)
    for intercept, rows in ((False, X), (True, with_ones(X))):
        bound = LabelledRows(X, y - 0.5, intercept).norms
        want = [naive.statistics_norm(row, 0.5, 0.0) for row in rows]
        np.testing.assert_allclose(bound, want)
    assert np.all(whole.norms <= bound)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_same_bits_for_any_number_of_threads(dtype, rng, monkeypatch):
    from fastvi.models.logistic import blocks as logistic_blocks

    monkeypatch.setattr(logistic_blocks, "TASK_FLOPS", 5000)
    monkeypatch.setattr(logistic_blocks, "BLOCK_ENTRIES", 100)
    X, y = data(rng, 500, 4)
    results = set()
    for n_threads in (1, 2, 8):
        model = small_model("ard", 4, dtype=dtype, n_threads=n_threads)
        source = LabelledRows(X.astype(dtype), y - 0.5)
        fitted = fit_conjugate(model, source, model.start(np.ones(5)), n_epochs=4)
        results.add(b"".join(part.tobytes() for part in fitted.params))
    assert len(results) == 1


def test_confined_steps_stay_in_the_domain(rng):
    model = small_model("ard", 3)
    params = model.start(np.ones(4))
    away = Coefficients(np.ones(4), -10 * params.precision, -10 * params.rates)
    short = model.confine(params, away)
    moved = Coefficients(*(part + change for part, change in zip(params, short)))
    assert moved.rates.min() > 0
    assert np.linalg.eigvalsh(moved.precision + np.diag(model.precisions(moved.rates))).min() > 0
    inside = Coefficients(*(0.5 * part for part in params))
    for part, change in zip(inside, model.confine(params, inside)):
        np.testing.assert_array_equal(part, change)


@pytest.mark.parametrize("variance", [0.0, 0.5, 7.0, 300.0])
def test_log_mean_sigmoid(variance, rng):
    """Against quadrature that is split at the modes of its two factors."""
    mean = -np.array([0.0, 0.2, 2.0, 9.0, 30.0, 150.0])
    result = log_mean_sigmoid(mean, np.full(len(mean), variance))
    if variance == 0:
        np.testing.assert_allclose(result, -np.logaddexp(0, -mean), atol=1e-8)
        return
    grid = np.linspace(-14, 14, 2_000_001)
    for m, value in zip(mean, result):
        best = min(m + variance, max(m, 0.0)) if m + variance > 0 else m + variance
        a = best + np.sqrt(variance) * grid
        logs = -np.logaddexp(0, -a) - 0.5 * np.square(a - m) / variance
        top = logs.max()
        want = top + np.log(np.exp(logs - top).sum() * (grid[1] - grid[0]) / np.sqrt(2 * np.pi))
        # the mixture's error is 2.2e-9 absolute, larger in relation to small probabilities
        assert abs(value - want) < 1e-8 + 1e-4 * (want < -10) * (variance > 60)


# The estimator


@parametrize_with_checks([BayesianLogisticRegression()])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.jit
def test_scikit_learn_checks(estimator, check):
    check(estimator)


# A fixed number of passes: as precisions rise without limit the bound becomes flat, and rounding
# decides where the fit stops.
@parametrize_with_checks([BayesianLogisticRegression(prior="ard", max_iter=30, tol=0)])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.slow
def test_more_scikit_learn_checks(estimator, check):
    check(estimator)


def test_the_posterior_is_near_the_mode_of_the_same_model(rng):
    """Posterior means and modes differ by O(1 / n): below 0.05 of a coefficient at n = 4000."""
    X, y = data(rng, 4000, 4)
    ours = BayesianLogisticRegression(C=0.5).fit(X, y)
    mode = LogisticRegression(C=0.5, tol=1e-10).fit(X, y)
    np.testing.assert_allclose(ours.coef_, mode.coef_, atol=0.05)
    np.testing.assert_allclose(ours.intercept_, mode.intercept_, atol=0.05)
    np.testing.assert_allclose(ours.predict_proba(X), mode.predict_proba(X), atol=0.01)
    assert ours.converged_


def test_ard_switches_off_what_is_irrelevant(rng):
    X, y = data(rng, 2000, 6)
    ours = BayesianLogisticRegression(prior="ard", max_iter=1000).fit(X, y)
    assert ours.lambda_[:4].max() < 2 < 100 < ours.lambda_[4:].min()
    assert np.abs(ours.coef_[0, 4:]).max() < 0.02


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("prior", "variance_reduction"), [*((prior, None) for prior in PRIORS), ("gamma", "svrg")]
)
def test_mini_batches_come_near(prior, variance_reduction, rng):
    """Within 1e-4 nats a row of the bound of coordinate ascent."""
    X, y = data(rng, 1000, 4)
    options = {"prior": prior, "lambda_1": 0.1, "lambda_2": 0.1}
    best = BayesianLogisticRegression(**options).fit(X, y)
    ours = BayesianLogisticRegression(
        **options, batch_size=50, max_iter=60, variance_reduction=variance_reduction,
        optimizer=0.1 if variance_reduction else None, random_state=3,
    ).fit(X, y)  # fmt: skip
    model, batch = ours._model, Batch(LabelledRows(X, y - 0.5).all(), np.ones(len(X)))
    bound = model.local(ours._params, batch, None, rng).bound + model.global_bound(ours._params)
    assert best.elbo_ - 1e-4 * len(X) < bound < best.elbo_ + 1e-4 * len(X)
    assert not hasattr(ours, "elbo_")


@pytest.mark.parametrize("sampling", ["replacement", "importance", "adaptive", "growing"])
def test_samplings_come_near(sampling, rng):
    """Within five standard deviations of the noise of batches at the last rate."""
    X, y = data(rng, 1000, 4)
    best = BayesianLogisticRegression().fit(X, y)
    ours = BayesianLogisticRegression(
        batch_size=50, max_iter=30, sampling=sampling, random_state=3
    ).fit(X, y)
    noise = np.sqrt(0.5 * ours.history_["rate"][-1] * 1000 / 50 * np.diag(best.sigma_))
    assert np.all(np.abs(ours.coef_ - best.coef_) < 5 * noise)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("batch_size", [None, 7])
def test_a_weight_counts_rows(batch_size, dtype, rng):
    """Weight 2 is the row twice and weight 0 none: exactly the same rows, up to rounding."""
    X, y = data(rng, 60, 3)
    X = X.astype(dtype)
    weights = rng.integers(0, 3, 60).astype(float)
    weights[:2] = 1.0
    ours = BayesianLogisticRegression().fit(X, y, weights)
    repeated = np.repeat(np.arange(60), weights.astype(int))
    same = BayesianLogisticRegression().fit(X[repeated], y[repeated])
    rtol = 1e-4 if dtype == np.float32 else 1e-8
    np.testing.assert_allclose(ours.coef_, same.coef_, rtol=rtol)
    np.testing.assert_allclose(ours.sigma_, same.sigma_, rtol=rtol, atol=1e-3 * rtol)
    np.testing.assert_allclose(ours.elbo_, same.elbo_, rtol=rtol)
    options = {"batch_size": batch_size, "random_state": 0, "max_iter": 3, "tol": 0}
    kept = weights > 0
    ones = BayesianLogisticRegression(**options).fit(X, y, kept.astype(float))
    without = BayesianLogisticRegression(**options).fit(X[kept], y[kept])
    np.testing.assert_array_equal(ones.covariance_, without.covariance_)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("options", [{}, {"batch_size": 20, "sampling": "importance"}])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sparse_rows_are_the_same_rows(dtype, options, fit_intercept, rng, monkeypatch):
    monkeypatch.setattr("fastvi.models.logistic.rows.DENSE_ENTRIES", 100)
    X, y = data(rng, 200, 5)
    X = np.where(rng.random(X.shape) < 0.4, X, 0.0).astype(dtype)
    weights = rng.integers(0, 3, 200)
    fits = [
        BayesianLogisticRegression(
            prior="ard", max_iter=5, tol=0, fit_intercept=fit_intercept, random_state=0, **options
        ).fit(form(X), y, weights, X_val=form(X), y_val=y)
        for form in (np.asarray, csr_array, csc_matrix)
    ]
    for fit in fits[1:]:
        np.testing.assert_allclose(fit.covariance_, fits[0].covariance_, rtol=1e-4, atol=1e-12)
        wanted = fits[0].predict_proba(X)
        np.testing.assert_allclose(fit.predict_proba(csr_array(X)), wanted, rtol=1e-4)
        held_out = fits[0].history_["held_out"]
        np.testing.assert_allclose(fit.history_["held_out"], held_out, rtol=1e-4)
    twice = csr_array((np.r_[1.0, 2.0], np.r_[0, 0], np.r_[0, 2]), shape=(1, 5))
    ours = fits[1].predict_proba(twice.astype(dtype))
    np.testing.assert_allclose(ours, fits[1].predict_proba(np.array([[3.0, 0, 0, 0, 0]], dtype)))


def test_mini_batches_see_weights(rng):
    X, y = data(rng, 400, 3)
    weights = rng.gamma(1.0, 1.0, 400)
    best = BayesianLogisticRegression().fit(X, y, weights)
    options = {"batch_size": 40, "optimizer": 0.1, "max_iter": 40, "random_state": 0}
    for sampling in ("uniform", "importance"):
        ours = BayesianLogisticRegression(
            variance_reduction="svrg", sampling=sampling, **options
        ).fit(X, y, weights)
        np.testing.assert_allclose(ours.coef_, best.coef_, atol=0.02)


def test_class_weights_are_weights_of_rows(rng, tmp_path):
    X, y = data(rng, 80, 3, shift=1.5)
    labels = np.where(y > 0, "yes", "no")
    ours = BayesianLogisticRegression(class_weight={"yes": 3.0, "no": 0.5}).fit(X, labels)
    same = BayesianLogisticRegression().fit(X, labels, np.where(y > 0, 3.0, 0.5))
    np.testing.assert_array_equal(ours.covariance_, same.covariance_)
    shares = 40 / np.where(y > 0, y.sum(), (1 - y).sum())
    even = BayesianLogisticRegression(class_weight="balanced").fit(X, labels)
    assert even.elbo_ == BayesianLogisticRegression().fit(X, labels, shares).elbo_
    ours.save(tmp_path / "model.npz")
    loaded = fastvi.load(tmp_path / "model.npz")
    assert loaded.class_weight == ours.class_weight
    np.testing.assert_array_equal(loaded.predict_proba(X), ours.predict_proba(X))


@pytest.mark.parametrize(
    ("class_weight", "sample_weight", "message"),
    [
        ("even", None, "class_weight is 'even'; wanted 'balanced', None, or a dict"),
        ({3.0: 1.0}, None, "class_weight is .*; wanted 'balanced', None, or a dict"),
        ({0.0: -1.0}, None, "class_weight is -1.0; wanted a number > 0"),
        ({0.0: 1e308}, None, "class_weight is 1e[+]308; wanted a number > 0 and <= 1e[+]75"),
        (None, np.full(30, 1e308), "sample_weight holds numbers up to 1.0e[+]308; wanted at most"),
        (None, np.zeros(30), "sample_weight is 0 for every row|at least one non-zero"),
        (None, np.arange(30.0) - 1, "Negative values"),
        (None, np.eye(30)[0], "only one class"),
    ],
)
def test_weights_that_are_refused(class_weight, sample_weight, message, rng):
    with pytest.raises(ValueError, match=message):
        BayesianLogisticRegression(class_weight=class_weight).fit(*data(rng, 30, 3), sample_weight)


@pytest.mark.parametrize("scale", [1e-8, 1e8])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("prior", PRIORS)
def test_scales_of_columns(scale, dtype, prior, rng):
    X, y = data(rng, 200, 4)
    X = (scale * X).astype(dtype)
    ours = BayesianLogisticRegression(
        prior=prior, C=scale**-2.0, lambda_2=1e-6 * scale**-2.0, max_iter=50, tol=0.0
    ).fit(X, y)
    same = BayesianLogisticRegression(prior=prior, C=1.0, max_iter=50, tol=0.0).fit(X / scale, y)
    rtol = 1e-6 if dtype == np.float64 else 5e-3
    assert ours.predict_proba(X).dtype == ours.coef_.dtype == ours.sigma_.dtype == dtype
    np.testing.assert_allclose(ours.predict_proba(X), same.predict_proba(X / scale), atol=rtol)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_columns_that_say_nothing_new(dtype, rng):
    """Constant, repeated and huge columns, beside an intercept: singular but for the prior."""
    X, y = data(rng, 50, 2)
    X = np.column_stack((X, X, np.full(50, 1e8), np.zeros(50))).astype(dtype)
    for prior in PRIORS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            ours = BayesianLogisticRegression(prior=prior, max_iter=50).fit(X, y)
        assert np.all(np.isfinite(ours.predict_proba(X)))


def test_more_columns_than_rows(rng):
    X, y = data(rng, 20, 100)
    ours = BayesianLogisticRegression().fit(X, y)
    assert ours.score(X, y) > 0.9
    assert_never_falls(ours.history_["elbo"], np.float64, X.size, abs(ours.elbo_))


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("offset", [0, 100, 1000, 10000])
def test_float32_of_columns_far_from_zero(offset, fit_intercept, rng):
    X, y = data(rng, 2000)
    X = (X + offset).astype(np.float32)
    options = {"fit_intercept": fit_intercept, "max_iter": 50, "tol": 0}
    single = BayesianLogisticRegression(**options).fit(X, y)
    double = BayesianLogisticRegression(**options).fit(X.astype(np.float64), y)
    size = abs(double.elbo_)  # rows are sums over columns in single precision
    assert_never_falls(single.history_["elbo"], np.float32, X.shape[1], size)
    assert abs(single.elbo_ - double.elbo_) < rounding(np.float32, X.shape[1], size)
    for rows in (X, X[:3], X + np.float32(3)):
        probabilities = single.predict_proba(rows)
        assert probabilities.dtype == np.float32
        wanted = double.predict_proba(rows.astype(np.float64))
        np.testing.assert_allclose(probabilities, wanted, rtol=0, atol=1e-3)


def test_importance_of_large_rows(rng):
    X, y = data(rng)
    options = {"batch_size": 20, "sampling": "importance", "max_iter": 3, "random_state": 0}
    ours = BayesianLogisticRegression(**options).fit(X * 1e90, y)
    assert np.all(np.isfinite(ours.history_["local_elbo"]))
    assert np.all(np.isfinite(ours.coef_))


@pytest.mark.parametrize("batch_size", [None, 100])
def test_float32_of_columns_that_depend_on_each_other(batch_size, rng):
    X, y = data(rng, 2000)
    X[:, 3] = X[:, 0] + 1e-4 * X[:, 3]
    X = X.astype(np.float32)
    options = {"max_iter": 10, "tol": 0, "batch_size": batch_size, "random_state": 0, "C": 1e8}
    fits = [
        BayesianLogisticRegression(**options).fit(X.astype(dtype), y)
        for dtype in (np.float32, np.float64)
    ]
    single, double = (fit.predict_proba(X.astype(fit.coef_.dtype)) for fit in fits)
    np.testing.assert_allclose(single, double, rtol=0, atol=1e-3)


def test_warm_start_goes_on(rng, capsys):
    X, y = data(rng, 200, 3)
    ours = BayesianLogisticRegression(warm_start=True, verbose=1).fit(X, y)
    assert f"elbo {ours.elbo_:.10g}" in capsys.readouterr().err
    bound, n_iter = ours.elbo_, ours.n_iter_
    ours.fit(X, y)
    assert ours.n_iter_ == 1 < n_iter
    assert ours.elbo_ >= bound - 1e-9 * abs(bound)
    with pytest.raises(ValueError, match=r"warm_start continues from 4 coefficients"):
        ours.fit(X[:, :2], y)


def test_arguments_are_not_written_to(rng):
    X, y = data(rng, 50, 3)
    X.flags.writeable = False
    before = X.copy()
    labels = np.where(y > 0, "b", "a")
    ours = BayesianLogisticRegression(fit_intercept=False).fit(X, labels)
    np.testing.assert_array_equal(X, before)
    assert ours.intercept_.tolist() == [0.0]
    assert ours.covariance_.shape == (3, 3)
    assert set(ours.predict(X)) == {"a", "b"}
    np.testing.assert_allclose(np.exp(ours.predict_log_proba(X)), ours.predict_proba(X))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prior": "flat"}, "prior is 'flat'; wanted one of"),
        ({"C": 0}, "C is 0; wanted a number >= 2.2"),
        ({"C": 1e-310}, "C is 1e-310; wanted a number >= 2.2"),
        ({"fit_intercept": "no"}, "fit_intercept is 'no'; wanted True or False"),
        ({"lambda_1": -1}, "lambda_1 is -1"),
        ({"intercept_precision": np.nan}, "intercept_precision is nan"),
        ({"max_iter": 0}, "max_iter is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"tol": -1}, "tol is -1"),
    ],
)
def test_parameters_out_of_range(options, message, rng):
    X, y = data(rng, 20, 3)
    with pytest.raises(ValueError, match=message):
        BayesianLogisticRegression(**options).fit(X, y)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (np.where(X > 1, np.nan, X), y), "NaN"),
        (lambda X, y: (np.where(X > 1, np.inf, X), y), "infinity"),
        (lambda X, y: (X, np.zeros(len(y))), "only one class"),
        (lambda X, y: (X[:1], y[:1]), "only one class"),
        (lambda X, y: (X * 1e160, y), "squares overflow float64"),
        (lambda X, y: ((X * 1e20).astype(np.float32), y), "squares overflow float32"),
    ],
)
def test_bad_data(change, message, rng):
    with pytest.raises(ValueError, match=message):
        BayesianLogisticRegression().fit(*change(*data(rng, 30, 3)))


def test_a_fit_that_was_cut_short_says_so(rng):
    with pytest.warns(ConvergenceWarning, match="raise max_iter or tol"):
        BayesianLogisticRegression(max_iter=2).fit(*data(rng))
