"""`fastvi.SparseGPRegressor` as scikit-learn's users expect it, and on published figures."""

import pickle
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from regression_sets import PUBLISHED, split
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import (
    RBF,
    ConstantKernel,
    DotProduct,
    ExpSineSquared,
    Matern,
    PairwiseKernel,
    WhiteKernel,
)
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_limits

from fastvi import SVGP, SparseGPRegressor
from fastvi.models.gp import search as gp_search
from fastvi.models.gp.start import kmeans

pytestmark = pytest.mark.jit
FIXED = {"learn_kernel": False, "learn_inducing_points": False}
KERNEL = ConstantKernel(1.5) * RBF([0.7, 1.3]) + WhiteKernel(0.05)


def data(rng, n=200, noise=0.1):
    X = rng.uniform(-2, 2, size=(n, 2))
    return X, np.sin(2 * X[:, 0]) + 0.5 * X[:, 1] + noise * rng.normal(size=n)


def passes_but_for_rounding(estimator, check):
    """Weights may count as repeated rows do only until iterations of L-BFGS magnify rounding.

    Whether that is before the end depends on the processor; `test_gp_weights` has the bound, its
    gradient and few iterations.
    """
    try:
        check(estimator)
    except AssertionError:
        name = getattr(check, "func", check).__name__
        if name == "check_sample_weight_equivalence_on_dense_data":
            pytest.xfail("iterations of L-BFGS magnify rounding")
        raise


@parametrize_with_checks([SparseGPRegressor(inducing_points=20, max_iter=20)])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_scikit_learn_checks(estimator, check):
    passes_but_for_rounding(estimator, check)


