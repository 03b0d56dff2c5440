"""Structured stochastic variational inference (Hoffman and Blei 2015): topics that are drawn."""

from __future__ import annotations

import numpy as np

from fastvi.base.typing import AnyArray, Array

__all__ = ["drawn_weights"]


def drawn_weights(
    values: AnyArray, column_sums: Array, n_topics: int, rng: np.random.Generator
) -> tuple[AnyArray, AnyArray]:
    """Overwrite Dirichlet parameters with weights of words in topics drawn from these.

    A topic is a vector of Gamma variables over their sum; of the words outside the batch, only
    their sum is drawn, which is one Gamma variable. Small shapes are drawn as logarithms: x with
    shape a + 1 times u^(1 / a), u uniform, has shape a, and would be 0 in floating point.

    Parameters
    ----------
    values : (U, K padded) array
        Parameters of the batch's words, overwritten.
    column_sums : (K padded,) array
        Sums of the parameters of all words.
    n_topics : int
    rng : Generator

    Returns
    -------
    weights : (U, K padded) array
        Probabilities of words up to a factor per word.
    log_factors : (U,) array
    """
    shapes = values[:, :n_topics]
    rest = np.maximum(column_sums[:n_topics] - shapes.sum(axis=0, dtype=np.float64), 0.0)
    kind = values.dtype.type
    with np.errstate(divide="ignore"):
        logs = np.log(kind(1) - rng.random(shapes.shape, dtype=kind))
        logs /= shapes
        logs += np.log(rng.standard_gamma(shapes + kind(1), dtype=kind))
        of_rest = np.log(rng.standard_gamma(rest))
        top = logs.max(axis=0, initial=np.finfo(kind).min)
        total = top + np.log(np.exp(logs - top).sum(axis=0, dtype=np.float64))
    logs -= np.logaddexp(total, of_rest).astype(kind)
    log_factors = logs.max(axis=1, initial=np.finfo(kind).min)
    np.exp(logs - log_factors[:, None], out=values[:, :n_topics])
    values[:, n_topics:] = 0
    return values, log_factors
