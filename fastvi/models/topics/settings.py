"""What a fit of topics depends on, and the defaults of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.models.counts import padded

__all__ = ["IN_MEMORY", "SOLVERS", "TOOLS", "Settings", "choose_solver", "tools_of"]

SOLVERS = ("cvb", "cvb0", "scvb0", "svi", "vb")
IN_MEMORY = ("cvb", "cvb0", "vb")  # a step is a pass over everything
TOOLS = ("optimizer", "sampling", "variance_reduction", "trace_noise")
MODERATE_BYTES = 1 << 30


@dataclass(frozen=True, eq=False)
class Settings:
    """What a fit of topics depends on, besides the data and the number of threads.

    `alpha` (n_topics,) and `eta` (a number, or (V, 1)) are the priors to start from, `n_seen` the
    documents that a fit has seen from which a stream goes on; the others are named as in
    `fastvi.LatentDirichletAllocation`.
    """

    solver: str
    alpha: NDArray[np.float64]
    eta: Any
    learn_alpha: bool = False
    learn_eta: bool = False
    batch_size: int | None = None
    learning_offset: float | None = None
    learning_decay: float = 0.7
    max_doc_update_iter: int | None = None
    mean_change_tol: float = 1e-3
    seed: int = 0
    dtype: Any = np.float32
    optimizer: Any = None
    sampling: str = "uniform"
    variance_reduction: Any = None
    gradient: str = "natural"
    trace_noise: bool = False
    n_seen: int | None = None

    @property
    def n_topics(self) -> int:
        """Number of topics, padding not counted."""
        return len(self.alpha)

    @property
    def collapsed(self) -> bool:
        """Whether documents are weighed by expected counts."""
        return self.solver in ("cvb", "cvb0", "scvb0")

    def refuse_tools(self) -> None:
        """Refuse options of gradients, where a solver walks over all responsibilities instead.

        Raises
        ------
        ValueError
            If one is not at its default.
        """
        for name in tools_of(self):
            raise ValueError(
                f"{name}={getattr(self, name)!r} with solver={self.solver!r}, which updates each "
                "responsibility in turn and takes no gradient steps; wanted 'scvb0' or 'svi'"
            )

    def batch_size_for(self, n_documents: int) -> int:
        """The batch size given, or one that makes a pass of 16 steps, between 64 and 1024."""
        if self.batch_size is not None:
            return self.batch_size
        return min(max(n_documents // 16, 64), 1024)

    def steps_per_pass(self, n_documents: int) -> int:
        """Steps of a pass in batches of equal size."""
        if self.solver in IN_MEMORY:
            return 1
        return -(-n_documents // self.batch_size_for(n_documents))

    @property
    def offset(self) -> float:
        """The offset given, or 1 for SCVB0, whose first steps may be bold, and 64 for SVI, whose
        start is good already.
        """
        if self.learning_offset is not None:
            return self.learning_offset
        return 1.0 if self.collapsed else 64.0

    @property
    def local_iterations(self) -> int:
        """The cap given, or 8 for SCVB0, which gains more from further passes, and 100."""
        if self.max_doc_update_iter is not None:
            return self.max_doc_update_iter
        return 8 if self.collapsed else 100


def tools_of(holder: Any) -> list[str]:
    """Names of the `TOOLS` that an object's attributes ask for."""
    default = Settings("svi", np.ones(1), 1.0)
    return [name for name in TOOLS if getattr(holder, name) != getattr(default, name)]


def choose_solver(n_entries: int | None, n_topics: int, tools: Sequence[str] = ()) -> str:
    """CVB0, the best, for a corpus in memory (`n_entries` is None if it is not) whose
    responsibilities are of moderate size; else its mini-batch form. SVI, which every tool works
    with, where `tools` are asked for.
    """
    if tools:
        return "svi"
    if n_entries is None:
        return "scvb0"
    return "cvb0" if 2 * n_entries * padded(n_topics) <= MODERATE_BYTES else "scvb0"
