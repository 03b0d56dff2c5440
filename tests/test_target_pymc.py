"""Targets from PyMC models: the numbers of PyMC itself and of a Python target."""

from __future__ import annotations

import math
import pickle
import warnings

import numpy as np
import pytest

import fastvi
from fastvi.targets import from_pymc
from fastvi.transforms import positive

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own dependencies, as it is imported
    pm = pytest.importorskip("pymc", reason="PyMC, an extra, is not installed")

pytestmark = pytest.mark.filterwarnings("ignore")  # of PyMC and PyTensor about themselves
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def regression(z, data, grad):
    """beta ~ N(0, scale), sigma ~ N+(0, 1), y ~ N(X beta, sigma)."""
    d = z.size - 1
    sigma = z[d]
    value = math.log(2.0) - HALF_LOG_2PI - 0.5 * sigma * sigma
    grad[d] = -sigma
    for j in range(d):
        value -= 0.5 * (z[j] / data.scale) ** 2 + math.log(data.scale) + HALF_LOG_2PI
        grad[j] = -z[j] / data.scale**2
    for i in range(data.y.size):
        e = data.y[i]
        for j in range(d):
            e -= data.X[i, j] * z[j]
        e /= sigma
        value -= 0.5 * e * e + math.log(sigma) + HALF_LOG_2PI
        for j in range(d):
            grad[j] += e / sigma * data.X[i, j]
        grad[d] += (e * e - 1.0) / sigma
    return value


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(20240607)
    return {"X": rng.normal(size=(20, 3)), "y": rng.normal(size=20), "scale": 2.0}


@pytest.fixture(scope="module")
def model(data):
    with pm.Model(coords={"coefficient": ["left", "middle", "right"]}) as model:
        X, y = pm.Data("X", data["X"]), pm.Data("y", data["y"])
        scale = pm.Data("scale", data["scale"])
        beta = pm.Normal("beta", 0.0, scale, dims="coefficient")
        sigma = pm.HalfNormal("sigma", 1.0)
        pm.Normal("likelihood", X @ beta, sigma, observed=y)
        pm.Deterministic("twice", 2 * sigma)
    return model


@pytest.fixture(scope="module")
def target(model):
    return from_pymc(model)


def test_numbers_are_those_of_pymc_and_of_python(model, target, data):
    ours = fastvi.target(regression, data=data, names={"beta": 3, "sigma": positive()})
    Z = np.random.default_rng(1).normal(size=(4, 4))
    values, grads = target.log_prob_and_grad(Z)
    expected, slopes = ours.log_prob_and_grad(Z)
    np.testing.assert_allclose(values, expected, rtol=1e-12)
    np.testing.assert_allclose(grads, slopes, rtol=1e-10, atol=1e-12)
    point = {"beta": Z[0, :3], "sigma_log__": Z[0, 3]}
    np.testing.assert_allclose(values[0], model.compile_logp()(point), rtol=1e-12)
    np.testing.assert_allclose(grads[0], model.compile_dlogp()(point), rtol=1e-10)
    assert target.check_gradient() < 1e-8


def test_names_in_and_out(target):
    assert target.names == ("beta[0]", "beta[1]", "beta[2]", "sigma_log__")
    Z = np.random.default_rng(2).normal(size=(2, 3, 4))
    found = target.constrain(Z)
    np.testing.assert_allclose(found["sigma"], np.exp(Z[..., 3]), rtol=1e-12)
    np.testing.assert_allclose(found["twice"], 2 * np.exp(Z[..., 3]), rtol=1e-12)
    np.testing.assert_array_equal(found["beta"], Z[..., :3])
    free = target.unconstrained(Z)
    assert list(free) == ["beta", "sigma_log__"]
    np.testing.assert_array_equal(free["sigma_log__"], Z[..., 3])
    assert target.constrain(Z[0, 0])["beta"].shape == (3,)
    back = target.parameters.unconstrain({"beta": Z[..., :3], "sigma_log__": Z[..., 3]})
    np.testing.assert_array_equal(back, Z)


