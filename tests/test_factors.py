"""Bayesian PCA and factor analysis: closed forms, evidence, BayesPy, and the estimators."""

import json
import warnings

import numpy as np
import peer_bayespy
import pytest
from naive import factors as naive
from scipy.special import gammaln, logsumexp
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks
from thoroughly import mostly_thorough
from tolerances import assert_never_falls

from fastvi.batches import InMemory
from fastvi.core import Batch
from fastvi.gradients import natural
from fastvi.models.factors import model as factors_model
from fastvi.models.factors import rows as factors_rows
from fastvi.models.factors.estimator import BayesianFactorAnalysis, BayesianPCA
from fastvi.models.factors.model import Factors, Gaussian, Hyperparameters, Loadings
from fastvi.models.factors.rows import StandardRows, compressed
from fastvi.models.factors.units import Units
from fastvi.models.fits import fit_conjugate

BOTH = [BayesianPCA, BayesianFactorAnalysis]
HYPER = Hyperparameters(0.7, 0.4, 0.5, 0.3, 0.2)
both = pytest.mark.parametrize("kind", BOTH)
per_feature = pytest.mark.parametrize("per_feature", [False, True])


def data(rng, n=400, n_features=8, rank=2, noise=0.5, shift=3.0, tilt=0.5):
    """Rows of this rank whose noise grows with the feature, unless it is all the same to PCA."""
    loadings = rng.normal(size=(rank, n_features))
    scales = noise * np.linspace(1 - tilt, 1 + tilt, n_features)
    return shift + rng.normal(size=(n, rank)) @ loadings + scales * rng.normal(size=(n, n_features))


def with_ones(X):
    return np.column_stack((X, np.ones(len(X))))


def twin(X, K, per_feature, rng, hyper=HYPER, **options):
    """A plain model and the engine's parameters at the same start."""
    D = X.shape[1]
    tau = np.full(D, 0.8) if per_feature else 0.8
    plain = naive.Model(
        X, rng.normal(size=(len(X), K)), hyper, per_feature, tau, rng.gamma(2, 2, K), **options
    )
    return plain, engine_params(plain)


def engine_params(plain):
    latent, cross, squares = plain.moments()
    rates = np.atleast_1d(plain.tau_rate) * 1.0
    n = np.array([float(len(plain.X))])
    return Loadings(n, latent, cross, squares, rates, plain.alpha_rate.copy())


def assert_bound_never_falls(ours, X):
    """Coordinate ascent works in float64 whatever the dtype of X. The bound's residuals are
    differences of squares, so what rounds is all of tau x^2, though only what factors leave of it
    is summed: 4e7 times the bound where factors leave nothing ("repeated rows" below).
    """
    X = X.astype(np.float64)
    squares = np.square(X - X.mean(axis=0)) / ours.noise_variance_
    assert_never_falls(ours.history_["elbo"], np.float64, X.size, squares.sum() + abs(ours.elbo_))


# The model


@per_feature
@pytest.mark.parametrize("shape", [(12, 4, 2), (5, 7, 3), (9, 1, 1)])
def test_coordinate_ascent_equals_a_plain_one(per_feature, shape, rng):
    n, d, k = shape
    X = data(rng, n, d, 1)
    plain, params = twin(X, k, per_feature, rng)
    model = Factors(d, k, per_feature=per_feature, hyper=HYPER)
    fitted = fit_conjugate(model, InMemory(with_ones(X)), params, n_epochs=15)
    bounds = []
    for _ in range(15):
        plain.update()
        bounds.append(plain.elbo())
    np.testing.assert_allclose(fitted.history["elbo"], bounds, rtol=1e-9)
    for result, want in zip(fitted.params, engine_params(plain)):
        np.testing.assert_allclose(result, want, rtol=1e-6, atol=1e-8)
    assert_never_falls(bounds, np.float64, X.size, abs(bounds[-1]) + X.size)


