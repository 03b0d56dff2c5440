"""Errors about a log density or gradient that fails or is wrong."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["TargetError", "describe", "not_finite", "quiet", "warn_of_cost", "words_of"]

SHOWN = 8  # components of a vector shown in a message


class TargetError(ArithmeticError):
    """A log density failed, or returned a number that is not finite.

    Attributes
    ----------
    z : (dim,) array
        The unconstrained point at which it was evaluated.
    component : int or None
        The component of the gradient that failed; None for the value.

    Examples
    --------
    >>> import fastvi
    >>> target = fastvi.targets.from_callable(lambda z: (float("nan"), z), dim=1)
    >>> try:
    ...     fastvi.fit(target, random_state=0)
    ... except fastvi.targets.TargetError as error:
    ...     print(type(error).__name__)
    TargetError
    """

    def __init__(self, message: str, z: NDArray[np.float64], component: int | None = None) -> None:
        super().__init__(message)
        self.z = z
        self.component = component

    def __reduce__(self) -> tuple[object, ...]:
        return TargetError, (self.args[0], self.z, self.component)


def describe(names: Sequence[str], z: NDArray[np.float64]) -> str:
    """Format a vector with the names of its components, truncated."""
    parts = [f"{name}={value:.8g}" for name, value in zip(names[:SHOWN], z)]
    more = [f"... ({len(z)} numbers)"] if len(z) > SHOWN else []
    return ", ".join(parts + more)


def not_finite(
    name: str,
    names: Sequence[str],
    z: NDArray[np.float64],
    numbers: NDArray[np.float64],
    component: int,
) -> TargetError:
    """Make the error for values (n_terms,) at z (component -1) or for a component of a gradient."""
    where = describe(names, z)
    if component >= 0:
        which = f"gradient's component {component} ({names[component]})"
        bad = numbers[component]
        return TargetError(f"{name}: the {which} is {bad} at {where}", z.copy(), component)
    term = int(np.argmin(np.isfinite(numbers)))
    which = f"log density's term {term}" if len(numbers) > 1 else "log density"
    return TargetError(f"{name}: the {which} is {numbers[term]} at {where}", z.copy())


def warn_of_cost(name: str, gradient: Any, stacklevel: int) -> None:
    """Warn if the gradient is numerical."""
    if isinstance(gradient, str) and gradient == "numerical":
        warnings.warn(
            f"{name} uses a numerical gradient, which costs 4 x dim values; a function "
            "that writes its own costs about as much as one or two",
            stacklevel=stacklevel + 1,
        )


def words_of(error: BaseException) -> str:
    """Format an exception of foreign code as its kind and text."""
    return f"{type(error).__name__}: {error}"


class _Quiet:
    """A hook for what compiled code raises, shared by overlapping searches."""

    def __init__(self) -> None:
        self.lock, self.n_users, self.before = threading.Lock(), 0, sys.unraisablehook

    def enter(self) -> None:
        with self.lock:
            if self.n_users == 0:
                self.before, sys.unraisablehook = sys.unraisablehook, self.show
            self.n_users += 1

    def leave(self) -> None:
        with self.lock:
            self.n_users -= 1
            if self.n_users == 0:
                sys.unraisablehook = self.before

    def show(self, unraisable: sys.UnraisableHookArgs) -> None:
        if "numba" not in str(unraisable.object):
            self.before(unraisable)


_quiet = _Quiet()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what compiled densities raise off the screen, and warnings of NumPy in others.

    For searches that ask far out, where a density that fails is a density of 0.
    """
    _quiet.enter()
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        _quiet.leave()