def test_posteriors_have_the_names_of_the_model(target):
    p = fastvi.fit(target, random_state=0)
    draws = p.sample_parameters(5, np.random.default_rng(3))
    shapes = {name: x.shape for name, x in draws.items()}
    assert shapes == {"beta": (5, 3), "sigma": (5,), "twice": (5,)}
    assert draws["sigma"].min() > 0
    assert p.converged
    lines = p.summary().splitlines()
    assert [line.split()[0] for line in lines[1:6]] == [
        "beta[left]", "beta[middle]", "beta[right]", "sigma", "twice",
    ]  # fmt: skip
    assert "sigma_log__" in p.summary(unconstrained=True)
    assert target.constrain(np.empty((0, 4)))["beta"].shape == (0, 3)


def test_containers_have_the_contents_of_the_model(target, data):
    """Dims, coords, data and likelihoods, of the data that the target is bound to."""
    arviz = pytest.importorskip("arviz", reason="ArviZ is not installed: fastvi[arviz]")
    found = fastvi.fit(target, method="laplace").to_arviz(50, n_chains=2)
    draws = found["posterior"]
    assert draws["beta"].dims == ("chain", "draw", "coefficient")
    assert list(np.asarray(draws["coefficient"])) == ["left", "middle", "right"]
    assert draws["sigma"].shape == (2, 50)
    assert list(found["unconstrained_posterior"].data_vars) == ["sigma_log__"]
    np.testing.assert_array_equal(found["observed_data"]["likelihood"], data["y"])
    assert set(found["constant_data"].data_vars) == {"X", "scale"}
    rows = np.asarray(found["log_likelihood"]["likelihood"])
    mean = np.asarray(draws["beta"]) @ data["X"].T
    sigma = np.asarray(draws["sigma"])[..., None]
    expected = -0.5 * ((data["y"] - mean) / sigma) ** 2 - np.log(sigma) - HALF_LOG_2PI
    np.testing.assert_allclose(rows, expected, rtol=1e-10)
    assert arviz.loo(found).n_data_points == 20
    other = target.bind({"X": data["X"][:5], "y": data["y"][:5]})
    found = fastvi.fit(other, method="laplace").to_arviz(5)
    np.testing.assert_array_equal(found["observed_data"]["likelihood"], data["y"][:5])
    assert found["log_likelihood"]["likelihood"].shape == (4, 5, 5)
    np.testing.assert_array_equal(target.contents().observed["likelihood"], data["y"])


def test_other_data_compile_nothing(target, data):
    ours = fastvi.target(regression, data=data, names={"beta": 3, "sigma": positive()})
    other = {"X": data["X"][:5], "y": data["y"][:5]}
    bound = target.bind(other)
    assert bound.address == target.address
    z = np.ones(4)
    np.testing.assert_allclose(
        bound.log_prob(z), ours.bind(other | {"scale": 2.0}).log_prob(z), rtol=1e-12
    )
    with pytest.raises(ValueError, match=r"data holds .*, w; wanted"):
        target.bind({"w": 1.0})


def test_models_without_data_and_copies():
    with pm.Model() as model:
        pm.Beta("p", 2.0, 3.0)
        target = from_pymc()
    z = np.array([0.3])
    p = 1 / (1 + np.exp(-z[0]))
    expected = math.log(12) + 2 * math.log(p) + 3 * math.log(1 - p)
    own = model.compile_logp()({"p_logodds__": z[0]})
    np.testing.assert_allclose(target.log_prob(z), own, rtol=1e-12)
    np.testing.assert_allclose(own, expected, rtol=1e-7)  # it computes constants in float32
    with pytest.raises(ValueError, match=r"has no pymc\.Data"):
        target.bind({"x": 1.0})
    cloudpickle = pytest.importorskip("cloudpickle", reason="models pickle by cloudpickle only")
    again = pickle.loads(cloudpickle.dumps(target))
    assert again.log_prob(z) == target.log_prob(z)


def test_discrete_parameters_are_refused():
    with pm.Model() as model:
        pm.Poisson("n", 3.0)
    with pytest.raises(ValueError, match=r"discrete parameters \['n'\]; wanted continuous"):
        from_pymc(model)