@per_feature
def test_rows_that_stand_for_all_give_the_same_fit(per_feature, rng):
    X = data(rng, 60, 5)
    model = Factors(5, 3, per_feature=per_feature, hyper=HYPER)
    results = []
    for rows in (InMemory(with_ones(X)), compressed(with_ones(X).T @ with_ones(X))):
        start = twin(X, 3, per_feature, np.random.default_rng(1))[1]
        results.append(fit_conjugate(model, rows, start, n_epochs=20))
    assert len(results[1].history["elbo"]) == 20
    np.testing.assert_allclose(results[0].history["elbo"], results[1].history["elbo"], rtol=1e-10)
    for one, two in zip(results[0].params, results[1].params):
        np.testing.assert_allclose(one, two, rtol=1e-7, atol=1e-8)


def bayespy_start(model, X, Z, rate):
    """The parameters after BayesPy's initialization."""
    n, k = Z.shape
    latent = np.pad(Z.T @ Z + n * np.eye(k), (0, 1))
    latent[-1, :-1] = latent[:-1, -1] = Z.sum(axis=0)
    latent[-1, -1] = n
    cross, squares = X.T @ with_ones(Z), np.square(X).sum(axis=0)
    noise_rates = np.full(model.n_noises, model._noise_shape(n) * rate)
    factor_rates = np.full(k, model.factor_shape * rate)
    return Loadings(np.array([float(n)]), latent, cross, squares, noise_rates, factor_rates)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["pca", "fa"])
def test_the_same_as_bayespy(name, monkeypatch):
    """Bounds of the first passes to 1e-6 nats; at the optimum, all posterior means to 1e-6.

    Numbers by `python tests/peer_bayespy.py`. Its model has no mean: ours is held near 0 by two
    large precisions, from which results are extrapolated to an infinite one (what is left is of the
    order (N tau / precision)^2 = 1e-8). It does not rescale factors, but has the same optimum.
    """
    want = json.loads(peer_bayespy.PATH.read_text())[name]
    X, Z = peer_bayespy.problem()
    shape, rate = peer_bayespy.SHAPE, peer_bayespy.RATE

    def results(precision):
        hyper = Hyperparameters(shape, rate, shape, rate, precision)
        model = Factors(X.shape[1], Z.shape[1], per_feature=name == "fa", hyper=hyper)
        begin, rows = bayespy_start(model, X, Z, rate / shape), InMemory(with_ones(X))
        with monkeypatch.context() as patch:
            same = Units(np.ones(Z.shape[1] + 1), *np.zeros((2, Z.shape[1])), 0.0)
            patch.setattr(Units, "best", lambda *given: same)
            first = fit_conjugate(model, rows, begin, n_epochs=20).history["elbo"]
        begin = bayespy_start(model, X, Z, rate / shape)
        fitted = fit_conjugate(model, rows, begin, n_epochs=1000)
        q = model.posterior(fitted.params)
        w, alpha = q.mean[:, :-1], np.sort(model.factor_shape / q.factor_rates)
        return np.append(first, fitted.history["elbo"][-1]), q.noise_precisions, alpha, w @ w.T

    near, nearer = results(1e6), results(2e6)
    bounds, tau, alpha, outer = (2 * b - a for a, b in zip(near, nearer))
    np.testing.assert_allclose(bounds, want["bounds"], atol=1e-6, rtol=0)
    np.testing.assert_allclose(tau, want["tau"], rtol=1e-6)
    np.testing.assert_allclose(alpha, np.sort(want["alpha"]), rtol=1e-6)
    np.testing.assert_allclose(outer, want["outer"], atol=1e-6)


