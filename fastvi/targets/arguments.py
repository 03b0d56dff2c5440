"""Checks of what a density is made with: names, rows, terms and the function's arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.base import checks
from fastvi.targets.data import Data
from fastvi.transforms import Parameters, Transform

__all__ = [
    "LogDensity",
    "Names",
    "Rows",
    "Terms",
    "arguments_of",
    "as_parameters",
    "count_rows",
    "touches",
]

VECTOR = ("z", "data", "rows", "weights", "terms", "grad")
BATCHED = ("Z", "data", "rows", "weights", "values", "grads")

LogDensity = Callable[..., Any]
Names = Mapping[str, Transform | int | tuple[int, ...]] | Sequence[str]
Rows = str | Sequence[str] | None
Terms = int | Sequence[Sequence[int]]


def as_parameters(dim: int | None, names: Names | None) -> Parameters:
    """Make `Parameters` from either dim or names."""
    if (dim is None) == (names is None):
        raise ValueError(f"dim is {dim!r} and names is {names!r}; wanted one of the two")
    if names is None:
        return Parameters({"z": checks.integer(dim, "dim", 1)})
    if isinstance(names, Mapping):
        return Parameters(names)
    if isinstance(names, str) or len(set(names)) != len(names):
        raise ValueError(f"names is {names!r}; wanted different strings, or a mapping to shapes")
    return Parameters(dict.fromkeys(names, ()))


def count_rows(data: Data | None, rows: Sequence[str] | None, name: str) -> int:
    """Common length of the first axes of the arrays named `rows`."""
    if data is None:
        raise ValueError(f"{name} takes rows, but no data that has rows")
    arrays = data.by_name
    if rows is None:
        rows = [key for key, array in arrays.items() if array.ndim]
    unknown = [key for key in rows if key not in arrays or not arrays[key].ndim]
    lengths = {key: len(arrays[key]) for key in rows if key not in unknown}
    if unknown or len(set(lengths.values())) != 1:
        raise ValueError(
            f"rows are along the first axes of {', '.join(rows) or 'no array'}, with lengths "
            f"{lengths}; wanted arrays of data of one length (say which: rows='y')"
        )
    return next(iter(lengths.values()))


def arguments_of(function: Callable[..., Any], name: str) -> tuple[str, ...]:
    """Return the checked names of a function's arguments."""
    try:
        given = tuple(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        raise ValueError(f"logp is {function!r}; wanted a Python function") from None
    known = BATCHED if "Z" in given else VECTOR
    first, last = known[0], "values" if "Z" in given else None
    wrong = [argument for argument in given if argument not in known]
    if wrong or first not in given or (last and last not in given):
        raise ValueError(
            f"{name} has the arguments {', '.join(given) or '(none)'}; wanted z and some of "
            f"{', '.join(VECTOR[1:])}, or Z, values and some of data, rows, weights, grads"
        )
    if ("rows" in given) != ("weights" in given):
        raise ValueError(f"{name} takes only one of rows and weights; wanted both")
    return given


def touches(terms: Terms, parameters: Parameters) -> NDArray[np.bool_] | None:
    """Which terms each parameter affects, (dim, n_terms); None if unknown."""
    if not isinstance(terms, Sequence):
        return None
    table = np.zeros((parameters.dim, len(terms)), bool)
    for t, numbers in enumerate(terms):
        for j in numbers:
            if not 0 <= j < parameters.dim:
                raise ValueError(
                    f"terms[{t}] depends on number {j}; wanted 0 to {parameters.dim - 1}"
                )
            table[j, t] = True
    if not parameters.identity:
        table[:, 0] = True
    return table
