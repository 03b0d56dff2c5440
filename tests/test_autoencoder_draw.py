"""Autoencoders that paint in steps: what they learn, keep and refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastvi
from fastvi import VariationalAutoencoder

pytestmark = pytest.mark.jit

SMALL: dict[str, Any] = {
    "likelihood": "bernoulli",
    "decoder": "draw",
    "image_shape": (8, 8),
    "options": {"n_steps": 3, "n_units": 16},
    "max_iter": 2,
    "random_state": 0,
}
WINDOWS = {**SMALL, "options": {**SMALL["options"], "read_size": 3, "write_size": 4}}


def squares(n: int, seed: int) -> Any:
    """Images (n, 64), each of two squares of 2 x 2 pixels."""
    rng = np.random.default_rng(seed)
    images = np.zeros((n, 8, 8))
    for image in images:
        for r, q in rng.integers(7, size=(2, 2)):
            image[r : r + 2, q : q + 2] = 1.0
    return images.reshape(n, 64)


@pytest.mark.slow
def test_steps_are_better_than_one() -> None:
    """At an equal number of latent variables; log p(x) of new rows."""
    X, X_test = squares(2000, 0), squares(300, 1)
    common: dict[str, Any] = {"batch_size": 50, "learning_rate": 3e-3, "random_state": 0}
    one = VariationalAutoencoder(
        8, likelihood="bernoulli", hidden_layer_sizes=(64,), activation="relu", max_iter=60,
        **common,
    ).fit(X)  # fmt: skip
    options = {"n_steps": 4, "n_units": 64, "read_size": 3, "write_size": 3}
    drawn = VariationalAutoencoder(
        2, **{**SMALL, **common, "options": options, "max_iter": 60}
    ).fit(X)  # fmt: skip
    found = [model.score_samples(X_test, n_draws=50).mean() for model in (one, drawn)]
    assert found[1] > found[0] + 1.0


@pytest.mark.thorough
@pytest.mark.parametrize("given", [SMALL, WINDOWS], ids=["whole", "windows"])
def test_files_starts_and_streams(given: dict[str, Any], tmp_path: Path) -> None:
    X = squares(70, 0)
    model = VariationalAutoencoder(2, **given, batch_size=30).fit(X, X_val=X[:9])
    Z = model.transform(X)
    assert Z.shape == (70, 6)
    assert model.inverse_transform(Z).shape == X.shape
    assert model.sample_posterior(X, n_draws=3).shape == Z.shape
    rows, drawn = model.sample(5)
    assert rows.shape == (5, 64)
    assert drawn.shape == (5, 6)
    assert len(model.posterior_collapse_.causes) == 6
    model.save(tmp_path / "model.fvi")
    again = fastvi.load(tmp_path / "model.fvi")
    np.testing.assert_array_equal(again.score_samples(X), model.score_samples(X))
    before = model.elbo_
    model.set_params(warm_start=True, max_iter=10).fit(X)
    assert model.elbo_ > before
    stream = VariationalAutoencoder(2, **given).partial_fit(X[:30]).partial_fit(X[30:])
    assert np.isfinite(stream.elbo_samples(X)).all()
    weighted = {**given, "objective": "iwae", "n_draws": 3}
    assert np.isfinite(VariationalAutoencoder(2, **weighted).fit(X).elbo_)


@pytest.mark.thorough
def test_rows_alone_and_together_and_threads() -> None:
    X = squares(300, 0)
    model = VariationalAutoencoder(2, **WINDOWS).fit(X)
    scores = model.score_samples(X, n_draws=5)
    np.testing.assert_allclose(model.score_samples(X[7:8], n_draws=5), scores[7:8], rtol=1e-5)
    np.testing.assert_array_equal(model.set_params(n_jobs=2).score_samples(X, n_draws=5), scores)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"likelihood": "gaussian"}, "likelihood='bernoulli', and has 'gaussian'"),
        ({"prior": "mixture"}, "needs prior='normal'"),
        ({"family": "iaf"}, "do not go together"),
        ({"kl": "aggressive"}, "needs networks of one step"),
        ({"image_shape": (8, 7)}, "56 numbers, and X 64 columns"),
        ({"options": {"read_size": 9}}, "read_size is 9; wanted at most 8, for images of 8 x 8"),
        ({"options": {"write_size": 2}, "image_shape": None}, "write_size=2 needs image_shape"),
        ({"options": {"write_size": 2}, "image_shape": (4, 4, 4)}, "of one channel"),
        ({"options": {"n_steps": 0}}, "n_steps"),
        ({"options": {"n_maps": 8}}, "options has 'n_maps'"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VariationalAutoencoder(2, **{**SMALL, **options}).fit(squares(20, 0))
