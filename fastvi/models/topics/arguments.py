"""What documents given as bare arrays must be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import AnyArray

__all__ = ["refuse_foreign_memory"]


def refuse_foreign_memory(
    indptr: NDArray[np.int64], indices: NDArray[np.int32], counts: AnyArray, n_words: int
) -> None:
    """Refuse documents that would read memory that is not theirs.

    Raises
    ------
    ValueError
        If the arrays do not describe documents of these words.
    """
    if len(indices) and not (indices.min() >= 0 and indices.max() < n_words):
        raise ValueError(
            f"indices go from {indices.min()} to {indices.max()}; the model has words 0 to "
            f"{n_words - 1}"
        )
    n_entries = min(len(indices), len(counts))
    is_csr = len(indptr) > 0 and indptr[0] >= 0 and indptr[-1] <= n_entries
    if not is_csr or np.any(indptr[1:] < indptr[:-1]):
        raise ValueError(
            f"indptr must rise from 0 to at most {n_entries}, the number of indices and counts"
        )
