"""Autoencoders whose decoder reads pixels: what they learn, draw and refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastvi
from fastvi import VariationalAutoencoder

pytestmark = [pytest.mark.jit, pytest.mark.thorough]

SMALL: dict[str, Any] = {
    "likelihood": "bernoulli",
    "decoder": "pixelcnn",
    "image_shape": (8, 8),
    "options": {"kernel_sizes": (3, 3), "n_maps": 8},
    "hidden_layer_sizes": (16,),
    "max_iter": 2,
    "random_state": 0,
}


def textures(n: int, seed: int) -> Any:
    """Images (n, 64): pixels of the upper half are copies of those on their left, of the lower half
    of those three pixels before, in either case with errors.
    """
    rng = np.random.default_rng(seed)
    images = (rng.uniform(size=(n, 8, 8)) < 0.5).astype(float)
    flips = rng.uniform(size=images.shape) < 0.05
    for q in range(1, 8):
        images[:, :4, q] = np.abs(images[:, :4, q - 1] - flips[:, :4, q])
    for q in range(3, 8):
        images[:, 4:, q] = np.abs(images[:, 4:, q - 3] - flips[:, 4:, q])
    return images.reshape(n, 64)


def test_the_divergence_falls_as_the_field_grows() -> None:
    """Chen et al. 2017, "Variational lossy autoencoder": what a decoder sees for itself is left out
    of the latent variables; and the bound is better.
    """
    X, X_test = textures(1500, 0), textures(500, 1)
    kl, bounds = [], []
    for size in (1, 3, 7):
        model = VariationalAutoencoder(
            8, likelihood="bernoulli", decoder="pixelcnn", image_shape=(8, 8),
            options={"n_maps": 8, "kernel_sizes": (size,)}, hidden_layer_sizes=(64,),
            activation="relu", max_iter=40, batch_size=50, learning_rate=3e-3, random_state=0,
        ).fit(X)  # fmt: skip
        kl.append(model.history_["kl"][-60:].mean())
        bounds.append(model.elbo_samples(X_test, n_draws=5).mean())
    assert kl[0] > kl[1] + 1.0 > kl[2] + 2.0
    assert bounds[0] < bounds[1] - 1.0 < bounds[2] - 2.0


def test_draws_have_the_texture() -> None:
    X = textures(1500, 0)
    options = {**SMALL, "max_iter": 30, "activation": "relu", "learning_rate": 3e-3}
    model = VariationalAutoencoder(2, **options).fit(X)
    rows, Z = model.sample(500)
    assert rows.shape == (500, 64)
    assert Z.shape == (500, 2)
    for images in (rows.reshape(-1, 8, 8), X.reshape(-1, 8, 8)):
        same = (images[:, :4, 1:] == images[:, :4, :-1]).mean()
        assert same == pytest.approx(0.95, abs=0.02)
    found = model.reconstruct(X[:5])
    assert found.shape == (5, 64)
    assert ((found >= 0) & (found <= 1)).all()


@pytest.mark.parametrize("likelihood", ["gaussian", "categorical", "poisson"])
def test_other_likelihoods_and_channels(likelihood: str) -> None:
    X = np.random.default_rng(0).integers(3, size=(40, 24)).astype(float)
    options = {**SMALL, "likelihood": likelihood, "image_shape": (3, 4, 2)}
    model = VariationalAutoencoder(2, **options).fit(X)
    rows, _ = model.sample(30)
    assert rows.shape == (30, 24)
    assert np.isfinite(model.score_samples(X, n_draws=3)).all()
    if likelihood == "categorical":
        assert set(np.unique(rows)) <= {0.0, 1.0, 2.0}
    assert model.inverse_transform(model.transform(X)).shape == X.shape


def test_files_starts_and_streams(tmp_path: Path) -> None:
    X = textures(60, 0)
    model = VariationalAutoencoder(2, **SMALL).fit(X)
    model.save(tmp_path / "model.fvi")
    again = fastvi.load(tmp_path / "model.fvi")
    assert again.image_shape == (8, 8)
    np.testing.assert_array_equal(again.score_samples(X), model.score_samples(X))
    before = model.elbo_
    model.set_params(warm_start=True, max_iter=10).fit(X)
    assert model.elbo_ > before
    with pytest.raises(ValueError, match="or options was different"):
        model.set_params(options={"n_maps": 16}).fit(X)
    stream = VariationalAutoencoder(2, **SMALL).partial_fit(X[:30]).partial_fit(X[30:])
    assert np.isfinite(stream.score_samples(X)).all()
    with pytest.raises(ValueError, match="options"):
        stream.set_params(options={"n_maps": 16}).partial_fit(X)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoder": "pixels"}, "decoder"),
        ({"image_shape": None}, "wanted the height and width"),
        ({"image_shape": (8,)}, "wanted the height and width"),
        ({"image_shape": (8, 7)}, "56 numbers, and X 64 columns"),
        ({"image_shape": (8, 0)}, "image_shape"),
        ({"options": {"n_maps": 12}}, "multiple of 8"),
        ({"options": {"kernel_sizes": (3, 4)}}, "holds 4; wanted odd"),
        ({"options": {"kernel_sizes": ()}}, "one per layer"),
        ({"options": {"kernel_sizes": 3}}, "one per layer"),
        ({"likelihood": "multinomial"}, "draws a row as a whole"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VariationalAutoencoder(2, **{**SMALL, **options}).fit(textures(20, 0))
