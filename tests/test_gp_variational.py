"""`fastvi.SVGP` and `fastvi.SparseGPClassifier` as scikit-learn's users expect them."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.utils.estimator_checks import parametrize_with_checks
from thoroughly import mostly_thorough

from fastvi import SVGP, SparseGPClassifier, SparseGPRegressor
from fastvi.core import Batch
from fastvi.kernels import covariance as kernels
from fastvi.models.gp import model as gp_model
from fastvi.models.gp.rows import Points
from fastvi.optimizers import adam, averaged, robbins_monro

pytestmark = [
    pytest.mark.jit,
    pytest.mark.filterwarnings("ignore:max_iter=:sklearn.exceptions.ConvergenceWarning"),
]
FIXED = {"learn_kernel": False, "learn_inducing_points": False}
KERNEL = ConstantKernel(1.5) * RBF([0.8, 1.3]) + WhiteKernel(0.1)
LATENT = KERNEL.k1
NOT_PASSED = {
    SparseGPClassifier: {
        "check_sample_weight_equivalence_on_dense_data": "more classes have random draws per row",
    }
}


def data(rng, n=300):
    X = rng.uniform(-2, 2, size=(n, 2))
    return X, np.sin(2 * X[:, 0]) + 0.5 * X[:, 1]


@parametrize_with_checks(
    [
        SVGP(  # where inducing inputs are all of the rows, Adam magnifies the rounding of gradients
            inducing_points=10, max_iter=30, natural_learning_rate=0.5, learn_inducing_points=False
        ),
        SparseGPClassifier(inducing_points=10, max_iter=30, natural_learning_rate=0.5),
    ],
    expected_failed_checks=lambda estimator: NOT_PASSED.get(type(estimator), {}),
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_the_gaussian_likelihood_comes_to_the_collapsed_regression(rng):
    """Kernel and inducing inputs kept, all rows, rate 1: bound and predictions of the optimum."""
    X, f = data(rng)
    y = f + 0.2 * rng.normal(size=len(f))
    options = {"inducing_points": X[:20], **FIXED}
    best = SparseGPRegressor(KERNEL, **options).fit(X, y)
    ours = SVGP(KERNEL, **options, natural_learning_rate=1.0, max_iter=2, batch_size=len(X)).fit(
        X, y
    )
    want = best.log_marginal_likelihood_value_
    # its jitter is a thousand times that of the collapsed form
    assert want - 1e-3 < ours.log_marginal_likelihood_value_ < want + 1e-6
    for a, b in zip(ours.predict(X, return_std=True), best.predict(X, return_std=True)):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.thorough
def test_mini_batches_learn_hyperparameters(rng):
    """Adam is on its way after 1500 steps: within 0.05 nats a row of L-BFGS's optimum.

    At its hyperparameters q(u) is optimal, so the bound is the collapsed one.
    """
    X, f = data(rng, 1000)
    y = f + 0.2 * rng.normal(size=len(f))
    best = SparseGPRegressor(inducing_points=30, normalize_y=True, random_state=0).fit(X, y)
    options = {"batch_size": 200, "max_iter": 1500, "tol": 0.0}
    ours = SVGP(inducing_points=30, random_state=0, **options).fit(X, y)
    gap = best.log_marginal_likelihood_value_ - ours.log_marginal_likelihood_value_
    assert -0.01 * len(X) < gap < 0.05 * len(X)
    same = SparseGPRegressor(
        ours.kernel_, inducing_points=ours.inducing_points_, normalize_y=True, **FIXED
    ).fit(X, y)  # fmt: skip
    want = same.log_marginal_likelihood_value_
    assert ours.log_marginal_likelihood_value_ == pytest.approx(want, abs=0.01)
    assert ours.n_iter_ == 1500 == len(ours.history_["elbo"])
    mean, std = ours.predict(X, return_std=True)
    assert np.sqrt(np.mean((mean - f) ** 2)) < 0.1
    assert np.median(std) == pytest.approx(0.2, abs=0.03)


@pytest.mark.thorough
def test_students_noise_bears_outliers(rng):
    X, f = data(rng, 400)
    y = f + 0.1 * rng.normal(size=len(f))
    y[::20] += 8.0
    error = {}
    for likelihood in ("gaussian", "student-t"):
        ours = SVGP(
            likelihood=likelihood, inducing_points=30, batch_size=400, max_iter=500,
            natural_learning_rate=0.3, learning_rate=0.03, random_state=0,
        ).fit(X, y)  # fmt: skip
        error[likelihood] = np.sqrt(np.mean((ours.predict(X) - f) ** 2))
    assert error["student-t"] < 0.15 < error["gaussian"]


@pytest.mark.thorough
def test_counts(rng):
    """Means of Poisson counts within 15 % of the truth, root mean square."""
    X, f = data(rng, 1000)
    y = rng.poisson(np.exp(1 + f))
    ours = SVGP(likelihood="poisson", inducing_points=30, max_iter=600, random_state=0).fit(X, y)
    mean, std = ours.predict(X, return_std=True)
    assert np.sqrt(np.mean((mean / np.exp(1 + f) - 1) ** 2)) < 0.15
    np.testing.assert_allclose(np.mean((y - mean) ** 2 / std**2), 1.0, atol=0.15)


@pytest.mark.parametrize("level", mostly_thorough([3000.0, 100.0]))
def test_large_counts(level, rng):
    """A step from f = 0 would overshoot past what exp can hold."""
    X, f = data(rng, 400)
    y = rng.poisson(level * np.exp(0.5 * f))
    ours = SVGP(likelihood="poisson", inducing_points=20, max_iter=300, random_state=0)
    rate = clone(ours).fit(X, y).predict(X)
    assert np.sqrt(np.mean((rate / level / np.exp(0.5 * f) - 1) ** 2)) < 0.1


@pytest.mark.parametrize("level", mostly_thorough([3000.0, 100.0]))
@pytest.mark.parametrize("learn_inducing_points", [False, True])
def test_large_counts_of_a_stream(level, learn_inducing_points, rng):
    X, f = data(rng, 400)
    y = rng.poisson(level * np.exp(0.5 * f))
    options = {"learn_inducing_points": learn_inducing_points, "random_state": 0}
    ours = SVGP(likelihood="poisson", inducing_points=20, **options)
    for _ in range(20):
        ours.partial_fit(X, y)
    assert np.sqrt(np.mean((ours.predict(X) / level / np.exp(0.5 * f) - 1) ** 2)) < 0.1


@pytest.mark.thorough
def test_small_batches_of_many_inducing_inputs_and_counts(rng):
    """Were dual parameters held where inducing inputs move, this fit would run away (seed 0)."""
    X = rng.uniform(-2, 2, size=(2000, 4))
    f = np.sin(2 * X[:, 0]) + 0.5 * X[:, 1] + 0.5 * np.cos(2 * X[:, 2] * X[:, 3])
    y = rng.poisson(30 * np.exp(0.7 * f))
    options = {"inducing_points": 60, "batch_size": 128, "max_iter": 600, "random_state": 0}
    ours = SVGP(likelihood="poisson", **options).fit(X, y)
    start = SVGP(likelihood="poisson", **FIXED, **options).fit(X, y)
    first = start.log_marginal_likelihood_value_
    assert ours.log_marginal_likelihood_value_ > first
    assert ours.history_["elbo"][20:].min() > 3 * first


def test_a_step_that_goes_too_far_says_so(rng):
    X, _ = data(rng, 50)
    ours = SVGP(likelihood="poisson", inducing_points=5, random_state=0).partial_fit(X, np.ones(50))
    far = np.repeat(X, 60, axis=0)  # a dozen steps
    with (
        np.errstate(all="ignore"),
        pytest.raises(FloatingPointError, match="natural_learning_rate"),
    ):
        ours.partial_fit(far, np.full(len(far), 1e8))


@pytest.mark.parametrize("link", ["logit", pytest.param("probit", marks=pytest.mark.thorough)])
def test_two_classes(link, rng):
    X, f = data(rng, 1000)
    labels = np.where(rng.random(len(f)) < 1 / (1 + np.exp(-4 * f)), "yes", "no")
    ours = SparseGPClassifier(link=link, inducing_points=30, max_iter=600, random_state=0)
    proba = ours.fit(X, labels).predict_proba(X)
    assert ours.classes_.tolist() == ["no", "yes"]
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    assert np.sqrt(np.mean((proba[:, 1] - 1 / (1 + np.exp(-4 * f))) ** 2)) < 0.06
    np.testing.assert_array_equal(ours.predict(X), ours.classes_[proba.argmax(axis=1)])
    options = {"inducing_points": 30, "max_iter": 20, "random_state": 0}
    few = clone(ours).set_params(**options).fit(X, labels).predict_proba(X)
    same = SVGP(likelihood=f"bernoulli-{link}", **options).fit(X, (labels == "yes").astype(int))
    np.testing.assert_allclose(same.predict(X), few[:, 1])


@pytest.mark.slow
@pytest.mark.parametrize("load", [load_breast_cancer, load_iris, load_wine])
def test_scikit_learns_sets_against_its_laplace_approximation(load):
    """Held-out log-loss not above its exact Gaussian process's, split seed 0, M = 50."""
    X, y = load(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    order = np.random.default_rng(0).permutation(len(y))
    train, test = np.split(order, [int(0.7 * len(y))])
    kernel = ConstantKernel(4.0) * RBF(np.sqrt(X.shape[1]))
    ours = SparseGPClassifier(kernel, inducing_points=50, max_iter=500, random_state=0)
    peer = GaussianProcessClassifier(kernel)
    loss = []
    for model in (ours, peer):
        proba = model.fit(X[train], y[train]).predict_proba(X[test])
        loss.append(-np.log(proba[np.arange(len(test)), y[test]]).mean())
    assert loss[0] < loss[1]
    assert ours.score(X[test], y[test]) > peer.score(X[test], y[test]) - 0.02


def test_streams(rng):
    """Parts of the rows, one after the other, come near the fit of all."""
    X, f = data(rng, 2000)
    y = f + 0.2 * rng.normal(size=len(f))
    ours = SVGP(KERNEL, inducing_points=30, batch_size=100, random_state=0, total_samples=2000)
    for _ in range(5):
        for part in np.array_split(np.arange(2000), 8):
            ours.partial_fit(X[part], y[part])
    assert ours.n_iter_ == 5 * 8 * 3
    assert np.sqrt(np.mean((ours.predict(X) - f) ** 2)) < 0.1
    labels = np.where(f > 0, "b", "a")
    classifier = SparseGPClassifier(inducing_points=20, batch_size=100, random_state=0)
    for _ in range(5):
        for part in np.array_split(np.arange(2000), 8):
            classifier.partial_fit(X[part], labels[part], classes=["a", "b"])
    assert classifier.score(X, labels) > 0.9
    with pytest.raises(ValueError, match="y holds labels that are not in classes"):
        classifier.partial_fit(X[:2], ["c", "a"])
    with pytest.raises(ValueError, match="link is 'probit' and was 'logit' in the steps"):
        classifier.set_params(link="probit").partial_fit(X, labels)
    with pytest.raises(ValueError, match="likelihood is 'student-t' and was 'gaussian' in the"):
        ours.set_params(likelihood="student-t").partial_fit(X, y)
    with pytest.raises(ValueError, match="classes is None in the first call"):
        SparseGPClassifier().partial_fit(X, labels)


def test_pickles_go_on(rng):
    X, f = data(rng)
    ours = SVGP(KERNEL, inducing_points=10, random_state=0).partial_fit(X, f)
    again = pickle.loads(pickle.dumps(ours))
    np.testing.assert_array_equal(again.predict(X), ours.predict(X))
    np.testing.assert_array_equal(
        again.partial_fit(X, f).predict(X), ours.partial_fit(X, f).predict(X)
    )


def test_the_same_seed_gives_the_same_bits(rng):
    X, f = data(rng)
    codes = np.digitize(f, [-0.5, 0.5])
    options = {"inducing_points": 10, "max_iter": 20, "batch_size": 50, "random_state": 3}
    first, second = (SparseGPClassifier(**options).fit(X, codes).predict_proba(X) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_an_optimizer_of_ones_own(rng):
    X, f = data(rng)
    options = {"inducing_points": 10, "max_iter": 20, "random_state": 3}
    ours = SVGP(KERNEL, optimizer=adam(0.02), **options).fit(X, f)
    same = SVGP(KERNEL, learning_rate=0.02, **options).fit(X, f)
    np.testing.assert_array_equal(ours.predict(X), same.predict(X))
    fixed = SVGP(KERNEL, learn_inducing_points=False, **options).fit(X, f)
    start = SVGP(KERNEL, **FIXED, **options).fit(X, f)
    np.testing.assert_array_equal(fixed.inducing_points_, start.inducing_points_)
    np.testing.assert_array_equal(start.kernel_.theta, KERNEL.theta)
    assert not np.allclose(fixed.kernel_.theta, KERNEL.theta)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"likelihood": "cauchy"}, "likelihood is 'cauchy'; wanted one of"),
        ({"likelihood": "student-t", "df": 2}, "df is 2; wanted a number > 2"),
        ({"likelihood": "poisson"}, "y must hold non-negative integers"),
        ({"likelihood": "bernoulli-logit"}, "y must hold only 0 and 1"),
        ({"natural_learning_rate": 1.5}, "natural_learning_rate is 1.5"),
        ({"learning_rate": 0}, "learning_rate is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"max_iter": 0}, "max_iter is 0"),
        ({"optimizer": "sgd"}, "optimizer is 'sgd'; wanted a fastvi.optimizers.Optimizer, a rate"),
        ({"inducing_selection": "best"}, "inducing_selection is 'best'"),
        ({"kernel": RBF(), "learn_kernel": False}, "learn_kernel=False keeps it"),
    ],
)
def test_parameters_out_of_range(options, message, rng):
    X, f = data(rng, 20)
    with pytest.raises(ValueError, match=message):
        SVGP(**options).fit(X, f)


