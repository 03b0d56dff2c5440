"""Unconstrained coordinates of the posterior of a Gaussian mixture."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import polygamma

from fastvi.base.typing import Array, Tree
from fastvi.core import Coordinates

__all__ = ["mixture_coordinates"]

FEWEST = 1e-6  # least number of rows of a component in its logarithm


class Free(NamedTuple):
    """Logarithms of numbers of rows, means, and coordinates of the inverse scales."""

    counts: Array  # (K,)
    means: Array  # (K, D)
    scatter: Array  # (G, D, D), or (K, P) if diagonal


def mixture_coordinates(model: Any) -> Coordinates:
    """Coordinates of a `fastvi.models.mixture.model.Mixture`.

    The natural gradient is the derivative by the expected statistics, so the plain gradient is that
    of ``<natural, E[statistics]>`` by the coordinates, with `natural` fixed.
    """

    def free(params: Tree) -> Free:
        q = model.posterior(params)
        counts = np.log(np.maximum(params.counts, FEWEST))
        return Free(counts, q.means, model.shape.free(q.scatter))

    def params(free: Free) -> Tree:
        return model.params_of(np.exp(free.counts), free.means, model.shape.packed(free.scatter))

    def gradient(params: Tree, natural: Tree) -> Free:
        q, shape = model.posterior(params), model.shape
        tied = len(q.scatter) < len(q.means)
        counts = natural.counts.mean(keepdims=True) if tied else natural.counts
        copies = len(q.means) if tied else 1  # of each matrix

        # By E[Lambda] = dof * inverse scale and E[log |Lambda|], which depends on the inverse
        one = np.ones(len(q.means))  # m s' + s m' by squares
        moment = shape.outer(one, q.means + natural.sums) - shape.outer(one, q.means - natural.sums)
        moment = 0.25 * moment - 0.5 * (natural.squares + shape.outer(natural.counts, q.means))
        slope = q.dof[:, None] * moment + 0.5 * counts[:, None] * q.scatter
        scatter = copies * shape.inverse_slope(q.scatter, q.inverse, slope)
        means = shape.times(
            q.dof[:, None] * q.inverse.packed, natural.sums - natural.counts[:, None] * q.means
        )
        halves = 0.5 * (q.dof[:, None] - np.arange(model.n_features))
        by_dof = (moment * q.inverse.packed * shape.multiplicity).sum(axis=1)
        by_dof += 0.25 * counts * polygamma(1, halves).sum(axis=1)
        by_count = _by_weights(model, params.counts, natural.counts) + by_dof
        by_count += 0.5 * natural.counts * model.n_features / np.square(q.kappa)
        return Free(by_count * params.counts, means, scatter)

    return Coordinates(free, params, gradient)


def _by_weights(model: Any, counts: Array, natural: Array) -> Array:
    """Return derivatives of ``natural @ E[log pi]`` by the numbers of rows, (K,)."""
    if not model.hyper.process:
        alpha = model.hyper.concentration + counts
        return np.asarray(natural * polygamma(1, alpha) - natural.sum() * polygamma(1, alpha.sum()))
    a, b = model.sticks(counts)
    after = np.append(np.cumsum(natural[:0:-1])[::-1], 0.0)
    both = (natural + after) * polygamma(1, a + b)
    by_b = after * polygamma(1, b) - both
    return np.asarray(natural * polygamma(1, a) - both + np.append(0.0, np.cumsum(by_b)[:-1]))
