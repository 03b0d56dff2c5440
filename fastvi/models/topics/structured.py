"""Structured stochastic variational inference (Hoffman and Blei 2015): topics that are drawn."""

from __future__ import annotations

import numpy as np

from fastvi.base import parallel
from fastvi.base.typing import AnyArray, Array
from fastvi.kernels import gammas

__all__ = ["drawn_weights"]

ROWS = 512  # of a task, whatever the number of threads


def drawn_weights(
    values: AnyArray,
    column_sums: Array,
    n_topics: int,
    rng: np.random.Generator,
    n_threads: int = 1,
) -> tuple[AnyArray, AnyArray]:
    """Overwrite Dirichlet parameters with weights of words in topics drawn from these.

    A topic is a vector of Gamma variables over their sum; of the words outside the batch, only
    their sum is drawn, which is one Gamma variable.

    Parameters
    ----------
    values : (U, K padded) array
        Parameters of the batch's words, overwritten.
    column_sums : (K padded,) array
        Sums of the parameters of all words.
    n_topics : int
    rng : Generator
    n_threads : int
        Threads to use; results do not depend on it.

    Returns
    -------
    weights : (U, K padded) array
        Probabilities of words up to a factor per word.
    log_factors : (U,) array
    """
    rest = np.maximum(column_sums - values.sum(axis=0, dtype=np.float64), 0.0)[:n_topics]
    seed = rng.integers(2**64, dtype=np.uint64)
    with np.errstate(divide="ignore"):  # shape a + 1 times u^(1 / a), u uniform, has shape a
        of_rest = np.log(1.0 - rng.random(n_topics)) / rest
        of_rest += np.log(rng.standard_gamma(rest + 1.0))
    n, width = values.shape
    bounds = np.append(np.arange(0, n, ROWS), n)
    flat = values.reshape(-1)  # a view, since tables are contiguous
    top = np.zeros((len(bounds), width), values.dtype)
    total = np.ones((len(bounds), width))
    top[-1, :n_topics] = of_rest

    def draw(i: int) -> None:
        gammas.log_gammas(flat, seed, bounds[i] * width, bounds[i + 1] * width)
        gammas.log_sums(values, bounds[i], bounds[i + 1], top[i], total[i])

    parallel.run(draw, len(bounds) - 1, n_threads)
    logs = top[:, :n_topics] + np.log(total[:, :n_topics])
    log_totals = np.logaddexp.reduce(logs, axis=0).astype(values.dtype)
    log_factors = np.empty(n, values.dtype)

    def scale(i: int) -> None:
        gammas.drawn_weights(values, log_totals, n_topics, bounds[i], bounds[i + 1], log_factors)

    parallel.run(scale, len(bounds) - 1, n_threads)
    return values, log_factors
