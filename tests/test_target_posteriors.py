"""Targets of real posteriors: against plain twins, finite differences and gold draws."""

from __future__ import annotations

import numpy as np
import posteriors
import pytest
from naive.posteriors import TWINS

import fastvi
from fastvi.core import Batch

NAMES = sorted(posteriors.POSTERIORS)
WITHOUT = ("garch-garch11", "gp_pois_regr-gp_regr", "hmm_example-hmm_example")
WITH_GRADIENT = [name for name in NAMES if name not in WITHOUT]


@pytest.fixture
def folder(data_dir):
    return data_dir / "posteriors"


@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_of_the_twin(folder, name):
    target = posteriors.target(folder, name)
    _, data, _ = posteriors.load(folder, name)
    draws, _ = posteriors.gold(folder, name)
    Z = draws[:5]
    expected = [TWINS[name](z, data) for z in Z]
    np.testing.assert_allclose(target.log_prob(Z), expected, rtol=1e-11)
    np.testing.assert_allclose(target.log_prob(Z[0]), expected[0], rtol=1e-11)


@pytest.mark.parametrize("name", WITH_GRADIENT)
def test_gradients_are_those_of_finite_differences(folder, name):
    target = posteriors.target(folder, name)
    draws, _ = posteriors.gold(folder, name)
    target.check_gradient(draws[:3], rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_names_and_constraints_are_those_of_the_gold_draws(folder, name):
    target = posteriors.target(folder, name)
    free, constrained = posteriors.gold(folder, name)
    assert target.dim == free.shape[1]
    found = target.parameters.constrain(free[:50])
    flat = np.concatenate([part.reshape(50, -1) for part in found.values()], axis=1)
    if name.endswith("noncentered"):  # whose constrained draws hold theta = mu + tau z
        flat[:, :8] = flat[:, [8]] + flat[:, [9]] * flat[:, :8]
    if name.startswith("garch"):  # whose fourth is beta1, a share of 1 - alpha1
        flat[:, 3] *= 1 - flat[:, 2]
    np.testing.assert_allclose(flat, constrained[:50], rtol=2e-5, atol=1e-6)  # float32 draws
    np.testing.assert_allclose(target.parameters.unconstrain(found), free[:50], atol=1e-6)


@pytest.mark.parametrize("name", WITH_GRADIENT)
def test_gradients_have_mean_zero_over_gold_draws(folder, name):
    """E[grad] = 0, and Stein's identity E[z grad'] = -I, both within 5 standard errors."""
    target = posteriors.target(folder, name)
    draws, _ = posteriors.gold(folder, name)
    values, grads = target.log_prob_and_grad(draws)
    assert np.isfinite(values).all()
    n = len(draws)
    error = grads.std(axis=0) / np.sqrt(n)
    assert (np.abs(grads.mean(axis=0)) < 5 * error).all()
    products = (draws - draws.mean(axis=0))[:, :, None] * grads[:, None, :]
    error = products.std(axis=0) / np.sqrt(n)
    assert (np.abs(products.mean(axis=0) + np.eye(target.dim)) < 5 * error + 5 / n).all()


def test_a_numerical_gradient_has_mean_zero_over_gold_draws(folder):
    function, data, names = posteriors.load(folder, "hmm_example-hmm_example")
    with pytest.warns(UserWarning, match="costs 4 x dim values"):
        target = fastvi.target(function, data=data, names=names, gradient="numerical")
    draws, _ = posteriors.gold(folder, "hmm_example-hmm_example")
    _, grads = target.log_prob_and_grad(draws[:2000])
    assert (np.abs(grads.mean(axis=0)) < 5 * grads.std(axis=0) / np.sqrt(2000)).all()
    assert target.check_gradient(draws[:3]) < 1e-6


def test_batches_are_unbiased_and_weights_temper(folder):
    target = posteriors.target(folder, "kidiq-kidscore_interaction")
    draws, _ = posteriors.gold(folder, "kidiq-kidscore_interaction")
    z, n = draws[0], target.n_rows
    value, grad = target.log_prob_and_grad(z)
    thirds = np.array_split(np.random.default_rng(1).permutation(n), 3)
    parts = [
        target.log_prob_and_grad(z, Batch(rows, np.full(len(rows), n / len(rows))))
        for rows in thirds
    ]
    shares = np.array([len(rows) / n for rows in thirds])
    np.testing.assert_allclose(shares @ [part[0] for part in parts], value, rtol=1e-12)
    np.testing.assert_allclose(shares @ [part[1] for part in parts], grad, rtol=1e-9, atol=1e-9)
    prior = target.log_prob(z, Batch(np.arange(0), np.zeros(0)))
    tempered = target.log_prob(z, Batch(np.arange(n), np.full(n, 0.25)))
    np.testing.assert_allclose(tempered, prior + 0.25 * (value - prior), rtol=1e-12)


def test_logistic_regression_is_at_rest_at_the_reference(folder):
    """The gradient at the reference's MAP is zero; made data, (10000, 50) in float32."""
    import json

    with np.load(folder / "synthetic_logreg_N10000_D50" / "data.npz") as file:
        data = {"X": file["X"], "y": file["y"]}
    reference = json.loads((folder / "synthetic_logreg_N10000_D50/reference.json").read_text())
    target = fastvi.target(posteriors.logistic, data=data, dim=50)
    mode = np.array(reference["map"])
    _, grad = target.log_prob_and_grad(mode)
    _, beside = target.log_prob_and_grad(mode + np.array(reference["sd"]))
    assert np.abs(grad).max() < 1e-3 * np.abs(beside).max()
    logits = data["X"].astype(float) @ mode
    expected = (data["y"] * logits - np.logaddexp(0, logits)).sum()
    expected -= 0.5 * (mode**2).sum() + 25 * np.log(2 * np.pi)
    np.testing.assert_allclose(target.log_prob(mode), expected, rtol=1e-12)
