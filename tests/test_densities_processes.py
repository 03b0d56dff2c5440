"""Gaussian processes and differential equations, against SciPy, scikit-learn and complex steps."""

from __future__ import annotations

import doctest
import importlib
import json
import math
import types

import numba
import numpy as np
import pytest
from scipy import stats
from scipy.integrate import solve_ivp
from sklearn.gaussian_process import kernels as sklearn
from test_derivatives_models import as_tuple, derived, slopes

import fastvi
from fastvi import densities
from fastvi.densities import covariances, ode
from fastvi.transforms import positive

COVARIANCES = {
    "squared_exponential": ((1.3, 0.7), 1.69 * sklearn.RBF(0.7)),
    "matern12": ((1.3, 0.7), 1.69 * sklearn.Matern(0.7, nu=0.5)),
    "matern32": ((1.3, 0.7), 1.69 * sklearn.Matern(0.7, nu=1.5)),
    "matern52": ((1.3, 0.7), 1.69 * sklearn.Matern(0.7, nu=2.5)),
    "rational_quadratic": ((1.3, 0.7, 0.4), 1.69 * sklearn.RationalQuadratic(0.7, 0.4)),
    "periodic": ((1.3, 0.7, 0.9), 1.69 * sklearn.ExpSineSquared(0.7, 0.9)),
    "linear": ((1.3, 1.0), sklearn.DotProduct(1.3)),
}


@pytest.mark.parametrize("name", sorted(COVARIANCES))
def test_covariances_are_those_of_scikit_learn(name, rng):
    arguments, kernel = COVARIANCES[name]
    x, y = rng.normal(size=(5, 2)), rng.normal(size=(3, 2))
    x[2] = y[1]
    for a, b in ((x, y), (x[:, :1], y[:, :1])):
        found = getattr(covariances, name).py_func(a, b, *arguments)
        np.testing.assert_allclose(found, kernel(a, b), rtol=1e-12)
    alone = getattr(covariances, name).py_func(x[:, 0], y[:, 0], *arguments)
    np.testing.assert_allclose(alone, found, rtol=1e-14)


def test_a_gaussian_process_is_normal(rng):
    x, y = rng.normal(size=6), rng.normal(size=6)
    K = covariances.matern32.py_func(x, x, 1.2, 0.8)
    found = densities.gaussian_process(y, K, 0.3)
    wanted = stats.multivariate_normal.logpdf(y, np.zeros(6), K + 0.09 * np.eye(6))
    assert found == pytest.approx(wanted, rel=1e-12)


def process(z, data):
    """Each covariance function, sums and products, and inputs that are parameters."""
    a, s = np.exp(z[0]), np.exp(z[1])
    K = covariances.squared_exponential(data.x, data.x, a, s)
    K = K + covariances.periodic(data.x, data.x, a, s, 1.7) * covariances.matern12(
        data.x, data.x, s, a
    )
    total = densities.gaussian_process(data.y - z[2], K, np.exp(z[3]))
    K = covariances.matern32(data.X, data.X, a, s) + covariances.linear(data.X, data.X, s, a)
    K = K + covariances.rational_quadratic(data.x, data.x, a, s, np.exp(z[2]))
    total += densities.gaussian_process(data.y, K, 0.5)
    K = covariances.matern52(z, z, a, s) + covariances.matern12(z, z, s, a)
    return total + densities.gaussian_process(data.y, K, 0.5)


@pytest.mark.thorough
def test_a_process_without_points():
    def nowhere(z, data):
        return densities.gaussian_process(data.y - z[0], np.zeros((0, 0)), 0.1) - z[0] ** 2

    target = fastvi.target(nowhere, data={"y": np.zeros(0)}, dim=1)
    assert target.log_prob([0.5]) == -0.25
    assert target.log_prob_and_grad([0.5]) == (-0.25, -1.0)


