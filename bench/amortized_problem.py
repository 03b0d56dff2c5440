"""Binary images for the benchmarks of amortized inference: MNIST, or random ones without it."""

import os
from pathlib import Path

import numpy as np

D, HIDDEN, LATENT, MAPS = 784, (200, 200), 50, (16, 32)


def images(n, part="train"):
    """Rows of 0 and 1, float32."""
    folder = os.environ.get("FASTVI_TEST_DATA")
    if folder:
        with np.load(Path(folder) / "images" / "binarized_mnist_larochelle_packed.npz") as file:
            return np.unpackbits(file[part][:n], axis=1)[:, :D].astype(np.float32)
    rng = np.random.default_rng(0)
    return (rng.normal(size=(n, 10)) @ rng.normal(size=(10, D)) > 1.5).astype(np.float32)


def on_one_core():
    """Keep this process, and what its libraries start, on one core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
