"""Noise of stochastic gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base import checks, tree
from fastvi.base.typing import RandomState, Tree
from fastvi.core import Batch, Gradient, dense

__all__ = ["GradientNoise", "gradient_noise"]


class GradientNoise(NamedTuple):
    """Moments of a gradient over batches.

    Attributes
    ----------
    mean : (n,) float64 array
        Mean of all coordinates, concatenated.
    error : (n,) float64 array
        Standard error of `mean`.
    trace : float
        Trace of the covariance of one gradient.
    n_batches : int
    """

    mean: NDArray[np.float64]
    error: NDArray[np.float64]
    trace: float
    n_batches: int


def gradient_noise(
    gradient: Gradient, params: Tree, batches: Iterable[Batch], random_state: RandomState = None
) -> GradientNoise:
    """Measure the mean of a gradient and the trace of its covariance at fixed parameters.

    Parameters
    ----------
    gradient : Gradient
        Its state is carried from batch to batch, as in a fit with rate 0.
    params : tree of arrays or LazyTable
        Not written to.
    batches : iterable of Batch
        Independent draws, at least two.
    random_state : int, RandomState, Generator or None

    Returns
    -------
    GradientNoise

    Raises
    ------
    ValueError
        If there are fewer than two batches.
    """
    rng = checks.generator(random_state, "random_state")
    state = gradient.init(params)
    mean: Any = 0.0
    squares: Any = 0.0
    n = 0
    for batch in batches:
        direction, state, _ = gradient.estimate(state, params, batch, rng)
        flat = np.concatenate(
            [np.ravel(leaf).astype(np.float64) for leaf in tree.leaves(dense(direction, params))]
        )
        n += 1
        change = flat - mean
        mean = mean + change / n
        squares = squares + change * (flat - mean)
    if n < 2:
        raise ValueError(f"gradient_noise got {n} batches; wanted at least 2")
    variance = squares / (n - 1)
    return GradientNoise(mean, np.sqrt(variance / n), float(variance.sum()), n)