def test_noise_where_there_is_none(rng):
    X, f = data(rng, 20)
    with pytest.raises(ValueError, match="this likelihood has no noise"):
        SparseGPClassifier(KERNEL).fit(X, f > 0)
    with pytest.raises(ValueError, match="link is 'cauchit'"):
        SparseGPClassifier(link="cauchit").fit(X, f > 0)
    with pytest.raises(ValueError, match="only one class"):
        SparseGPClassifier().fit(X, f > 100)


@pytest.mark.parametrize("likelihood", ["gaussian", "student-t", "bernoulli-probit", "poisson"])
def test_compiled_predictions_of_targets(likelihood, rng):
    X, f = data(rng, 100)
    y = {"bernoulli-probit": f > 0, "poisson": np.floor(np.exp(f))}.get(likelihood, f)
    ours = SVGP(likelihood=likelihood, inducing_points=12, max_iter=20, random_state=0).fit(X, y)
    new = rng.normal(size=(7, 2))
    for a, b in zip(ours.compiled()(new), ours.predict(new, return_std=True)):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_compiled_predictions_of_classes(n_classes, rng):
    X, f = data(rng, 100)
    y = np.digitize(f, [-0.3, 0.5][: n_classes - 1])
    ours = SparseGPClassifier(inducing_points=12, max_iter=20, random_state=0).fit(X, y)
    new = rng.normal(size=(7, 2))
    np.testing.assert_allclose(ours.compiled()(new), ours.predict_proba(new), atol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_threads_change_no_bit(n_classes, rng, monkeypatch):
    monkeypatch.setattr(gp_model, "TASK_FLOPS", 1e4)
    monkeypatch.setattr(gp_model, "chunk_rows", lambda m: 16)
    X, f = data(rng, 200)
    y = np.digitize(f, [-0.3, 0.5][: n_classes - 1])
    options = {"inducing_points": 12, "batch_size": 100, "max_iter": 10, "random_state": 0}
    results = set()
    for n_jobs in (1, 2, 8):
        ours = SparseGPClassifier(**options, n_jobs=n_jobs).fit(X, y)
        proba = ours.predict_proba(X).tobytes()
        results.add((proba, ours.log_marginal_likelihood_value_, ours.kernel_.theta.tobytes()))
    assert len(results) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda X: X[:1],
        lambda X: X[:7],
        lambda X: np.repeat(X[:5], 20, axis=0),
        lambda X: np.c_[X, np.full(len(X), 7.0)],
        lambda X: X * [1e-6, 1e6],
        lambda X: X + 1e5,
        lambda X: X.astype(np.float32),
    ],
    ids=["one row", "few rows", "duplicates", "constant column", "scales", "far", "single"],
)
@pytest.mark.parametrize("selection", ["kmeans", "greedy"])
def test_data_at_the_edges(change, selection, rng):
    X, f = data(rng, 100)
    X = change(X)
    f = np.resize(f, len(X))
    options = {"inducing_points": 20, "inducing_selection": selection, "random_state": 0}
    ours = SVGP(**options, max_iter=30).fit(X, f)
    mean, std = ours.predict(X, return_std=True)
    assert np.all(np.isfinite(mean))
    assert np.all(std > 0)
    assert np.isfinite(ours.log_marginal_likelihood_value_)
    assert len(ours.inducing_points_) <= min(20, len(np.unique(X, axis=0)))
    if len(X) > 1:
        y = f > np.median(f)
        proba = SparseGPClassifier(**options, max_iter=30).fit(X, y).predict_proba(X)
        np.testing.assert_allclose(proba.sum(axis=1), 1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (np.where(X > 1, np.nan, X), y), "NaN"),
        (lambda X, y: (X[:, :0], y), "0 feature"),
        (lambda X, y: (X[:0], y[:0]), "0 sample"),
    ],
)
@pytest.mark.parametrize("estimator", [SVGP(), SparseGPClassifier()])
def test_bad_data(change, message, estimator, rng):
    X, f = data(rng, 50)
    with pytest.raises(ValueError, match=message):
        clone(estimator).fit(*change(X, f > 0))


