"""Best paths of hidden chains, exact across the borders of blocks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import Array
from fastvi.kernels import chains as kernels
from fastvi.kernels._chain_steps import LANES
from fastvi.models.sequences.borders import by_block, by_group
from fastvi.models.sequences.chains import Weights
from fastvi.models.sequences.overlay import Emissions
from fastvi.models.sequences.stream import Stream

__all__ = ["best_paths"]


def best_paths(stream: Stream, weights: Weights, emissions: Emissions) -> NDArray[np.int64]:
    """Return the likeliest path of each sequence (Viterbi), (n,); of equal states the lowest."""
    (groups, strips, width), k = stream.shape, len(weights.start)
    likelihood = np.empty((groups, strips, k, width))
    ends = np.full((groups, strips, k, LANES), np.nan)
    kind = np.uint8 if k <= 256 else np.uint16
    origin = np.empty((groups, strips, width // LANES, k, LANES), kind)
    with np.errstate(divide="ignore"):
        start, transposed = np.log(weights.start), np.log(weights.transitions.T.copy())
    stream.run(lambda g: emissions.write(g, likelihood[g], logs=True))
    before, taken = np.zeros((groups, k, LANES)), np.zeros(groups, np.int64)
    for repair in range(groups * LANES + 1):

        def task(g: int, again: bool = repair > 0, before: Array = before) -> None:
            taken[g] = kernels.best_paths(
                before[g], likelihood[g], transposed, start, stream.reset[g], ends[g], origin[g],
                again,
            )  # fmt: skip

        stream.run(task)
        if repair and taken.max() <= strips:
            break
        last = by_block(ends[:, -1])
        before = by_group(np.hstack((np.zeros((k, 1)), last[:, :-1])))
    path = np.empty(stream.n_rows, np.int64)
    kernels.follow(origin, int(np.argmax(last[:, -1])), path)
    return path
