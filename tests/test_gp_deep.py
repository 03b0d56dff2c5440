"""`fastvi.DeepGPRegressor` and `DeepGPClassifier`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deep_slopes import STEP, along_directions
from scipy.special import logsumexp
from scipy.stats import norm
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, Matern, WhiteKernel
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastvi
from fastvi import SVGP, DeepGPClassifier, DeepGPRegressor
from fastvi.base import tree
from fastvi.core import Batch
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.deep.layer import Kind
from fastvi.models.gp.deep.model import Deep, DeepHyper
from fastvi.models.gp.likelihoods import named
from fastvi.models.gp.model import Params, SparseVariational
from fastvi.models.gp.rows import Points

SHORT: dict[str, Any] = {"inducing_points": 8, "max_iter": 30, "tol": 0, "random_state": 0}
RNG = np.random.default_rng(3)
X = RNG.uniform(-2.0, 2.0, (90, 2))
Y = np.sin(2.0 * X[:, 0]) + 0.1 * RNG.normal(size=90)
KERNELS = {
    "RBF": ConstantKernel(1.3) * RBF([0.8, 1.1]),
    "linear and noise": ConstantKernel(0.7) * RBF(0.8)
    + ConstantKernel(0.3) * DotProduct(0.5)
    + WhiteKernel(0.01),
    "product": ConstantKernel(1.1) * Matern(0.9, nu=2.5) * RBF(2.0),
}


def a_model(
    kernel: Any, connected: bool, rng: np.random.Generator, n_draws: int = 3
) -> tuple[Deep, Params, Batch]:
    """A model of three layers at parameters far from where fits start, and a batch."""
    d, t, m, n = 2, 2, 5, 16
    d2 = t + d * connected
    kinds = (
        Kind(Covariance(kernel, d, 1e-3), rng.normal(size=(d, t))),
        Kind(Covariance(ConstantKernel(1.0) * RBF(1.2), d2, 1e-3), rng.normal(size=(d2, t))),
    )
    top = ConstantKernel(0.7) * RBF(0.9) + ConstantKernel(0.2) * DotProduct(1.0) + WhiteKernel(0.1)
    last = SparseVariational(Covariance(top, d2), named("gaussian", 4.0), np.zeros(d2))
    model = Deep(kinds, last, n_draws, connected, np.array([[0.1, -0.2], [1.5, 0.7]]))
    params = model.start(tuple(rng.normal(size=(m, width)) for width in (d, d2, d2)))
    hidden = tuple(
        each._replace(
            mean=0.3 * rng.normal(size=each.mean.shape), root=0.5 * rng.normal(size=each.root.shape)
        )
        for each in params.hyper.hidden
    )
    root = rng.normal(size=(1, m, m))
    sites = params.sites._replace(
        linear=rng.normal(size=(1, m)), precision=root @ root.transpose(0, 2, 1)
    )
    points = Points(rng.normal(size=(n, d)), rng.normal(size=n), rng.uniform(0.5, 2.0, n))
    hyper = DeepHyper(hidden, params.hyper.last)
    return model, Params(sites, hyper), Batch(points, np.full(n, 2.0))


@pytest.mark.jit
@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize("kernel", KERNELS.values(), ids=list(KERNELS))
def test_gradients_equal_differences(kernel: Any, connected: bool, rng: Any) -> None:
    model, (sites, hyper), batch = a_model(kernel, connected, rng)

    for slope, want, end in along_directions(model, sites, hyper, batch, rng):
        # differences are exact to their second order and to the rounding of the bound by the step
        noise = 1e-15 * abs(end) * 1e2 / STEP
        assert slope == pytest.approx(want, rel=1e-6, abs=noise + 1e-6)


def test_the_kept_pass_is_the_one_taken_again(rng: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks that the reverse pass takes again, on threads, give the same gradient."""
    model, (sites, hyper), _ = a_model(KERNELS["RBF"], False, rng)
    rows = Batch(
        Points(rng.normal(size=(400, 2)), rng.normal(size=400), np.ones(400)), np.ones(400)
    )

    def gradient() -> list[Any]:
        here = Deep(*(model.kinds, model.last, 1, False, model.units)).at(hyper)
        here.model.n_threads = n_threads
        return tree.leaves(here.evaluate(sites, rows, np.random.default_rng(1)).gradient)

    n_threads = 1
    whole = gradient()
    monkeypatch.setattr("fastvi.models.gp.deep.layer.KEPT_ENTRIES", 0)
    monkeypatch.setattr("fastvi.models.gp.deep.layer.CHUNK_ENTRIES", 0)
    chunked = gradient()
    n_threads = 2
    for a, b, c in zip(whole, chunked, gradient()):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * (1.0 + np.abs(a).max(initial=0.0)))
        np.testing.assert_array_equal(b, c)