def evidence(X, hyper, per_feature, n_grid):
    """Log p(X) of one factor: mean, precision alpha and factors in closed form, others on a grid.

    Rows have the covariance C = w w' + diag(1 / tau) around a mean of variance v: their deviations
    from their average are N - 1 rows of covariance C, and the average has C / N + v.
    """
    N, D = X.shape
    u, step = np.linspace(-3.2, 3.2, n_grid, retstep=True)  # w = sinh(u)
    t, t_step = np.linspace(-4, 3, n_grid, retstep=True)  # log tau
    n_noises = D if per_feature else 1
    grid = np.meshgrid(*[u] * D, *[t] * n_noises, indexing="ij", sparse=True)
    w, log_tau = [np.sinh(part) for part in grid[:D]], grid[D:]
    log_tau = log_tau if per_feature else log_tau * D
    a, b, c, e = hyper.factor_shape, hyper.factor_rate, hyper.noise_shape, hyper.noise_rate
    log_p = gammaln(a + D / 2) - gammaln(a) - D / 2 * np.log(2 * np.pi * b)
    log_p = log_p - (a + D / 2) * np.log1p(sum(x**2 for x in w) / (2 * b))
    log_p = log_p + sum(np.log(np.cosh(part)) for part in grid[:D]) + D * np.log(step)
    for part in grid[D:]:
        log_p = log_p + c * np.log(e) - gammaln(c) + c * part - e * np.exp(part) + np.log(t_step)
    centre = X.mean(axis=0)
    scatter = (X - centre).T @ (X - centre)
    for n, S, more in ((N - 1, scatter, 0.0), (1, N * np.outer(centre, centre), N)):
        extra = more / hyper.mean_precision
        if D == 1:
            C = w[0] ** 2 + np.exp(-log_tau[0]) + extra
            log_p = log_p - 0.5 * (n * np.log(2 * np.pi * C) + S[0, 0] / C)
        else:
            C00, C11 = (w[d] ** 2 + np.exp(-log_tau[d]) + extra for d in range(2))
            C01 = w[0] * w[1]
            det = C00 * C11 - C01**2
            square = (S[0, 0] * C11 + S[1, 1] * C00 - 2 * S[0, 1] * C01) / det
            log_p = log_p - 0.5 * (n * (2 * np.log(2 * np.pi) + np.log(det)) + square)
    return logsumexp(log_p)