@parametrize_with_checks(
    [SparseGPRegressor(Matern(nu=1.5), inducing_points=5, max_iter=3, normalize_y=True)]
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.slow
def test_more_scikit_learn_checks(estimator, check):
    passes_but_for_rounding(estimator, check)


@pytest.mark.parametrize("normalize_y", [False, True])
@pytest.mark.parametrize("n_targets", [None, 1, 2])
def test_every_row_an_inducing_input_is_scikit_learns_regressor(normalize_y, n_targets, rng):
    """Without an optimizer, whatever is predicted: to 1e-5 in relation to the targets' scale."""
    X, y = data(rng, 60)
    if n_targets:
        y = np.column_stack([y, 3 * y**2])[:, :n_targets]
    options = {"normalize_y": normalize_y}
    exact = GaussianProcessRegressor(KERNEL, alpha=0.0, optimizer=None, **options).fit(X, y)
    ours = SparseGPRegressor(KERNEL, inducing_points=X, **FIXED, **options).fit(X, y)
    want = exact.log_marginal_likelihood_value_
    assert ours.log_marginal_likelihood_value_ == pytest.approx(want, abs=1e-5)
    assert ours.score(X, y) == pytest.approx(exact.score(X, y), abs=1e-6)
    new = rng.normal(size=(7, 2))
    np.testing.assert_allclose(ours.predict(new), exact.predict(new), atol=1e-5)
    for option in ("return_std", "return_cov"):
        for a, b in zip(ours.predict(new, **{option: True}), exact.predict(new, **{option: True})):
            np.testing.assert_allclose(a, b, atol=1e-5)
    theta = KERNEL.theta + 0.1
    value, gradient = ours.log_marginal_likelihood(theta, eval_gradient=True)
    want, want_gradient = exact.log_marginal_likelihood(theta, eval_gradient=True)
    assert value == pytest.approx(want, abs=1e-5)
    np.testing.assert_allclose(gradient, want_gradient, atol=1e-3)
    assert ours.log_marginal_likelihood() == ours.log_marginal_likelihood_value_


def test_samples_have_the_posteriors_moments(rng):
    """5000 draws, seed 0: means and variances within five standard errors."""
    X, y = data(rng, 100)
    ours = SparseGPRegressor(KERNEL, inducing_points=30, **FIXED, random_state=0).fit(X, y)
    mean, covariance = ours.predict(X[:5], return_cov=True)
    draws = ours.sample_y(X[:5], 5000)
    assert draws.shape == (5, 5000)
    variance = covariance.diagonal()
    assert np.all(np.abs(draws.mean(axis=1) - mean) < 5 * np.sqrt(variance / 5000))
    assert np.all(np.abs(draws.var(axis=1) / variance - 1) < 5 * np.sqrt(2 / 5000))
    two = SparseGPRegressor(KERNEL, inducing_points=9, **FIXED).fit(X, np.c_[y, y])
    assert two.sample_y(X[:5], 3).shape == (5, 2, 3)
    assert two.predict(X[:5], return_cov=True)[1].shape == (5, 5, 2)


def test_kmeans_does_not_depend_on_the_number_of_cores(rng):
    X = rng.normal(size=(3000, 4))
    found = []
    for n_threads in (1, 2, 5):
        with threadpool_limits(n_threads, user_api="openmp"):
            found.append(kmeans(X, 30, np.random.default_rng(0)))
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@pytest.mark.parametrize("selection", ["kmeans", "greedy", "subset"])
@pytest.mark.parametrize("learn", [False, True])
def test_fit(selection, learn, rng):
    X, y = data(rng, 400)
    ours = SparseGPRegressor(
        inducing_points=40, inducing_selection=selection, learn_inducing_points=learn,
        random_state=0, max_iter=2000,
    ).fit(X, y)  # fmt: skip
    exact = GaussianProcessRegressor(ours.kernel_, optimizer=None, alpha=0.0).fit(X, y)
    gap = exact.log_marginal_likelihood_value_ - ours.log_marginal_likelihood_value_
    assert -1e-3 < gap < (2.0 if learn else 20.0)
    assert ours.inducing_points_.shape == (40, 2)
    assert ours.converged_
    assert len(ours.history_["elbo"]) == ours.n_iter_
    assert ours.history_["elbo"][-1] == pytest.approx(ours.log_marginal_likelihood_value_)
    assert np.all(np.diff(ours.history_["seconds"]) >= 0)
    X_new, _ = data(rng, 300)
    truth = np.sin(2 * X_new[:, 0]) + 0.5 * X_new[:, 1]
    mean, std = ours.predict(X_new, return_std=True)
    assert np.sqrt(np.mean((mean - truth) ** 2)) < 0.06
    assert np.median(std) == pytest.approx(0.1, abs=0.02)  # white noise included
    assert 0 < ours.jitter_ < 1e-6
    assert ours.condition_ > 1


@pytest.mark.filterwarnings("ignore:the fit ended with:sklearn.exceptions.ConvergenceWarning")
def test_bounds_and_fixed_hyperparameters_are_kept(rng):
    X, y = data(rng)
    kernel = ConstantKernel(1.0, "fixed") * Matern(1.0, (0.9, 1.1), nu=1.5) + WhiteKernel(
        0.5, (0.3, 1.0)
    )
    ours = SparseGPRegressor(kernel, inducing_points=20, random_state=0).fit(X, y)
    values = ours.kernel_.get_params()
    assert values["k1__k1__constant_value"] == 1.0
    assert 0.9 <= values["k1__k2__length_scale"] <= 1.1
    assert values["k2__noise_level"] == pytest.approx(0.3)
    assert kernel.k2.noise_level == 0.5


def test_a_kernel_without_noise_gets_some(rng):
    X, y = data(rng)
    ours = SparseGPRegressor(RBF(), inducing_points=20, random_state=0).fit(X, y)
    assert isinstance(ours.kernel_.k2, WhiteKernel)
    given = SparseGPRegressor(RBF(), inducing_points=20, alpha=0.01, random_state=0).fit(X, y)
    assert isinstance(given.kernel_, RBF)
    with pytest.raises(ValueError, match="noise has variance 0, and learn_kernel=False keeps it"):
        SparseGPRegressor(RBF(), **FIXED).fit(X, y)
    # noise that alpha stands for is not predicted, as in scikit-learn
    assert given.predict(X[:1], return_std=True)[1] < 0.1


@pytest.mark.filterwarnings("ignore:the fit ended with:sklearn.exceptions.ConvergenceWarning")
def test_restarts_find_a_better_optimum(rng):
    """From length scales so short that their gradient vanishes; a restart begins elsewhere."""
    X, y = data(rng, 100)
    kernel = RBF(1e-2, (1e-2, 1e2)) + WhiteKernel(1.0, (1e-3, 10.0))
    options = {"inducing_points": 20, "learn_inducing_points": False, "random_state": 1}
    once = SparseGPRegressor(kernel, **options).fit(X, y)
    often = SparseGPRegressor(kernel, n_restarts_optimizer=4, **options).fit(X, y)
    assert often.log_marginal_likelihood_value_ > once.log_marginal_likelihood_value_ + 10


def test_a_callable_optimizer(rng):
    X, y = data(rng)

    def optimizer(function, start, bounds):
        assert bounds.shape == (len(start), 2)
        _, gradient = function(start)
        assert gradient.shape == start.shape
        better = start + 1e-4 * gradient / np.abs(gradient).max()
        return better, function(better, eval_gradient=False)

    ours = SparseGPRegressor(KERNEL, inducing_points=20, optimizer=optimizer, random_state=0)
    ours.fit(X, y)
    np.testing.assert_allclose(ours.kernel_.theta, KERNEL.theta, atol=1e-4)


def test_priors_hold_hyperparameters_back(rng):
    X, y = data(rng)
    far = ConstantKernel(1.0) * RBF([5.0, 5.0]) + WhiteKernel(1.0)
    free = SparseGPRegressor(far, inducing_points=20, random_state=0).fit(X, y)
    held = SparseGPRegressor(far, inducing_points=20, random_state=0, prior_scale=0.05).fit(X, y)
    assert np.abs(held.kernel_.theta - far.theta).max() < 0.5
    assert np.abs(free.kernel_.theta - far.theta).max() > 1


def test_pickles_and_clones(rng):
    X, y = data(rng)
    ours = SparseGPRegressor(KERNEL, inducing_points=20, random_state=0).fit(X, y)
    again = pickle.loads(pickle.dumps(ours))
    np.testing.assert_array_equal(again.predict(X), ours.predict(X))
    np.testing.assert_array_equal(clone(ours).predict(X), np.zeros(len(X)))  # the prior's
    with pytest.raises(NotFittedError):
        clone(ours).compiled()


@pytest.mark.filterwarnings("ignore:L-BFGS stopped:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kernel", [KERNEL, DotProduct() + RBF() + WhiteKernel(0.1)])
@pytest.mark.parametrize("n_targets", [None, 2])
def test_compiled_predictions(kernel, n_targets, rng):
    X, y = data(rng)
    y = np.c_[y, 2 * y] + 3 if n_targets else y
    ours = SparseGPRegressor(kernel, inducing_points=20, normalize_y=True, random_state=0)
    predict = ours.set_params(max_iter=2000).fit(X, y).compiled()
    for n in (0, 1, 9):
        for got, want in zip(predict(X[:n]), _predict(ours, X[:n], n_targets)):
            np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)