def test_no_hidden_layer_is_svgp() -> None:
    """The bound at the same kernel and inducing inputs, in the units of scaled columns."""
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    kernel = ConstantKernel(0.8) * RBF(0.7) + WhiteKernel(0.02)
    options: dict[str, Any] = {
        "learn_kernel": False, "learn_inducing_points": False, "batch_size": 90, "max_iter": 3,
        "tol": 0, "random_state": 0,
    }  # fmt: skip
    deep = DeepGPRegressor((), kernel=kernel, inducing_points=X[:10], **options).fit(X, Y)
    shallow = SVGP(kernel, inducing_points=scaled[:10], **options).fit(scaled, Y)
    assert deep.elbo_ == pytest.approx(shallow.elbo_, rel=1e-8)
    for a, b in zip(deep.predict(X, return_std=True), shallow.predict(scaled, return_std=True)):
        np.testing.assert_allclose(a, b, rtol=1e-7)


def test_one_hidden_unit_equals_quadrature(rng: Any) -> None:
    """The expected bound over one hidden unit, by 60 nodes: draws agree within their error."""
    m, n, n_draws = 6, 12, 4000
    kind = Kind(Covariance(ConstantKernel(1.0) * RBF(1.0), 1, 1e-3), np.ones((1, 1)))
    top = ConstantKernel(0.7) * RBF(0.9) + WhiteKernel(0.1)
    last = SparseVariational(Covariance(top, 1), named("gaussian", 4.0), np.zeros(1))
    model = Deep((kind,), last, n_draws, False, np.array([[0.0], [1.0]]))
    z = np.linspace(-2, 2, m)[:, None]
    params = model.start((z, z))
    hidden = params.hyper.hidden[0]
    hidden = hidden._replace(
        mean=rng.normal(size=(1, m)), root=np.tril(0.6 * rng.normal(size=(1, m, m)))
    )
    hyper = DeepHyper((hidden,), params.hyper.last)
    sites = params.sites._replace(
        linear=3.0 * rng.normal(size=(1, m)), precision=2.0 * np.eye(m)[None]
    )
    points = Points(rng.normal(size=(n, 1)), rng.normal(size=n), np.ones(n))
    here = model.at(hyper)
    mean, variance = here.layers[0].moments(points.x)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    want = -here.divergence()
    for node, weight in zip(nodes, weights / weights.sum()):
        inputs = Points(mean + np.sqrt(variance) * node, points.y, points.weights)
        want += weight * here.last.bound(sites, inputs)[0]
    draws = [
        here.evaluate(sites, Batch(points, np.ones(n)), np.random.default_rng(s), gradient=False)
        for s in range(8)
    ]
    found = [draw.bound for draw in draws]
    error = np.std(found, ddof=1) / np.sqrt(8)
    assert np.mean(found) == pytest.approx(want, abs=4.0 * error)


def test_a_linear_top_is_the_shallow_process() -> None:
    """With a linear function of one hidden unit the model is a shallow process of that kernel."""
    x, y = X[:, :1], np.sin(2.0 * X[:, 0]) + 0.1 * RNG.normal(size=90)
    inner = ConstantKernel(1.0) * RBF(0.5)
    linear = ConstantKernel(1.0) * DotProduct(1e-3) + WhiteKernel(0.01)
    fitted = DeepGPRegressor(
        1, kernel=[inner, linear], learn_kernel=False, inducing_points=25, batch_size=90,
        max_iter=800, tol=0, random_state=0,
    ).fit(x, y)  # fmt: skip
    assert np.sqrt(np.mean(np.square(fitted.predict(x) - np.sin(2.0 * x[:, 0])))) < 0.06


