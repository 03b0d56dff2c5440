"""Sums of densities of numbers over arrays: types for `fastvi.kernels._vectorised`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from fastvi.base.documentation import fill_in
from fastvi.kernels import _vectorised, derived

__all__ = ["compiled", "documented", "inlined", "summed"]

TEXTS = {  # of docstrings
    "x": """
x : float or array
    Values.
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
    "inputs": """
Parameters
----------
x, y : (n,) or (n, d) array and (m,) or (m, d) array
    Two sets of inputs, which may be the same.
""",
    "scales": """
amplitude : float
    Standard deviation of the functions.
lengthscale : float
    Distance over which they change, > 0.
""",
    "covariance": """
Returns
-------
(n, m) array
""",
    "equation": """
Parameters
----------
rhs : function
    ``rhs(t, y, parameters)`` gives the slopes at y as an array; compiled by ``numba.njit``.
initial : (n,) array
    Solution at the start; may depend on parameters.
start : float
    Time of `initial`.
times : (m,) array
    Times at which the solution is wanted, rising, none before the start.
parameters : array, float or tuple of these
    What rhs takes besides t and y, such as ``(z[:4], data.doses)``.
""",
    "path": """
Returns
-------
(m, n) array
    The solution at each time.
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


def inlined(function: F) -> F:
    """A function that takes functions, compiled into what calls it."""
    return cast(F, derived.inlined(function))


def documented(function: F) -> F:
    """Fill in lines such as ``{scales}`` in a docstring from `TEXTS`."""
    fill_in(function, TEXTS)
    return function


def summed(function: Callable[..., float]) -> Callable[..., float]:
    """A log density of numbers, made to take arrays as well and to give the sum over them.

    Arrays are broadcast as NumPy does, but an axis of length 1 is repeated only in Python. Lines
    such as ``{scale}`` in the docstring are filled in from `TEXTS`.
    """
    return cast(Callable[..., float], _vectorised.summed(documented(function)))