def _predict(model, X, n_targets):
    if len(X):
        return model.predict(X, return_std=True)
    empty = np.zeros((0, n_targets) if n_targets else 0)
    return empty, empty


@pytest.mark.parametrize("n_jobs", [2, 8])
def test_threads_change_no_bit(n_jobs, rng):
    X, y = data(rng, 3000)
    options = {"inducing_points": 50, "max_iter": 3, "random_state": 0}
    with pytest.warns(ConvergenceWarning, match="raise max_iter or tol"):
        one = SparseGPRegressor(**options).fit(X, y)
    with pytest.warns(ConvergenceWarning):
        many = SparseGPRegressor(**options, n_jobs=n_jobs).fit(X, y)
    np.testing.assert_array_equal(one.predict(X), many.predict(X))
    assert one.log_marginal_likelihood_value_ == many.log_marginal_likelihood_value_


@pytest.mark.parametrize(
    "change",
    [
        lambda X, y: (X[:1], y[:1]),
        lambda X, y: (X[:7], y[:7]),
        lambda X, y: (np.repeat(X[:5], 20, axis=0), np.repeat(y[:5], 20)),
        lambda X, y: (np.c_[X, np.full(len(X), 7.0)], y),
        lambda X, y: (X, np.zeros(len(X))),
        lambda X, y: (X * [1e-6, 1e6], y * 1e6),
        lambda X, y: (X + 1e5, y),
        lambda X, y: (X.astype(np.float32), y),
    ],
    ids=[
        "one row",
        "few rows",
        "duplicates",
        "constant column",
        "zeros",
        "scales",
        "far",
        "single",
    ],
)
@pytest.mark.parametrize("selection", ["kmeans", "greedy"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_data_at_the_edges(change, selection, rng):
    X, y = change(*data(rng, 100))
    ours = SparseGPRegressor(
        inducing_points=20, inducing_selection=selection, random_state=0, max_iter=50
    ).fit(X, y)
    mean, std = ours.predict(X, return_std=True)
    assert np.all(np.isfinite(mean))
    assert np.all(std > 0)
    assert np.isfinite(ours.log_marginal_likelihood_value_)
    assert len(ours.inducing_points_) <= min(20, len(np.unique(X, axis=0)))
    if len(X) == 100 and np.ptp(y) > 0:
        assert ours.score(X, y) > 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inducing_points": 0}, "inducing_points is 0; wanted an integer >= 1"),
        ({"inducing_points": np.zeros((3, 5))}, r"has shape \(3, 5\); wanted \(n_inducing, 2\)"),
        ({"inducing_points": np.full((3, 2), np.nan)}, "inducing_points holds NaN"),
        ({"inducing_selection": "best"}, "inducing_selection is 'best'; wanted one of"),
        ({"optimizer": "adam"}, "optimizer is 'adam'; wanted 'fmin_l_bfgs_b'"),
        ({"alpha": -1.0}, "alpha is -1.0"),
        ({"prior_scale": 0}, "prior_scale is 0; wanted a number > 0"),
        ({"max_iter": 0}, "max_iter is 0"),
        ({"n_jobs": 0}, "n_jobs is 0"),
        ({"kernel": PairwiseKernel()}, "is not known here"),
        ({"kernel": RBF([1.0, 1.0, 1.0])}, "has 3 entries; wanted 1 or one a column of X, 2"),
        (
            {"kernel": RBF(1.0, (0, np.inf)), "n_restarts_optimizer": 1},
            "bounds, which are not all finite",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_parameters_out_of_range(options, message, rng):
    with pytest.raises(ValueError, match=message):
        SparseGPRegressor(**options).fit(*data(rng, 20))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (np.where(X > 1, np.nan, X), y), "NaN"),
        (lambda X, y: (X, np.where(y > 1, np.inf, y)), "infinity"),
        (lambda X, y: (X[:, :0], y), "0 feature"),
    ],
)
def test_bad_data(change, message, rng):
    with pytest.raises(ValueError, match=message):
        SparseGPRegressor().fit(*change(*data(rng, 50)))