@pytest.mark.parametrize("likelihood", ["gaussian", "poisson"])
def test_averages_of_iterates_are_what_a_fit_ends_with(likelihood, rng):
    X, f = data(rng)
    seen, inner = [], adam()  # what the optimizer sees: inducing inputs as they are

    def update(gradient, state, hyper):
        seen.append((hyper.theta.copy(), hyper.z.copy()))
        return inner.update(gradient, state, hyper)

    options = {"inducing_points": 6, "batch_size": 50, "max_iter": 30, "random_state": 0}
    model = SVGP(likelihood=likelihood, **options)
    last = clone(model).set_params(optimizer=inner._replace(update=update)).fit(X, f > 0)
    ours = clone(model).set_params(optimizer=averaged(adam(), 10)).fit(X, f > 0)
    seen.append((last.kernel_.theta, last.inducing_points_))
    theta, z = (np.mean(part, axis=0) for part in zip(*seen[11:]))
    np.testing.assert_allclose(ours.kernel_.theta, theta, rtol=1e-12)
    np.testing.assert_allclose(ours.inducing_points_, z, rtol=1e-12, atol=1e-14)
    assert ours.log_marginal_likelihood_value_ == pytest.approx(
        ours.log_marginal_likelihood(theta), rel=1e-9
    )
    ours.partial_fit(X, f > 0)
    assert ours.n_iter_ == 36