@pytest.mark.parametrize(("d", "per_feature", "n_grid"), [(1, 0, 400), (2, 0, 100), (2, 1, 44)])
@pytest.mark.parametrize("n", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_the_bound_is_below_the_evidence(d, per_feature, n_grid, n, rng):
    """The gap is that of q(w) at one of its two signs, log 2 or more, and below 3 nats here."""
    X = data(rng, n, d, 1, shift=1.0)
    hyper = Hyperparameters(1.5, 1.0, 2.0, 1.0, 0.5)
    exact = evidence(X, hyper, per_feature, n_grid)
    assert abs(exact - evidence(X, hyper, per_feature, n_grid * 4 // 5)) < 0.02  # grid's error
    model = Factors(d, 1, per_feature=bool(per_feature), hyper=hyper)
    start = model.start(n, 0.5 * np.ones((d, 1)), np.ones(model.n_noises))
    bound = fit_conjugate(model, InMemory(with_ones(X)), start, n_epochs=500).history["elbo"][-1]
    assert 0 < exact - bound < 3


@per_feature
def test_the_rescaling_is_the_best(per_feature, rng):
    X = data(rng, 30, 4)
    _, params = twin(X, 3, per_feature, rng)
    for factor_rate in (HYPER.factor_rate, 1e-9, 1e3):
        hyper = HYPER._replace(factor_rate=factor_rate)
        model = Factors(4, 3, per_feature=per_feature, hyper=hyper)
        rates = factor_rate + np.array([0.0, 1e-4, 5.0])
        given = params._replace(factor_rates=rates)
        scaled = Units.best(given, model.factor_shape, hyper).apply(given)
        squares = np.diag(scaled.latent)[:3] / np.diag(params.latent)[:3]
        assert squares[0] == 1
        for k in (1, 2):
            want = naive.best_square(
                30, 4, params.latent[k, k], rates[k] - factor_rate, hyper.factor_shape, factor_rate
            )
            np.testing.assert_allclose(squares[k], want, rtol=1e-9)
        np.testing.assert_allclose(
            (scaled.factor_rates - factor_rate) * squares, rates - factor_rate
        )


@per_feature
def test_statistics_are_weighted_sums_over_rows(per_feature, rng):
    X = data(rng, 11, 3)
    _, params = twin(X, 2, per_feature, rng)
    model = Factors(3, 2, per_feature=per_feature, hyper=HYPER)
    source, weights = StandardRows(X, np.zeros(3), np.ones(3)), rng.random(11)
    whole = model.local(params, Batch(source.all(), weights), None, rng, norms=True)
    parts = [
        model.local(params, Batch(source.take([i]), weights[i : i + 1]), None, rng)
        for i in range(11)
    ]
    for name in ("n_rows", "latent", "cross", "squares"):
        total = sum(getattr(part.statistics, name) for part in parts)
        np.testing.assert_allclose(getattr(whole.statistics, name), total, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(whole.bound, sum(part.bound for part in parts))
    means, covariance = whole.variables
    want = [
        naive.statistics_norm(x, z, np.pad(covariance, (0, 1))) for x, z in zip(with_ones(X), means)
    ]
    np.testing.assert_allclose(whole.norms, want)
    np.testing.assert_allclose(source.norms, 1 + np.square(X).sum(axis=1))
    nothing = model.local(params, Batch(source.take([]), weights[:0]), None, rng)
    assert nothing.bound == 0
    assert nothing.statistics.n_rows == 0


def test_the_noise_of_a_gradient_is_its_variance(rng):
    """Over 2000 batches of 5 rows; both sides have a standard error of about 3 %.

    Counting the rates of precisions, in which rows have no share, would give about half of it.
    """
    X = data(rng, 30, 50)
    _, params = twin(X, 2, False, rng)
    model, source = Factors(50, 2, per_feature=False, hyper=HYPER), InMemory(with_ones(X))
    gradient = natural(model, noise=True)
    draws, noises = [], []
    for _ in range(2000):
        rows = source.take(rng.integers(0, 30, 5))
        batch = Batch(rows, np.full(5, 30 / 5))
        direction, _, info = gradient.estimate(None, params, batch, rng)
        draws.append(np.concatenate([np.ravel(part) for part in direction]))
        noises.append(info["noise"])
    assert abs(np.mean(noises) / np.var(draws, axis=0).sum() - 1) < 0.12


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("batch_size", [None, 200])
@both
def test_the_same_bits_for_any_number_of_threads(kind, batch_size, dtype, rng, monkeypatch):
    monkeypatch.setattr(factors_model, "TASK_FLOPS", 5000)
    monkeypatch.setattr(factors_rows, "BLOCK_ENTRIES", 100)
    X = data(rng, 500).astype(dtype)
    results = set()
    for n_jobs in (1, 2, 8):
        ours = kind(batch_size=batch_size, max_iter=4, tol=0, n_jobs=n_jobs, random_state=1).fit(X)
        arrays = [*ours._params, ours.transform(X), ours.score_samples(X)]
        results.add(b"".join(np.asarray(part).tobytes() for part in arrays))
    assert len(results) == 1


def test_confined_steps_stay_in_the_domain(rng):
    model = Factors(4, 3, per_feature=True)
    params = model.start(100, rng.normal(size=(4, 3)), np.ones(4))
    away = Loadings(*(-10 * part for part in params))
    short = model.confine(params, away)
    moved = Loadings(*(part + change for part, change in zip(params, short)))
    for part in (moved.n_rows, moved.squares, moved.noise_rates, moved.factor_rates):
        assert part.min() > 0
    assert np.linalg.eigvalsh(moved.latent).min() > 0
    inside = Loadings(*(0.5 * part for part in params))
    for part, change in zip(inside, model.confine(params, inside)):
        np.testing.assert_array_equal(part, change)


def test_gaussian_of_low_rank(rng):
    mean, loadings, noise = rng.normal(size=6), rng.normal(size=(6, 2)), rng.gamma(2, size=6)
    gaussian, x = Gaussian(mean, loadings, noise), rng.normal(size=(9, 6))
    covariance = loadings @ loadings.T + np.diag(noise)
    np.testing.assert_allclose(gaussian.covariance(), covariance)
    np.testing.assert_allclose(gaussian.precision(), np.linalg.inv(covariance), rtol=1e-10)
    want = multivariate_normal(mean, covariance).logpdf(x)
    np.testing.assert_allclose(gaussian.log_density(x), want, rtol=1e-12)


# The estimators


@parametrize_with_checks([kind(max_iter=50) for kind in BOTH])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.jit
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@both
def test_with_many_rows_it_is_the_likeliest_model(kind, rng):
    """Each loading gives up about (D + K) / N of its variance to the prior and to its spread."""
    n, d, k = 1000, 10, 3
    X = data(rng, n, d, k)
    ours = kind(k, tol=1e-8).fit(X)
    if kind is BayesianPCA:
        peer = PCA(k).fit(X)
        signs = np.sign(np.sum(ours.components_ * peer.components_, axis=1, keepdims=True))
        np.testing.assert_allclose(ours.components_, signs * peer.components_, atol=1e-6)
        for name in ("explained_variance_", "explained_variance_ratio_", "noise_variance_"):
            want = getattr(peer, name)
            np.testing.assert_allclose(getattr(ours, name), want, rtol=(d + k) / n)
    else:
        peer = FactorAnalysis(k, tol=1e-4, max_iter=10_000, svd_method="lapack").fit(X)
        lost = (d + k) / n * np.diag(peer.get_covariance())
        assert np.all(np.abs(ours.noise_variance_ - peer.noise_variance_) < lost)
    want = peer.get_covariance()
    atol = (d + k) / n * np.linalg.norm(want, 2)
    np.testing.assert_allclose(ours.get_covariance(), want, atol=atol)
    np.testing.assert_allclose(ours.mean_, peer.mean_, rtol=1e-6)
    # a loss of a share s of p parameters' variance is of order p s^2
    assert peer.score(X) - d * (k + 1) * ((d + k) / n) ** 2 < ours.score(X) < peer.score(X) + 1e-6


@both
@pytest.mark.parametrize("rank", [0, 1, 4])
def test_superfluous_components_are_switched_off(kind, rank, rng):
    X = data(rng, 500, 12, rank, tilt=0.5 if kind is BayesianFactorAnalysis else 0.0)
    ours = kind().fit(X)
    assert ours.n_relevant_ == rank
    assert ours.components_.shape == (11, 12)
    scores = ours.transform(X).std(axis=0)
    assert np.all(scores[rank:] < 0.05)
    if rank:
        assert ours.lambda_[rank:].min() > 20 * ours.lambda_[:rank].max()


@both
@pytest.mark.parametrize("shape", [(300, 10), (15, 40)])
def test_results_fit_together(kind, shape, rng):
    X = data(rng, *shape)
    ours = kind(4).fit(X)
    covariance = ours.get_covariance()
    np.testing.assert_allclose(covariance @ ours.get_precision(), np.eye(shape[1]), atol=1e-8)
    want = multivariate_normal(ours.mean_, covariance).logpdf(X)
    np.testing.assert_allclose(ours.score_samples(X), want, rtol=1e-9)
    assert ours.score(X) == pytest.approx(want.mean())
    scores = ours.transform(X)
    q, centre, factor = ours._model.posterior(ours._params), ours._centre, ours._factor
    z = ((X - centre) * factor) @ q.encoder[:-1, :-1] + q.encoder[-1, :-1]
    clean = centre + (z @ q.mean[:, :-1].T + q.mean[:, -1]) / factor
    np.testing.assert_allclose(ours.inverse_transform(scores), clean, rtol=1e-9)
    assert_bound_never_falls(ours, X)
    assert ours.get_feature_names_out().tolist() == [
        f"{kind.__name__.lower()}{i}" for i in range(4)
    ]
    if kind is BayesianPCA:
        np.testing.assert_allclose(ours.components_ @ ours.components_.T, np.eye(4), atol=1e-12)
        shrunk = 1 - ours.noise_variance_ / ours.explained_variance_
        model = ours.components_.T * (ours.explained_variance_ * shrunk) @ ours.components_
        model += ours.noise_variance_ * np.eye(shape[1])
    else:
        model = ours.components_.T @ ours.components_ + np.diag(ours.noise_variance_)
    np.testing.assert_allclose(covariance, model, rtol=1e-9, atol=1e-12)


def test_pca_scores_are_those_of_pca_but_for_shrinkage(rng):
    X = data(rng, 4000, 6)
    ours, peer = BayesianPCA(2).fit(X), PCA(2).fit(X)
    signs = np.sign(np.sum(ours.components_ * peer.components_, axis=1))
    shrunk = 1 - ours.noise_variance_ / ours.explained_variance_
    np.testing.assert_allclose(ours.transform(X), peer.transform(X) * signs * shrunk, atol=0.01)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (BayesianPCA, {}),
        (BayesianPCA, {"sampling": "importance"}),
        (BayesianFactorAnalysis, {}),
        (BayesianFactorAnalysis, {"variance_reduction": "svrg", "optimizer": 0.1}),
        (BayesianFactorAnalysis, {"optimizer": "adaptive"}),
    ],
    ids=str,
)
def test_mini_batches_come_near(kind, options, rng):
    """What p fitted parameters cost on average, p / 2N nats a row, is all that may be lost.

    The adaptive rate gets twice that: it falls to where noise outweighs the slowest directions.
    """
    X = data(rng, 1000, noise=1.5)
    best = kind(2, tol=1e-9).fit(X)
    slow = options.get("optimizer") == "adaptive"
    n_passes = 60 if slow else 20
    ours = kind(2, batch_size=50, max_iter=n_passes, random_state=3, **options).fit(X)
    n_parameters = 8 * 3 - 1 + ours._model.n_noises
    loss = (2 if slow else 1) * n_parameters / (2 * len(X))
    assert best.score(X) - loss < ours.score(X) < best.score(X) + 1e-4
    assert not hasattr(ours, "elbo_")
    assert np.all(np.isfinite(ours.history_["local_elbo"]))


@both
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "adam", "variance_reduction": "svrg"}, "works on natural gradients"),
        ({"optimizer": "fast"}, "optimizer is 'fast'"),
        ({"sampling": "some"}, "sampling is 'some'"),
        ({"sampling": "importance", "batch_size": None}, "without batch_size"),
        ({"variance_reduction": "svrg", "batch_size": None}, "without batch_size"),
        ({"variance_reduction": "more"}, "variance_reduction is 'more'"),
        ({"batch_size": 0}, "batch_size is 0; wanted an integer >= 1"),
        ({"n_components": 0}, "n_components is 0; wanted an integer from 1 to 8"),
        ({"n_components": 9}, "n_components is 9; wanted an integer from 1 to 8"),
        ({"alpha_1": 0}, "alpha_1 is 0; wanted a number > 0"),
        ({"lambda_2": -1}, "lambda_2 is -1"),
        ({"mean_precision": np.nan}, "mean_precision is nan"),
        ({"max_iter": 0}, "max_iter is 0"),
        ({"tol": -1}, "tol is -1"),
        ({"n_jobs": 0}, "n_jobs is 0"),
    ],
)
def test_what_does_not_go_says_why(kind, options, message, rng):
    with pytest.raises(ValueError, match=message):
        kind(**{"batch_size": 10, **options}).fit(data(rng, 40))


