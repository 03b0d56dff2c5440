"""Convolutional autoencoders: what they learn, save and refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit
from tolerances import rounding

import fastvi
from fastvi import VariationalAutoencoder
from fastvi.models.autoencoder.options import model_of
from fastvi.models.autoencoder.rows import frame_of, rows_of

pytestmark = [pytest.mark.jit, pytest.mark.thorough]

SMALL: dict[str, Any] = {
    "likelihood": "bernoulli",
    "decoder": "conv",
    "image_shape": (9, 10),
    "options": {"n_maps": (8,), "kernel_size": 3},
    "hidden_layer_sizes": (16,),
    "max_iter": 2,
    "random_state": 0,
}


def squares(n: int, seed: int) -> Any:
    """Images (n, 90) of 9 x 10 pixels: a square of 3 x 3 anywhere, and one wrong pixel of 50."""
    rng = np.random.default_rng(seed)
    images = np.zeros((n, 9, 10))
    places = rng.integers(0, (7, 8), (n, 2))
    for image, (r, q) in zip(images, places):
        image[r : r + 3, q : q + 3] = 1.0
    wrong = rng.uniform(size=images.shape) < 0.02
    return np.abs(images - wrong).reshape(n, 90)


def test_what_is_the_same_anywhere_is_learned_from_fewer_images() -> None:
    """Convolutions share weights between places: from 100 images of squares, bounds of others are
    better than those of dense layers (by 7.1 nats, and by 4.4 from other seeds; the standard error
    of the difference, of 500 images, is 0.6).
    """
    X, X_test = squares(100, 10), squares(500, 1)
    same = {
        **SMALL, "activation": "relu", "batch_size": 20, "learning_rate": 3e-3, "max_iter": 150,
    }  # fmt: skip
    maps = {"hidden_layer_sizes": (32,), "options": {"n_maps": (16, 16)}}
    layers = {"hidden_layer_sizes": (64, 64), "decoder": "dense", "options": None}
    conv, dense = (VariationalAutoencoder(4, **same | of).fit(X) for of in (maps, layers))
    bounds = [model.elbo_samples(X_test, n_draws=5).mean() for model in (conv, dense)]
    assert bounds[0] > bounds[1] + 2.0
    assert conv.active_units_ >= 2
    images = conv.sample(300)[0].reshape(300, 9, 10)
    assert images.mean() == pytest.approx(X.mean(), abs=0.03)


@pytest.mark.parametrize("likelihood", ["gaussian", "categorical", "poisson", "multinomial"])
def test_other_likelihoods_and_channels(likelihood: str) -> None:
    X = np.random.default_rng(0).integers(3, size=(40, 30)).astype(float)
    options = {**SMALL, "likelihood": likelihood, "image_shape": (3, 5, 2)}
    model = VariationalAutoencoder(2, **options).fit(X)
    rows, _ = model.sample(30)
    assert rows.shape == (30, 30)
    assert np.isfinite(model.score_samples(X, n_draws=3)).all()
    if likelihood == "categorical":
        assert set(np.unique(rows)) <= {0.0, 1.0, 2.0}
    assert model.inverse_transform(model.transform(X)).shape == X.shape


@pytest.mark.parametrize("activation", ["softplus", "relu"])
def test_a_start_shows_the_mean_image_and_encodes_around_zero(activation: str) -> None:
    """Maps that are all positive must not add up to an offset."""
    X = squares(100, 0)
    frame = frame_of("bernoulli", X)
    model = model_of(VariationalAutoencoder(3, **SMALL, activation=activation).get_params(), frame)
    rows = rows_of(frame, X)
    params = model.start(rows, np.random.default_rng(0))
    z = np.zeros((1, 3), np.float32)
    logits = model.decode(params, z, model.decoder_work(1))[0]
    slack = rounding(np.float32, 9 * 10 * 8, 10.0)
    np.testing.assert_allclose(expit(logits), X.mean(axis=0).clip(1e-3, 1 - 1e-3), atol=slack)
    found = model.encode(params, rows, 0, 100, model.encoder_work(100))
    np.testing.assert_allclose(found.mean(axis=0), 0.0, atol=slack)


def test_files_starts_streams_and_threads(tmp_path: Path) -> None:
    X = squares(300, 0)
    model = VariationalAutoencoder(2, **SMALL).fit(X)
    model.save(tmp_path / "model.fvi")
    again = fastvi.load(tmp_path / "model.fvi")
    assert again.image_shape == (9, 10)
    for found in (again, again.set_params(n_jobs=2)):
        np.testing.assert_array_equal(found.score_samples(X), model.score_samples(X))
        np.testing.assert_array_equal(found.reconstruct(X), model.reconstruct(X))
    before = model.elbo_
    model.set_params(warm_start=True, max_iter=5).fit(X)
    assert model.elbo_ > before
    with pytest.raises(ValueError, match="or options was different"):
        model.set_params(options={"n_maps": (16,)}).fit(X)
    stream = VariationalAutoencoder(2, **SMALL).partial_fit(X[:30]).partial_fit(X[30:])
    assert np.isfinite(stream.score_samples(X)).all()


def test_a_bound_of_one_draw_is_that_of_its_parts() -> None:
    """The means of pixels from `inverse_transform` are those by which draws are scored: with q
    narrow, log p(x | z) of a reconstruction differs from its sampled value by less than its sd.
    """
    X = squares(200, 0)
    model = VariationalAutoencoder(2, **{**SMALL, "max_iter": 30}).fit(X)
    p = model.reconstruct(X).clip(1e-6, 1 - 1e-6)
    at_mean = (X * np.log(p) + (1 - X) * np.log1p(-p)).sum(axis=1)
    means, sds = model.posterior(X)
    kl = (0.5 * (means**2 + sds**2 - 1) - np.log(sds)).sum(axis=1)
    by_draws = model.elbo_samples(X, n_draws=200) + kl
    assert (by_draws < at_mean + 1.0).all()
    assert np.corrcoef(by_draws, at_mean)[0, 1] > 0.99


@pytest.mark.parametrize(
    "kinds",
    [
        {"family": "iaf", "prior": "mixture", "n_parts": 3},
        {"family": "hamiltonian"},
        {"prior": "structured", "n_parts": 3},
        {"kl": "aggressive"},
    ],
)
def test_with_other_kinds(kinds: dict[str, Any]) -> None:
    X = squares(60, 0)
    model = VariationalAutoencoder(2, **{**SMALL, "max_iter": 20, "batch_size": 20, **kinds}).fit(X)
    bounds = model.history_["local_elbo"]
    assert bounds[-9:].mean() > bounds[:3].mean()
    assert np.isfinite(model.score_samples(X, n_draws=3)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_shape": None}, "wanted the height and width"),
        ({"image_shape": (9, 9)}, "81 numbers, and X 90 columns"),
        ({"options": {"n_maps": (8, 12)}}, "n_maps holds 12; wanted multiples of 8"),
        ({"options": {"n_maps": 8}}, "one per convolution"),
        ({"options": {"n_maps": ()}}, "one per convolution"),
        ({"options": {"kernel_size": 0}}, "kernel_size"),
        ({"options": {"kernel_size": 2, "stride": 3}}, "pixels between would be left out"),
        ({"options": {"kernel_sizes": (3,)}}, "options has 'kernel_sizes'; wanted one of"),
        ({"prior": "vamp"}, "another prior with decoder='conv'"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VariationalAutoencoder(2, **{**SMALL, **options}).fit(squares(20, 0))
