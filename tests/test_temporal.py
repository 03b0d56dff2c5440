"""Gaussian processes in time: against exact ones, dense sites, SVGP and finite differences."""

import warnings

import numpy as np
import pytest
from naive import temporal as naive
from scipy.integrate import quad
from scipy.stats import poisson
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import (
    RBF,
    ConstantKernel,
    ExpSineSquared,
    Matern,
    WhiteKernel,
)
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastvi
from fastvi import SVGP, TemporalGPClassifier, TemporalGPRegressor
from fastvi.models.gp import temporal_model
from fastvi.models.gp import terms as terms_of
from fastvi.models.gp.likelihood import Values
from fastvi.models.gp.likelihoods import named
from fastvi.models.gp.temporal_model import Series, TemporalModel
from fastvi.models.gp.terms import TimeCovariance

KERNELS = {
    "matern12": ConstantKernel(1.5) * Matern(1.2, nu=0.5),
    "matern32": ConstantKernel(0.7) * Matern(0.9, nu=1.5),
    "matern52": Matern(1.4, nu=2.5) + ConstantKernel(0.3),
    "quasi-periodic": ConstantKernel(1.1) * Matern(5.0, nu=1.5) * ExpSineSquared(0.9, 3.0),
    "sum": (Matern(2.0, nu=0.5) + ExpSineSquared(1.4, 7.0)) * ConstantKernel(0.5) + Matern(9.0),
}
NOISE = WhiteKernel(0.1)
LIKELIHOODS = ("student-t", "poisson", "bernoulli-logit", "bernoulli-probit")
every_kernel = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)


def data(rng, n=40, likelihood="gaussian"):
    """Irregular times, of which two agree, in no order; and targets."""
    t = rng.uniform(0, 20, n)
    t[3] = t[7]
    f = np.sin(t)
    y = {
        "gaussian": lambda: f + 0.3 * rng.normal(size=n),
        "student-t": lambda: f + 0.2 * rng.standard_t(2, n),
        "poisson": lambda: rng.poisson(np.exp(f)).astype(float),
        "bernoulli": lambda: (f + 0.5 * rng.normal(size=n) > 0).astype(float),
    }
    return t, y[likelihood.split("-l")[0].split("-p")[0]]()


class FirstOf:
    """The model as scikit-learn's checks call it, with several columns."""

    def _column(self, X):
        return super()._column(X[:, :1])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        for kind in (tags.regressor_tags, tags.classifier_tags):
            if kind is not None:
                kind.poor_score = True
        return tags


class Numbers(FirstOf, TemporalGPRegressor):
    pass


class Labels(FirstOf, TemporalGPClassifier):
    pass


