"""Latent binary features: exact evidence, the plain twin, images that are known, the estimator."""

import warnings

import numpy as np
import pytest
from naive import features as naive
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks
from tolerances import assert_never_falls

import fastvi
from fastvi.core import Batch
from fastvi.models.features.model import BetaBernoulli, Parameters
from fastvi.models.features.priors import FinitePrior, StickPrior
from fastvi.models.features.pruning import Ascended, ascended, pruned
from fastvi.models.features.rows import Sweeps, rows_of
from fastvi.models.features.start import at_random

Features = fastvi.BetaBernoulliFeatures
IMAGES = np.array(  # Griffiths and Ghahramani (2011), figure 7
    [
        [[0, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0], *[[0] * 6] * 3],
        [[0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 0, 1], [0, 0, 0, 1, 1, 1], *[[0] * 6] * 3],
        [*[[0] * 6] * 3, [1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0]],
        [*[[0] * 6] * 3, [0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 1, 0]],
    ],
    float,
).reshape(4, 36)


def more(*values):
    """Further cases of a test."""
    return [pytest.param(value, marks=pytest.mark.thorough) for value in values]


def toy(n, seed, noise=0.5):
    rng = np.random.default_rng(seed)
    Z = (rng.uniform(size=(n, 4)) < 0.5).astype(float)
    return Z @ IMAGES + noise * rng.normal(size=(n, 36)), Z


def binary(n, seed):
    """Rows of 0 and 1 with any of three features, above an intercept."""
    rng = np.random.default_rng(seed)
    images = 6.0 * np.kron(np.eye(3), np.ones(5))
    odds = (rng.uniform(size=(n, 3)) < 0.4) @ images - 3.0
    return (rng.uniform(size=odds.shape) < 1 / (1 + np.exp(-odds))).astype(float)


def cosines(found, wanted):
    """The largest cosine of each wanted image with those found."""
    norms = np.linalg.norm(found, axis=1)[:, None] * np.linalg.norm(wanted, axis=1)
    return (found @ wanted.T / norms).max(axis=0)


# --- the bound ------------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", ["finite", "sticks"])
@pytest.mark.parametrize("size", [(1, 1), (4, 2), *more((3, 1), (2, 2))])
def test_the_bound_is_below_the_evidence_and_close(size, prior):
    n, k = size
    rng = np.random.default_rng(n + 10 * k)
    X = rng.normal(size=(n, 3)) + 2.0 * (rng.uniform(size=(n, 1)) < 0.5)
    model = Features(
        k, alpha=1.5, prior=prior, noise_variance=0.5, feature_variance=2.0, random_state=0
    ).fit(X)
    log_prior = naive.log_finite if prior == "finite" else naive.log_sticks
    exact = logsumexp(
        [log_prior(Z, 1.5) + naive.log_gaussian(X, Z, 0.5, 2.0) for Z in naive.assignments(n, k)]
    )
    assert exact - 0.2 - 2.5 * (k - 1) < model.elbo_ < exact


@pytest.mark.parametrize("k", [1, *more(2)])
def test_with_binary_data_as_well(k):
    X = np.array([[1.0, 1, 0], [1, 1, 0], [0, 1, 1]])
    model = Features(k, alpha=1.5, likelihood="bernoulli", feature_variance=4.0, random_state=0)
    exact = logsumexp(
        [naive.log_finite(Z, 1.5) + naive.log_bernoulli(X, Z, 4.0) for Z in naive.assignments(3, k)]
    )
    assert exact - 1.1 * k < model.fit(X).elbo_ < exact