@both
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X: np.where(X > 3, np.nan, X), "NaN"),
        (lambda X: np.where(X > 3, np.inf, X), "infinity"),
        (lambda X: X[:1], "minimum of 2 is required"),
        (lambda X: X[:, :0], "0 feature"),
        (lambda X: X * 1e160, "squares overflow float64"),
        (lambda X: (X * 1e20).astype(np.float32), "squares overflow float32"),
    ],
)
def test_bad_data(kind, change, message, rng):
    with pytest.raises(ValueError, match=message):
        kind().fit(change(data(rng, 30)))


@both
@pytest.mark.parametrize("batch_size", [None, 10])
def test_rows_too_large_for_the_fit_at_hand(kind, batch_size, rng):
    X = data(rng, 30)
    ours = kind(2, warm_start=True, batch_size=batch_size, max_iter=5, tol=0).fit(X)
    with pytest.raises(ValueError, match="squares overflow float64"):
        ours.fit(X * 1e200)
    for method in (ours.transform, ours.score_samples, ours.score):
        with pytest.raises(ValueError, match="times as large as those of the fit"):
            method(X * 1e200)
        assert np.all(np.isfinite(method(X * 1e100)))
    ours = kind(2, warm_start=True, batch_size=batch_size, max_iter=5, tol=0).fit(X * 1e-100)
    with pytest.raises(ValueError, match="times as large as those of the fit"):
        ours.fit(X * 1e100)
    with pytest.raises(ValueError, match="warm_start continues from 8 features"):
        ours.fit(X[:, :5])