@pytest.mark.parametrize("estimator", [SVGP(), SparseGPClassifier()])
def test_after_a_fit_that_failed_there_is_none(estimator, rng):
    X, f = data(rng, 40)
    ours = clone(estimator).set_params(max_iter=0)
    with pytest.raises(ValueError, match="max_iter is 0"):
        ours.fit(X, f > 0)
    with pytest.raises(NotFittedError):
        ours.predict(X)


@pytest.mark.parametrize("estimator", [SVGP(KERNEL), SparseGPClassifier(LATENT)])
def test_a_stream_after_a_fit_counts_its_rows(estimator, rng):
    """They are rows seen: a batch stands for them too, not for itself alone."""
    X, f = data(rng, 200)
    ours = clone(estimator).set_params(inducing_points=10, max_iter=20, random_state=0)
    other = clone(ours).set_params(total_samples=250.0)
    for model in (ours, other):
        model.fit(X, f > 0).partial_fit(X[:50], f[:50] > 0)
    np.testing.assert_array_equal(ours.predict(X), other.predict(X))


def test_streams_out_of_range(rng):
    X, f = data(rng, 20)
    for total in (0, -5, "x"):
        with pytest.raises(ValueError, match=f"total_samples is {total!r}; wanted a number > 0"):
            SVGP(total_samples=total).partial_fit(X, f)
    with pytest.raises(ValueError, match="wanted at least 2 labels"):
        SparseGPClassifier().partial_fit(X, np.zeros(20), classes=[0])
    classifier = SparseGPClassifier(inducing_points=5, max_iter=5).fit(X, f > 0)
    with pytest.raises(ValueError, match="wanted those of the first call"):
        classifier.partial_fit(X, f > 0, classes=[0, 1, 2])
    ours = SVGP(inducing_points=5).partial_fit(X, f).set_params(batch_size=0)
    with pytest.raises(ValueError, match="batch_size is 0"):
        ours.partial_fit(X, f)


