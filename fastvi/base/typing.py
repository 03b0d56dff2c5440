"""Names of the types that signatures share."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

if TYPE_CHECKING:
    from scipy.sparse import sparray, spmatrix

__all__ = [
    "AnyArray",
    "Array",
    "ArrayLike",
    "ClassWeight",
    "DTypeLike",
    "DataLike",
    "Indices",
    "Info",
    "JsonObject",
    "Options",
    "Path",
    "PointLike",
    "RandomState",
    "RowsLike",
    "Tree",
]

Array: TypeAlias = NDArray[np.float64]
AnyArray: TypeAlias = NDArray[Any]  # of whatever dtype
Indices: TypeAlias = NDArray[np.integer[Any]]
# What a target is given: its data, and its parameters, unconstrained or by name.
DataLike: TypeAlias = Mapping[str, ArrayLike] | Sequence[ArrayLike]
PointLike: TypeAlias = ArrayLike | Mapping[str, ArrayLike]
# What estimators take as X: a row per observation, dense (also a data frame) or sparse.
RowsLike: TypeAlias = "ArrayLike | spmatrix | sparray"

Path: TypeAlias = str | os.PathLike[str]
# Weights of rows by their labels, "balanced", or None for 1.
ClassWeight: TypeAlias = Mapping[Any, float] | str | None
RandomState: TypeAlias = int | np.integer[Any] | np.random.Generator | np.random.RandomState | None

# Parameters, gradients, steps and states: arrays and numbers in NamedTuples; see fastvi.base.tree.
Tree: TypeAlias = Any
Info: TypeAlias = dict[str, Any]  # what a step reports; the numbers in it are traced
JsonObject: TypeAlias = dict[str, Any]  # what an archive can keep as JSON
Options: TypeAlias = dict[str, Any]  # keyword arguments for another function
