"""Sums of densities of numbers over arrays: types for `fastvi.kernels._vectorised`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from fastvi.base.documentation import fill_in
from fastvi.kernels import _vectorised

__all__ = ["compiled", "summed"]

TEXTS = {  # of docstrings
    "x": """
x : float or array
    Where.
""",
    "bound": """
x : float or array
    The bound.
""",
    "count": """
k : int or array
    Counts.
""",
    "scale": """
scale : float or array
    Its scale, > 0.
""",
    "shape": """
shape : float or array
    Its shape, > 0.
""",
    "total": """
Returns
-------
float
    In nats, the sum over arrays.
""",
}

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """A function that densities call, compiled into them."""
    return cast(F, _vectorised.compiled(function))


def summed(function: Callable[..., float]) -> Callable[..., float]:
    """A log density of numbers, made to take arrays as well and to give the sum over them.

    Arrays are broadcast as NumPy does, but an axis of length 1 is repeated only in Python. Lines
    such as ``{scale}`` in the docstring are filled in from `TEXTS`.
    """
    fill_in(function, TEXTS)
    return cast(Callable[..., float], _vectorised.summed(function))