@parametrize_with_checks(
    [Numbers(max_iter=20), Labels(max_iter=10)],
    expected_failed_checks=lambda estimator: {
        "check_fit1d": "a column of times may be flat",
        "check_fit2d_predict1d": "a column of times may be flat",
    },
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_scikit_learn(estimator, check):
    check(estimator)


@every_kernel
def test_equals_the_exact_gaussian_process(rng, kernel):
    t, y = data(rng)
    kernel = kernel + NOISE
    exact = GaussianProcessRegressor(kernel, alpha=0.0, optimizer=None).fit(t[:, None], y)
    ours = TemporalGPRegressor(kernel, learn_kernel=False).fit(t, y)
    new = np.concatenate((rng.uniform(-5, 25, 12), t[:5]))
    assert ours.elbo_ == pytest.approx(exact.log_marginal_likelihood_value_, abs=1e-8)
    mean, std = exact.predict(new[:, None], return_std=True)
    for found in (ours.predict(new, return_std=True), ours.compiled()(new[:, None])):
        np.testing.assert_allclose(found, (mean, std), atol=1e-8)
    _, cov = exact.predict(new[:, None], return_cov=True)
    np.testing.assert_allclose(ours.predict(new, return_cov=True)[1], cov, atol=1e-8)
    theta = kernel.theta + 0.1
    value, slope = ours.log_marginal_likelihood(theta, eval_gradient=True)
    wanted, its_slope = exact.log_marginal_likelihood(theta, eval_gradient=True)
    assert value == pytest.approx(wanted, abs=1e-8)
    np.testing.assert_allclose(slope, its_slope, atol=1e-6)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_other_likelihoods_equal_dense_sites(rng, likelihood):
    t, y = data(rng, likelihood=likelihood)
    kernel = KERNELS["quasi-periodic"]
    noise = 0.1 if likelihood == "student-t" else 0.0
    used = kernel + NOISE if noise else kernel
    ours = TemporalGPRegressor(used, likelihood=likelihood, learn_kernel=False).fit(t, y)
    k = kernel(t[:, None])
    bound, mean, cov = naive.cvi(k, y, named(likelihood, 4.0), Values(noise))
    assert ours.elbo_ == pytest.approx(bound, abs=1e-7)
    found = ours.latent_mean_and_variance(t)
    np.testing.assert_allclose(found, (mean, cov.diagonal()), atol=1e-6)


@pytest.mark.parametrize(
    ("likelihood", "kept"), [(name, 1 << 20) for name in LIKELIHOODS] + [("gaussian", 4000)]
)
def test_gradients_by_finite_differences(rng, likelihood, kept, monkeypatch):
    monkeypatch.setattr(temporal_model, "KEPT", kept)  # 4000: in several parts
    t, y = data(rng, 25, likelihood)
    kernel = 1.1 * Matern(5.0, nu=0.5) * ExpSineSquared(1.3, 3.0) + KERNELS["matern52"]
    if named(likelihood, 4.0).is_noisy:
        kernel += NOISE
    series = Series.of_rows(t, y, np.linspace(0.5, 2.0, len(t)))
    covariance = TimeCovariance(kernel)
    model = TemporalModel(covariance, named(likelihood, 4.0), series)
    theta = covariance.theta + 0.2 * rng.normal(size=len(covariance.theta))
    found = model.bound(theta).by_theta
    for i, slope in enumerate(found):
        step = 1e-4 * (np.arange(len(theta)) == i)
        values = [model.bound(theta + k * step, gradient=False).value for k in (-2, -1, 1, 2)]
        wanted = np.dot(values, [1, -8, 8, -1]) / 12e-4
        assert slope == pytest.approx(wanted, rel=1e-6, abs=1e-6)


def test_negative_curvatures_of_outliers(rng):
    """Sites of negative precision are as good as others."""
    t = np.arange(30.0)
    y = np.sin(t / 3)
    y[[0, 10, 29]] += 50.0
    kernel = 4.0 * Matern(5.0, nu=1.5) + WhiteKernel(0.05)
    options = {"likelihood": "student-t", "df": 3.0, "learn_kernel": False}
    ours = TemporalGPRegressor(kernel, **options).fit(t, y)
    bound, mean, _ = naive.cvi(
        4.0 * Matern(5.0, nu=1.5)(t[:, None]), y, named("student-t", 3.0), Values(0.05), 1000, 0.2
    )
    assert ours.elbo_ == pytest.approx(bound, abs=1e-6)
    np.testing.assert_allclose(ours.predict(t), mean, atol=1e-5)
    assert np.abs(ours.predict(t) - np.sin(t / 3)).max() < 0.5


def test_learns_what_scikit_learn_learns(rng):
    t, y = data(rng, 60)
    kernel = 1.0 * Matern(1.0, nu=1.5) + WhiteKernel(0.5)
    exact = GaussianProcessRegressor(kernel, alpha=0.0).fit(t[:, None], y)
    ours = TemporalGPRegressor(kernel).fit(t, y)
    assert ours.converged_
    assert ours.elbo_ == pytest.approx(exact.log_marginal_likelihood_value_, abs=1e-4)
    np.testing.assert_allclose(ours.kernel_.theta, exact.kernel_.theta, atol=0.02)
    assert ours.history_["elbo"][-1] == pytest.approx(ours.elbo_, abs=1e-6)


@pytest.mark.parametrize("noise", [1e-10, 1.0])
def test_gaps_from_tiny_to_huge(noise):
    t = np.concatenate(([0.0], np.cumsum(10.0 ** np.linspace(-12, 9, 60))))
    y = np.sin(t)
    for nu in (0.5, 1.5, 2.5):
        kernel = Matern(3.0, nu=nu) + WhiteKernel(noise, "fixed")
        model = TemporalGPRegressor(kernel, learn_kernel=False).fit(t, y)
        mean, std = model.predict(np.concatenate((t, [-1e12, 1e12])), return_std=True)
        assert np.all(np.isfinite(mean))
        assert np.all(std**2 >= noise)
        assert std[-1] == pytest.approx(np.sqrt(1.0 + noise))
        assert mean[-1] == pytest.approx(0.0)
        exact = GaussianProcessRegressor(kernel, alpha=0.0, optimizer=None).fit(t[:, None], y)
        tolerance = 1e-6 if noise < 1e-6 else 1e-9
        assert model.elbo_ == pytest.approx(exact.log_marginal_likelihood_value_, rel=tolerance)


@pytest.mark.parametrize("part", ["predict", "joint", "compiled"])
def test_small_variances_before_the_first_time(part):
    """As after the last time of the mirrored series."""
    t, kernel = np.linspace(0.0, 60.0, 40), ConstantKernel(7e3) * Matern(1e3, nu=2.5)
    ahead, back = (
        TemporalGPRegressor(kernel + WhiteKernel(3e-7), learn_kernel=False).fit(times, 0.3 * t)
        for times in (t, -t)
    )
    x = np.array([-3.0, -0.1])
    want = back.latent_mean_and_variance(-x)[1]
    assert want.max() < 1e-5
    posterior = ahead._predictive.posteriors[0]
    found = {
        "predict": lambda: posterior.predict(x[:, None])[1],
        "joint": lambda: posterior.joint(x[:, None])[1].diagonal(),
        "compiled": lambda: posterior.compiled()(x[:, None])[1],
    }[part]()
    np.testing.assert_allclose(found, want, rtol=1e-4)


@pytest.mark.parametrize("white", [True, False])
def test_known_noise(rng, tmp_path, white):
    """As scikit-learn has it, row by row; with weights of 0, missing rows, and units."""
    t, y = data(rng)
    alpha = rng.gamma(2.0, 0.1, 40)
    kernel = KERNELS["matern32"] + (NOISE if white else 0.2)
    exact = GaussianProcessRegressor(kernel, alpha=alpha, optimizer=None).fit(t[:, None], y)
    ours = TemporalGPRegressor(kernel, alpha=alpha, learn_kernel=False).fit(t, y)
    assert ours.elbo_ == pytest.approx(exact.log_marginal_likelihood_value_, abs=1e-8)
    value, slope = ours.log_marginal_likelihood(kernel.theta + 0.1, eval_gradient=True)
    wanted = exact.log_marginal_likelihood(kernel.theta + 0.1, eval_gradient=True)
    np.testing.assert_allclose(value, wanted[0], atol=1e-8)
    np.testing.assert_allclose(slope, wanted[1], atol=1e-6)
    found = ours.predict(t, return_std=True)
    np.testing.assert_allclose(found, exact.predict(t[:, None], return_std=True), atol=1e-7)
    ours.save(tmp_path / "model")
    np.testing.assert_array_equal(fastvi.load(tmp_path / "model").predict(t), ours.predict(t))
    y[[2, 9]] = np.nan
    weights = (np.arange(40) % 7 > 0).astype(float)
    kept = (weights > 0) & ~np.isnan(y)
    few = TemporalGPRegressor(kernel, alpha=alpha, normalize_y=True).fit(t, y, weights)
    same = TemporalGPRegressor(kernel, alpha=100.0 * alpha[kept], normalize_y=True)
    same.fit(t[kept], 10.0 * y[kept])
    np.testing.assert_allclose(10.0 * few.predict(t), same.predict(t), rtol=1e-4, atol=1e-4)


def test_missing_targets_are_left_out(rng):
    t, y = data(rng)
    y[5:9] = np.nan
    weights = rng.gamma(3.0, 1.0, 40)
    present = ~np.isnan(y)
    kernel = KERNELS["matern32"] + NOISE
    for w in (None, weights):
        ours = TemporalGPRegressor(kernel, learn_kernel=False).fit(t, y, w)
        same = TemporalGPRegressor(kernel, learn_kernel=False).fit(
            t[present], y[present], None if w is None else w[present]
        )
        np.testing.assert_array_equal(ours.predict(t), same.predict(t))
    with pytest.raises(ValueError, match="y holds only NaN; wanted targets"):
        TemporalGPRegressor().fit(t, np.full(40, np.nan))


def test_one_time_and_many_rows_at_one():
    model = TemporalGPRegressor().fit([3.0], [2.0])
    np.testing.assert_allclose(model.predict([3.0, 100.0]), 2.0)
    model = TemporalGPRegressor(likelihood="poisson").fit(np.zeros(20), np.full(20, 7.0))
    assert model.predict([0.0]) == pytest.approx(7.0, rel=0.1)


def test_held_out_times_may_be_numbers_too():
    t, y = np.arange(9.0), np.sin(np.arange(9.0))
    scores = [
        TemporalGPRegressor().fit(t, y, X_val=t_val, y_val=y[:3]).history_["held_out"]
        for t_val in (t[:3], t[:3, None], list(t[:3]))
    ]
    np.testing.assert_array_equal(scores[1], scores[0])
    np.testing.assert_array_equal(scores[2], scores[0])


def test_weights_are_repetitions(rng):
    t, y = data(rng, likelihood="poisson")
    times = rng.integers(1, 4, 40)
    kernel = KERNELS["matern32"]
    options = {"likelihood": "poisson", "learn_kernel": False}
    ours = TemporalGPRegressor(kernel, **options).fit(t, y, times)
    same = TemporalGPRegressor(kernel, **options).fit(np.repeat(t, times), np.repeat(y, times))
    assert ours.elbo_ == pytest.approx(same.elbo_, abs=1e-7)


def test_predictive_densities_and_intervals(rng):
    t, y = data(rng, likelihood="poisson")
    kernel = KERNELS["matern32"]
    model = TemporalGPRegressor(kernel, likelihood="poisson", learn_kernel=False).fit(t, y)
    new = np.array([2.0, 30.0])
    logs = model.log_predictive_density(new, [3.0, 0.0])
    for value, count, m, v in zip(logs, [3.0, 0.0], *model.latent_mean_and_variance(new)):

        def integrand(f, m=m, v=v, count=count):
            normal = np.exp(-0.5 * (f - m) ** 2 / v) / np.sqrt(2 * np.pi * v)
            return normal * poisson.pmf(count, np.exp(f))

        assert value == pytest.approx(np.log(quad(integrand, m - 9, m + 9)[0]), abs=1e-6)
    lower, upper = model.predict_interval(new, 0.9)
    draws = model.sample_y(new, 4000, random_state=1)
    inside = np.mean((draws >= lower[:, None]) & (draws <= upper[:, None]), axis=1)
    assert np.all((inside > 0.87) & (inside < 0.99))


@pytest.mark.parametrize("likelihood", ["gaussian", "student-t"])
def test_densities_integrate_to_one(rng, likelihood):
    t, y = data(rng, likelihood=likelihood)
    model = TemporalGPRegressor(likelihood=likelihood, max_iter=5, normalize_y=True)
    with pytest.warns(UserWarning, match="L-BFGS"):
        model.fit(t, 10.0 + 3.0 * y)
    grid = np.linspace(-100, 120, 4001)
    density = np.exp(model.log_predictive_density(np.full(4001, 4.0), grid))
    assert np.trapezoid(density, grid) == pytest.approx(1.0, abs=2e-3)
    lower, upper = model.predict_interval([4.0])
    inside = (grid > lower) & (grid < upper)
    assert np.trapezoid(density[inside], grid[inside]) == pytest.approx(0.95, abs=0.01)


def test_draws_have_the_moments_of_the_posterior(rng):
    t, y = data(rng)
    model = TemporalGPRegressor(KERNELS["sum"] + NOISE, learn_kernel=False).fit(t, y)
    for new in (np.array([1.0, 1.2, 22.0, 1.0]), np.array([1.0, -3.0, 1.2])):
        mean, cov = model.predict(new, return_cov=True)
        draws = model.sample_y(new, 20_000, random_state=rng)
        np.testing.assert_allclose(draws.mean(axis=1), mean, atol=0.03)
        np.testing.assert_allclose(np.cov(draws), cov, atol=0.05)


def test_classes(rng):
    t, y = data(rng, 80, "bernoulli-logit")
    labels = np.where(y > 0, "up", "down")
    kernel = 4.0 * Matern(2.0, nu=1.5)
    ours = TemporalGPClassifier(kernel, learn_kernel=False).fit(t, labels)
    same = TemporalGPRegressor(kernel, likelihood="bernoulli-logit", learn_kernel=False).fit(t, y)
    np.testing.assert_array_equal(ours.predict_proba(t)[:, 1], same.predict(t))
    np.testing.assert_allclose(ours.compiled()(t[:, None]), ours.predict_proba(t), atol=1e-9)
    assert ours.score(t, labels) > 0.8
    with pytest.raises(ValueError, match=r"y holds 3 classes, .*; wanted 2"):
        TemporalGPClassifier().fit([0.0, 1.0, 2.0], [0, 1, 2])


@pytest.mark.parametrize("name", ["gaussian", "student-t", "poisson", "classes"])
def test_files(rng, tmp_path, name):
    t, y = data(rng, likelihood="bernoulli" if name == "classes" else name)
    model = TemporalGPClassifier() if name == "classes" else TemporalGPRegressor(likelihood=name)
    model.fit(t, y).save(tmp_path / "model")
    loaded = fastvi.load(tmp_path / "model")
    new = np.linspace(-3, 24, 20)
    np.testing.assert_array_equal(loaded.predict(new), model.predict(new))
    assert loaded.elbo_ == model.elbo_
    assert str(loaded.kernel_) == str(model.kernel_)
    with pytest.raises(ValueError, match="holds no rows"):
        loaded.log_marginal_likelihood(model.kernel_.theta)


def test_a_fit_resumes_with_the_same_bits(rng, tmp_path):
    t, y = data(rng, likelihood="poisson")
    whole = TemporalGPRegressor(likelihood="poisson").fit(t, y)
    options = {"checkpoint": tmp_path / "fit", "checkpoint_interval": 0.0}

    def stop(state):
        return state.epoch == 4

    TemporalGPRegressor(likelihood="poisson").fit(t, y, callback=stop, **options)
    resumed = TemporalGPRegressor(likelihood="poisson").fit(t, y, resume=True, **options)
    np.testing.assert_array_equal(resumed.predict(t), whole.predict(t))
    np.testing.assert_array_equal(resumed.history_["elbo"], whole.history_["elbo"])


@pytest.mark.parametrize(
    "kernel", [RBF(1.0), Matern(1.0, nu=1.5) * Matern(2.0, nu=0.5), Matern(1.0, nu=1.2)]
)
def test_kernels_without_a_state_space(kernel):
    with pytest.raises(ValueError, match="wanted"):
        TemporalGPRegressor(kernel).fit([0.0, 1.0], [0.0, 1.0])


def test_short_scales_of_periodic_kernels_are_refused_or_not_reached(rng):
    """40 harmonics are enough at 0.18, and searches stay where they are."""
    sizes, _ = terms_of._harmonics(terms_of.LEAST_SHAPE)
    assert len(sizes) <= terms_of.MOST_HARMONICS + 1
    np.testing.assert_allclose(sizes.sum(), 1.0, atol=1e-11)
    with pytest.raises(ValueError, match=r"length_scale=0\.1; wanted at least 0\.18"):
        TemporalGPRegressor(ExpSineSquared(0.1, 2.0)).fit([0.0, 1.0], [0.0, 1.0])
    t = np.arange(60.0)
    spikes = np.where(t % 12 == 0, 1.0, 0.0)  # asks for a scale as short as it can get
    kernel = ExpSineSquared(0.25, 12.0, periodicity_bounds="fixed") + WhiteKernel(1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = TemporalGPRegressor(kernel, max_iter=30).fit(t, spikes)
    assert model.kernel_.k1.length_scale >= 0.18 - 1e-12


def test_messages(rng):
    t, y = data(rng)
    for alpha, message in (
        ([1.0, 2.0], r"alpha has shape \(2,\); wanted a number or \(40,\)"),
        (-1.0, "alpha holds a negative number"),
        (0.0, "alpha holds 0, and kernel has no WhiteKernel"),
    ):
        with pytest.raises(ValueError, match=message):
            TemporalGPRegressor(Matern(), alpha=alpha).fit(t, y)
    with pytest.raises(ValueError, match="alpha is given, but likelihood is 'student-t'"):
        TemporalGPRegressor(alpha=0.1, likelihood="student-t").fit(t, y)
    with pytest.raises(ValueError, match="X has 2 columns; wanted one, of times"):
        TemporalGPRegressor().fit(np.column_stack((t, t)), y)
    with pytest.raises(ValueError, match="early_stopping is 3, but L-BFGS takes no passes"):
        TemporalGPRegressor().fit(t, y, X_val=t, y_val=y, early_stopping=3)
    with pytest.raises(ValueError, match="y must hold non-negative integers"):
        TemporalGPRegressor(likelihood="poisson").fit(t, y)
    with pytest.raises(ValueError, match="wanted a kernel without WhiteKernel"):
        TemporalGPRegressor(NOISE + Matern(), likelihood="poisson").fit(t, np.ones(40))


def test_earthquakes(data_dir):
    """Counts per year (Zucchini and MacDonald 2009), as SVGP has them, and years left out."""
    path = data_dir / "hmm" / "earthquakes.csv"
    years, counts = np.loadtxt(path, delimiter=",", skiprows=1).T
    model = TemporalGPRegressor(likelihood="poisson").fit(years, counts)
    sparse = SVGP(
        model.kernel_, likelihood="poisson", inducing_points=years[:, None], max_iter=1, tol=0.0,
        learn_inducing_points=False, learn_kernel=False, random_state=0,
    ).fit(years[:, None], counts)  # fmt: skip
    assert model.elbo_ == pytest.approx(sparse.elbo_, abs=1e-4)
    np.testing.assert_allclose(model.predict(years), sparse.predict(years[:, None]), rtol=1e-4)
    given = np.arange(len(years)) % 5 != 0
    model = TemporalGPRegressor(likelihood="poisson").fit(years[given], counts[given])
    ours = model.log_predictive_density(years[~given], counts[~given]).mean()
    assert ours > poisson.logpmf(counts[~given], counts[given].mean()).mean() + 0.5
