"""Kinds of autoencoders on a part of MNIST: ``python bench/autoencoder_kinds.py [KIND ...]``.

Fits have 15 passes and a warm-up of five, without which nothing is learned at first, or as many as
``--passes`` and ``--warmup`` say; where `kl` is in the table they have no warm-up. Prints, for each
kind, the mean test bound and log p(x) by 50 importance draws (nats; medians and ranges of three
seeds), latent variables in use, and CPU seconds of a fit with compiled kernels. The folder of
images is ``FASTVI_TEST_DATA``/images.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from fastvi import VariationalAutoencoder

N_ROWS, SEEDS = 10_000, (0, 1, 2)
KINDS: dict[str, dict[str, Any]] = {
    "gaussian": {},
    "iaf": {"family": "iaf"},
    "maf": {"family": "maf"},
    "planar": {"family": "planar"},
    "vamp": {"prior": "vamp", "n_parts": 100},
    "iaf, vamp": {"family": "iaf", "prior": "vamp", "n_parts": 100},
    "plain": {"kl": "plain"},
    "anneal": {"kl": "anneal"},
    "free_bits": {"kl": "free_bits"},
    "delta": {"kl": "delta"},
    "aggressive": {"kl": "aggressive"},
    "categorical, relaxed": {"family": "categorical"},
    "categorical, straight_through": {
        "family": "categorical", "options": {"gradient": "straight_through"},
    },
    "categorical, score": {"family": "categorical", "options": {"gradient": "score"}},
}  # fmt: skip


def images() -> tuple[Any, Any]:
    """Return training and test images with fixed binarisation."""
    folder = Path(os.environ["FASTVI_TEST_DATA"]) / "images"
    with np.load(folder / "binarized_mnist_larochelle_packed.npz") as file:
        train, test = (np.unpackbits(file[k], axis=1)[:, :784] for k in ("train", "test"))
    chosen = np.random.default_rng(0).permutation(len(train))[:N_ROWS]
    return train[chosen].astype(np.float32), test[::10].astype(np.float32)


def measured(name: str, n_passes: int, warmup: float, train: Any, test: Any) -> str:
    """Return a row of the table."""
    found = []
    for seed in SEEDS:
        options = KINDS[name] if "kl" in KINDS[name] else KINDS[name] | {"kl_warmup": warmup}
        model = VariationalAutoencoder(
            20, likelihood="bernoulli", max_iter=n_passes, random_state=seed, **options
        )
        before = time.process_time()
        model.fit(train)
        seconds = time.process_time() - before
        bound = model.elbo_samples(test, n_draws=5).mean()
        score = model.score_samples(test, n_draws=50).mean()
        found.append((bound, score, model.active_units_, seconds))
    columns = np.array(found)
    middle, low, high = np.median(columns, axis=0), columns.min(axis=0), columns.max(axis=0)
    cells = [f"{middle[i]:.1f} ({low[i]:.1f} to {high[i]:.1f})" for i in (0, 1)]
    return f"| {name} | {cells[0]} | {cells[1]} | {middle[2]:.0f} | {low[3]:.0f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--passes", type=int, default=15)
    parser.add_argument("--warmup", type=float, default=5)
    given, (train, test) = parser.parse_args(), images()
    print("| kind | bound | log p(x) | in use | CPU seconds |\n|---|---:|---:|---:|---:|")
    for name in given.kinds:
        print(measured(name, given.passes, given.warmup, train, test), flush=True)


if __name__ == "__main__":
    main()
