"""Covariates of documents: columns of numbers or labels, as a design matrix."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import NamedTuple, TypeAlias, cast

import numpy as np

from fastvi.base import checks
from fastvi.base.typing import AnyArray, Array, ArrayLike

__all__ = ["Column", "Covariates", "CovariatesLike", "values_of"]

# An array (n_documents, n_columns) or (n_documents,), a data frame, or columns by name.
CovariatesLike: TypeAlias = Mapping[str, ArrayLike] | ArrayLike

LEAST_NEW = 1e-7  # share of a column that those before it must leave unexplained


class Column(NamedTuple):
    """A column of covariates: a number, standardised, or a label, one indicator per level.

    Attributes
    ----------
    name : str
    centre, scale : float
        Mean and standard deviation of a number; 0 and 1 for a label.
    levels : tuple of str
        Of a label; empty for a number.
    """

    name: str
    centre: float = 0.0
    scale: float = 1.0
    levels: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, values: AnyArray, what: str) -> Column:
        """Learn a column from its values.

        Raises
        ------
        ValueError
            If it is constant, or its numbers leave the range of floating point.
        """
        distinct = np.unique(values)
        if len(distinct) == 1:
            raise ValueError(
                f"{what}: column {name!r} is {distinct[0]!s} for every document; leave it out"
            )
        if values.dtype.kind == "U":
            return cls(name, levels=tuple(map(str, distinct)))
        with np.errstate(over="ignore", invalid="ignore"):
            centre, scale = float(values.mean()), float(values.std())
        if not 0 < scale < np.inf:
            raise ValueError(
                f"{what}: column {name!r} holds numbers too large or too small to be standardised; "
                "rescale it"
            )
        return cls(name, centre, scale)

    @property
    def names(self) -> list[str]:
        """Names of the columns that it has in a design matrix."""
        return [f"{self.name}={level}" for level in self.levels] or [self.name]

    def design(self, values: AnyArray, what: str) -> Array:
        """Return its part of a design matrix, (D, 1) or (D, n_levels).

        Raises
        ------
        ValueError
            If the values are of another kind than those of the fit, or a level is unknown.
        """
        wanted, given = ("labels", "numbers") if self.levels else ("numbers", "labels")
        if (values.dtype.kind == "U") != bool(self.levels):
            raise ValueError(f"{what}: column {self.name!r} holds {given}; wanted {wanted}")
        if not self.levels:
            return np.asarray((values - self.centre) / self.scale)[:, None]
        levels = np.array(self.levels)
        place = np.minimum(np.searchsorted(levels, values), len(levels) - 1)
        unknown = np.flatnonzero(levels[place] != values)
        if len(unknown):
            raise ValueError(
                f"{what}: column {self.name!r} holds {str(values[unknown[0]])!r} in row "
                f"{unknown[0]}, a level that was not in the training data"
            )
        return np.eye(len(levels))[place]


class Covariates(NamedTuple):
    """The columns of covariates of a fit.

    Attributes
    ----------
    columns : tuple of Column
    """

    columns: tuple[Column, ...] = ()

    @classmethod
    def of(
        cls, given: CovariatesLike, n_rows: int, what: str = "covariates"
    ) -> tuple[Covariates, Array]:
        """Learn columns, and return them with the design matrix (D, 1 + P).

        Parameters
        ----------
        given : array (n_rows, n_columns) or (n_rows,), data frame or dict of columns
        n_rows : int
        what : str
            The argument's name, for messages.

        Raises
        ------
        ValueError
            If the number of rows is another, or a column has missing values, is constant, or is a
            linear combination of those before it.
        """
        table = _table(given, n_rows, what)
        learned = cls(tuple(Column.of(name, values, what) for name, values in table.items()))
        blocks = [column.design(table[column.name], what) for column in learned.columns]
        _refuse_collinear(learned.columns, blocks, n_rows, what)
        return learned, np.hstack([np.ones((n_rows, 1)), *blocks])

    @classmethod
    def learned(cls, given: CovariatesLike | None, n_rows: int) -> tuple[Covariates, Array]:
        """As `of`; if none are given, the design is a column of ones."""
        return (cls(), np.ones((n_rows, 1))) if given is None else cls.of(given, n_rows)

    @property
    def names(self) -> list[str]:
        """Names of the columns of the design matrix, without the intercept."""
        return [name for column in self.columns for name in column.names]

    @property
    def centres(self) -> Array:
        """What a column of the design matrix is 0 at, (P,): 0 for labels."""
        return np.array([column.centre for column in self.columns for _ in column.names])

    @property
    def scales(self) -> Array:
        """What a column of the design matrix is a unit of, (P,): 1 for labels."""
        return np.array([column.scale for column in self.columns for _ in column.names])

    def design(self, given: CovariatesLike | None, n_rows: int, what: str = "covariates") -> Array:
        """Return the design matrix (n_rows, 1 + P) of new documents.

        Raises
        ------
        ValueError
            If the columns are not those of the fit, or hold an unknown level.
        """
        if (given is None) != (not self.columns):
            names = ", ".join(repr(column.name) for column in self.columns)
            raise ValueError(
                f"{what} is missing; the fit had the columns {names}" if given is None
                else f"{what} is given; the fit had none"
            )  # fmt: skip
        ones = np.ones((n_rows, 1))
        if given is None:
            return ones
        table = _table(given, n_rows, what)
        missing = [column.name for column in self.columns if column.name not in table]
        if missing or len(table) != len(self.columns):
            raise ValueError(
                f"{what} has the columns {', '.join(map(repr, table))}; "
                f"wanted {', '.join(repr(column.name) for column in self.columns)}"
            )
        parts = [column.design(table[column.name], what) for column in self.columns]
        return np.hstack([ones, *parts])

    def where(self, name: str | int) -> tuple[Column, slice]:
        """Return a column by its name or number, and its place in the design matrix.

        Raises
        ------
        ValueError
            If there is no such column.
        """
        known = [column.name for column in self.columns]
        if not known:
            raise ValueError(f"column is {name!r}; the fit had no covariates")
        if isinstance(name, str):
            if name not in known:
                raise ValueError(f"column is {name!r}; wanted one of {', '.join(map(repr, known))}")
            number = known.index(name)
        else:
            number = checks.integer(name, "column", 0, len(known) - 1)
        sizes = [len(column.names) for column in self.columns]
        first = 1 + sum(sizes[:number])
        return self.columns[number], slice(first, first + sizes[number])

    def to_json(self) -> str:
        """Return the columns as text for a file."""
        return json.dumps([list(column) for column in self.columns])

    @classmethod
    def from_json(cls, text: str, what: str) -> Covariates:
        """Read what `to_json` wrote."""
        columns = []
        for name, centre, scale, levels in json.loads(text):
            columns.append(
                Column(
                    str(name),
                    checks.number(centre, f"{what}: centre", -np.inf),
                    checks.number(scale, f"{what}: scale", 0.0, open_low=True),
                    tuple(map(str, levels)),
                )
            )
        return cls(tuple(columns))


def _table(given: CovariatesLike, n_rows: int, what: str) -> dict[str, AnyArray]:
    """Return columns by name: float64, or text for labels."""
    checks.nothing_masked(given, what)
    if isinstance(given, Mapping) or hasattr(given, "columns"):
        frame = cast("Mapping[str, ArrayLike]", given)
        columns = {str(name): _as_array(frame[name]) for name in frame}
    else:
        array = _as_array(given)
        if array.ndim == 1:
            array = array[:, None]
        if array.ndim != 2:
            raise ValueError(f"{what} has {array.ndim} dimensions; wanted (n_documents, n_columns)")
        columns = {f"x{i}": array[:, i] for i in range(array.shape[1])}
    if not columns:
        raise ValueError(f"{what} has no columns")
    for name, values in columns.items():
        if values.shape != (n_rows,):
            shape = values.shape
            rows = f"{shape[0]} rows" if len(shape) == 1 else f"shape {shape}"
            raise ValueError(
                f"{what}: column {name!r} has {rows}; wanted {n_rows}, one for each document"
            )
    return {name: _values(values, f"{what}: column {name!r}") for name, values in columns.items()}


def values_of(given: Sequence[float | str], what: str) -> AnyArray:
    """Check values of a single column, and return them: float64, or text for labels.

    Raises
    ------
    ValueError
        If they are not in one dimension, are missing, or are neither all numbers nor all text.
    """
    values = _as_array(given)
    if values.ndim != 1:
        raise ValueError(f"{what} has {values.ndim} dimensions; wanted a list of values")
    return _values(values, what)


def _as_array(given: ArrayLike) -> AnyArray:
    """Return an array; lists as objects, since NumPy would turn numbers among strings into text."""
    return np.array(given, object) if isinstance(given, (list, tuple)) else np.asarray(given)


def _values(values: AnyArray, what: str) -> AnyArray:
    """Return numbers as float64, labels as text."""
    if values.dtype.kind == "O":
        is_text = [isinstance(value, str) for value in values]
        if all(is_text):
            return values.astype(np.str_)
        missing = [i for i, value in enumerate(values) if value is None or value != value]
        if missing:
            raise ValueError(f"{what} has no value in row {missing[0]}")
        if any(is_text) or not all(isinstance(value, Real) for value in values):
            raise ValueError(f"{what} must hold numbers only, or strings only")
    if values.dtype.kind == "U":
        return values
    if values.dtype.kind not in "biufO":
        raise ValueError(f"{what} has dtype {values.dtype}; wanted numbers or strings")
    numbers = values.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        raise ValueError(f"{what} holds {numbers[bad[0]]} in row {bad[0]}; wanted finite numbers")
    return numbers


def _refuse_collinear(
    columns: tuple[Column, ...], blocks: list[Array], n_rows: int, what: str
) -> None:
    """Refuse a column that those before it, with an intercept, determine."""
    basis = np.full((n_rows, 1), 1 / np.sqrt(n_rows))
    for column, block in zip(columns, blocks):
        inner = block[:, 1:] if column.levels else block  # the levels add up to the intercept
        scale = np.linalg.norm(inner, axis=0)
        rest = inner / scale
        for _ in range(2):  # once more, for rounding
            rest = rest - basis @ (basis.T @ rest)
        directions, sizes, _ = np.linalg.svd(rest, full_matrices=False)
        if min(rest.shape) < inner.shape[1] or sizes.min() < LEAST_NEW:
            raise ValueError(
                f"{what}: column {column.name!r} is a linear combination of those before it; "
                "leave it out"
            )
        basis = np.hstack([basis, directions])
