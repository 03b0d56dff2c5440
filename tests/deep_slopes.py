"""Slopes of the bounds of deep Gaussian processes, and differences of these bounds."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastvi.base import tree

STEP = 1e-5


def along_directions(
    model: Any, sites: Any, hyper: Any, batch: Any, rng: Any
) -> Iterator[tuple[float, float, float]]:
    """For a random direction in each leaf of `hyper`: the slope, the difference, and a bound."""

    def bound(there: Any) -> float:
        same = np.random.default_rng(5)
        return float(model.at(there).evaluate(sites, batch, same, gradient=False).bound)

    found = model.at(hyper).evaluate(sites, batch, np.random.default_rng(5)).gradient
    for i, (leaf, slope) in enumerate(zip(tree.leaves(hyper), tree.leaves(found))):
        direction = rng.normal(size=leaf.shape)
        if leaf.ndim == 3:
            direction = np.tril(direction)
        ends = []
        for sign in (1.0, -1.0):
            there = tree.copy(hyper)
            tree.leaves(there)[i][...] += sign * STEP * direction
            ends.append(bound(there))
        yield float(np.vdot(slope, direction)), (ends[0] - ends[1]) / (2.0 * STEP), ends[0]