def test_one_pass_equals_the_plain_twin():
    X, _ = toy(90, 3)
    nu = np.random.default_rng(1).uniform(0.1, 0.9, (90, 5))
    plain = naive.Model(X, nu, 1.3, 0.7, 1.1)
    model = BetaBernoulli(5, 36, FinitePrior(1.3, 5))
    batch = Batch(rows_of(X, np.zeros(36)), np.ones(90))
    state = Ascended(started(model, batch, nu.T, 0.7, 1.1), nu.T.copy(), -np.inf)
    for _ in range(4):
        plain.globals()
        plain.rows()
        state, _ = ascended(model, state, batch)
        np.testing.assert_allclose(state.nu.T, plain.nu, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(state.bound, plain.bound(), rtol=1e-12)
        np.testing.assert_allclose(state.found.noise, plain.noise, rtol=1e-12)


def started(model, batch, nu, noise, variance):
    """The sums over rows with these probabilities; learned numbers are as given."""
    params = Parameters(*(np.ones_like(part) for part in model.prior))
    params = params._replace(noise=np.array([noise]), variances=np.full(2, variance))
    whole = np.vstack((nu, np.ones((int(model.intercept), nu.shape[1]))))
    found = model.sweep(params, batch, whole, Sweeps(np.ones(0))).statistics
    return found._replace(
        noise=params.noise, variances=params.variances, betas=np.ones((model.n_features, 2))
    )


CASES = {
    "finite": {},
    "sticks": {"prior": "sticks"},
    "intercept": {"fit_intercept": True},
    "known variances": {"noise_variance": 0.25, "feature_variance": 0.5},
    "missing": {},
    "binary": {"likelihood": "bernoulli", "fit_intercept": True},
    "binary, missing": {"likelihood": "bernoulli", "fit_intercept": True, "prior": "sticks"},
}
FEW = ["finite", "binary, missing"]
FEW += more(*(case for case in CASES if case not in FEW))


def data_of(case, n=80, seed=0):
    X = binary(n, seed) if "binary" in case else toy(n, seed)[0][:, :18]
    if "missing" in case:
        X[np.random.default_rng(seed).uniform(size=X.shape) < 0.2] = np.nan
    return X


@pytest.mark.parametrize("case", CASES)
def test_the_bound_never_falls(case):
    X, options = data_of(case), CASES[case]
    estimator = Features(5, **options)
    model = estimator._make_model(X.shape[1], "missing" in case)
    rows = rows_of(X, estimator._frame(X), always_seen=model.each)
    batch, rng = Batch(rows, np.ones(len(X))), np.random.default_rng(0)
    state, bounds = at_random(model, batch, rng, estimator._given_variances()), []
    for _ in range(30):
        state, _ = ascended(model, state, batch)
        bounds.append(state.bound)
    bounds.append(pruned(model, state, batch).bound)
    assert bounds[-1] > bounds[0] + 1.0
    size = X.size + np.nansum(np.square(X)) / float(state.found.noise[0])
    assert_never_falls(bounds, np.float64, X.size, size)


@pytest.mark.parametrize("case", FEW)
def test_results_do_not_depend_on_threads(case, monkeypatch):
    from fastvi.models.features import rows

    monkeypatch.setattr(rows, "TASK_FLOPS", 2e4)  # many tasks
    X = data_of(case)
    one, two = (
        Features(3, n_init=1, max_iter=20, tol=0, random_state=0, n_jobs=n, **CASES[case]).fit(X)
        for n in (1, 2)
    )
    assert one.components_.tobytes() == two.components_.tobytes()
    assert one.history_["elbo"].tobytes() == two.history_["elbo"].tobytes()
    assert one.transform(X).tobytes() == two.transform(X).tobytes()


def test_missing_values_that_are_none_change_nothing():
    """The two forms of the bound agree where both hold."""
    X, _ = toy(60, 2)
    nu = np.random.default_rng(0).uniform(0.1, 0.9, (4, 60))
    found = []
    for each in (False, True):
        model = BetaBernoulli(3, 36, FinitePrior(1.0, 3), intercept=True, missing=each)
        batch = Batch(rows_of(X, np.zeros(36), always_seen=each), np.ones(60))
        state = Ascended(
            started(model, batch, nu[:3], 0.7, 1.1), np.vstack((nu[:3], np.ones((1, 60)))), 0.0
        )
        for _ in range(3):
            state, _ = ascended(model, state, batch)
        found.append((state.bound, state.nu))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-12)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-9, atol=1e-12)


def test_sticks_are_at_their_best():
    """No other Beta distributions have a larger bound, given the features of rows."""
    prior, rng = StickPrior(1.7, 4), np.random.default_rng(0)
    usage, n_rows = np.array([30.0, 18.0, 3.0, 0.0]), 40.0

    def bound(betas):
        on, off = prior.expected(betas)
        return usage @ on + (n_rows - usage) @ off - prior.divergence(betas)

    best = np.ones((4, 2))
    for _ in range(30):
        before, best = bound(best), prior.updated(best, usage, n_rows)
        assert bound(best) >= before - 1e-10
    for _ in range(30):
        assert bound(best * np.exp(0.05 * rng.normal(size=best.shape))) < bound(best)
    draws = np.stack([np.exp(prior.drawn(best, rng).on) for _ in range(4000)])
    np.testing.assert_allclose(draws.mean(axis=0), prior.means(best), rtol=0.05)
    assert np.all(np.diff(draws, axis=1) <= 0)


# --- features that are known ----------------------------------------------------------------------


