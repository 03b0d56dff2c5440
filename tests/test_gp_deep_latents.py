"""Latent inputs and importance-weighted bounds of deep Gaussian processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deep_slopes import along_directions
from scipy.stats import norm
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

import fastvi
from fastvi import DeepGPRegressor
from fastvi.core import Batch
from fastvi.models.gp.covariance import Covariance
from fastvi.models.gp.deep.layer import Kind
from fastvi.models.gp.deep.model import Deep
from fastvi.models.gp.deep.recognition import Recognition
from fastvi.models.gp.likelihoods import named
from fastvi.models.gp.model import Params, SparseVariational
from fastvi.models.gp.recognition import Network
from fastvi.models.gp.rows import Points

TREND = ConstantKernel(1.1) * RBF(1.2)


def a_model(
    rng: np.random.Generator, n_draws: int, *, connected: bool = False
) -> tuple[Deep, Params, Batch]:
    """Two layers and two latent inputs, far from where fits start, and a batch."""
    d, q, t, m, n = 2, 2, 2, 5, 12
    first = Kind(Covariance(TREND, d + q, 1e-3), rng.normal(size=(d + q, t)))
    width = t + (d + q) * connected
    last = SparseVariational(
        Covariance(TREND + WhiteKernel(0.3), width), named("gaussian", 4.0), np.zeros(width)
    )
    network = Network(
        rng.normal(size=(d + 1, 4)), rng.normal(size=4), 0.5 * rng.normal(size=(4, 2 * q)),
        rng.normal(size=2 * q) - 0.5,
    )  # fmt: skip
    recognition = Recognition(np.array([[0.2], [1.5]]), network)
    units = np.array([[0.1, -0.2], [1.5, 0.7]])
    model = Deep((first,), last, n_draws, connected, units, recognition)
    params = model.start((rng.normal(size=(m, d + q)), rng.normal(size=(m, width))))
    hidden = params.hyper.hidden[0]
    hidden = hidden._replace(
        mean=0.3 * rng.normal(size=(t, m)), root=0.5 * rng.normal(size=(t, m, m))
    )
    root = rng.normal(size=(1, m, m))
    sites = params.sites._replace(
        linear=rng.normal(size=(1, m)), precision=root @ root.transpose(0, 2, 1)
    )
    points = Points(rng.normal(size=(n, d)), rng.normal(size=n), rng.uniform(0.5, 2.0, n))
    hyper = params.hyper._replace(hidden=(hidden,))
    return model, Params(sites, hyper), Batch(points, np.full(n, 2.0))


@pytest.mark.jit
@pytest.mark.parametrize("connected", [False, True])
def test_gradients_equal_differences(connected: bool, rng: Any) -> None:
    model, (sites, hyper), batch = a_model(rng, 3, connected=connected)

    for slope, want, _ in along_directions(model, sites, hyper, batch, rng):
        assert slope == pytest.approx(want, rel=1e-5, abs=1e-5)


@pytest.mark.jit
def test_the_bound_rises_with_draws(rng: Any) -> None:
    """At the same parameters, by means over many repetitions (3 standard errors apart)."""
    means, errors = [], []
    for n_draws, repeats in ((1, 200), (5, 100), (25, 50)):
        model, (sites, hyper), batch = a_model(np.random.default_rng(1), n_draws)
        here, noise = model.at(hyper), np.random.default_rng(2)
        found = [here.evaluate(sites, batch, noise, gradient=False).bound for _ in range(repeats)]
        means.append(np.mean(found))
        errors.append(np.std(found) / np.sqrt(repeats))
    assert means[1] - means[0] > 3.0 * np.hypot(errors[0], errors[1])
    assert means[2] - means[1] > 3.0 * np.hypot(errors[1], errors[2])


def bimodal(n: int, seed: int) -> tuple[Any, Any, Any]:
    """Rows of two branches, and the log density of their targets."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2.0, 2.0, n)
    branch = 1.0 + 0.5 * np.sin(2.0 * x)
    y = rng.choice([-1.0, 1.0], n) * branch + 0.1 * rng.standard_normal(n)
    log = np.logaddexp(norm.logpdf(y, branch, 0.1), norm.logpdf(y, -branch, 0.1)) - np.log(2.0)
    return x[:, None], y, log


@pytest.mark.thorough
def test_densities_of_two_branches(tmp_path: Path) -> None:
    """Near the truth, where without latent inputs they are Gaussian."""
    X, y, _ = bimodal(300, 0)
    T, t, log = bimodal(300, 1)
    options: dict[str, Any] = {
        "inducing_points": 20, "max_iter": 400, "batch_size": 100, "tol": 0, "random_state": 0,
        "n_predictive_draws": 100,
    }  # fmt: skip
    plain = DeepGPRegressor(2, **options).fit(X, y)
    model = DeepGPRegressor(2, latent_inputs=1, n_draws=5, **options).fit(X, y)
    gaussian = norm.logpdf(t, 0.0, t.std()).mean()
    assert plain.log_predictive_density(T, t).mean() < gaussian + 0.1
    assert model.log_predictive_density(T, t).mean() > log.mean() - 0.25
    draws = model.sample_y([[1.0]], 100)[0]
    assert np.mean(np.abs(draws) > 0.8) > 0.9
    assert 0.2 < np.mean(draws > 0) < 0.8
    path = tmp_path / "model.fastvi"
    model.save(path)
    again = fastvi.load(path)
    np.testing.assert_array_equal(again.predict(T), model.predict(T))
    again.partial_fit(X, y)
    assert np.isfinite(again.predict(T)).all()


@pytest.mark.jit
def test_shapes_of_latent_inputs(rng: Any) -> None:
    X, Y = rng.normal(size=(30, 2)), rng.normal(size=(30, 2))
    options: dict[str, Any] = {"max_iter": 3, "tol": 0, "random_state": 0}
    for sizes, points in (((), X[:4]), ((2, 1), 4)):
        model = DeepGPRegressor(
            sizes, latent_inputs=2, n_draws=2, inducing_points=points, input_connections=True,
            **options,
        ).fit(X, Y)  # fmt: skip
        assert model.inducing_points_[0].shape == (4, 4)
        assert model.predict(X).shape == (30, 2)
        assert model.sample_y(X[:3], 2).shape == (3, 2, 2)
    with pytest.raises(ValueError, match="latent_inputs"):
        DeepGPRegressor(latent_inputs=-1, **options).fit(X, Y[:, 0])