DEGENERATE = {
    "two rows": lambda X: X[:2],
    "one column": lambda X: X[:, :1],
    "all the same": lambda X: np.full_like(X, 7.1),
    "zeros": lambda X: 0 * X,
    "constant columns": lambda X: np.column_stack((X, np.full(len(X), 1e8), 0 * X[:, 0])),
    "repeated columns": lambda X: np.column_stack((X, X)),
    "repeated rows": lambda X: np.repeat(X[:3], 20, axis=0),
    "fewer rows than columns": lambda X: X[:5],
    "no noise": lambda X: X[:, :1] * np.arange(1, 7),
}


@both
@pytest.mark.parametrize(
    ("dtype", "batch_size"),
    mostly_thorough([(np.float32, None), (np.float64, 7), (np.float32, 7), (np.float64, None)], 2),
)
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_data(kind, dtype, batch_size, name, rng):
    X = DEGENERATE[name](data(rng, 30)).astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        ours = kind(max_iter=30, batch_size=batch_size, random_state=0).fit(X)
    results = ours.transform(X), ours.get_covariance(), ours.inverse_transform(ours.transform(X))
    for result in (*results, ours.mean_, ours.components_, ours.lambda_, ours.score_samples(X)):
        assert np.all(np.isfinite(result))
    assert all(result.dtype == dtype for result in (*results, ours.mean_, ours.components_))
    if batch_size is None:
        assert_bound_never_falls(ours, X)


