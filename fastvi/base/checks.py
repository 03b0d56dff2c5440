"""Checks and conversions of arguments, with the messages of their errors."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvi.base.typing import AnyArray, ArrayLike, RandomState

__all__ = [
    "both_or_none",
    "choice",
    "flag",
    "generator",
    "integer",
    "new_rows",
    "nothing_masked",
    "number",
    "optional_integer",
    "prior",
    "rows_to_fit",
    "seed_of",
    "sequence_lengths",
]


MOST_NEW = 1e140  # its square leaves room for small variances
PRIOR_RANGE = 1e-10, 1e6  # beyond this, float32 loses either the prior or the counts


def nothing_masked(X: object, name: str = "X") -> None:
    """Refuse an array with masked entries, which NumPy would treat as numbers.

    Raises
    ------
    ValueError
        If an entry is masked.
    """
    if np.ma.is_masked(X):
        raise ValueError(f"{name} has masked entries; fill them, for example X.filled(0)")


def rows_to_fit(
    X: AnyArray,
    centre: AnyArray | float | None = None,
    scale: AnyArray | float = 1.0,
    name: str = "X",
) -> None:
    """Check that sums of squares of rows (n, D), and of (X - centre) / scale, do not overflow.

    Raises
    ------
    ValueError
        If they do.
    """
    limit = 1e-3 * float(np.sqrt(np.finfo(X.dtype).max / X.size))
    most = float(max(X.max(), -X.min()))
    if most > limit:
        raise ValueError(
            f"{name} holds numbers as large as {most:g}, whose squares overflow {X.dtype}; "
            "scale the columns"
        )
    if centre is not None:
        _in_reach(X, centre, scale, limit, name)


def new_rows(
    X: AnyArray, centre: AnyArray | float, scale: AnyArray | float, name: str = "X"
) -> float:
    """Return the largest of (X - centre) / scale for rows (n, D), whose square must be finite.

    Raises
    ------
    ValueError
        If it is not.
    """
    return _in_reach(X, centre, scale, MOST_NEW, name)


def _in_reach(
    X: AnyArray, centre: AnyArray | float, scale: AnyArray | float, limit: float, name: str
) -> float:
    # halves, because differences of finite numbers can overflow
    ends = 0.5 * X.max(axis=0) - 0.5 * centre, 0.5 * centre - 0.5 * X.min(axis=0)
    with np.errstate(over="ignore"):
        most = float(2.0 * np.max(np.maximum(*ends) / scale))
    if most > limit:
        raise ValueError(
            f"{name} holds numbers {most:g} times as large as those of the fit, whose squares "
            "overflow"
        )
    return most


def integer(value: object, name: str, low: int, high: int | None = None) -> int:
    """Check an integer from `low` to `high`.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    if isinstance(value, Integral) and not isinstance(value, bool):
        number = int(value)
        if number >= low and (high is None or number <= high):
            return number
    wanted = f">= {low}" if high is None else f"from {low} to {high}"
    raise ValueError(f"{name} is {value!r}; wanted an integer {wanted}")


def optional_integer(value: object, name: str, low: int) -> int | None:
    """Check None or an integer, as in `integer`."""
    return None if value is None else integer(value, name, low)


def generator(value: object, name: str) -> np.random.Generator:
    """Return a generator as it is, or make one from an integer, a RandomState or None."""
    if isinstance(value, np.random.RandomState):
        return np.random.default_rng(seed_of(value))
    if value is None or isinstance(value, np.random.Generator):
        return np.random.default_rng(value)
    return np.random.default_rng(integer(value, name, 0))


