"""When fits of Gaussian processes by mini-batches stop, and what they say of it."""

import warnings

import numpy as np
import pytest
from regression_sets import split
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

import fastvi
from fastvi import SVGP, SparseGPClassifier
from fastvi.loop import History
from fastvi.models.gp.settling import Settling

pytestmark = pytest.mark.jit
OPTIONS = {"inducing_points": 8, "batch_size": 50, "random_state": 0}


def data(rng, n=200):
    X = rng.uniform(-2, 2, (n, 1))
    return X, np.sin(2 * X[:, 0]) + 0.3 * rng.normal(size=n)


def targets(y, estimator):
    return y > 0 if isinstance(estimator, SparseGPClassifier) else y


@pytest.mark.thorough
@pytest.mark.parametrize(
    "estimator", [SVGP(**OPTIONS), SVGP(likelihood="student-t"), SparseGPClassifier(**OPTIONS)]
)
def test_fits_end_of_their_own_accord(estimator, rng, tmp_path):
    X, y = data(rng)
    y = targets(y, estimator)
    model = clone(estimator).set_params(**OPTIONS, tol=0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, y)
    assert model.converged_
    assert model.n_iter_ < model.max_iter
    assert model.n_iter_ % 100 == 0
    checks = model.history_["check"]
    assert np.isfinite(checks).sum() == model.n_iter_ // 100
    # the rows are all of them: the bound before the last steps on all rows, which raise it
    assert checks[-1] * len(X) < model.elbo_ < checks[-1] * len(X) + 5
    model.save(tmp_path / "gp.npz")
    assert fastvi.load(tmp_path / "gp.npz").converged_
    assert not hasattr(model.partial_fit(X, y), "converged_")


@pytest.mark.thorough
def test_steps_that_run_out_are_told(rng):
    X, y = data(rng)
    model = SVGP(**OPTIONS, max_iter=20)
    wanted = r"max_iter=20 ended the fit before it was known .*, which takes 600 steps; raise"
    with pytest.warns(ConvergenceWarning, match=wanted) as caught:
        model.fit(X, y)
    assert caught[0].filename == __file__
    assert not model.converged_
    wanted = r"max_iter=600 ended the fit while .* than tol=1e-09 nats per row in 500 steps; raise"
    with pytest.warns(ConvergenceWarning, match=wanted):
        clone(model).set_params(max_iter=600, tol=1e-9).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.set_params(tol=0.0).fit(X, y)
        assert "check" not in model.history_
        model.set_params(tol=1e-3).fit(X, y, callback=lambda state: state.n_steps == 5)
    assert model.n_iter_ == 5
    assert not model.converged_


@pytest.mark.thorough
def test_a_resumed_fit_stops_where_it_would_have(rng, tmp_path):
    X, y = data(rng)
    path = tmp_path / "checkpoint.npz"
    model = SVGP(**OPTIONS, tol=0.01)
    whole = clone(model).fit(X, y)
    with pytest.warns(ConvergenceWarning):
        clone(model).set_params(max_iter=250).fit(X, y, checkpoint=path)
    for _ in range(2):  # the second time there is nothing left to do
        again = clone(model).fit(X, y, checkpoint=path, resume=True)
        assert again.n_iter_ == whole.n_iter_
        assert again.converged_
        assert again.elbo_ == whole.elbo_
        np.testing.assert_array_equal(again.history_["check"], whole.history_["check"])


@pytest.mark.parametrize(
    ("values", "settled"),
    [
        ([0, 1, 1, 1, 1], False),  # too few to tell
        ([0, 1, 1, 1, 1, 1], False),
        ([0, 1, 1, 1, 1, 1, 1], True),
        ([0, 1, 0, 0, 0, 0, 1.5], False),  # a gain at last
        ([0, 1, 0, 0, 0, 0, 1.05], True),
    ],
)
def test_the_rule(values, settled):
    settling = object.__new__(Settling)
    settling._tol = 0.1
    assert settling.settled(History({"check": [np.nan, *values]})) is settled


def test_a_negative_tol_is_refused(rng):
    with pytest.raises(ValueError, match="tol is -1"):
        SVGP(tol=-1.0).fit(*data(rng))


def test_low_noise_is_learned_in_few_steps(rng):
    """400 steps: dual parameters in units of K, held as z moves, ended at an error of 0.2."""
    X = rng.uniform(-2, 2, size=(2000, 4))
    f = np.sin(2 * X[:, 0]) * np.cos(X[:, 1]) + 0.3 * X.sum(axis=1)
    y = f + 0.1 * rng.normal(size=len(f))
    model = SVGP(inducing_points=40, max_iter=400, tol=0.0, random_state=0).fit(X, y)
    assert np.sqrt(np.mean((model.predict(X) - f) ** 2)) < 0.04


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rmse", "log_likelihood"),
    [
        ("naval", 0.0221, 2.2600),
        ("power", 0.2503, -0.0422),
        ("kin40k", 0.3066, -0.2470),
        ("protein", 0.7534, -1.1328),
    ],
)
def test_as_good_as_gpflow_at_equal_steps(name, rmse, log_likelihood, data_dir):
    """Figures of its natural gradients and Adam: 2000 steps of `bench/peers/gpflow_gp.py`."""
    X, y, X_test, y_test = split(data_dir / "regression", name, 0)
    lengths = np.full(X.shape[1], np.sqrt(X.shape[1]))
    kernel = ConstantKernel(1.0, (1e-5, 1e5)) * RBF(lengths, (1e-3, 1e4))
    kernel += WhiteKernel(0.1, (1e-7, 10.0))
    model = SVGP(kernel, max_iter=2000, tol=0.0, random_state=0).fit(X, y)
    mean, std = model.predict(X_test, return_std=True)
    score = np.mean(-0.5 * np.log(2 * np.pi * std**2) - 0.5 * ((y_test - mean) / std) ** 2)
    assert np.sqrt(np.mean((mean - y_test) ** 2)) < rmse
    assert score > log_likelihood