def test_a_step_function() -> None:
    """Shallow processes ring beside a step; deep ones need not (GPflux #75, GPyTorch #1067)."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (200, 1))
    y = np.sign(x[:, 0]) + 0.05 * rng.normal(size=200)
    grid = np.linspace(-1, 1, 401)[:, None]
    gap = x[x < 0].max(), x[x > 0].min()  # where no row says where the step is
    outside = grid[(grid <= gap[0]) | (grid >= gap[1])][:, None]

    def error(*sizes: int) -> float:
        model = DeepGPRegressor(sizes, inducing_points=20, max_iter=800, tol=0, random_state=0)
        away = model.fit(x, y).predict(outside) - np.sign(outside[:, 0])
        return float(np.sqrt(np.square(away).mean()))

    assert error(1) < 0.5 * error()


def test_predictions_are_mixtures_over_draws() -> None:
    model = DeepGPRegressor(**SHORT, n_predictive_draws=16).fit(X, Y)
    mean, deviation = model.predict(X, return_std=True)
    latent_mean, latent_variance = model._predictive.latents(X)
    offset, scale = model._y_units
    noise = model.kernels_[-1].k2.noise_level
    means = latent_mean[:, :, 0] * scale + offset
    spreads = np.sqrt(latent_variance[:, :, 0] + noise) * scale
    np.testing.assert_allclose(mean, means.mean(axis=0))
    total = np.square(spreads).mean(axis=0) + means.var(axis=0)
    np.testing.assert_allclose(deviation, np.sqrt(total))
    want = logsumexp(norm.logpdf(Y, means, spreads), axis=0) - np.log(16)
    np.testing.assert_allclose(model.log_predictive_density(X, Y), want)
    np.testing.assert_array_equal(model.compiled()(X)[0], mean)
    np.testing.assert_allclose(model.predict(X[3:5]), mean[3:5], rtol=1e-12)


def test_joint_draws_have_the_moments_of_predictions() -> None:
    model = DeepGPRegressor(**SHORT, n_predictive_draws=512).fit(X, Y)
    rows = X[:4]
    draws = model.sample_y(rows, 2000, random_state=1)
    mean, deviation = model.predict(rows, return_std=True)
    error = deviation / np.sqrt(2000)
    assert np.all(np.abs(draws.mean(axis=1) - mean) < 5.0 * error)
    np.testing.assert_allclose(draws.std(axis=1), deviation, rtol=0.12)  # 5 standard errors


def test_several_targets_and_weights() -> None:
    both = np.stack((Y, 3.0 * np.cos(X[:, 1])), axis=1)
    model = DeepGPRegressor((2,), input_connections=True, **SHORT).fit(X, both)
    assert model.predict(X).shape == both.shape
    assert model.sample_y(X[:3], 2).shape == (3, 2, 2)
    assert model.log_predictive_density(X, both).shape == (90,)
    weights = np.where(np.arange(90) < 45, 1.0, 0.0)
    whole = {**SHORT, "batch_size": 90}
    heavy = DeepGPRegressor(**whole).fit(X, Y, sample_weight=weights)
    alone = DeepGPRegressor(**whole).fit(X[:45], Y[:45])
    np.testing.assert_array_equal(heavy.predict(X), alone.predict(X))


def test_classes() -> None:
    digits = load_digits(n_class=3)
    rows, labels = digits.data[:300], digits.target[:300]
    options = {**SHORT, "inducing_points": 20, "max_iter": 120}
    model = DeepGPClassifier(3, **options).fit(rows, labels)
    assert model.score(digits.data[300:], digits.target[300:]) > 0.9
    proba = model.predict_proba(rows)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    np.testing.assert_array_equal(model.compiled()(rows), proba)


@pytest.mark.parametrize("kind", [DeepGPRegressor, DeepGPClassifier])
def test_files_and_streams(kind: Any, tmp_path: Path) -> None:
    y = Y if kind is DeepGPRegressor else Y > 0
    kernel = [None, ConstantKernel(1.0) * RBF(1.0)]
    model = kind((3,), kernel=kernel, input_connections=True, **SHORT).fit(X, y)
    model.save(tmp_path / "deep.npz")
    read = fastvi.load(tmp_path / "deep.npz")
    first = {"classes": [False, True]} if kind is DeepGPClassifier else {}
    np.testing.assert_array_equal(read.predict(X), model.predict(X))
    read.partial_fit(X[:20], y[:20])
    assert read.n_iter_ == model.n_iter_ + 1
    assert read.get_params()["kernel"][0] is None
    stream = kind(**{**SHORT, "max_iter": 1})
    for start in range(0, 90, 30):
        rows = slice(start, start + 30)
        stream.partial_fit(X[rows], y[rows], **(first if start == 0 else {}))
    assert stream.n_iter_ == 3


def test_a_fit_goes_on_where_it_stopped(tmp_path: Path) -> None:
    options = {**SHORT, "batch_size": 30, "max_iter": 12}
    whole = DeepGPRegressor(**options).fit(X, Y)
    model, path = DeepGPRegressor(**options), tmp_path / "fit.npz"
    model.fit(X, Y, checkpoint=path, callback=lambda state: state.n_steps == 5)
    model.fit(X, Y, checkpoint=path, resume=True)
    np.testing.assert_array_equal(model.predict(X), whole.predict(X))
    threads = DeepGPRegressor(**options, n_jobs=2).fit(X, Y)
    np.testing.assert_array_equal(threads.predict(X), whole.predict(X))


@parametrize_with_checks(
    [
        DeepGPRegressor(inducing_points=10, max_iter=5, tol=0),
        DeepGPClassifier(inducing_points=10, max_iter=60, tol=0),
    ],
    expected_failed_checks=lambda estimator: {
        "check_sample_weight_equivalence_on_dense_data": "two rows have two draws of hidden units, "
        "a row of weight 2 has one: the same bound, but other noise"
    },
)
def test_scikit_learn_agrees(estimator: Any, check: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        check(estimator)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_layer_sizes": (2, 0)}, "hidden_layer_sizes is 0"),
        ({"hidden_layer_sizes": "two"}, "hidden_layer_sizes is 't'"),
        ({"kernel": [RBF()]}, "kernel has 1 parts"),
        ({"kernel": [RBF([1.0, 1.0, 1.0]), None]}, "length_scale of"),
        ({"n_draws": 0}, "n_draws is 0"),
        ({"n_predictive_draws": 0}, "n_predictive_draws is 0"),
        ({"sampling": "adaptive"}, "sampling is 'adaptive'"),
        ({"inducing_points": X[:, :1]}, "inducing_points has shape"),
    ],
)
def test_messages(options: dict[str, Any], message: str) -> None:
    model = DeepGPRegressor(**{**SHORT, **options})
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y)
    assert not hasattr(model, "kernels_")


@pytest.mark.slow
@pytest.mark.parametrize(("sizes", "least"), [(8, 1.28), ((8, 8), 1.30)])
def test_published_figures_of_kin8nm(sizes: Any, least: float, data_dir: Path) -> None:
    """Salimbeni and Deisenroth's notebook: 1.2913 and 1.3039 after 5000 steps, by Adam alone."""
    data = np.load(data_dir / "regression" / "kin8nm.npz")
    rows = np.random.default_rng(0).permutation(len(data["X"]))
    train, test = rows[:7372], rows[7372:]
    model = DeepGPRegressor(sizes, batch_size=1000, max_iter=2000, tol=0, random_state=0)
    model.fit(data["X"][train], data["y"][train])
    assert model.log_predictive_density(data["X"][test], data["y"][test]).mean() > least