def seed_of(random_state: RandomState) -> int:
    """Return a seed for generators, below 2^31 unless it was given.

    Parameters
    ----------
    random_state : int, RandomState, Generator or None
        An integer is the seed itself; generators draw one; None uses the system's entropy.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(np.iinfo(np.int32).max))
    if random_state is None or isinstance(random_state, np.random.Generator):
        return int(np.random.default_rng(random_state).integers(2**31))
    if isinstance(random_state, Integral) and not isinstance(random_state, bool):
        return integer(random_state, "random_state", 0)
    raise ValueError(
        f"random_state is {random_state!r}; wanted an integer >= 0, a numpy.random.Generator, "
        "a numpy.random.RandomState or None"
    )


def both_or_none(name: str, value: object, other_name: str, other: object) -> bool:
    """Whether two arguments that require each other are given.

    Raises
    ------
    ValueError
        If only one of them is given.
    """
    if (value is None) != (other is None):
        raise ValueError(f"wanted both of {name} and {other_name}, or neither")
    return value is not None


def flag(value: object, name: str) -> bool:
    """Check a boolean.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    if isinstance(value, (bool, np.bool_)):  # np.bool_ comes from arrays of options
        return bool(value)
    raise ValueError(f"{name} is {value!r}; wanted True or False")


def number(
    value: Any,
    name: str,
    low: float,
    high: float = np.inf,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """Check a finite number from `low` to `high`; `open_low` and `open_high` exclude them.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    is_real = isinstance(value, Real) and not isinstance(value, bool)
    if is_real and low <= value <= high and np.isfinite(value):
        number = float(value)
        if (number > low or not open_low) and (number < high or not open_high):
            return number
    wanted = f"{'>' if open_low else '>='} {low:g}"
    if np.isfinite(high):
        wanted += f" and {'<' if open_high else '<='} {high:g}"
    raise ValueError(f"{name} is {value!r}; wanted a number {wanted}")


def optional_number(value: object, name: str, low: float, high: float = np.inf) -> float | None:
    """Check None or a number, as in `number`."""
    return None if value is None else number(value, name, low, high)


def points(z: ArrayLike, dim: int) -> NDArray[np.float64]:
    """Return points (..., dim) as float64.

    Raises
    ------
    ValueError
        If the last axis of z is not `dim`.
    """
    z = np.asarray(z, np.float64)
    if z.ndim == 0 or z.shape[-1] != dim:
        raise ValueError(f"z has shape {z.shape}; wanted (..., {dim})")
    return z


def choice(value: object, name: str, choices: tuple[str, ...]) -> str:
    """Check that a value is one of some strings.

    Raises
    ------
    ValueError
        If it is not.
    """
    if value in choices:
        return str(value)
    raise ValueError(f"{name} is {value!r}; wanted one of {', '.join(map(repr, choices))}")


def prior(value: ArrayLike | None, name: str, size: int, default: float) -> NDArray[np.float64]:
    """Return a Dirichlet parameter (size,) from a number, an array of that length, or None.

    Raises
    ------
    ValueError
        If an entry is not a number from 1e-10 to 1e6, or the length is not `size`.
    """
    if value is None:
        return np.full(size, default)
    low, high = PRIOR_RANGE
    if np.ndim(value) == 0:
        return np.full(size, number(value, name, low, high))
    array = np.asarray(value)
    if array.shape != (size,):
        raise ValueError(f"{name} has shape {array.shape}; wanted a number or shape ({size},)")
    if array.dtype.kind not in "fiu" or not np.all((array >= low) & (array <= high)):
        raise ValueError(f"{name} must hold numbers >= {low:g} and <= {high:g}; given: {array}")
    return array.astype(np.float64)


def sequence_lengths(lengths: ArrayLike | None, n: int) -> NDArray[np.int64]:
    """Return lengths of sequences, which add up to n rows; None is one sequence.

    Raises
    ------
    ValueError
        If they are not integers above 0, or do not add up.
    """
    if lengths is None:
        return np.array([n], np.int64)
    found = np.asarray(lengths)
    if found.ndim != 1 or found.dtype.kind not in "iu" or np.any(found < 1):
        raise ValueError("lengths must hold the number of rows of each sequence, integers >= 1")
    if found.sum() != n:
        raise ValueError(f"lengths add up to {found.sum()} rows; X has {n}")
    return found.astype(np.int64)
