"""What a solver of topic models is, and how one is run by `fastvi.loop`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastvi import loop
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import AnyArray
from fastvi.batches import Batches
from fastvi.core import Algorithm
from fastvi.models.topics.model import TopicParameters
from fastvi.models.topics.settings import Settings

__all__ = ["Solver", "fit"]


class Solver(NamedTuple):
    """A method to fit topics to a corpus.

    Attributes
    ----------
    settings : Settings
    algorithm : Algorithm
        Its `init` takes a table of topics (V, K padded), which the fit then owns. A step is a
        function of state and batch; learned priors are part of the state.
    batches : Batches
    first_table : callable
        ``first_table()`` returns the topics from which the solver starts by default.
    read : callable
        ``read(state)`` returns what has been found so far, as `TopicParameters`.
    """

    settings: Settings
    algorithm: Algorithm
    batches: Batches
    first_table: Callable[[], AnyArray]
    read: Callable[[Any], TopicParameters]

    def start(self) -> Any:
        """Return the state to start from."""
        return self.algorithm.init(self.first_table())

    def rng(self) -> np.random.Generator:
        """Return the generator of the steps; structured ones draw topics."""
        return np.random.default_rng(self.settings.seed)


def fit(
    solver: Solver,
    n_epochs: int,
    state: Any = None,
    *,
    rng: np.random.Generator | None = None,
    **options: Any,
) -> tuple[Any, loop.History]:
    """Run a solver from `state`, by default its start, for up to `n_epochs` passes.

    `options` are those of `fastvi.loop.run`.
    """
    if state is None:
        state = solver.start()
    with single_threaded_blas():
        return loop.run(
            solver.algorithm,
            state,
            solver.batches,
            n_epochs=n_epochs,
            rng=solver.rng() if rng is None else rng,
            **options,
        )