@pytest.mark.parametrize("n_seeds", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_the_four_images_are_found(n_seeds):
    found = [Features(random_state=seed).fit(toy(100, seed)[0]) for seed in range(n_seeds)]
    assert sum(cosines(m.components_, IMAGES).min() > 0.95 for m in found) >= 0.9 * n_seeds
    assert [m.n_components_ for m in found].count(4) >= 0.9 * n_seeds


@pytest.mark.parametrize("prior", ["finite", *more("sticks")])
def test_no_spare_feature_is_used_for_many_rows(prior):
    X, Z = toy(5000, 0)
    model = Features(prior=prior, random_state=0).fit(X)
    assert model.n_components_ == 4
    assert cosines(model.components_, IMAGES).min() > 0.99
    np.testing.assert_allclose(model.noise_variance_, 0.25, rtol=0.02)
    np.testing.assert_allclose(model.usage_, 0.5, atol=0.03)
    assert cosines(model.transform(X).T, Z.T).min() > 0.95


@pytest.mark.parametrize("tools", [{"structured": True}, *more({}, {"variance_reduction": "svrg"})])
def test_mini_batches_find_them_too(tools):
    X, _ = toy(3000, 1)
    model = Features(6, batch_size=250, max_iter=4, random_state=0, **tools).fit(X[:2500])
    assert cosines(model.components_, IMAGES).min() > 0.98
    np.testing.assert_allclose(model.noise_variance_, 0.25, rtol=0.05)
    whole = Features(6, random_state=0).fit(X[:2500])
    assert model.score(X[2500:]) > whole.score(X[2500:]) - 0.3


def test_a_stream_finds_them_too():
    X, _ = toy(3000, 2)
    model = Features(6, random_state=0)
    for part in np.array_split(X, 6):
        model.partial_fit(part)
    assert cosines(model.components_, IMAGES).min() > 0.98
    assert model.n_batch_iter_ == 12
    assert len(model.history_["epoch"]) == 12
    after = Features(6, random_state=0).fit(X[:1000]).partial_fit(X[1000:])
    assert after.score(X) > model.score(X) - 0.2


def test_what_is_set_after_a_fit_holds_in_streams_and_warm_starts():
    X, _ = toy(600, 2)
    model = Features(6, random_state=0).fit(X[:300])
    model.set_params(noise_variance=2.0).partial_fit(X[300:])
    assert model.noise_variance_ == 2.0
    with pytest.raises(ValueError, match=r"noise_variance is 1.0 and was 2.0"):
        model.set_params(noise_variance=1.0).partial_fit(X[300:])
    warm = Features(6, random_state=0, warm_start=True).fit(X[:300])
    assert warm.set_params(noise_variance=2.0).fit(X[:300]).noise_variance_ == 2.0


def test_missing_values_are_filled_in():
    X, Z = toy(300, 4, noise=0.2)
    holes = np.random.default_rng(0).uniform(size=X.shape) < 0.3
    model = Features(6, random_state=0).fit(np.where(holes, np.nan, X))
    assert model.n_components_ == 4
    assert cosines(model.components_, IMAGES).min() > 0.98
    filled = model.inverse_transform(model.transform(np.where(holes, np.nan, X)))
    assert np.sqrt(np.mean((filled - Z @ IMAGES)[holes] ** 2)) < 0.1
    # values that are missing only in new rows
    whole = Features(6, random_state=0).fit(X)
    filled = whole.inverse_transform(whole.transform(np.where(holes, np.nan, X)))
    assert np.sqrt(np.mean((filled - Z @ IMAGES)[holes] ** 2)) < 0.1


def test_features_of_binary_data():
    X = binary(400, 0)
    model = Features(6, likelihood="bernoulli", fit_intercept=True, random_state=0).fit(X)
    assert model.n_components_ == 3
    assert cosines(model.components_, np.kron(np.eye(3), np.ones(5))).min() > 0.95
    model.set_params(likelihood="gaussian")  # what is said is that of the fit
    drawn, features = model.sample(500)
    assert set(np.unique(drawn)) == {0.0, 1.0}
    assert features.shape == (500, 3)
    np.testing.assert_allclose(drawn.mean(), X.mean(), atol=0.05)


def test_scores_bound_the_density_of_rows():
    """By the sum over all features that a row may have, at the posterior means."""
    X, _ = toy(400, 5)
    model = Features(random_state=0).fit(X)
    Z = np.array(list(naive.assignments(1, 4)))[:, 0]
    fit = ((X[:, None] - Z @ model.components_) ** 2).sum(axis=-1) / model.noise_variance_
    odds = np.log(model.usage_ / (1 - model.usage_))
    log_prior = Z @ odds + np.log(1 - model.usage_).sum()
    exact = logsumexp(log_prior - 0.5 * fit, axis=1)
    exact -= 18 * np.log(2 * np.pi * model.noise_variance_)
    scores = model.score_samples(X)
    assert np.all(scores < exact)
    assert np.mean(exact - scores) < 0.5
    drawn, _ = model.sample(2000)
    np.testing.assert_allclose(drawn.mean(axis=0), X.mean(axis=0), atol=0.15)
    np.testing.assert_allclose(drawn.var(axis=0), X.var(axis=0), atol=0.15)


@pytest.mark.parametrize("case", ["finite", "intercept", "missing", "binary"])
def test_the_bare_predictor_says_the_same(case):
    X = data_of(case)
    model = Features(5, n_init=1, max_iter=5, tol=0, random_state=0, **CASES[case]).fit(X)
    whole = np.nan_to_num(X)
    predict = model.compiled()
    np.testing.assert_array_equal(predict(whole), model.transform(whole))
    np.testing.assert_allclose(predict(whole[:1]), model.transform(whole)[:1], atol=1e-3)


# --- the estimator --------------------------------------------------------------------------------


@parametrize_with_checks([Features(2, n_init=1, max_iter=20)])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("dtype", [np.float64, *more(np.float32)])
@pytest.mark.parametrize(
    "X",
    [
        np.zeros((5, 3)),
        np.array([[1.0, np.nan], [np.nan, np.nan], [2.0, np.nan]]),
        *more(
            np.full((5, 3), 7.0),
            np.array([[1.0, 2.0]]),
            np.array([[3.0], [4.0], [9.0]]),
            1e-30 * np.arange(12.0).reshape(4, 3),
            1e12 + np.arange(12.0).reshape(4, 3),
        ),
    ],
    ids=["zeros", "missing", "constant", "one row", "one column", "tiny", "far away"],
)
def test_degenerate_data(X, dtype):
    for options in ({}, {"fit_intercept": True, "prior": "sticks"}):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = Features(4, n_init=1, random_state=0, **options).fit(X.astype(dtype))
        found = model.inverse_transform(model.transform(X.astype(dtype)))
        assert found.dtype == dtype
        assert np.all(np.isfinite(found))
        assert np.isfinite(model.elbo_)
        assert 1 <= model.n_components_ <= 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_components": 0}, "n_components is 0"),
        ({"alpha": 0.0}, "alpha is 0.0; wanted a number > 0"),
        ({"prior": "infinite"}, "prior is 'infinite'"),
        ({"likelihood": "poisson"}, "likelihood is 'poisson'"),
        ({"likelihood": "bernoulli"}, r"X holds .*; wanted 0, 1 or NaN"),
        ({"likelihood": "bernoulli", "noise_variance": 1.0}, "wanted 0, 1 or NaN"),
        ({"noise_variance": 0.0}, "noise_variance is 0.0; wanted a number > 0"),
        ({"feature_variance": -1.0}, "feature_variance is -1.0"),
        ({"structured": True}, "structured=True needs batch_size"),
        ({"optimizer": "adam", "batch_size": 5}, "one rate for all coordinates"),
        ({"n_init": 0}, "n_init is 0"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ValueError, match=message):
        Features(**options).fit(toy(20, 0)[0])


def test_refusals_of_data():
    X, _ = toy(20, 0)
    with pytest.raises(ValueError, match="X holds only NaN"):
        Features().fit(np.full((3, 2), np.nan))
    with pytest.raises(ValueError, match="infinity"):
        Features().fit(np.where(X > 1, np.inf, X))
    model = Features(2, n_init=1, random_state=0).fit(X)
    with pytest.raises(ValueError, match=r"wanted (1|2)$"):
        model.inverse_transform(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="n_components was 2 and is 3"):
        model.set_params(n_components=3, warm_start=True).fit(X)
    with pytest.raises(ValueError, match="fit_intercept was False and is True"):
        model.set_params(n_components=2, fit_intercept=True).partial_fit(X)
    with pytest.raises(ValueError, match="X holds NaN, unlike"):
        model.set_params(fit_intercept=False).partial_fit(np.where(X > 1, np.nan, X))


@pytest.mark.parametrize("case", FEW)
def test_files(case, tmp_path):
    X = data_of(case)
    model = Features(3, n_init=1, max_iter=5, tol=0, random_state=0, **CASES[case]).fit(X)
    model.save(tmp_path / "features")
    loaded = fastvi.load(tmp_path / "features")
    for name in ("transform", "score_samples"):
        assert getattr(loaded, name)(X).tobytes() == getattr(model, name)(X).tobytes()
    for name in ("components_", "usage_", "intercept_"):
        assert getattr(loaded, name).tobytes() == getattr(model, name).tobytes()
    assert loaded.partial_fit(X).score(X) == model.partial_fit(X).score(X)
