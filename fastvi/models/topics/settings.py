"""Settings of a fit of topics, and their defaults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import DTypeLike
from fastvi.core import Optimizer
from fastvi.gradients.reduction import Reduction
from fastvi.models.counts import padded

__all__ = [
    "IN_MEMORY", "LEARNING_DECAY", "SOLVERS", "TOOLS", "Settings", "choose_solver", "tools_of",
]  # fmt: skip

SOLVERS = ("cvb", "cvb0", "scvb0", "svi", "vb")
IN_MEMORY = ("cvb", "cvb0", "vb")  # solvers whose step is a pass over everything
TOOLS = ("optimizer", "sampling", "variance_reduction", "trace_noise", "structured")
LEARNING_DECAY = 0.7
MODERATE_BYTES = 1 << 30


@dataclass(frozen=True, eq=False)
class Settings:
    """Settings of a fit of topics.

    `alpha` (n_topics,) and `eta` (a number, (V, 1) or (V, K padded)) are the priors to start from,
    and `n_seen` is the number of documents before a stream that represents those seen so far, or
    None; the others are named as in `fastvi.LatentDirichletAllocation`.
    """

    solver: str
    alpha: NDArray[np.float64]
    eta: Any
    learn_alpha: bool = False
    learn_eta: bool = False
    batch_size: int | None = None
    learning_offset: float | None = None
    learning_decay: float = LEARNING_DECAY
    max_doc_update_iter: int | None = None
    mean_change_tol: float = 1e-3
    seed: int = 0
    dtype: DTypeLike = np.float32
    optimizer: Optimizer | str | float | None = None
    sampling: str = "uniform"
    variance_reduction: Reduction | str | None = None
    gradient: str = "natural"
    trace_noise: bool = False
    structured: bool = False
    n_seen: int | None = None

    @property
    def n_topics(self) -> int:
        """Number of topics, without padding."""
        return len(self.alpha)

    @property
    def collapsed(self) -> bool:
        """Whether proportions come from expected counts."""
        return self.solver in ("cvb", "cvb0", "scvb0")

    @property
    def is_stream(self) -> bool:
        """Whether a stream represents the documents seen so far. Its steps use expected counts
        with all solvers: a word that a topic does not have yet would stay out of it otherwise.
        """
        return self.n_seen is not None

    def refuse_tools(self) -> None:
        """Refuse options of gradients for solvers that do not use gradients.

        Raises
        ------
        ValueError
            If one of them is set.
        """
        for name in tools_of(self):
            raise ValueError(
                f"{name}={getattr(self, name)!r} with solver={self.solver!r}, which updates each "
                "responsibility in turn and takes no gradient steps; wanted 'scvb0' or 'svi'"
            )

    def batch_size_for(self, n_documents: int) -> int:
        """Return the given batch size, or one for 16 steps per pass, between 64 and 1024."""
        if self.batch_size is not None:
            return self.batch_size
        return min(max(n_documents // 16, 64), 1024)

    def steps_per_pass(self, n_documents: int) -> int:
        """Number of steps per pass with equal batches."""
        if self.solver in IN_MEMORY:
            return 1
        return -(-n_documents // self.batch_size_for(n_documents))

    @property
    def offset(self) -> float:
        """The given offset, or 1 for SCVB0, whose first steps may be long, and 64 for SVI, whose
        start is good.
        """
        if self.learning_offset is not None:
            return self.learning_offset
        return 1.0 if self.collapsed else 64.0

    @property
    def local_iterations(self) -> int:
        """The given limit, or 8 for SCVB0, which gains more from further passes, 30 in streams,
        which have none, and else 100.
        """
        if self.max_doc_update_iter is not None:
            return self.max_doc_update_iter
        if self.is_stream:
            return 30
        return 8 if self.collapsed else 100


def tools_of(holder: Any) -> list[str]:
    """Return the names of the `TOOLS` that an object's attributes set."""
    default = Settings("svi", np.ones(1), 1.0)
    return [name for name in TOOLS if getattr(holder, name) != getattr(default, name)]


def choose_solver(n_entries: int | None, n_topics: int, tools: Sequence[str] = ()) -> str:
    """Choose CVB0 for a corpus in memory (`n_entries` is None if it is not) with responsibilities
    of moderate size, else its mini-batch form; or SVI, which supports all tools, if `tools` are
    set.
    """
    if tools:
        return "svi"
    if n_entries is None:
        return "scvb0"
    return "cvb0" if 2 * n_entries * padded(n_topics) <= MODERATE_BYTES else "scvb0"