def test_slopes_of_gaussian_processes(rng):
    z = rng.normal(size=6) * 0.5
    data = {"x": rng.normal(size=6), "y": rng.normal(size=6), "X": rng.normal(size=(6, 2))}
    value, grad = derived(process, z, data)
    assert value == pytest.approx(process(z, as_tuple(data)), rel=1e-12)
    wanted = slopes(lambda x: process(x, as_tuple(data)), z)
    np.testing.assert_allclose(grad, wanted, rtol=1e-10, atol=1e-10)


@numba.njit
def predation(t, y, p):
    """Lotka and Volterra, with a season."""
    birth = p[0] * (1.0 + 0.1 * np.sin(t))
    return np.array([(birth - p[1] * y[1]) * y[0], (p[3] * y[0] - p[2]) * y[1]])


TIMES = np.array([0.0, 0.5, 4.0, 4.1, 12.0])
PARAMETERS = np.array([0.55, 0.28, 0.80, 0.24])
START = np.array([3.3, 0.6])


def exact():
    found = solve_ivp(
        predation.py_func, (0.0, 12.0), START, "DOP853", TIMES, rtol=1e-12, atol=1e-12,
        args=(PARAMETERS,),
    )  # fmt: skip
    return found.y.T


def test_fixed_steps_have_order_four():
    errors = [
        np.abs(
            ode.ode_rk4.py_func(predation.py_func, START, 0.0, TIMES, PARAMETERS, n) - exact()
        ).max()
        for n in (100, 200)
    ]
    assert errors[1] < 1e-8
    assert 15.0 < errors[0] / errors[1] < 19.0


@pytest.mark.parametrize("tolerance", [1e-4, 1e-7, 1e-10])
def test_adaptive_steps_keep_their_tolerance(tolerance):
    calls = []

    def counted(t, y, p):
        calls.append(t)
        return predation.py_func(t, y, p)

    found = ode.ode_rk45.py_func(counted, START, 0.0, TIMES, PARAMETERS, tolerance, tolerance)
    theirs = solve_ivp(
        predation.py_func, (0.0, 12.0), START, "RK45", TIMES, rtol=tolerance, atol=tolerance,
        args=(PARAMETERS,),
    )  # fmt: skip
    assert np.abs(found - exact()).max() < 50.0 * tolerance
    assert len(calls) < 1.5 * theirs.nfev + 60


def test_a_solution_that_takes_too_many_steps_is_nan():
    found = ode.ode_rk45.py_func(predation.py_func, START, 0.0, TIMES, PARAMETERS, 1e-8, 1e-8, 30)
    assert np.isfinite(found[:2]).all()
    assert np.isnan(found[2:]).all()
    with np.errstate(all="ignore"):
        explodes = ode.ode_rk45.py_func(lambda t, y, p: y * y, np.ones(1), 0.0, TIMES, 0.0)
    assert explodes[1] == pytest.approx(2.0, rel=1e-4)
    assert np.isnan(explodes[2:]).all()


def complex_numpy(function):
    """The function, interpreted, with arrays of complex numbers."""
    scope = {name: getattr(f, "py_func", f) for name, f in function.py_func.__globals__.items()}
    scope["np"] = types.SimpleNamespace(empty=lambda shape: np.zeros(shape, complex))
    return types.FunctionType(function.py_func.__code__, scope, None, function.py_func.__defaults__)


def fixed(z, data):
    path = densities.ode_rk4(predation, z[4:6], 0.0, data.t, z[:4], 30)
    return -0.5 * np.sum((path - data.y) ** 2)


def adaptive(z, data):
    path = densities.ode_rk45(predation, z[4:6], 0.0, data.t, z[:4], 1e-5, 1e-5)
    return -0.5 * np.sum((path - data.y) ** 2)


