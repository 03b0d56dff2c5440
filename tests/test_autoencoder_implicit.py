"""Autoencoders with implicit posteriors."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from naive.networks import forward
from scipy.special import logsumexp
from scipy.stats import norm

import fastvi
from fastvi import VariationalAutoencoder
from fastvi.kernels.networks import BIAS, WEIGHTS
from fastvi.kernels.noise import normals
from fastvi.kernels.optimizers import adam_in_place
from fastvi.models.autoencoder.implicit import Sampler
from fastvi.models.autoencoder.kinds import KINDS

pytestmark = pytest.mark.jit

SMALL: dict[str, Any] = {
    "likelihood": "bernoulli", "hidden_layer_sizes": (8,), "family": "implicit", "batch_size": 16,
    "max_iter": 3, "random_state": 1,
}  # fmt: skip
UNITS = {"n_context": 4, "n_noise": 2, "n_mixture": 8, "sampler_units": (8,), "critic_units": (8,)}
FOUR = np.eye(4)


def rows_for(n: int = 40) -> Any:
    rng = np.random.default_rng(5)
    mean = rng.normal(size=(n, 2)) @ rng.normal(size=(2, 6))
    return (mean + rng.logistic(size=mean.shape) > 0).astype(float)


def log_probabilities(model: VariationalAutoencoder, X: Any) -> Any:
    """log p(x) of rows, log p(z), and log p(x | z), on a grid of two latent variables."""
    axis = np.linspace(-6.0, 6.0, 241)
    Z = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    chances = model.inverse_transform(Z).clip(1e-12, 1.0 - 1e-12)
    prior = -0.5 * np.square(Z).sum(axis=1) - np.log(2.0 * np.pi) + 2.0 * np.log(axis[1] - axis[0])
    likelihood = np.log(chances) @ X.T + np.log1p(-chances) @ (1.0 - X).T
    return logsumexp(likelihood + prior[:, None], axis=0), prior, likelihood


def divergence_from_prior(model: VariationalAutoencoder) -> float:
    """KL(q(z) || p(z)) of two latent variables of the four points, by 40,000 draws in 8 x 8 cells
    of equal probability under the prior, which adds 63 / 80,000 nats.
    """
    z = model.sample_posterior(np.tile(FOUR, (10_000, 1)), n_draws=1)
    cells = np.minimum((8 * norm.cdf(z)).astype(int), 7) @ [8, 1]
    shares = np.bincount(cells, minlength=64) / len(z)
    return float((shares * np.log(np.maximum(64 * shares, 1e-300))).sum())


@pytest.mark.thorough
def test_a_classifier_finds_the_closed_ratio() -> None:
    """Of a Gaussian with a correlation of 0.7, against that without: 0.05 nats within three
    standard deviations.
    """
    options = {name: option.default for name, option in KINDS["family"]["implicit"].options.items()}
    options |= {"n_context": 1, "n_noise": 2, "n_mixture": 256, "sampler_units": ()}
    family: Any = Sampler(2, options)
    params = np.zeros(family.settle(0), np.float32)
    family.start(params, np.random.default_rng(0))
    spread = np.linalg.cholesky([[1.0, 0.7], [0.7, 1.0]])
    row, sd = family.net.table[0], 0.2
    weights = np.zeros((3, 4))
    weights[1:, :2] = np.linalg.cholesky(spread @ spread.T - sd**2 * np.eye(2)).T
    params[row[WEIGHTS] : row[BIAS]] = weights.ravel()
    raw = np.log(0.1) + np.log(np.expm1(np.log(sd) - np.log(0.1)))  # of which softplus makes sd
    params[row[BIAS] + 2 : row[BIAS] + 4] = raw
    own, rng = family.ratio.own, np.random.default_rng(1)
    context, tape = np.ones(1, np.float32), family.work(1, 2)
    grads, first, second = np.zeros((3, params.size), np.float32)
    for t in range(1, 1201):
        eps = np.empty(2 * family.n_noise, np.float32)
        normals(rng.integers(1, 2**63, dtype=np.uint64), eps)
        drawn = family.run(params, context, eps, tape, 2)
        family.ratio.learn(params, drawn, grads)
        rate = 3e-3 * min(1.0, 2.0 - t / 600) / (1.0 - 0.9**t)
        numbers = (0.9, 0.999, max(rate, 1e-5), 1.0 / (1.0 - 0.999**t), 1e-8)
        adam_in_place(grads[own], first[own], second[own], *map(np.float32, numbers), params[own])
    z = (np.random.default_rng(2).standard_normal((2000, 2)) @ spread.T).astype(np.float32)
    near = np.einsum("ij,jk,ik->i", z, np.linalg.inv(spread @ spread.T), z) < 9.0
    inputs = np.column_stack([np.ones(near.sum()), z[near]])
    found = forward(family.ratio.net.table, params.astype(float), inputs)[:, 0]
    inverse = np.linalg.inv(spread @ spread.T) - np.eye(2)
    closed = -0.5 * np.einsum("ij,jk,ik->i", z[near], inverse, z[near])
    closed -= np.log(np.diag(spread)).sum()
    assert np.sqrt(np.mean((found - closed) ** 2)) < 0.05
    assert closed.std() > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("ratio", ["adversarial", "semi_implicit"])
def test_four_points_divide_the_plane(ratio: str) -> None:
    """Mescheder's example: log p(x) goes to -log 4 = -1.386, and the mean of posteriors to the
    prior; both by quadrature of the decoder's densities, not by the ratio.
    """
    model = VariationalAutoencoder(
        2, likelihood="bernoulli", hidden_layer_sizes=(64, 64), activation="elu",
        family="implicit", options={"ratio": ratio}, batch_size=16, max_iter=6000,
        learning_rate=0.002, random_state=0,
    ).fit(np.tile(FOUR, (4, 1)))  # fmt: skip
    whole, prior, likelihood = log_probabilities(model, FOUR)
    assert np.abs(np.exp(prior).sum() - 1.0) < 1e-6
    assert whole.mean() > -1.386 - 0.15
    assert model.ratio_check_.verdict == "trusted"
    assert model.elbo_samples(FOUR, n_draws=200).mean() < whole.mean()
    np.testing.assert_allclose(model.score_samples(FOUR, n_draws=500), whole, atol=0.1)
    # the plane in four: each point has a quarter of the prior
    share = np.exp(prior) @ np.eye(4)[likelihood.argmax(axis=1)]
    np.testing.assert_allclose(share, 0.25, atol=0.05)
    assert divergence_from_prior(model) < 0.1


@pytest.mark.thorough
@pytest.mark.parametrize("ratio", ["adversarial", "kernel", "semi_implicit"])
def test_what_each_ratio_offers(ratio: str, tmp_path: Path) -> None:
    """The bound of draws is below importance sampling whatever the ratio; files have all."""
    X = rows_for()
    given = SMALL | {"options": UNITS | {"ratio": ratio}, "max_iter": 60, "learning_rate": 0.005}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # it may be untrusted
        model = VariationalAutoencoder(2, **given).fit(X)
    bound = model.history_["local_elbo"]
    assert bound[-30:].mean() > bound[:30].mean()
    exact = model.score_samples(X, n_draws=300).mean()
    assert model.elbo_samples(X, n_draws=50).mean() < exact
    check = model.ratio_check_
    assert check.least < check.most
    assert check.log_prob == pytest.approx(exact, abs=0.2)
    if ratio == "semi_implicit":
        assert check.divergence == pytest.approx(check.most)
        assert check.verdict == "trusted"
    whole, _, _ = log_probabilities(model, X[:6])
    np.testing.assert_allclose(model.score_samples(X[:6], n_draws=1000), whole, atol=0.2)
    assert model.transform(X).shape == (40, 2)
    model.save(tmp_path / "m.npz")
    twin = fastvi.load(tmp_path / "m.npz")
    assert twin.ratio_check_ == check
    np.testing.assert_array_equal(twin.score_samples(X), model.score_samples(X))


@pytest.mark.thorough
def test_a_ratio_that_lags_is_untrusted() -> None:
    """A classifier that hardly learns leaves the bound above what is possible; `fit` says so."""
    options = {"critic_rate": 1e-6, "critic_steps": 1}
    model = VariationalAutoencoder(
        2, likelihood="bernoulli", hidden_layer_sizes=(32,), family="implicit", options=options,
        batch_size=8, max_iter=600, learning_rate=0.005, random_state=0,
    )  # fmt: skip
    with pytest.warns(RuntimeWarning, match="the bound is untrusted: by the ratio"):
        model.fit(np.tile(FOUR, (2, 1)))
    check = model.ratio_check_
    assert check.verdict == "untrusted"
    assert check.bound > check.log_prob
    assert log_probabilities(model, FOUR)[0].mean() < -1.38  # what is possible


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"optimizer": 0.1}, "optimizer does not go with a classifier"),
        ({"kl": "aggressive"}, "kl='aggressive' does not go with a classifier"),
        ({"prior": "vamp"}, "family='implicit' has none"),
        ({"objective": "iwae"}, "objective"),
        ({"options": {"ratio": "exact"}}, "ratio is 'exact'; wanted"),
        ({"options": {"n_mixture": 1}}, "n_mixture is 1; wanted"),
        ({"options": {"least_sd": 0.0}}, "least_sd is 0"),
        ({"options": {"critic_units": 8}}, "critic_units is 8; wanted numbers of units"),
    ],
)
def test_what_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VariationalAutoencoder(2, **(SMALL | given)).fit(rows_for())


def test_other_families_have_no_ratio() -> None:
    model = VariationalAutoencoder(2, **(SMALL | {"family": "gaussian"}))
    with pytest.raises(AttributeError, match="only after fit"):
        _ = model.ratio_check_
