"""Sums of densities of numbers over arrays: types for `fastvi.kernels._vectorised`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from fastvi.kernels import _vectorised

__all__ = ["compiled", "summed"]

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """A function that densities call, compiled into them."""
    return cast(F, _vectorised.compiled(function))


def summed(function: Callable[..., float]) -> Callable[..., float]:
    """A log density of numbers, made to take arrays as well and to give the sum over them.

    Arrays are broadcast as NumPy does, but an axis of length 1 is repeated only in Python.
    """
    return cast(Callable[..., float], _vectorised.summed(function))
