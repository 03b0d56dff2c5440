"""Bayesian networks by `fastvi.svgd`, beside a NumPy run of the same algorithm."""

import networks
import numpy as np
import pytest
from naive import stein as naive

import fastvi
from fastvi.core import Batch
from fastvi.optimizers import rmsprop

pytestmark = pytest.mark.jit


@pytest.mark.thorough
def test_gradients_are_those_of_the_twin(rng):
    X, y = rng.normal(size=(30, 4)), rng.normal(size=30)
    target = bound(X, y)
    Z = networks.start(3, 4, rng)
    for z, slope in zip(Z, target.log_prob_and_grad(Z)[1]):  # steps that cross few kinks
        away = rng.normal(size=target.dim) * 1e-7
        change = target.log_prob(z + away) - target.log_prob(z - away)
        assert change == pytest.approx(2.0 * away @ slope, rel=1e-4, abs=1e-7)
    rows = rng.permutation(30)[:10]
    _, found = target.log_prob_and_grad(Z, Batch(rows, np.full(10, 3.0)))
    wanted = naive.network_scores(Z, X[rows], y[rows], 3.0, networks.HIDDEN, networks.RATE)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)


def bound(X, y):
    dim = X.shape[1] * networks.HIDDEN + 2 * networks.HIDDEN + 3
    return networks.network.bind({"X": X, "y": y, "n_hidden": networks.HIDDEN}, dim=dim)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["boston", "yacht"])
def test_networks_predict_as_those_of_the_twin(data_dir, name, capsys):
    """20 particles, 2000 steps of 100 rows, 5 splits, the same starts: means over splits differ by
    less than two standard errors of the splits' differences (floor: 1 % of an error, 0.02 nats)."""
    found = []
    for number in range(5):
        X, y, X_new, y_new, scale = networks.split(data_dir / "regression", name, number)
        Z = networks.start(20, X.shape[1], np.random.default_rng(number))
        rule = rmsprop(1e-3, 0.9, 1e-8)
        p = fastvi.svgd(
            bound(X, y), start=Z, n_iter=2000, batch_size=100, optimizer=rule, tol=1e-9,
            random_state=number,
        )  # fmt: skip
        twin = naive.svgd_network(
            Z, X, y, 2000, 100, networks.HIDDEN, networks.RATE, 1e-3, 0.9,
            np.random.default_rng(number),
        )  # fmt: skip
        found.append([networks.scores(z, X_new, y_new, scale) for z in (p.particles, twin)])
    ours, twins = np.array(found).transpose(1, 0, 2)
    with capsys.disabled():
        print(f"\n{name}: RMSE and nats {ours.mean(axis=0)}, twin {twins.mean(axis=0)}")
    away = ours - twins
    error = np.maximum(away.std(axis=0, ddof=1) / np.sqrt(5), [0.005 * twins[:, 0].mean(), 0.01])
    assert (np.abs(away.mean(axis=0)) < 2.0 * error).all()
