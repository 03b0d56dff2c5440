"""Where fits start: near the PCA of the rows, or of a sample of them."""

from __future__ import annotations

import numpy as np

from fastvi.base.typing import Array
from fastvi.batches import InMemory
from fastvi.cluster.active import active
from fastvi.cluster.executors import Held
from fastvi.models.factors.model import Factors, Loadings
from fastvi.models.factors.rows import StandardRows, compressed, principal

__all__ = ["drawn", "few_rows", "near_pca"]

START_ROWS = 1000  # least number of rows for the first loadings of mini-batch fits
LEAST_NOISE = 1e-9  # least initial noise, relative to variances of the data


def few_rows(source: StandardRows, n_threads: int, compress: bool = True) -> InMemory:
    """Return the rows in float64, or fewer rows that represent them."""
    if compress and source.n_rows > source.width:
        return compressed(_gram(source, n_threads))
    return InMemory(source.all(np.float64))


def _gram(source: StandardRows, n_threads: int) -> Array:
    """Sums of products of columns, over shards if there is a cluster."""
    cluster = active()
    if cluster is None:
        return source.gram(n_threads)
    placed = cluster.place(source)
    found: Array = placed.total(_gram_of, n_threads, [None] * len(placed.shards))
    return found


def _gram_of(n_threads: int, own: None, held: Held) -> Array:
    rows: StandardRows = held.part.source
    return rows.gram(n_threads)


def drawn(source: StandardRows, model: Factors, seed: int) -> tuple[Array, int]:
    """Return a sample of rows, large enough to start from, and their number."""
    count = min(source.n_rows, max(START_ROWS, 2 * model.n_factors))
    rows = np.random.default_rng(seed).choice(source.n_rows, count, replace=False)
    return source.take(np.sort(rows)).astype(np.float64), count


def near_pca(model: Factors, sample: Array, count: int, n_rows: int) -> Loadings:
    """Return parameters near the most likely PCA of a sample that represents `count` rows."""
    loadings, noise = principal(sample, count, model.n_factors, LEAST_NOISE)
    noise = noise if model.n_noises > 1 else noise.mean(keepdims=True)
    return model.start(n_rows, loadings, noise)
