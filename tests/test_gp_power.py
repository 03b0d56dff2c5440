"""`fastvi.SparseEP`: power expectation propagation with inducing inputs."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastvi
from fastvi import SparseEP
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.ep import propagate
from fastvi.models.gp.power import PowerPropagation
from fastvi.models.gp.sgpr import SparseRegression
from fastvi.models.gp.sitewise import SITEWISE, of_name
from fastvi.models.gp.variational import SVGP
from fastvi.propagation import tilted

RNG = np.random.default_rng(0)
N = 80
X = RNG.normal(size=(N, 2))
F = 2.0 * np.sin(2.0 * X[:, 0]) + X[:, 1]
TARGETS = {
    "gaussian": F + 0.3 * RNG.normal(size=N),
    "student-t": F + 0.3 * RNG.standard_t(3, N),
    "poisson": RNG.poisson(np.exp(0.5 * F)).astype(float),
    "bernoulli-probit": (F + RNG.normal(size=N) > 0).astype(float),
    "bernoulli-logit": (F + RNG.logistic(size=N) > 0).astype(float),
    "ordinal": np.digitize(F + RNG.normal(size=N), [-1.0, 0.5]).astype(float),
}
COUNTS = np.array([2.0, 1.0, 0.4])[np.arange(N) % 3]
LATENT = ConstantKernel(2.0) * RBF([1.0, 1.5])


def kernel_of(name: str) -> Any:
    return LATENT + WhiteKernel(0.2) if of_name(name, 4.0).likelihood.is_noisy else LATENT


def model_of(name: str, share: float, weights: Any = None) -> tuple[PowerPropagation, np.ndarray]:
    sites, covariance = of_name(name, 4.0), Covariance(kernel_of(name), 2)
    theta = np.concatenate((covariance.theta, sites.start(TARGETS[name])))
    return PowerPropagation(covariance, sites, X, TARGETS[name], weights, share), theta


def value_at(model: PowerPropagation, theta: np.ndarray, z: np.ndarray) -> float:
    return model.bound(theta, z, gradient=False, afresh=True).value


@pytest.mark.thorough
@pytest.mark.parametrize("share", [1.0, 0.3])
@pytest.mark.parametrize("name", SITEWISE)
def test_gradients_meet_finite_differences(name: str, share: float) -> None:
    (model, theta), z = model_of(name, share, COUNTS), X[:12].copy()
    found = model.bound(theta, z, afresh=True)
    for j, step in enumerate(1e-4 * np.eye(len(theta))):
        up, down = (value_at(model, theta + s * step, z) for s in (1, -1))
        assert found.by_theta[j] == pytest.approx((up - down) / 2e-4, rel=1e-5, abs=1e-5)
    moved = np.zeros_like(z)
    moved[3, 1] = 1e-4
    up, down = (value_at(model, theta, z + s * moved) for s in (1, -1))
    assert found.by_z[3, 1] == pytest.approx((up - down) / 2e-4, rel=1e-5, abs=1e-5)


def test_all_rows_as_inducing_inputs_give_full_ep() -> None:
    model, theta = model_of("bernoulli-probit", 1.0, COUNTS)
    K = model.covariance.matrix(model.covariance.program(theta), X, X)
    signs = 2.0 * TARGETS["bernoulli-probit"] - 1.0
    wanted = propagate(K, signs, COUNTS, tilted.probit).value
    assert model.bound(theta, X).value == pytest.approx(wanted, abs=1e-7)


def test_gaussian_noise_is_fitc_at_one_and_the_collapsed_bound_at_zero() -> None:
    model, theta = model_of("gaussian", 1.0)
    z, covariance, y = X[:12], model.covariance, TARGETS["gaussian"]
    program, noise = covariance.program(theta), covariance.noise(theta)
    k = covariance.matrix(program, X, z)
    Q = k @ np.linalg.solve(covariance.matrix(program, z, z), k.T)
    left = covariance.diagonal(program, X) - Q.diagonal()
    fitc = multivariate_normal.logpdf(y, cov=Q + np.diag(left + noise))
    assert model.bound(theta, z).value == pytest.approx(fitc, abs=1e-6)
    variational = SparseRegression(covariance, X, y[:, None]).bound(theta, z).value
    small = model_of("gaussian", 1e-6)[0].bound(theta, z).value
    assert small == pytest.approx(variational, abs=1e-3)


@pytest.mark.parametrize("name", ["bernoulli-probit", "poisson"])
def test_small_powers_give_the_variational_bound(name: str) -> None:
    model, theta = model_of(name, 1e-5)
    z = X[:12].copy()
    peer = SVGP(
        LATENT, likelihood=name, inducing_points=z, learn_kernel=False, max_iter=200, tol=0,
        learn_inducing_points=False, natural_learning_rate=0.5, batch_size=N, random_state=0,
    ).fit(X, TARGETS[name])  # fmt: skip
    assert model.bound(theta, z).value == pytest.approx(peer.elbo_, abs=2e-3)


@pytest.mark.parametrize("name", SITEWISE)
def test_fits_predict(name: str, tmp_path: Path) -> None:
    model = SparseEP(likelihood=name, inducing_points=10, max_iter=8, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, TARGETS[name])
    elbo = model.history_["elbo"]
    assert elbo[-1] > elbo[0]
    mean, std = model.predict(X, return_std=True)
    assert np.all(np.isfinite(mean) & (std > 0))
    assert np.corrcoef(mean, F)[0, 1] > 0.8
    np.testing.assert_allclose(model.compiled()(X)[0], mean)
    if name.startswith(("bernoulli", "ordinal")):
        np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)
    else:
        assert not hasattr(model, "predict_proba")
    model.save(tmp_path / "model.npz")
    found = fastvi.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(found.predict(X), mean)
    model.partial_fit(X[:5], TARGETS[name][:5])
    assert not np.array_equal(model.predict(X), mean)


def test_one_pass_is_exact_for_gaussian_noise() -> None:
    """Whatever the order; with all rows as inducing inputs."""
    y = TARGETS["gaussian"]
    model = SparseEP(kernel_of("gaussian"), inducing_points=X)
    for rows in np.array_split(RNG.permutation(N), 3):
        model.partial_fit(X[rows], y[rows])
    K = kernel_of("gaussian")(X)
    assert model.elbo_ == pytest.approx(multivariate_normal.logpdf(y, cov=K), abs=1e-4)
    whole, theta = model_of("gaussian", 1.0)
    mean, _ = whole.bound(theta, X).posterior.predict(X)
    np.testing.assert_allclose(model.predict(X), mean[:, 0], atol=1e-4)


def test_one_pass_comes_near_the_fixed_point() -> None:
    y = TARGETS["bernoulli-probit"]
    model = SparseEP(LATENT, likelihood="bernoulli-probit", inducing_points=X[:12])
    model.partial_fit(X, y)
    fitted = SparseEP(
        LATENT, likelihood="bernoulli-probit", inducing_points=X[:12],
        learn_kernel=False, learn_inducing_points=False,
    ).fit(X, y)  # fmt: skip
    assert model.elbo_ == pytest.approx(fitted.elbo_, abs=2.0)
    assert np.max(np.abs(model.predict(X) - fitted.predict(X))) < 0.15


@pytest.mark.parametrize(
    ("name", "bad"),
    [("poisson", -1.0), ("bernoulli-probit", 5.0), ("ordinal", -1.0), ("ordinal", 7.0)],
)
def test_later_rows_of_a_stream_are_checked(name: str, bad: float) -> None:
    model = SparseEP(LATENT, likelihood=name, inducing_points=X[:5])
    model.partial_fit(X[:20], TARGETS[name][:20])
    before = model.predict(X[:3])
    with pytest.raises(ValueError, match=r"y (must hold|holds)"):
        model.partial_fit(X[20:22], [1.0, bad])
    np.testing.assert_array_equal(model.predict(X[:3]), before)
    model.partial_fit(X[20:22], [1.0, 1.0])  # levels need not all be there again


def test_parameters_set_later_do_not_change_predictions(tmp_path: Path) -> None:
    model = SparseEP(LATENT, likelihood="poisson", inducing_points=X[:5])
    model.partial_fit(X, TARGETS["poisson"])
    before = model.predict(X[:3])
    model.save(tmp_path / "model.npz")
    assert not hasattr(model, "condition_")
    model.set_params(likelihood="bernoulli-logit")
    np.testing.assert_array_equal(model.predict(X[:3]), before)


def test_sites_that_do_not_settle_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastvi.models.gp.power.MOST_SWEEPS", 2)
    model = SparseEP(
        LATENT, likelihood="poisson", inducing_points=X[:5],
        learn_kernel=False, learn_inducing_points=False,
    ).fit(X, TARGETS["poisson"])  # fmt: skip
    assert not model.converged_


@parametrize_with_checks([SparseEP(inducing_points=30, learn_inducing_points=False, max_iter=2)])
def test_scikit_learn_agrees(estimator: Any, check: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        check(estimator)


def test_fits_go_on_where_they_stopped(tmp_path: Path) -> None:
    options = {"likelihood": "ordinal", "inducing_points": 6, "max_iter": 12, "random_state": 0}
    data = X, TARGETS["ordinal"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        whole = SparseEP(**options).fit(*data, checkpoint=tmp_path / "whole.npz")
        model, path = SparseEP(**options), tmp_path / "fit.npz"
        model.fit(*data, checkpoint=path, callback=lambda state: state.n_steps == 5)
        model.fit(*data, checkpoint=path, resume=True)
        plain = SparseEP(**options).fit(*data)
    for other in (model, plain):
        np.testing.assert_array_equal(other.predict(X), whole.predict(X))
        np.testing.assert_array_equal(other.cuts_, whole.cuts_)


def test_messages() -> None:
    for options, y, message in (
        ({"likelihood": "gamma"}, "gaussian", "likelihood is 'gamma'"),
        ({"power": 0}, "gaussian", "power is 0"),
        ({"likelihood": "student-t", "df": 1.0}, "gaussian", "df is 1.0"),
        ({"likelihood": "poisson"}, "gaussian", "non-negative integers"),
        ({"likelihood": "ordinal"}, "gaussian", "levels 0, 1"),
        ({"likelihood": "poisson", "kernel": kernel_of("gaussian")}, "poisson", "has no noise"),
    ):
        with pytest.raises(ValueError, match=message):
            SparseEP(inducing_points=5, **options).fit(X, TARGETS[y])
    with pytest.raises(ValueError, match="one target per row"):
        SparseEP(inducing_points=5).fit(X, X)
