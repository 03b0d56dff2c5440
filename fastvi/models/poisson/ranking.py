"""The columns that rows are expected to have the largest counts in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastvi.base.bags import Bags
from fastvi.base.typing import AnyArray

__all__ = ["largest_columns"]

BLOCK_ENTRIES = 1 << 22  # entries of the dense products that are computed at once


def largest_columns(
    factors: AnyArray, components: AnyArray, n_items: int, seen: Bags | None
) -> tuple[NDArray[np.intp], AnyArray]:
    """Columns with the largest entries of factors @ components per row, best first, and these.

    Columns in which a row of `seen` has counts are left out; where too few remain, a row ends with
    -1 and -inf. Both arrays are (n_rows, n_items).
    """
    columns = np.empty((len(factors), n_items), np.intp)
    expected = np.empty(columns.shape, factors.dtype)
    n_block = max(1, BLOCK_ENTRIES // components.shape[1])
    for start in range(0, len(factors), n_block):
        rows = np.arange(start, min(start + n_block, len(factors)))
        scores = factors[rows] @ components
        if seen is not None:
            ends = seen.indptr[rows[0]], seen.indptr[rows[-1] + 1]
            owners = np.repeat(rows - start, np.diff(seen.indptr[rows[0] : rows[-1] + 2]))
            scores[owners, seen.indices[slice(*ends)]] = -np.inf
        best = np.argpartition(-scores, n_items - 1, axis=1)[:, :n_items]
        found = np.take_along_axis(scores, best, axis=1)
        order = np.lexsort((best, -found))
        expected[rows] = np.take_along_axis(found, order, axis=1)
        columns[rows] = np.take_along_axis(best, order, axis=1)
    columns[np.isneginf(expected)] = -1
    return columns, expected
