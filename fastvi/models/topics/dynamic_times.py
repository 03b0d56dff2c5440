"""Times of documents, and their slices."""

from __future__ import annotations

import datetime
import re
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastvi.base import checks
from fastvi.base.typing import AnyArray, Array, ArrayLike

__all__ = ["TimeLike", "Timeline", "Times", "time_of", "times_of"]

# A point in time: a number, a date, or a string such as "2001-09-30".
TimeLike: TypeAlias = float | str | datetime.date | np.datetime64

UNITS = {"day": ("D", 1), "week": ("D", 7), "month": ("M", 1), "year": ("M", 12)}
WANTED = "wanted numbers, dates, or strings such as '2001-09-30'"
DAY = np.timedelta64(1, "D")
MOST_SLICES = 100_000
LEAST_GAP = 1e-4  # steps; variances of shorter ones are lost to rounding in float32


class Times(NamedTuple):
    """Times as numbers (n,): days since 1970 if they are dates, else as given."""

    numbers: Array
    are_dates: bool


def times_of(given: ArrayLike | None, n_documents: int, name: str = "times") -> Times:
    """Check the times of documents, and convert them to numbers.

    Raises
    ------
    ValueError
        If they are missing, not one per document, or neither finite numbers nor dates.
    """
    if given is None:
        raise ValueError(f"{name} is missing; {WANTED}, one per document")
    checks.nothing_masked(given, name)
    array = np.asarray(given)
    if array.shape != (n_documents,):
        raise ValueError(
            f"{name} has shape {array.shape}; wanted ({n_documents},), one time per document"
        )
    is_number = array.dtype.kind in "iuf"
    if not is_number:
        array = _dates(array, name)
    bad = np.flatnonzero(~np.isfinite(array))
    if len(bad):
        raise ValueError(f"{name}[{bad[0]}] is {array[bad[0]]}; wanted a time for each document")
    if is_number:
        return Times(array.astype(np.float64), False)
    return Times(_days(array), True)


def time_of(given: object, name: str = "time") -> Times:
    """Check a single time, and convert it to a number (1,).

    Raises
    ------
    ValueError
        If it is missing, several, or neither a finite number nor a date.
    """
    array = np.asarray(given)
    if given is None or array.ndim > 0:
        raise ValueError(f"{name} is {given!r}; wanted one number, date, or string of a date")
    return times_of(array[None], 1, name)


def _dates(array: AnyArray, name: str) -> AnyArray:
    """Return an array of dates of whatever form as datetime64."""
    if array.dtype.kind == "M":
        return array
    kinds = (str, datetime.date, np.datetime64)  # datetime.datetime and pandas.Timestamp are dates
    for i, value in enumerate(array.tolist()):
        if array.dtype.kind not in "UO" or not isinstance(value, kinds):
            raise ValueError(f"{name}[{i}] is {value!r}; {WANTED}")
    dates = np.empty(len(array), "datetime64[us]")
    for i, value in enumerate(array.tolist()):
        aware = isinstance(value, datetime.datetime) and value.tzinfo is not None
        try:
            dates[i] = value.astimezone(datetime.UTC).replace(tzinfo=None) if aware else value
        except (ValueError, TypeError):
            raise ValueError(f"{name}[{i}] is {value!r}; {WANTED}") from None
    return dates


def _days(dates: AnyArray) -> Array:
    days = dates.astype("datetime64[D]")
    return np.asarray(days.astype(np.float64) + (dates - days) / DAY)


