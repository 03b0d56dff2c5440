"""Best paths of hidden chains, exact across the borders of blocks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import AnyArray, Array
from fastvi.kernels import chain_streams
from fastvi.kernels import chains as kernels
from fastvi.kernels._chain_steps import LANES
from fastvi.models.sequences.borders import by_block, by_group
from fastvi.models.sequences.chains import Weights
from fastvi.models.sequences.overlay import Emissions
from fastvi.models.sequences.rows import LEAST
from fastvi.models.sequences.stream import Stream

__all__ = ["best_paths", "scored_paths"]


class _Passed(NamedTuple):
    """Logs of likelihoods, of starts and of transitions [to, from]; the sum of the largest.

    And origin (G, Q, S, K, L), the state before each state, and the best last states of blocks.
    """

    likelihood: Array
    start: Array
    transposed: Array
    tops: float
    origin: AnyArray
    ends: NDArray[np.int64]


def best_paths(stream: Stream, weights: Weights, emissions: Emissions) -> NDArray[np.int64]:
    """Return the likeliest path of each sequence (Viterbi), (n,); of equal states the lowest."""
    return _followed(stream, _passed(stream, weights, emissions))


def scored_paths(
    stream: Stream, weights: Weights, emissions: Emissions
) -> tuple[float, NDArray[np.int64]]:
    """Return the log probability of all rows and the likeliest paths together, and the paths."""
    found = _passed(stream, weights, emissions)
    path = _followed(stream, found)
    log = found.tops + chain_streams.path_log(
        found.likelihood, stream.reset, found.start, found.transposed, path
    )
    return float(log) if log > LEAST else -np.inf, path


def _followed(stream: Stream, found: _Passed) -> NDArray[np.int64]:
    path = np.empty(stream.n_rows, np.int64)
    chain_streams.follow(found.origin, found.ends, path)
    return path


def _passed(stream: Stream, weights: Weights, emissions: Emissions) -> _Passed:
    """Run forward from guesses at the borders of blocks, and again until these are right."""
    (groups, strips, width), k = stream.shape, len(weights.start)
    likelihood, tops = np.empty((groups, strips, k, width)), np.zeros(groups)
    ends = np.full((groups, strips, k, LANES), np.nan)
    kind = np.uint8 if k <= 256 else np.uint16
    origin = np.empty((groups, strips, width // LANES, k, LANES), kind)
    with np.errstate(divide="ignore"):
        start, transposed = np.log(weights.start), np.log(weights.transitions.T.copy())
    before, taken = np.zeros((groups, k, LANES)), np.zeros(groups, np.int64)

    def first(g: int) -> None:
        tops[g] = emissions.write(g, likelihood[g], logs=True)
        task(g)

    def task(g: int, again: bool = False) -> None:
        taken[g] = kernels.best_paths(
            before[g], likelihood[g], transposed, start, stream.reset[g], ends[g], origin[g], again
        )

    stream.run(first)
    for _ in range(groups * LANES):
        last = by_block(ends[:, -1])
        before = by_group(np.hstack((np.zeros((k, 1)), last[:, :-1])))
        stream.run(lambda g: task(g, again=True))
        if taken.max() <= strips:
            break
    last = by_block(ends[:, -1])
    return _Passed(likelihood, start, transposed, tops.sum(), origin, last.argmax(axis=0))
