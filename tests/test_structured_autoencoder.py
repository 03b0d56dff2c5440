"""Autoencoders with a structured prior: exact cases, groups, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score
from test_autoencoder import ELBO, SPECTRUM, normal_rows

import fastvi
from fastvi import VariationalAutoencoder
from fastvi.models.autoencoder.choice import PLAIN
from fastvi.models.autoencoder.rows import Frame, rows_of
from fastvi.models.autoencoder.structured import StructuredAutoencoder

pytestmark = [pytest.mark.jit, pytest.mark.thorough]  # the kernels of a step take 8 s to compile


def test_one_part_and_a_linear_decoder_are_probabilistic_pca() -> None:
    """With N(0, I) known, the bound at the optimum of Tipping and Bishop (1999) is the likelihood.

    Expectations of squares are exact for draws at plus and minus sqrt(J) along each axis.
    """
    X, axes = normal_rows()
    j, variance = 3, 0.5
    choice = PLAIN._replace(options={"n_parts": 1})
    frame = Frame("gaussian", 8, np.zeros(8), 1.0, 1)
    model = StructuredAutoencoder(frame, j, [], "none", np.sqrt(variance), choice)
    W = axes[:, :j] * np.sqrt(SPECTRUM[:j] - variance)
    precisions = np.square(W).sum(0) / variance  # of what a row says of its latent variables
    encoder, decoder = model.form.encoder.table[0], model.form.decoder.table[0]
    rows = rows_of(frame, X)
    params = np.zeros(model.n_params, np.float32)
    weights = np.concatenate([W / variance / precisions, np.zeros((8, j))], axis=1)
    params[encoder[3] : encoder[4]] = weights.ravel()
    params[encoder[4] + j : decoder[3]] = -0.5 * np.log(precisions)
    params[decoder[3] : decoder[4]] = W.T.ravel()
    many = 1e9  # rows of N(0, I) seen
    scatter = model.mixture.shape.pack(many * np.eye(j))[None]
    known = model.mixture.params_of(np.array([many]), np.zeros((1, j)), scatter)
    model._put(known, params)
    work, points = (
        model.work(rows, len(X), 2 * j),
        np.sqrt(j) * np.concatenate([np.eye(j), -np.eye(j)]),
    )
    work.eps[...] = np.broadcast_to(points, (len(X), 2 * j, j)).ravel()
    objective = ELBO._replace(n_draws=2 * j)
    numbers = np.arange(len(X))
    model.evaluate(objective, params, rows, numbers, work)
    bound = (work.values + np.repeat(rows.constants, 2 * j)).mean()
    exact = multivariate_normal(np.zeros(8), W @ W.T + variance * np.eye(8)).logpdf(X).mean()
    assert bound == pytest.approx(exact, rel=2e-6)
    encoded = model.encode(params, rows, 0, len(X), model.encoder_work(len(X)))
    np.testing.assert_allclose(encoded[:, :j], X @ W / variance / (1 + precisions), atol=1e-5)
    np.testing.assert_allclose(encoded[0, j:], -0.5 * np.log1p(precisions), atol=1e-6)
    model.evaluate(objective._replace(kind=1), params, rows, numbers, work)  # importance weights
    weights = (work.values + np.repeat(rows.constants, 2 * j)).reshape(len(X), -1)
    density = multivariate_normal(np.zeros(8), W @ W.T + variance * np.eye(8)).logpdf(X)
    np.testing.assert_allclose(weights, np.tile(density[:, None], 2 * j), rtol=1e-5)


def test_a_trained_one_reaches_probabilistic_pca() -> None:
    X, axes = normal_rows()
    model = VariationalAutoencoder(
        3, prior="structured", n_parts=1, hidden_layer_sizes=(), noise=np.sqrt(0.5),
        learning_rate=0.01, batch_size=250, max_iter=300, random_state=0,
    ).fit(X)  # fmt: skip
    kept = np.append(SPECTRUM[:3], np.full(5, 0.5))
    exact = multivariate_normal(np.zeros(8), axes * kept @ axes.T).logpdf(X).mean()
    bounds = model.elbo_samples(X, n_draws=50)
    assert exact - 0.15 < bounds.mean() < exact + 4 * bounds.std() / np.sqrt(50 * len(X))


def pinwheel(rng: np.random.Generator, n: int) -> tuple[Any, Any]:
    """Rows (n, 2) of five arms, and their arms (Johnson et al. 2016, figure 3)."""
    arm = rng.integers(5, size=n)
    along, across = 1.0 + 0.3 * rng.normal(size=n), 0.05 * rng.normal(size=n)
    angle = 2.0 * np.pi * arm / 5 + 0.25 * np.exp(along)
    cos, sin = np.cos(angle), np.sin(angle)
    return 10.0 * np.stack([cos * along - sin * across, sin * along + cos * across], axis=1), arm


def test_arms_of_a_pinwheel() -> None:
    """Parts are arms; the bound of other rows is higher than under N(0, I)."""
    rng = np.random.default_rng(0)
    (X, _), (new, arms) = pinwheel(rng, 1000), pinwheel(rng, 1000)
    options: dict[str, Any] = {
        "hidden_layer_sizes": (40, 40), "activation": "tanh", "learning_rate": 0.01,
        "kl_warmup": 50, "max_iter": 150, "random_state": 0,
    }  # fmt: skip
    normal, structured = (
        VariationalAutoencoder(2, prior=prior, n_parts=15, **options).fit(X)
        for prior in ("normal", "structured")
    )
    bounds = [model.elbo_samples(new, n_draws=10).mean() for model in (normal, structured)]
    assert bounds[1] > bounds[0] + 0.3
    assert structured.score_samples(new).mean() > bounds[1]
    shares = structured.parts(new)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    assert adjusted_rand_score(arms, shares.argmax(axis=1)) > 0.9


def test_files_streams_and_draws(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = np.repeat(np.eye(4), 25, axis=0) * 5.0 + 0.1 * rng.normal(size=(100, 4))
    model = VariationalAutoencoder(
        2, prior="structured", n_parts=4, hidden_layer_sizes=(8,), batch_size=30, max_iter=5,
        random_state=1,
    ).fit(X)  # fmt: skip
    model.save(tmp_path / "m.npz")
    again = fastvi.load(tmp_path / "m.npz")
    np.testing.assert_array_equal(again.parts(X), model.parts(X))
    np.testing.assert_array_equal(again.score_samples(X), model.score_samples(X))
    means, sd = model.posterior(X)
    np.testing.assert_array_equal(means, model.transform(X))
    assert np.all(sd > 0)
    drawn, latent = model.sample(7)
    assert drawn.shape == (7, 4)
    assert latent.shape == (7, 2)
    assert model.sample_posterior(X).shape == (100, 2)
    elbo = model.elbo_
    model.set_params(warm_start=True, max_iter=100).fit(X)
    assert model.elbo_ > elbo
    model.partial_fit(X[::2]).partial_fit(X[1::2])
    assert np.isfinite(model.score(X))
    other = clone(model).set_params(warm_start=False, n_jobs=2).fit(X)
    np.testing.assert_array_equal(
        other.transform(X), clone(other).set_params(n_jobs=1).fit(X).transform(X)
    )


def test_what_is_refused() -> None:
    X = np.zeros((10, 2)) + np.arange(10)[:, None]
    model = VariationalAutoencoder(1, prior="structured", objective="iwae")
    with pytest.raises(ValueError, match="objective is 'iwae'; wanted one of 'elbo'"):
        model.fit(X)
    normal = VariationalAutoencoder(1, hidden_layer_sizes=(), max_iter=1).fit(X)
    with pytest.raises(AttributeError, match="parts"):
        normal.parts(X)