@both
@pytest.mark.parametrize("scale", [1e-8, 1e8])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_follow_the_units(kind, scale, dtype, rng):
    X = data(rng, 300)
    units = scale * (np.arange(1, 9) if kind is BayesianFactorAnalysis else np.ones(8))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        ours = kind(max_iter=50, tol=0).fit((units * X).astype(dtype))
        same = kind(max_iter=50, tol=0).fit(X)
    rtol = 1e-6 if dtype == np.float64 else 1e-3
    change = len(X) * np.log(units).sum()
    np.testing.assert_allclose(ours.elbo_, same.elbo_ - change, rtol=rtol)
    covariance = same.get_covariance() * units * units[:, None]
    np.testing.assert_allclose(ours.get_covariance(), covariance, rtol=10 * rtol, atol=rtol * (
        covariance.max()
    ))  # fmt: skip
    np.testing.assert_allclose(ours.lambda_, same.lambda_, rtol=20 * rtol)


@both
@pytest.mark.parametrize("batch_size", [None, 50])
def test_warm_start_goes_on(kind, batch_size, rng, capsys):
    X, max_iter = data(rng, 300), 30 if batch_size else 500
    ours = kind(warm_start=True, verbose=1, batch_size=batch_size, max_iter=max_iter).fit(X)
    assert f"{ours.n_iter_}/{max_iter}" in capsys.readouterr().err
    score, n_iter = ours.score(X), ours.n_iter_
    ours.set_params(max_iter=5, tol=1e-6).fit(X)
    assert ours.n_iter_ == (1 if batch_size is None else 5) < n_iter
    assert ours.score(X) == pytest.approx(score, abs=0.05 if batch_size else 1e-4)
    with pytest.raises(ValueError, match=r"warm_start continues from 8 features and 7 components"):
        ours.fit(X[:, :5])
    with pytest.raises(ValueError, match=r"warm_start continues from 8 features and 7 components"):
        ours.set_params(n_components=2).fit(X)


@both
def test_arguments_are_not_written_to(kind, rng):
    X = data(rng, 60)
    X.flags.writeable = False
    before = X.copy()
    ours = kind().fit(X)
    ours.score(np.asfortranarray(X))
    ours.inverse_transform(ours.transform(X))
    np.testing.assert_array_equal(X, before)
    with pytest.raises(ValueError, match="X has 3 columns; wanted 7"):
        ours.inverse_transform(X[:, :3])


@both
def test_a_fit_that_was_cut_short_says_so(kind, rng):
    with pytest.warns(ConvergenceWarning, match="raise max_iter or tol"):
        kind(max_iter=2).fit(data(rng))
