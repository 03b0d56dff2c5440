"""Sums of densities of numbers over arrays: types for `fastvi.kernels._vectorised`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from fastvi.densities.documentation import documented
from fastvi.kernels import _vectorised, derived

__all__ = ["by_rows", "compiled", "inlined", "summed"]

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """A function that densities call, compiled into them."""
    return cast(F, _vectorised.compiled(function))


def inlined(function: F) -> F:
    """A function that takes functions, compiled into what calls it."""
    return cast(F, derived.inlined(function))


def by_rows(function: Callable[..., float]) -> Callable[..., float]:
    """A log density of numbers and last a vector, made to take several rows and to give the sum."""
    return cast(Callable[..., float], _vectorised.by_rows(documented(function)))


def summed(function: Callable[..., float]) -> Callable[..., float]:
    """A log density of numbers, made to take arrays as well and to give the sum over them.

    Arrays are broadcast as NumPy does, but an axis of length 1 is repeated only in Python. Lines
    such as ``{scale}`` in its docstring are filled in; see `fastvi.densities.documentation`.
    """
    return cast(Callable[..., float], _vectorised.summed(documented(function)))