def test_arguments_are_not_written_to(rng):
    X, y = data(rng, 50)
    z = X[:10].copy()
    given = X, y, z
    copies = [array.copy() for array in given]
    for array in given:
        array.flags.writeable = False
    kernel = clone(KERNEL)
    SparseGPRegressor(kernel, inducing_points=z, normalize_y=True).fit(X, y).predict(X)
    for array, copy in zip(given, copies):
        np.testing.assert_array_equal(array, copy)
    assert kernel == KERNEL


def test_only_one_of_std_and_cov(rng):
    ours = SparseGPRegressor(KERNEL, inducing_points=5, **FIXED).fit(*data(rng, 20))
    with pytest.raises(RuntimeError, match="At most one"):
        ours.predict(np.zeros((1, 2)), return_std=True, return_cov=True)
    with pytest.raises(ValueError, match="Gradient can only"):
        ours.log_marginal_likelihood(eval_gradient=True)


def log_likelihood(model, X, y):
    mean, std = model.predict(X, return_std=True)
    return np.mean(-0.5 * np.log(2 * np.pi * std**2) - 0.5 * ((y - mean) / std) ** 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("ard", [False, True])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_published_test_log_likelihoods(name, ard, data_dir, record_property):
    """Not below the row's mean by more than two standard errors of it."""
    scores = []
    for s in range(10):
        X, y, X_test, y_test = split(data_dir / "regression", name, s)
        length = np.sqrt(X.shape[1])
        kernel = ConstantKernel(1.0, (1e-5, 1e7)) * RBF(
            np.full(X.shape[1], length) if ard else length, (1e-3, 1e4)
        ) + WhiteKernel(0.01, (1e-8, 10.0))
        ours = SparseGPRegressor(kernel, inducing_points=100, random_state=s)
        # the figures had up to 10000 iterations; protein's rows take two minutes for 3000
        ours.set_params(max_iter=1000 if ard else 3000 if name == "protein" else 10_000)
        scores.append(log_likelihood(ours.fit(X, y), X_test, y_test))
    mean, std = PUBLISHED[name]
    record_property("mean test log-likelihood", float(np.mean(scores)))
    if not ard:
        assert np.mean(scores) > mean - 2 * std / np.sqrt(10)


@pytest.mark.parametrize("kernel", [None, KERNEL])
def test_before_a_fit_predictions_are_the_priors(kernel, rng):
    X, _ = data(rng, 9)
    ours, exact = SparseGPRegressor(kernel), GaussianProcessRegressor(kernel)
    np.testing.assert_array_equal(ours.predict(X), exact.predict(X))
    for option in ("return_std", "return_cov"):
        got, want = (model.predict(X, **{option: True})[1] for model in (ours, exact))
        np.testing.assert_allclose(got, want)
    np.testing.assert_allclose(ours.sample_y(X, 3), exact.sample_y(X, 3))


@pytest.mark.parametrize("estimator", [SparseGPRegressor(), SparseGPRegressor(normalize_y=True)])
@pytest.mark.parametrize(("scale", "name"), [(1e200, "X"), (1e200, "y"), (1e-100, "y")])
def test_numbers_of_sizes_that_overflow(estimator, scale, name, rng):
    X, y = rng.normal(size=(20, 2)), rng.normal(size=20)
    with pytest.raises(ValueError, match=f"{name} holds numbers up to .*: scale {name}"):
        clone(estimator).fit(*((X * scale, y) if name == "X" else (X, y * scale)))


@pytest.mark.parametrize("estimator", [SparseGPRegressor, SVGP])
def test_predictions_where_distances_overflow(estimator, rng):
    """Matern's profile would be infinity times 0 there."""
    X, y = rng.normal(size=(20, 2)), rng.normal(size=20)
    kernel = Matern(nu=1.5) + WhiteKernel(0.1)
    model = estimator(kernel, inducing_points=5, **FIXED).fit(X, y)
    with pytest.raises(ValueError, match="X holds numbers up to"):
        model.predict([[1e200, 0.0]])
    np.testing.assert_allclose(model.predict([[1e70, 0.0]], return_std=True), [[0], [1.1**0.5]])


def test_a_kernel_that_is_not_positive_definite(rng):
    """A periodic function of the Euclidean distance is one of a single column only."""
    X, y = rng.normal(size=(100, 2)), rng.normal(size=100)
    kernel = ExpSineSquared(1.0) + WhiteKernel(0.1)
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite, as ExpSineSquared"):
        SparseGPRegressor(kernel, inducing_points=X[:30], **FIXED).fit(X, y)


def test_a_line_search_that_fails_is_no_convergence(rng):
    """Where rounding of an offset of 1e4 leaves no step that gains."""
    X = np.linspace(0, 10, 300)[:, None]
    y = 1e4 + np.sin(X[:, 0]) + 0.01 * rng.normal(size=300)
    model = SparseGPRegressor(ConstantKernel(1.0) * RBF(1.0), inducing_points=20, random_state=0)

    def abnormal(evaluate, start, **options):
        value, gradient = evaluate(start)
        curvature = flat * np.eye(len(start))
        return SimpleNamespace(x=start, fun=value, jac=gradient, hess_inv=curvature, status=2)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gp_search, "minimize", abnormal)
        flat = 1.0
        with pytest.warns(ConvergenceWarning, match="no step raises the bound any more"):
            model.fit(X, y)
        assert not model.converged_
        flat = 1e-30  # the gradient promises 1e-13 nats: only rounding keeps it from the optimum
        assert model.fit(X, y).converged_


@pytest.mark.parametrize(
    ("digits", "gain", "lost"), [(8, 1e-9, True), (8, 1e-6, False), (2, 1e-3, False)]
)
def test_a_line_search_that_fails_in_rounding_has_converged(digits, gain, lost):
    """Where the last gains are as small as rounding, and that is below 1e-7 of the bound."""

    def objective(point, eval_gradient):
        rounding = np.random.default_rng(zlib.crc32(point.tobytes())).uniform(-1, 1)
        return 100.0 + 10.0**-digits * rounding

    bounds, elbo = np.tile([0.0, 2.0], (3, 1)), -100.0 + gain * np.arange(9)
    assert gp_search._lost_in_rounding(objective, np.ones(3), bounds, elbo) is lost
    assert not gp_search._lost_in_rounding(objective, np.ones(3), bounds, elbo[:4])
