"""`sample_weight` and `class_weight` of Gaussian processes."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel

import fastvi
from fastvi import SVGP, SparseGPClassifier, SparseGPRegressor
from fastvi.models.gp import sgpr
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.sgpr import SparseRegression

pytestmark = [
    pytest.mark.jit,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),  # few steps
]
LATENT = ConstantKernel(1.5) * RBF([0.8, 1.3])
OPTIONS = {"batch_size": 1000, "max_iter": 10, "random_state": 0}
ESTIMATORS = {
    "gaussian": SVGP(**OPTIONS),
    "student-t": SVGP(LATENT + WhiteKernel(0.1), likelihood="student-t", **OPTIONS),
    "poisson": SVGP(LATENT, likelihood="poisson", **OPTIONS),
    "two classes": SparseGPClassifier(**OPTIONS),
    "balanced": SparseGPClassifier(class_weight="balanced", **OPTIONS),
}


def data(rng, name, n=60):
    X = rng.uniform(-2, 2, (n, 2))
    f = np.sin(2 * X[:, 0]) + 0.5 * X[:, 1]
    if name in ("gaussian", "student-t"):
        return X, f + 0.2 * rng.normal(size=n)
    return X, rng.poisson(np.exp(f)) if name == "poisson" else f > 0.4


@pytest.mark.parametrize("name", ESTIMATORS)
def test_weight_two_is_the_row_twice_and_weight_zero_the_row_left_out(name, rng):
    X, y = data(rng, name)
    weights = rng.integers(0, 4, len(X)).astype(float)
    weights[:3] = 0.0, 1.0, 2.0
    rows = np.repeat(np.arange(len(X)), weights.astype(int))
    estimator = clone(ESTIMATORS[name]).set_params(inducing_points=X[:12])
    ours = clone(estimator).fit(X, y, weights)
    want = clone(estimator).fit(X[rows], y[rows])
    assert ours.elbo_ == pytest.approx(want.elbo_, rel=1e-9)
    np.testing.assert_allclose(ours.kernel_.theta, want.kernel_.theta, rtol=1e-6)
    new = rng.uniform(-2, 2, (5, 2))
    for a, b in zip(ours.latent_mean_and_variance(new), want.latent_mean_and_variance(new)):
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("noise", [0.1, 1e-9], ids=["sums", "solves"])
@pytest.mark.parametrize("kernel", [LATENT, LATENT + DotProduct()], ids=["gaussian", "any"])
def test_weights_of_the_collapsed_bound_are_repeated_rows(noise, kernel, rng, monkeypatch):
    """Bound and gradient, in several chunks and tasks; then start and fit of the estimator."""
    X, y = data(rng, "gaussian", 300)
    weights = rng.integers(1, 4, 300).astype(float)
    rows = np.repeat(np.arange(300), weights.astype(int))
    covariance = Covariance(kernel + WhiteKernel(noise), 2)
    monkeypatch.setattr(sgpr, "chunk_rows", lambda m: 64)
    monkeypatch.setattr(sgpr, "TASK_FLOPS", 1e5)
    ours = SparseRegression(covariance, X, y[:, None], weights=weights)
    want = SparseRegression(covariance, X[rows], y[rows, None])
    ours, want = (each.bound(covariance.theta, X[:12]) for each in (ours, want))
    assert ours.value == pytest.approx(want.value, rel=1e-9)
    for a, b in ((ours.by_theta, want.by_theta), (ours.by_z, want.by_z)):
        np.testing.assert_allclose(a, b, atol=1e-7 * np.abs(b).max())


def test_weights_of_regressions(rng):
    """Rounding sets L-BFGS apart, iteration by iteration."""
    X, y = data(rng, "gaussian")
    weights = rng.integers(0, 4, 60)
    rows = np.repeat(np.arange(60), weights)
    model = SparseGPRegressor(normalize_y=True, inducing_points=X[:12], max_iter=3)
    ours, want = clone(model).fit(X, y, weights), clone(model).fit(X[rows], y[rows])
    assert ours.elbo_ == pytest.approx(want.elbo_, abs=1e-4)
    np.testing.assert_allclose(ours.predict(X), want.predict(X), atol=1e-4)
    other = clone(model).fit(X, y, weights, X_val=X, y_val=y)
    assert other.elbo_ == ours.elbo_
    with pytest.raises(ValueError, match=r"[wW]eight"):
        clone(model).fit(X, y, np.zeros(60))


def test_weights_of_more_classes(rng):
    """The draws of softmax differ by row, so bounds agree to their noise."""
    X, f = data(rng, "gaussian", 90)
    y, weights = np.digitize(f, [-0.5, 0.5]), rng.integers(0, 3, 90)
    model = SparseGPClassifier(LATENT, inducing_points=X[:12], **OPTIONS)
    ours = clone(model).fit(X, y, weights)
    want = clone(model).fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    assert ours.elbo_ == pytest.approx(want.elbo_, rel=0.05)


@pytest.mark.parametrize("sampling", ["uniform", "adaptive", "coupled"])
def test_weights_in_mini_batches_and_streams(sampling, rng):
    """Rows that weights move: fits follow those that count."""
    X = rng.uniform(-2, 2, (400, 1))
    y = np.where(np.arange(400) % 2, 1.0, -1.0) + 0.1 * rng.normal(size=400)
    weights = np.where(np.arange(400) % 2, 3.0, 1.0)
    options = {"batch_size": 40, "max_iter": 200, "learn_kernel": False, "random_state": 0}
    kernel = ConstantKernel(1.0) * RBF(3.0) + WhiteKernel(1.0)
    model = SVGP(kernel, inducing_points=5, sampling=sampling, **options).fit(X, y, weights)
    assert abs(model.predict(X).mean() - 0.5) < 0.05
    if sampling == "uniform":
        stream = SVGP(kernel, inducing_points=5, natural_learning_rate=0.05, **options)
        for _ in range(20):
            stream.partial_fit(X, y, sample_weight=weights)
        assert abs(stream.predict(X).mean() - 0.5) < 0.1


@pytest.mark.parametrize("total", [None, 500.0])
def test_weights_in_streams_count_rows(total, rng, tmp_path):
    """Weights of a second part that differ from those of the first, and some that are 0."""
    X, y = data(rng, "poisson", 40)
    model = clone(ESTIMATORS["poisson"]).set_params(
        inducing_points=X[:8], learn_inducing_points=False, learn_kernel=False, total_samples=total
    )
    ours, want = clone(model), clone(model)
    for part, weights in ((slice(20), np.arange(20) % 2), (slice(20, 40), np.arange(20) % 4)):
        ours.partial_fit(X[part], y[part], weights)
        want.partial_fit(np.repeat(X[part], weights, axis=0), np.repeat(y[part], weights))
        np.testing.assert_allclose(ours.predict(X), want.predict(X), rtol=1e-9)
        ours.save(tmp_path / "gp.npz")
        ours = fastvi.load(tmp_path / "gp.npz")


def test_class_weights_are_weights_of_rows(rng, tmp_path):
    X, y = data(rng, "two classes")
    labels = np.where(y, "yes", "no")
    model = SparseGPClassifier(LATENT, inducing_points=X[:12], **OPTIONS)
    want = clone(model).fit(X, labels, np.where(y, 3.0, 0.5))
    ours = clone(model).set_params(class_weight={"yes": 3.0, "no": 0.5}).fit(X, labels)
    assert ours.elbo_ == want.elbo_
    balanced = clone(model).set_params(class_weight="balanced").fit(X, labels)
    shares = len(y) / (2 * np.where(y, y.sum(), (~y).sum()))
    assert balanced.elbo_ == clone(model).fit(X, labels, shares).elbo_
    ours.save(tmp_path / "gp.npz")
    loaded = fastvi.load(tmp_path / "gp.npz")
    assert loaded.class_weight == ours.class_weight
    np.testing.assert_array_equal(loaded.predict_proba(X), ours.predict_proba(X))
    stream = clone(loaded).partial_fit(X, labels, ["no", "yes"])
    same = clone(model).partial_fit(X, labels, ["no", "yes"], np.where(y, 3.0, 0.5))
    np.testing.assert_array_equal(stream.predict_proba(X), same.predict_proba(X))


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("even", "class_weight is 'even'; wanted 'balanced', None, or a dict"),
        ({"maybe": 2.0}, "class_weight is .*; wanted 'balanced', None, or a dict"),
        ({False: -1.0}, "class_weight"),
    ],
)
def test_class_weights_that_are_refused(given, wanted, rng):
    X, y = data(rng, "two classes")
    with pytest.raises(ValueError, match=wanted):
        SparseGPClassifier(class_weight=given, inducing_points=5, max_iter=1).fit(X, y)


def test_weights_that_are_refused(rng):
    X, y = data(rng, "gaussian")
    model = SVGP(inducing_points=5, max_iter=1)
    for weights in (np.zeros(60), -np.ones(60), np.ones(59), np.full(60, np.nan)):
        with pytest.raises(ValueError, match=r"[wW]eight"):
            clone(model).fit(X, y, weights)
    stream = SparseGPClassifier(class_weight="balanced", inducing_points=5)
    with pytest.raises(ValueError, match="needs all rows"):
        stream.partial_fit(X, y > 0, [False, True])


def test_checkpoints_know_the_weights(rng, tmp_path):
    X, y = data(rng, "gaussian")
    model = clone(ESTIMATORS["gaussian"]).set_params(inducing_points=5)
    path = tmp_path / "checkpoint.npz"
    weights = rng.uniform(0.5, 2.0, len(X))
    model.set_params(max_iter=5).fit(X, y, weights, checkpoint=path)
    model.set_params(max_iter=10).fit(X, y, weights, checkpoint=path, resume=True)
    assert model.elbo_ == clone(model).fit(X, y, weights).elbo_
    with pytest.raises(ValueError, match="another fit"):
        model.fit(X, y, 2 * weights, checkpoint=path, resume=True)
