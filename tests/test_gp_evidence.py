"""Bounds after a fit, as methods: values, gradients, and what there is without rows."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel

import fastvi
from fastvi import SVGP, SparseGPClassifier, SparseGPRegressor

pytestmark = [
    pytest.mark.jit,
    pytest.mark.filterwarnings("ignore:max_iter=:sklearn.exceptions.ConvergenceWarning"),
]
LATENT = ConstantKernel(1.5) * RBF([0.8, 1.3])
NOISY = LATENT + WhiteKernel(0.1)
FIXED = {"learn_kernel": False, "learn_inducing_points": False}
OPTIONS = {"inducing_points": 12, "max_iter": 30, "batch_size": 60, "random_state": 0}
LIKELIHOODS = {
    "gaussian": SVGP(NOISY, **OPTIONS),
    "student-t": SVGP(Matern(0.7, nu=1.5) + WhiteKernel(0.1), likelihood="student-t", **OPTIONS),
    "poisson": SVGP(LATENT, likelihood="poisson", **OPTIONS),
    "logit": SparseGPClassifier(LATENT, **OPTIONS),
    "probit": SparseGPClassifier(LATENT, link="probit", **OPTIONS),
}


def data(rng, n=120):
    X = rng.uniform(-2, 2, size=(n, 2))
    f = np.sin(2 * X[:, 0]) + 0.5 * X[:, 1]
    return X, np.round(np.exp(f)), f + 0.1 * rng.normal(size=n)


def fitted(name, rng):
    X, counts, y = data(rng)
    targets = {"gaussian": y, "student-t": y, "poisson": counts}
    return clone(LIKELIHOODS[name]).fit(X, targets.get(name, y > 0))


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_gradients_are_finite_differences(name, rng):
    """Central ones of 1e-5: within 1e-5 of the largest, whose rounding is 1e-16 * 1e2 / 1e-5."""
    model = fitted(name, rng)
    assert model.log_marginal_likelihood() == model.log_marginal_likelihood_value_
    here = model.log_marginal_likelihood(model.kernel_.theta)
    assert here == pytest.approx(model.log_marginal_likelihood_value_, rel=1e-9)
    theta = model.kernel_.theta + rng.normal(size=len(model.kernel_.theta)) * 0.2
    value, gradient = model.log_marginal_likelihood(theta, eval_gradient=True)
    assert value == pytest.approx(model.log_marginal_likelihood(theta), rel=1e-12)
    steps = 1e-5 * np.eye(len(theta))
    want = [
        (model.log_marginal_likelihood(theta + step) - model.log_marginal_likelihood(theta - step))
        / 2e-5
        for step in steps
    ]
    np.testing.assert_allclose(gradient, want, atol=1e-5 * np.abs(want).max())


def test_gradients_of_classes_are_near_finite_differences(rng):
    """Derivatives by the variance are expectations of their own: equal but for draws' noise."""
    X, _, y = data(rng, 400)
    model = SparseGPClassifier(LATENT, **OPTIONS).fit(X, np.digitize(y, [-0.4, 0.5]))
    theta = model.kernel_.theta + 0.1
    value, gradient = model.log_marginal_likelihood(theta, eval_gradient=True)
    assert value == model.log_marginal_likelihood(theta)  # the same draws
    want = [
        (model.log_marginal_likelihood(theta + step) - model.log_marginal_likelihood(theta - step))
        / 2e-3
        for step in 1e-3 * np.eye(len(theta))
    ]
    np.testing.assert_allclose(gradient, want, atol=0.1 * np.abs(want).max())


def test_at_its_optimum_the_gradient_is_that_of_the_collapsed_bound(rng):
    """q(u) of `fit` is optimal there, and what depends on it has no slope; elsewhere it is less."""
    model = fitted("gaussian", rng)
    X, y = model._rows.x, model._rows.y
    best = SparseGPRegressor(
        model.kernel_, inducing_points=model.inducing_points_, **FIXED
    ).fit(X, y)  # fmt: skip
    got, want = (
        each.log_marginal_likelihood(model.kernel_.theta, eval_gradient=True)
        for each in (model, best)
    )
    assert got[0] == pytest.approx(want[0], abs=1e-3)  # the jitter of dual parameters is larger
    np.testing.assert_allclose(got[1], want[1], rtol=1e-3, atol=1e-3 * np.abs(want[1]).max())
    for _ in range(5):
        theta = model.kernel_.theta + rng.normal(size=len(model.kernel_.theta)) * 0.3
        assert model.log_marginal_likelihood(theta) < best.log_marginal_likelihood(theta) + 1e-3


@pytest.mark.parametrize("estimator", [SVGP(NOISY), SparseGPClassifier(LATENT)])
def test_other_theta_change_no_prediction(estimator, rng):
    X, _, y = data(rng)
    model = clone(estimator).set_params(**OPTIONS).fit(X, y > 0)
    before, theta = model.predict(X), model.kernel_.theta + 0.3
    model.log_marginal_likelihood(theta, eval_gradient=True)
    np.testing.assert_array_equal(model.predict(X), before)
    assert not np.allclose(model.kernel_.theta, theta)
    model.log_marginal_likelihood(theta, clone_kernel=False)
    np.testing.assert_allclose(model.kernel_.theta, theta)
    np.testing.assert_array_equal(model.predict(X), before)


@pytest.mark.parametrize("estimator", [SVGP(NOISY), SparseGPClassifier(LATENT)])
def test_without_rows_there_is_no_bound(estimator, tmp_path, rng):
    X, _, y = data(rng)
    model = clone(estimator).set_params(**OPTIONS)
    with pytest.raises(NotFittedError):
        model.log_marginal_likelihood()
    model.fit(X, y > 0).save(tmp_path / "gp.npz")
    back = fastvi.load(tmp_path / "gp.npz")
    assert back.log_marginal_likelihood() == model.log_marginal_likelihood()
    theta = model.kernel_.theta
    with pytest.raises(ValueError, match="from a file or from partial_fit holds no rows"):
        back.log_marginal_likelihood(theta)
    model.partial_fit(X, y > 0)
    with pytest.raises(ValueError, match="from a file or from partial_fit holds no rows"):
        model.log_marginal_likelihood(theta)
    with pytest.raises(ValueError, match="partial_fit keeps no rows to evaluate the bound on"):
        model.log_marginal_likelihood()
    assert not hasattr(model, "log_marginal_likelihood_value_")


@pytest.mark.parametrize(
    "estimator", [SparseGPRegressor(NOISY, **FIXED), SVGP(NOISY), SparseGPClassifier(LATENT)]
)
def test_theta_that_is_none(estimator, rng):
    X, _, y = data(rng)
    model = clone(estimator).set_params(inducing_points=5, max_iter=9).fit(X, y > 0)
    with pytest.raises(ValueError, match="Gradient can only be evaluated for theta"):
        model.log_marginal_likelihood(eval_gradient=True)
    n = len(model.kernel_.theta)
    for theta in (np.zeros(n + 1), np.full(n, np.nan), np.zeros((1, n))):
        with pytest.raises(ValueError, match=f"theta has shape .*; wanted {n} finite numbers"):
            model.log_marginal_likelihood(theta)