@pytest.mark.parametrize("estimator", [SVGP()])
@pytest.mark.parametrize(("scale", "name"), [(1e200, "X"), (1e200, "y"), (1e-100, "y")])
def test_numbers_of_sizes_that_overflow(estimator, scale, name, rng):
    X, y = rng.normal(size=(20, 2)), rng.normal(size=20)
    with pytest.raises(ValueError, match=f"{name} holds numbers up to .*: scale {name}"):
        clone(estimator).fit(*((X * scale, y) if name == "X" else (X, y * scale)))


def test_joint_predictions_are_those_of_the_collapsed_regression(rng):
    X, f = data(rng)
    options = {"inducing_points": X[:20], **FIXED}
    best = SparseGPRegressor(KERNEL, **options).fit(X, f)
    ours = SVGP(KERNEL, **options, natural_learning_rate=1.0, max_iter=2, batch_size=len(X)).fit(
        X, f
    )
    for a, b in zip(ours.predict(X[:9], return_cov=True), best.predict(X[:9], return_cov=True)):
        np.testing.assert_allclose(a, b, atol=1e-5)
    with pytest.raises(RuntimeError, match="At most one"):
        ours.predict(X, return_std=True, return_cov=True)


@pytest.mark.parametrize("likelihood", ["gaussian", "student-t", "poisson", "bernoulli-probit"])
def test_draws_of_targets_have_the_predictions_moments(likelihood, rng):
    """20000 draws: means within 5 standard errors, covariances within 6 % of the variances."""
    X, f = data(rng, 100)
    y = np.round(np.exp(f)) if likelihood == "poisson" else f > 0
    ours = SVGP(likelihood=likelihood, df=9.0, inducing_points=10, max_iter=50, random_state=0)
    draws = ours.fit(X, y).sample_y(X[:4], 20_000, random_state=1)
    mean, std = ours.predict(X[:4], return_std=True)
    np.testing.assert_allclose(draws.mean(axis=1), mean, atol=5 * std.max() / np.sqrt(20_000))
    if likelihood.startswith("bernoulli"):
        with pytest.raises(ValueError, match="use sample_y"):
            ours.predict(X, return_cov=True)
        return
    _, covariance = ours.predict(X[:4], return_cov=True)
    np.testing.assert_allclose(np.sqrt(covariance.diagonal()), std, rtol=1e-9)
    np.testing.assert_allclose(np.cov(draws), covariance, atol=0.06 * std.max() ** 2)