class Timeline(NamedTuple):
    """Slices of time.

    Attributes
    ----------
    starts : (T,) float64 array
        The first time of each slice, or the only one.
    step : float
        The unit of distances between slices: their width, or the median distance of times.
    even : bool
        Whether slices have a width; otherwise a time belongs to the nearest one.
    unit : str
        Of `starts` and `step`: "D" for days and "M" for months since 1970, "" for numbers.
    """

    starts: Array
    step: float
    even: bool
    unit: str

    @property
    def gaps(self) -> Array:
        """Distances between slices (T - 1,), in steps."""
        return np.maximum(np.diff(self.starts) / self.step, LEAST_GAP)

    @property
    def labels(self) -> AnyArray:
        """The starts as they were given: numbers or dates, (T,)."""
        if not self.unit:
            return self.starts
        dates: AnyArray = np.floor(self.starts).astype(f"datetime64[{self.unit}]")
        if self.unit == "D" and np.any(self.starts % 1):
            within = np.round(self.starts % 1 * 86400e6).astype("timedelta64[us]")
            dates = dates + within
            return dates
        return dates.astype("datetime64[D]")

    def place(self, times: Times, name: str = "times") -> tuple[NDArray[np.int64], Array]:
        """Return the slices of times (n,), and how many steps they lie after the last one (n,).

        Times before the first slice count as that.
        """
        if times.are_dates != bool(self.unit):
            kinds = ("dates", "numbers") if self.unit else ("numbers", "dates")
            raise ValueError(f"{name} holds {kinds[1]}; wanted {kinds[0]}, as in the fit")
        x = _in_unit(times.numbers, self.unit)
        if self.even:
            after = np.floor((x - self.starts[-1]) / self.step + 1e-9)
            slices = np.searchsorted(self.starts, x + 1e-9 * self.step, side="right") - 1
        else:
            after = (x - self.starts[-1]) / self.step
            middles = (self.starts[1:] + self.starts[:-1]) / 2
            slices = np.searchsorted(middles, x, side="right")
        return np.maximum(slices, 0).astype(np.int64), np.maximum(after, 0.0)

    def extended(self, after: float) -> Timeline:
        """Add a slice so many steps after the last one."""
        return self._replace(starts=np.append(self.starts, self.starts[-1] + after * self.step))

    @classmethod
    def of(cls, times: Times, slices: str | float) -> Timeline:
        """Cut the range of times into slices, as the parameter `slices` says.

        Raises
        ------
        ValueError
            If `slices` is not one of its choices.
        """
        if isinstance(slices, str):
            if slices == "values":
                return cls._of_values(times)
            return cls._of_calendar(times, slices)
        low, high = float(times.numbers.min()), float(times.numbers.max())
        unit = "D" if times.are_dates else ""
        if isinstance(slices, (float, np.floating)):
            width = checks.number(slices, "slices", 0.0, open_low=True)
            return cls._even(low, high, width, unit)
        number = checks.integer(slices, "slices", 1, MOST_SLICES)
        width = (high - low) / number * (1 + 1e-9) or 1.0  # so that the last one includes its end
        return cls(np.asarray(low + width * np.arange(number)), width, True, unit)

    @classmethod
    def _of_values(cls, times: Times) -> Timeline:
        starts: Array = np.unique(times.numbers)
        step = float(np.median(np.diff(starts))) if len(starts) > 1 else 1.0
        return cls(starts, step, False, "D" if times.are_dates else "")

    @classmethod
    def _of_calendar(cls, times: Times, slices: str) -> Timeline:
        found = re.fullmatch(r"(?:([1-9]\d*) )?(day|week|month|year)s?", slices)
        if found is None:
            raise ValueError(
                f"slices is {slices!r}; wanted 'values', a number of slices (an integer), a width "
                "(a float), or for dates a width such as 'month' or '10 years'"
            )
        if not times.are_dates:
            raise ValueError(f"slices is {slices!r}, but times holds numbers; wanted dates")
        unit, factor = UNITS[found[2]]
        x = _in_unit(times.numbers, unit)
        return cls._even(float(x.min()), float(x.max()), float(found[1] or 1) * factor, unit)

    @classmethod
    def _even(cls, low: float, high: float, width: float, unit: str) -> Timeline:
        """Slices that start at multiples of their width."""
        first, last = (np.floor(x / width + 1e-9) for x in (low, high))
        if unit == "M":  # years and decades start with those of the calendar
            offset = 1970 * 12
            first, last = (np.floor((x + offset) / width) - offset / width for x in (low, high))
        if not last - first < MOST_SLICES:
            raise ValueError(
                f"slices of width {width:g} from {low:g} to {high:g} are too many; wanted at most "
                f"{MOST_SLICES}"
            )
        starts = (first + np.arange(int(last - first) + 1)) * width
        return cls(np.asarray(starts, np.float64), width, True, unit)


def _in_unit(numbers: Array, unit: str) -> Array:
    """Days as months since 1970, or as they are."""
    if unit != "M":
        return numbers
    months = np.floor(numbers).astype("datetime64[D]").astype("datetime64[M]")
    return np.asarray(months.astype(np.float64))
