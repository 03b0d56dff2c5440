"""What a target knows of its model besides the density: its axes, its data, likelihoods of rows."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastvi.base.typing import AnyArray, Array
from fastvi.core import Batch
from fastvi.targets.data import Data

__all__ = ["ROW", "Contents", "contents_of", "likelihood_of_rows"]

ROW = "row"  # the axis along rows


class Contents(NamedTuple):
    """Names of axes by variable, of places along axes, and the data of a model.

    Attributes
    ----------
    dims : mapping of str to sequence of str
    coords : mapping of str to sequence
    observed : mapping of str to array
        What the model says is observed, or all data if it does not say.
    constants : mapping of str to array
        Other data.
    """

    dims: Mapping[str, Sequence[str]] = {}
    coords: Mapping[str, Sequence[Any]] = {}
    observed: Mapping[str, AnyArray] = {}
    constants: Mapping[str, AnyArray] = {}


def contents_of(data: Data | None, n_rows: int | None, parameters: Container[str]) -> Contents:
    """All data as observed; arrays with one entry per row have the axis "row".

    Dims go by name, so arrays with the name of a parameter have none.
    """
    arrays = {} if data is None else data.by_name
    dims = {
        name: [ROW]
        for name, array in arrays.items()
        if name not in parameters and array.ndim and len(array) == n_rows
    }
    return Contents(dims=dims, observed=arrays)


def likelihood_of_rows(values: Callable[[Batch], Array], n_rows: int) -> Array:
    """Log likelihood of each row at k points, (k, n_rows), from `values` (k,) of a batch there."""
    first, ones = np.zeros(1, np.int64), np.ones(1)
    rows = [values(Batch(first + i, ones)) for i in range(n_rows)]
    return np.column_stack(rows) - values(Batch(first, np.zeros(1)))[:, None]