@pytest.mark.parametrize("sampling", ["uniform", "replacement", "adaptive", "growing", "coupled"])
def test_mini_batches_of_any_kind(sampling, rng):
    """Estimates before the last steps on all rows have the bound after them as their mean.

    To 4 standard errors of 50 estimates, and what noisy natural steps leave between q and its
    optimum: about M / 4 (N / B) rate = 4 nats. Estimates have little noise (3 nats in the mean) as
    rows are alike: errors have one size, and no row is far from the grid of inducing inputs.
    """
    X, f = data(rng, 1000)
    y = f + 0.2 * rng.choice([-1.0, 1.0], len(f))
    grid = np.stack(np.meshgrid(*2 * [np.linspace(-2, 2, 5)]), axis=-1).reshape(-1, 2)
    model = SVGP(KERNEL, inducing_points=grid, **FIXED, batch_size=50, max_iter=150)
    model.set_params(sampling=sampling, natural_learning_rate=robbins_monro(), random_state=0).fit(
        X, y
    )
    bounds, sizes = model.history_["elbo"], model.history_["batch_size"]
    error = bounds[-50:].std(ddof=1) / np.sqrt(50)
    assert error < 5
    want = model.log_marginal_likelihood_value_
    assert bounds[-50:].mean() == pytest.approx(want, abs=4 * error + 4)
    assert ("noise" in model.history_) == (sampling in ("adaptive", "growing", "coupled"))
    if sampling in ("growing", "coupled"):
        assert sizes.max() > 50
    else:
        assert set(sizes.tolist()) == {50}
    assert np.all(np.diff(model.history_["rate"]) < 0)


