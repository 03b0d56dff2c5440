"""Autoencoders learn more from bounds with more importance weights."""

from pathlib import Path

import numpy as np
import pytest

from fastvi import VariationalAutoencoder


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_more_importance_weights_explain_images_better(data_dir: Path, seed: int) -> None:
    """Held-out log likelihoods of 500 images rise from 1 to 5 to 50 draws (Burda et al. 2016)."""
    with np.load(data_dir / "images" / "binarized_mnist_larochelle_packed.npz") as file:
        packed = file["train"][np.random.default_rng(0).permutation(50_000)[:3000]]
        X, X_test = (
            np.unpackbits(rows, axis=1)[:, :784].astype(np.float32)
            for rows in (packed, file["test"][:5000:10])
        )
    scores = [
        VariationalAutoencoder(
            20, likelihood="bernoulli", hidden_layer_sizes=(100,), max_iter=10, random_state=seed,
            objective="elbo" if n_draws == 1 else "iwae", n_draws=n_draws, learning_rate=2e-3,
            batch_size=50,
        ).fit(X).score_samples(X_test, n_draws=200).mean()
        for n_draws in (1, 5, 50)
    ]  # fmt: skip
    assert np.all(np.diff(scores) > 0.0)