@pytest.mark.parametrize("model", [fixed, adaptive])
def test_slopes_are_those_of_complex_steps(model):
    data = {"t": TIMES, "y": exact() + 0.1}
    z = np.concatenate([PARAMETERS, START])
    _, grad = derived(model, z, data)
    solver, options = {
        fixed: (ode.ode_rk4, (30,)), adaptive: (ode.ode_rk45, (1e-5, 1e-5)),
    }[model]  # fmt: skip
    solve = complex_numpy(solver)
    for i in range(6):
        w = z + 1e-30j * (np.arange(6) == i)
        path = solve(predation.py_func, w[4:], 0.0, TIMES, w[:4], *options)
        wanted = (-0.5 * np.sum((path - data["y"]) ** 2)).imag / 1e-30
        assert grad[i] == pytest.approx(wanted, rel=1e-10)


@numba.njit
def decay(t, y, rate):
    return np.array([-rate * y[0]])


def cooling(z, data):
    """Compiles in half the time: one quantity, and loops for sums."""
    path = densities.ode_rk4(decay, z[4:5], 0.0, data.t, z[0], 30)
    value = 0.0
    for k in range(data.t.size):
        value -= 0.5 * (path[k, 0] - data.y[k, 0]) ** 2
    return value


@pytest.mark.jit
@pytest.mark.parametrize(
    "model", [cooling, *(pytest.param(f, marks=pytest.mark.slow) for f in (fixed, adaptive))]
)
def test_a_solution_in_a_compiled_target(model):
    data = {"t": TIMES, "y": exact() + 0.1}
    target = fastvi.target(model, data=data, dim=6)
    z = np.concatenate([PARAMETERS, START])
    value, grad = target.log_prob_and_grad(z)
    wanted, slopes = derived(model, z, data)
    assert value == pytest.approx(wanted, rel=1e-9)
    assert target.log_prob(z) == pytest.approx(value, rel=1e-9)
    np.testing.assert_allclose(grad, slopes, rtol=1e-9)


@numba.njit
def hunting(t, y, p):
    return np.array([(p[0] - p[1] * y[1]) * y[0], (p[3] * y[0] - p[2]) * y[1]])


def hares(z, data):
    """The model of posteriordb's hudson_lynx_hare."""
    value = densities.normal(z[0], 1.0, 0.5) + densities.normal(z[2], 1.0, 0.5)
    value += densities.normal(z[1], 0.05, 0.05) + densities.normal(z[3], 0.05, 0.05)
    value += densities.lognormal(z[4:6], math.log(10.0), 1.0)
    value += densities.lognormal(z[6:], -1.0, 1.0)
    path = densities.ode_rk45(hunting, z[4:6], 0.0, data.ts, z[:4])
    for k in range(2):
        value += densities.lognormal(data.y_init[k], np.log(z[4 + k]), z[6 + k])
        value += densities.lognormal(data.y[:, k], np.log(path[:, k]), z[6 + k])
    return value


@pytest.mark.slow
def test_a_fit_of_hares_and_lynxes_is_that_of_the_reference(data_dir):
    folder = data_dir / "posteriors" / "hudson_lynx_hare-lotka_volterra"
    given = json.loads((folder / "data.json").read_text())
    data = {name: np.array(given[name], float) for name in ("ts", "y_init", "y")}
    target = fastvi.target(hares, data=data, names={"z": positive(8)})
    start = {"z": [0.5, 0.03, 0.8, 0.03, 30.0, 4.0, 0.3, 0.3]}
    draws = fastvi.fit(target, start=start, random_state=0).sample_parameters(4000, random_state=0)
    wanted = json.loads((folder / "reference.json").read_text())["constrained"]
    mean, sd = np.array(wanted["mean"]), np.array(wanted["sd"])
    np.testing.assert_array_less(np.abs(draws["z"].mean(axis=0) - mean), 0.1 * sd)
    np.testing.assert_allclose(draws["z"].std(axis=0), sd, rtol=0.15)


@pytest.mark.jit
@pytest.mark.parametrize("module", ["covariances", "ode", "processes"])
def test_examples(module):
    found = doctest.testmod(importlib.import_module(f"fastvi.densities.{module}"))
    assert found.attempted > 2
    assert not found.failed