def test_what_plans_of_batches_are_told(rng):
    """The noise is that of estimates from other batches, to 25 % from 200 of them."""
    X, f = data(rng, 400)
    model = SVGP(KERNEL, inducing_points=X[:6], **FIXED, max_iter=3, batch_size=400)
    learner = model.fit(X, f + 0.2 * rng.normal(size=len(f)))._learner
    step = learner.algorithm(noise=True).step
    here = learner.model.at(model._state.params.hyper)
    estimates, told = [], []
    for _ in range(200):
        rows = rng.integers(400, size=40)
        batch = Batch(Points(X[rows], f[rows], np.ones(40)), np.full(40, 10.0))
        estimates.append(here.local(model._state.params.sites, batch, None, rng).statistics)
        _, info = step(model._state, batch, rng)
        told.append(info["noise"])
        assert info["norms"].shape == (40,)
    spread = sum(np.var([e[k] for e in estimates], axis=0, ddof=1).sum() for k in range(2))
    assert np.mean(told) == pytest.approx(spread, rel=0.25)


def test_rates_are_refused_that_are_none():
    X = np.linspace(0, 1, 20)[:, None]
    for rate in (0.0, 1.5, "fast", adam()):
        with pytest.raises(ValueError, match="natural_learning_rate is"):
            SVGP(natural_learning_rate=rate).fit(X, X[:, 0])
    with pytest.raises(ValueError, match="sampling='importance' needs norms"):
        SVGP(sampling="importance").fit(X, X[:, 0])


def test_arrays_that_cannot_be_written_to_compile_nothing(rng):
    """Neither those of X nor those of what predicts."""
    X, f = data(rng, 40)
    ours = SVGP(KERNEL, inducing_points=5, max_iter=5, random_state=0).fit(X, f)
    want, before = ours.predict(X), len(kernels.gaussian.signatures)
    X.flags.writeable = False
    np.testing.assert_array_equal(ours.predict(X), want)
    ours.compiled()(X)
    assert len(kernels.gaussian.signatures) == before
